"""Direct convolution: borders, remainders of blocks, strides, dilation, channel tails."""

from dataclasses import dataclass
from typing import Any

import pytest
from kernel_cases import Case, Compiled, close, conv2d, dims, hardswish, random, relu, tensor
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

    def __call__(self, x: Any, w: Any) -> Any:
        return op.nn.conv2d(
            x,
            w,
            strides=self.strides,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            data_layout="NHWC",
            kernel_layout="OHWI",
        )

    def fits(self, h: int, w: int) -> bool:
        top, left, bottom, right = self.padding
        reach = [(k - 1) * d for k, d in zip(self.kernel[1:3], self.dilation, strict=True)]
        return h + top + bottom > reach[0] and w + left + right > reach[1]

    def expected(self, x: Any, w: Any) -> Any:
        return conv2d(x, w, self.strides, self.padding, self.dilation, self.groups)


CONVS = {
    "same_3x3": Conv((40, 3, 3, 5), padding=(1, 1, 1, 1)),
    "first_layer": Conv((16, 3, 3, 3), strides=(2, 2), padding=(1, 1, 1, 1)),
    "uneven": Conv((24, 5, 3, 7), strides=(2, 3), padding=(2, 0, 1, 3)),
    "dilated": Conv((33, 3, 3, 8), strides=(1, 2), padding=(2, 2, 2, 2), dilation=(2, 2)),
    "dilated_beyond": Conv((20, 3, 3, 6), padding=(6, 6, 6, 6), dilation=(6, 6)),
    "dilated_uneven": Conv((7, 2, 5, 4), strides=(1, 3), padding=(0, 11, 1, 3), dilation=(1, 4)),
    "dilated_grouped": Conv((24, 1, 2, 3), padding=(0, 9, 0, 2), dilation=(1, 7), groups=2),
    "big_padding": Conv((7, 7, 7, 4), strides=(3, 1), padding=(3, 6, 3, 6)),
    "strided_1x1": Conv((8, 1, 1, 4), strides=(2, 2)),
    "padded_1x1": Conv((8, 1, 1, 4), padding=(1, 2, 1, 2)),
    "to_one_channel": Conv((1, 3, 3, 2), padding=(1, 1, 1, 1)),
    "depthwise_one": Conv((1, 3, 3, 1), padding=(1, 1, 1, 1)),
    "row_kernel": Conv((17, 1, 3, 6), padding=(0, 1, 0, 1)),
    "to_one": Conv((1, 3, 3, 32), padding=(1, 1, 1, 1)),
    "to_two": Conv((2, 2, 5, 16), strides=(1, 2), padding=(0, 3, 1, 2)),
    "to_three": Conv((3, 3, 3, 48), padding=(2, 2, 2, 2), dilation=(2, 2)),
    "to_four_each": Conv((8, 3, 3, 16), padding=(1, 1, 1, 1), groups=2),
    "deep_strided": Conv((33, 3, 3, 35), strides=(2, 2), padding=(1, 1, 1, 1)),
    "deep_row": Conv((17, 1, 3, 32), padding=(0, 1, 0, 1)),
    "deep_grouped": Conv((10, 2, 9, 32), padding=(0, 7, 1, 3), groups=2),
    "grouped": Conv((8, 3, 3, 2), padding=(1, 1, 1, 1), groups=4),
    "grouped_wide": Conv((120, 3, 2, 5), strides=(2, 1), padding=(1, 0, 1, 1), groups=3),
    "grouped_1x1": Conv((6, 1, 1, 4), groups=2),
    "five_filters_each": Conv((40, 1, 3, 1), padding=(0, 1, 0, 1), groups=8),
    "depthwise_three_each": Conv((15, 3, 3, 1), padding=(1, 1, 1, 1), groups=5),
    "depthwise_three_wide": Conv((111, 3, 2, 1), strides=(2, 1), padding=(1, 0, 0, 1), groups=37),
    "depthwise_six_each": Conv((78, 1, 3, 1), padding=(0, 1, 0, 1), groups=13),
    "depthwise_eight_each": Conv((40, 2, 3, 1), padding=(1, 1, 0, 1), groups=5),
    "depthwise_two_each": Conv((10, 3, 3, 1), padding=(1, 1, 1, 1), groups=5),
    "depthwise_two_wide": Conv((86, 3, 3, 1), strides=(2, 2), padding=(1, 0, 0, 1), groups=43),
    "depthwise_four_each": Conv((60, 1, 5, 1), padding=(0, 4, 0, 1), dilation=(1, 2), groups=15),
    "depthwise_four_of_one": Conv((4, 3, 3, 1), padding=(1, 1, 1, 1)),
    "depthwise_3x3": Conv((40, 3, 3, 1), padding=(1, 1, 1, 1), groups=40),
    "depthwise_5x5": Conv((24, 5, 5, 1), strides=(2, 1), padding=(2, 2, 2, 2), groups=24),
    "depthwise_uneven": Conv((7, 3, 5, 1), strides=(1, 3), padding=(0, 2, 1, 4), groups=7),
    "depthwise_dilated": Conv((45, 3, 3, 1), padding=(2, 2, 2, 2), dilation=(2, 2), groups=45),
    "depthwise_7x7": Conv((40, 7, 7, 1), padding=(3, 3, 3, 3), groups=40),
    "depthwise_long": Conv((10, 1, 8, 1), (1, 2), (0, 7, 0, 5), (1, 2), groups=5),
}
# Over images one pixel wide.
UPRIGHT = {
    "upright": Conv((40, 5, 1, 7), strides=(2, 1), padding=(2, 0, 1, 0)),
    "upright_dilated": Conv((17, 3, 1, 6), dilation=(2, 1)),
    "upright_grouped": Conv((8, 4, 1, 2), padding=(3, 0, 3, 0), groups=4),
}
IMAGES = ((1, 1, 1), (1, 3, 5), (2, 7, 13), (3, 5, 29), (1, 4, 37), (0, 4, 4))


def _cases() -> dict[str, Case]:
    cases = {}
    for name, conv in CONVS.items():
        n, h, w = dims("n h w")
        kernel = random(*conv.kernel)
        channels = conv.kernel[3] * conv.groups
        cases[name] = Case(
            lambda x, k, b, conv=conv: op.nn.relu(op.add(conv(x, k), b)),
            [tensor(n, h, w, channels)],
            [kernel, random(conv.kernel[0])],
        )
    n, h, w = dims("n h w")
    for name in ("same_3x3", "depthwise_3x3"):
        conv = CONVS[name]
        cases[f"{name}_residual"] = Case(
            lambda x, r, k, conv=conv: op.add(hardswish_op(conv(x, k)), r),
            [tensor(n, h, w, conv.kernel[3] * conv.groups), tensor(n, h, w, 40)],
            [random(*conv.kernel)],
        )
    for name, conv in UPRIGHT.items():
        cases[name] = Case(
            lambda x, r, k, conv=conv: op.nn.relu(op.add(conv(x, k), r)),
            [tensor(n, h, 1, conv.kernel[3] * conv.groups), tensor(n, 1, 1, conv.kernel[0])],
            [random(*conv.kernel)],
        )
    conv = CONVS["same_3x3"]
    cases["run_time_weights"] = Case(conv, [tensor(n, h, w, conv.kernel[3]), tensor(*conv.kernel)])
    cases["channels_first"] = Case(
        lambda x, k: op.nn.conv2d(x, k, padding=(1, 1)),
        [tensor(n, 5, h, w)],
        [random(6, 5, 3, 3)],
    )
    return cases


@pytest.fixture(scope="module")
def run() -> Compiled:
    return Compiled(_cases())


@pytest.mark.parametrize("name", CONVS)
def test_every_size(run: Compiled, name: str) -> None:
    conv = CONVS[name]
    kernel, bias = random(*conv.kernel), random(conv.kernel[0])
    kind = "depthwise" if name.startswith("depthwise") else "conv"
    assert run.choices[f"{name}_group"].startswith(kind)
    tried = 0
    for image in IMAGES:
        if conv.fits(*image[1:]):
            x = random(*image, conv.kernel[3] * conv.groups)
            close(run(name, x), relu(conv.expected(x, kernel) + bias))
            tried += 1
    assert tried >= 3


@pytest.mark.parametrize("vector_bytes", [32, 64])
def test_few_output_channels(vector_bytes: int) -> None:
    """Lanes run over input channels, of which a vector holds as many as it may."""
    names = [name for name in CONVS if name.startswith("to_") and name != "to_one_channel"]
    traits = Traits(vector_bytes, 32, True, 32 * 1024, 1024 * 1024, 2)
    cases = {name: case for name, case in _cases().items() if name in names}
    run = Compiled(cases, traits)
    for name in names:
        assert f"lanes of {vector_bytes // 4} inputs" in run.choices[f"{name}_group"]
        kernel, bias = random(*CONVS[name].kernel), random(CONVS[name].kernel[0])
        for image in ((2, 7, 13), (1, 4, 37)):
            x = random(*image, CONVS[name].kernel[3] * CONVS[name].groups)
            close(run(name, x), relu(CONVS[name].expected(x, kernel) + bias))


@pytest.mark.parametrize("name", [name for name in CONVS if name.startswith("depthwise")])
def test_depthwise_bands_of_rows(run: Compiled, name: str) -> None:
    """Numbers of rows around those of one band and of two, and enough work for two threads."""
    conv = CONVS[name]
    kernel, bias = random(*conv.kernel), random(conv.kernel[0])
    for image in ((1, 15, 6), (1, 16, 7), (2, 17, 5), (1, 33, 8), (1, 67, 40)):
        x = random(*image, conv.kernel[3] * conv.groups)
        close(run(name, x), relu(conv.expected(x, kernel) + bias))


def test_filters_of_a_channel_in_short_vectors() -> None:
    names = [f"depthwise_{name}" for name in ("three_wide", "four_each", "six_each", "eight_each")]
    cases = {name: case for name, case in _cases().items() if name in names}
    run = Compiled(cases, Traits(16, 16, False, 32 * 1024, 256 * 1024, 2))
    for name in names:
        assert run.choices[f"{name}_group"].startswith("depthwise")
        kernel, bias = random(*CONVS[name].kernel), random(CONVS[name].kernel[0])
        x = random(2, 7, 13, CONVS[name].groups)
        close(run(name, x), relu(CONVS[name].expected(x, kernel) + bias))


@pytest.mark.parametrize("name", UPRIGHT)
def test_images_one_pixel_wide(run: Compiled, name: str) -> None:
    conv = UPRIGHT[name]
    kernel = random(*conv.kernel)
    assert run.choices[f"{name}_group"].startswith("conv")
    for n, h in ((1, 5), (2, 13), (3, 37), (1, 60), (0, 7)):
        x = random(n, h, 1, conv.kernel[3] * conv.groups)
        r = random(n, 1, 1, conv.kernel[0])
        close(run(name, x, r), relu(conv.expected(x, kernel) + r))


@pytest.mark.parametrize("name", ["same_3x3", "depthwise_3x3"])
def test_residual(run: Compiled, name: str) -> None:
    conv = CONVS[name]
    x, r = random(2, 6, 17, conv.kernel[3] * conv.groups), random(2, 6, 17, 40)
    expected = hardswish(conv.expected(x, random(*conv.kernel))) + r
    close(run(f"{name}_residual", x, r), expected)


def test_run_time_weights_fall_back(run: Compiled) -> None:
    assert "not conv2d: the weights cannot be packed" in run.choices["run_time_weights_group"]
    conv = CONVS["same_3x3"]
    x, w = random(1, 4, 9, 5), random(*conv.kernel)
    close(run("run_time_weights", x, w), conv.expected(x, w))


def test_channels_first_images(run: Compiled) -> None:
    assert run.choices["channels_first_group"].startswith("channels-first conv")
    x, w = random(2, 5, 4, 9), random(6, 5, 3, 3)
    expected = conv2d(x.transpose(0, 2, 3, 1), w.transpose(0, 2, 3, 1), padding=(1, 1, 1, 1))
    close(run("channels_first", x), expected.transpose(0, 3, 1, 2))
