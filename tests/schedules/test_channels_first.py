"""Convolutions of channels-first images with short sums: rows around tiles, borders, strides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from kernel_cases import Case, Compiled, close, conv2d, dims, hardswish, random, tensor
from kernel_cases import hardswish_relax as hardswish_op
from tvm import relax

from tvm_sod2.schedules.traits import Traits

op = relax.op


@dataclass(frozen=True)
class Conv:
    """Parameters of one convolution; `kernel` is OHWI."""

    kernel: tuple[int, int, int, int]
    strides: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    layout: str = "NCHW"

    def case(self) -> Case:
        n, h, w = dims("n h w")

        def compute(x: relax.Expr, kernel: relax.Expr, bias: relax.Expr) -> relax.Expr:
            y = op.nn.conv2d(
                x,
                kernel,
                strides=self.strides,
                padding=self.padding,
                dilation=self.dilation,
                groups=self.groups,
                data_layout=self.layout,
                kernel_layout="OHWI",
            )
            return hardswish_op(op.add(y, bias))

        bias = random(1, self.kernel[0], 1, 1)
        image = (n, self.inputs, h, w) if self.layout == "NCHW" else (n, h, w, self.inputs)
        return Case(compute, [tensor(*image)], [random(*self.kernel), bias])

    @property
    def inputs(self) -> int:
        return self.kernel[3] * self.groups

    def expected(self, x: np.ndarray) -> np.ndarray:
        last = x.transpose(0, 2, 3, 1)
        w = random(*self.kernel)
        y = conv2d(last, w, self.strides, self.padding, self.dilation, self.groups)
        bias = random(1, self.kernel[0], 1, 1)
        return hardswish(y.transpose(0, 3, 1, 2) + bias)

    def input_width(self, out: int) -> int:
        """The input width that makes the output as wide, 0 where padding alone does."""
        reach = (self.kernel[2] - 1) * self.dilation[1] + 1
        return (out - 1) * self.strides[1] + reach - self.padding[1] - self.padding[3]


CONVS = {
    "first": Conv((64, 7, 7, 3), strides=(2, 2), padding=(3, 3, 3, 3)),
    "same": Conv((33, 3, 3, 3), padding=(1, 1, 1, 1)),
    "waveform": Conv((37, 1, 10, 1), strides=(1, 5)),
    "patches": Conv((16, 4, 4, 2), strides=(4, 4)),
    "far_apart": Conv((16, 1, 12, 1), strides=(1, 11), padding=(0, 2, 0, 5)),
    "dilated": Conv((13, 3, 2, 2), padding=(2, 3, 0, 4), strides=(3, 2), dilation=(2, 3)),
    "long": Conv((12, 5, 13, 4), padding=(2, 6, 2, 6)),
    "few": Conv((3, 1, 1, 1)),
    "filter": Conv((1, 1, 41, 1), strides=(1, 3), padding=(0, 19, 0, 22), layout="NHWC"),
    "filter_of_image": Conv((1, 5, 4, 1), padding=(2, 1, 2, 2), dilation=(1, 3), layout="NHWC"),
    "filters": Conv((6, 3, 5, 1), padding=(1, 2, 0, 2), strides=(1, 2), groups=3),
    "grouped": Conv((34, 1, 6, 2), padding=(0, 9, 0, 3), dilation=(1, 4), strides=(2, 6), groups=2),
}
# Around one vector, two, and the parts that a row is cut into.
WIDTHS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 65, 127, 129, 256, 257, 290)

TRAITS = {
    "this machine": None,
    "vectors of 16 bytes": Traits(16, 16, False, 32 * 1024, 256 * 1024, 2),
}


@pytest.fixture(scope="module", params=TRAITS.values(), ids=TRAITS)
def run(request: pytest.FixtureRequest) -> Compiled:
    return Compiled({name: conv.case() for name, conv in CONVS.items()}, request.param)


@pytest.mark.parametrize("name", CONVS)
def test_every_width(run: Compiled, name: str) -> None:
    conv = CONVS[name]
    assert run.choices[f"{name}_group"].startswith("channels-first conv")
    tried = 0
    for number, out in enumerate(WIDTHS):
        width = conv.input_width(out)
        if width < 1:
            continue
        batch, height = 1 + number % 2, 7 + number % 5
        x = random(batch, conv.inputs, height, width)
        given = x if conv.layout == "NCHW" else x.transpose(0, 2, 3, 1)
        close(run(name, given.copy()).reshape(conv.expected(x).shape), conv.expected(x))
        tried += 1
    assert tried >= 18


def test_no_images(run: Compiled) -> None:
    assert run("same", random(0, 3, 5, 40)).shape == (0, 33, 5, 40)
    assert run("same", random(1, 3, 0, 40)).shape == (1, 33, 0, 40)


def test_inputs_that_are_not_finite_stay_with_their_windows(run: Compiled) -> None:
    x = random(1, 3, 6, 70)
    x[0, 1, 2, 40] = np.inf
    result, expected = run("same", x), CONVS["same"].expected(random(1, 3, 6, 70))
    touched = np.zeros((6, 70), bool)
    touched[1:4, 39:42] = True
    assert not np.isfinite(result[0][:, touched]).all()
    close(result[0][:, ~touched], expected[0][:, ~touched])
