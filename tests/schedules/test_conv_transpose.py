"""Transposed convolution: taps apart, taps together, and what falls back."""

import numpy as np
import pytest
from kernel_cases import Case, Compiled, close, conv2d_transpose, dims, random, tensor
from tvm import relax

op = relax.op

# Input channels, output channels, kernel, strides.
EMITTED = {
    "taps_apart": (24, 24, (2, 2), (2, 2)),
    "taps_together": (24, 1, (2, 2), (2, 2)),
    "three_channels": (7, 3, (2, 3), (2, 3)),
    "wide": (8, 33, (1, 2), (1, 2)),
}
OVERLAPPING = {"overlapping": (4, 3, (3, 3), (2, 2))}
IMAGES = ((1, 1, 1), (2, 3, 5), (1, 2, 12), (1, 3, 25), (0, 2, 2))


@pytest.fixture(scope="module")
def run() -> Compiled:
    cases = {}
    for name, (inputs, outputs, kernel, strides) in (EMITTED | OVERLAPPING).items():
        n, h, w = dims("n h w")
        cases[name] = Case(
            lambda x, k, b, strides=strides: op.sigmoid(
                op.add(op.nn.conv2d_transpose(x, k, strides=strides, data_layout="NHWC"), b)
            ),
            [tensor(n, h, w, inputs)],
            [random(inputs, outputs, *kernel), random(outputs)],
        )
    return Compiled(cases)


@pytest.mark.parametrize("name", [*EMITTED, *OVERLAPPING])
def test_every_size(run: Compiled, name: str) -> None:
    inputs, outputs, kernel, strides = (EMITTED | OVERLAPPING)[name]
    emitted = run.choices[f"{name}_group"].startswith("transposed conv")
    assert emitted == (name in EMITTED)
    w, bias = random(inputs, outputs, *kernel), random(outputs)
    for image in IMAGES:
        x = random(*image, inputs)
        if 0 not in image or emitted:
            expected = 1 / (1 + np.exp(-conv2d_transpose(x, w, strides) - bias))
            close(run(name, x), expected)
