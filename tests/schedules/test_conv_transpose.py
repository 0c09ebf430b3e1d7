"""Transposed convolution: taps apart, taps together, and taps that meet."""

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
# Channels of inputs and of a group's outputs, kernel, strides, padding, output padding, dilation,
# groups.
MEETING = {
    "doubling": (24, 20, (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), (1, 1), 1),
    "odd": (5, 37, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), (1, 1), 1),
    "uneven": (16, 3, (5, 2), (3, 1), (2, 0, 1, 1), (2, 0), (1, 1), 1),
    "not strided": (7, 16, (3, 3), (1, 1), (0, 1, 2, 1), (0, 0), (1, 1), 1),
    "to_three": (32, 3, (4, 4), (2, 2), (1, 1, 1, 1), (0, 0), (1, 1), 1),
    "gaps": (6, 9, (1, 2), (2, 5), (0, 0, 0, 1), (1, 4), (1, 1), 1),
    "dilated": (8, 4, (3, 2), (2, 3), (1, 2, 0, 1), (0, 1), (2, 3), 1),
    "grouped": (12, 5, (4, 3), (2, 2), (1, 0, 1, 1), (0, 0), (1, 1), 3),
    "wide padding": (4, 33, (4, 6), (2, 2), (3, 5, 3, 4), (0, 1), (1, 1), 1),
}
IMAGES = ((1, 1, 1), (2, 3, 5), (1, 2, 12), (1, 3, 25), (0, 2, 2))


@pytest.fixture(scope="module")
def run() -> Compiled:
    cases = {}
    for name, (inputs, outputs, kernel, strides) in EMITTED.items():
        n, h, w = dims("n h w")
        cases[name] = Case(
            lambda x, k, b, strides=strides: op.sigmoid(
                op.add(op.nn.conv2d_transpose(x, k, strides=strides, data_layout="NHWC"), b)
            ),
            [tensor(n, h, w, inputs)],
            [random(inputs, outputs, *kernel), random(outputs)],
        )
    for name, (inputs, outputs, kernel, *rest, groups) in MEETING.items():
        n, h, w = dims("n h w")
        cases[name] = Case(
            lambda x, k, b, rest=rest, groups=groups: op.add(
                op.nn.conv2d_transpose(x, k, *rest, groups, data_layout="NHWC"), b
            ),
            [tensor(n, h, w, inputs)],
            [random(inputs, outputs, *kernel), random(outputs * groups)],
        )
    return Compiled(cases)


@pytest.mark.parametrize("name", EMITTED)
def test_every_size(run: Compiled, name: str) -> None:
    inputs, outputs, kernel, strides = EMITTED[name]
    assert run.choices[f"{name}_group"].startswith("transposed conv")
    w, bias = random(inputs, outputs, *kernel), random(outputs)
    for image in IMAGES:
        x = random(*image, inputs)
        close(run(name, x), 1 / (1 + np.exp(-conv2d_transpose(x, w, strides) - bias)))


@pytest.mark.parametrize("name", MEETING)
def test_taps_that_meet(run: Compiled, name: str) -> None:
    inputs, outputs, kernel, *rest, groups = MEETING[name]
    assert "; not conv2d_transpose: " in run.choices[f"{name}_group"]
    assert run.choices[f"{name}_group"].startswith("transposed conv")
    w, bias = random(inputs, outputs, *kernel), random(outputs * groups)
    for image in IMAGES:
        x = random(*image, inputs)
        expected = conv2d_transpose(x, w, *rest, groups) + bias
        if min(expected.shape[1:3]) > 0:
            close(run(name, x), expected)
