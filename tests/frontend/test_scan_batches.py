"""Scan of operator set 8: batches, lengths of their own, both directions."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from peer import parsed
from tvm import relax

import tvm_sod2


def _expected(x: np.ndarray, start: np.ndarray, lengths: np.ndarray, back: bool) -> list:
    """What the standard's pseudo-code gives, in NumPy."""
    sums, partial = start.copy(), np.zeros_like(x)
    for batch, length in enumerate(lengths):
        for turn in range(length):
            at = length - 1 - turn if back else turn
            sums[batch] += x[batch, at]
            partial[batch, turn] = sums[batch]
    return [sums, partial]


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_sums_of_every_batch(back: int, with_lengths: bool) -> None:
    first = "l" if with_lengths else '""'
    text = f"""(float[b,2] s, float[b,n,2] x, int64[b] l) => (float[b,2] y, float[b,n,2] z) {{
        y, z = Scan<num_scan_inputs = 1, directions = [{back}], body = g (float[2] u, float[2] v)
            => (float[2] w, float[2] o) {{ w = Add(u, v) o = Identity(w) }}>({first}, s, x)
    }}"""
    model = parsed(text.replace('""', ""), opset=8)
    if not with_lengths:
        model.graph.input.pop()
    run = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    for seed, (batches, longest) in enumerate([(1, 3), (3, 7), (2, 1)]):
        rng = np.random.default_rng(seed)
        start, x = (
            rng.normal(size=s).astype("float32") for s in ((batches, 2), (batches, longest, 2))
        )
        lengths = (
            rng.integers(1, longest + 1, batches) if with_lengths else np.full(batches, longest)
        )
        given = [start, x, *([lengths] if with_lengths else [])]
        found = run(*map(tvm.runtime.tensor, given))
        for mine, wanted in zip(found, _expected(x, start, lengths, bool(back)), strict=True):
            np.testing.assert_allclose(mine.numpy(), wanted, 1e-5, 1e-6)
