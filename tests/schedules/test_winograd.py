"""Winograd convolution: image edges, channel tails, accuracy, and what it leaves to direct code."""

import numpy as np
import pytest
import tvm
from kernel_cases import (
    Case,
    Compiled,
    choices,
    close,
    conv2d,
    dims,
    random,
    relu,
    scheduled,
    tensor,
)
from tvm import relax, tirx

from tvm_sod2.schedules.traits import Traits, host_target
from tvm_sod2.schedules.winograd_choice import Choice

op = relax.op

# Output channels, input channels, padding.
CONVS = {
    "same": (24, 20, (1, 1, 1, 1)),
    "valid": (33, 16, (0, 0, 0, 0)),
    "uneven": (16, 37, (2, 1, 0, 3)),
}
# Input channels: weights transformed at build, and by the kernel.
DEEP = {"deep": 96, "deeper": 512}
# Output channels, input channels, padding: weights transformed by the kernel.
LARGE = {"large": (50, 47, (1, 1, 1, 1)), "large uneven": (45, 64, (0, 2, 1, 0))}
IMAGES = ((1, 1, 1), (1, 3, 3), (2, 4, 4), (1, 5, 29), (3, 7, 13), (1, 16, 20), (0, 4, 4))


def _conv(padding: tuple[int, int, int, int]):
    def compute(x: relax.Expr, w: relax.Expr) -> relax.Expr:
        layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
        return op.nn.conv2d(x, w, padding=padding, **layouts)

    return compute


@pytest.fixture(scope="module")
def run() -> Compiled:
    cases = {}
    n, h, w = dims("n h w")
    for name, (outputs, inputs, padding) in {**CONVS, **LARGE}.items():
        conv = _conv(padding)
        cases[name] = Case(
            lambda x, r, k, b, conv=conv: op.add(op.nn.relu(op.add(conv(x, k), b)), r),
            [tensor(n, h, w, inputs), tensor(outputs)],
            [random(outputs, 3, 3, inputs), random(outputs)],
        )
    for name, inputs in DEEP.items():
        weight = random(16, 3, 3, inputs)
        cases[name] = Case(_conv((1, 1, 1, 1)), [tensor(n, h, w, inputs)], [weight])
    return Compiled(cases)


@pytest.mark.parametrize("name", [*CONVS, *LARGE])
def test_every_size(run: Compiled, name: str) -> None:
    outputs, inputs, padding = {**CONVS, **LARGE}[name]
    assert run.choices[f"{name}_group"].startswith("winograd")
    w, bias, shift = random(outputs, 3, 3, inputs), random(outputs), random(outputs)
    for image in IMAGES:
        if image[1] + padding[0] + padding[2] >= 3 and image[2] + padding[1] + padding[3] >= 3:
            x = random(*image, inputs)
            close(run(name, x, shift), relu(conv2d(x, w, padding=padding) + bias) + shift)


@pytest.mark.parametrize(("name", "error"), [("deep", 2.5e-6), ("deeper", 6e-6)])
def test_accuracy_is_near_that_of_direct_summation(run: Compiled, name: str, error: float) -> None:
    """The usual points 0, +-1, +-2 give errors of 1e-5 of the largest output and more here."""
    x = relu(random(1, 12, 12, DEEP[name]))
    expected = conv2d(x, random(16, 3, 3, DEEP[name]), padding=(1, 1, 1, 1))
    assert np.abs(run(name, x) - expected).max() < error * np.abs(expected).max()


def _direct(choice: Choice, batch: int, height: int, width: int) -> bool:
    """What a kernel chooses for outputs of this size."""
    pixels = tirx.IntImm("int64", batch * height * width)
    tiles = tirx.IntImm("int64", batch * -(-height // 4) * -(-width // 4))
    return bool(tvm.sym.Analyzer().simplify(choice.direct(pixels, tiles)).value)


@pytest.mark.parametrize("name", LARGE)
def test_images_lie_on_both_sides_of_the_choice(run: Compiled, name: str) -> None:
    """`test_every_size` runs both versions of each kernel."""
    outputs, inputs, (top, left, bottom, right) = LARGE[name]
    choice = Choice.between(inputs, outputs, Traits.from_target(host_target()))
    kernel = run.choices[f"{name}_group"]
    assert f" where {choice}, else conv 3x3 " in kernel
    images = [(n, h + top + bottom - 2, w + left + right - 2) for n, h, w in IMAGES]
    assert {_direct(choice, *image) for image in images if min(image) > 0} == {True, False}


def test_the_choice_follows_the_cost() -> None:
    """Few pixels are left to direct code, more so where transformed weights leave the cache."""
    small = Traits(32, 16, True, 2**15, 2**18, 1)
    large = Traits(32, 16, True, 2**15, 2**24, 1)
    for size in (3, 5):
        assert _direct(Choice.between(128, 128, large), 1, size, size)
    assert not _direct(Choice.between(128, 128, small), 1, 10, 10)
    assert _direct(Choice.between(128, 128, small), 1, 6, 8)
    assert not _direct(Choice.between(128, 128, large), 1, 6, 8)
    # One row of 4x4 tiles is mostly padding.
    assert _direct(Choice.between(128, 128, large), 1, 1, 1000)
    assert not _direct(Choice.between(128, 128, large), 1, 4, 250)


def test_weights_transformed_at_build_are_not_convolved_directly(run: Compiled) -> None:
    assert " else " not in run.choices["same_group"]


def test_few_channels_are_convolved_directly() -> None:
    n, h, w = dims("n h w")
    mod = scheduled({"few": Case(_conv((1, 1, 1, 1)), [tensor(n, h, w, 8)], [random(16, 3, 3, 8)])})
    assert "not winograd: fewer than 16 channels" in choices(mod)["few_group"]
