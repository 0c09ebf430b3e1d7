"""What the benchmark scripts compute beside times: shapes, means, and what is told as a defect."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.bench_models import TOLERANCE, markdown
from scripts.kernel_timing import Convolution, session
from scripts.model_inputs import SHAPES, page
from tvm_sod2.models import names


def test_every_dev_model_has_three_shapes() -> None:
    assert sorted(SHAPES) == sorted(name for name in names() if not name.endswith(".txt"))
    assert all(len(sizes) == 3 for sizes in SHAPES.values())


def test_wrong_rows_count_as_no_ratio_and_slow_ones_are_listed() -> None:
    def row(shape: str, ratio: float, mnn: float, error: float = 0.0, theirs: float = 0.0) -> dict:
        same = {"threads": 1, "ours_ms": 1.0, "sizes": {}, "shape": shape}
        errors = {"onnxruntime": error, "mnn": theirs}
        return {**same, "onnxruntime": ratio, "mnn": mnn, "errors": errors}

    off = 2 * TOLERANCE
    rows = [row("1x3", 4.0, 0.5), row("2x3", 0.25, 0.1, 0.0, off), row("3x3", 9.0, 9.0, off)]
    model = {"rows": rows, "build_cpu_s": 1.5, "beyond_weights_bytes": 2e6}
    text = markdown({"net": model}).splitlines()
    assert "| net | 1x3 | 1 | 4.00 | 0.50 | 1.5 | 2.0 |" in text
    assert "| net | 2x3 | 1 | 0.25 | differs |  |  |" in text
    assert "| net | 3x3 | 1 | wrong | wrong |  |  |" in text
    assert "onnxruntime, threads 1: geometric mean 1.00 over 2 rows" in text
    assert "mnn, threads 1: geometric mean 0.50 over 1 rows" in text
    assert "below 1: net 2x3, threads 1: 0.25 of onnxruntime" in text
    assert "below 1: net 1x3, threads 1: 0.50 of mnn" in text
    assert not any("0.10 of mnn" in line for line in text)
    assert any(line.startswith("wrong: net 3x3") for line in text)


def test_pages_are_light_with_ink() -> None:
    image = page((2, 3, 64, 96), np.random.default_rng(0))
    assert image.dtype == np.float32
    assert 0.02 < (image < 0).mean() < 0.5


@pytest.mark.parametrize(
    "conv",
    [
        Convolution((1, 4, 9, 11), (6, 4, 3, 2), (2, 1), (1, 0, 2, 1)),
        Convolution((2, 6, 13, 7), (6, 1, 3, 3), (1, 3), (2, 2, 2, 2), (2, 1), groups=6),
    ],
    ids=str,
)
def test_the_size_of_a_convolution_is_that_of_onnx_runtime(conv: Convolution) -> None:
    x, w = np.ones(conv.x, np.float32), np.ones(conv.w, np.float32)
    (result,) = session([conv.node()], [4], [w])(x)()
    assert result.shape == (conv.x[0], conv.w[0], *conv.out)
    assert conv.flops == 2 * result.size * np.prod(conv.w[1:])
