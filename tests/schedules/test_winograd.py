"""Winograd convolution: image edges, channel tails, accuracy, and which version runs."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
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
from tvm import relax

from tvm_sod2.errors import BuildError
from tvm_sod2.schedules.traits import Traits, host_target
from tvm_sod2.schedules.winograd_choice import Cost, winograd_limit, with_winograd_limit
from tvm_sod2.schedules.winograd_matrices import FORMS, TWO, Form

op = relax.op

# Output channels, input channels, padding.
CONVS = {
    "same": (24, 20, (1, 1, 1, 1)),
    "valid": (33, 16, (0, 0, 0, 0)),
    "uneven": (16, 37, (2, 1, 0, 3)),
}
# The same with versions: the weights of 2x2 tiles are constants, then none are, then threads share
# the place for them.
LARGE = {
    "large": (50, 47, (1, 1, 1, 1)),
    "large uneven": (45, 64, (0, 2, 1, 0)),
    "largest": (70, 97, (1, 1, 1, 1)),
    "largest uneven": (97, 83, (1, 0, 2, 1)),
    "largest shared": (150, 100, (1, 1, 1, 1)),
}
IMAGES = (
    (1, 1, 1),
    (1, 3, 3),
    (2, 4, 4),
    (1, 5, 29),
    (1, 6, 6),
    (3, 7, 13),
    (1, 16, 20),
    (0, 4, 4),
)
# Input channels; largest error of each limit as a fraction of the largest output.
DEEP = (16, 96, 512)
ERRORS = {4: 6e-6, 2: 1.2e-6, 0: 3e-6}


def _conv(padding: tuple[int, int, int, int]):
    def compute(x: relax.Expr, w: relax.Expr) -> relax.Expr:
        layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
        return op.nn.conv2d(x, w, padding=padding, **layouts)

    return compute


@pytest.fixture(scope="module", params=[4, 2, 0])
def limited(request: pytest.FixtureRequest) -> tuple[int, Compiled]:
    return request.param, _compiled(request.param)


@pytest.fixture(scope="module")
def run() -> Compiled:
    return _compiled(4)


@cache
def _compiled(winograd: int) -> Compiled:
    cases = {}
    n, h, w = dims("n h w")
    for name, (outputs, inputs, padding) in {**CONVS, **LARGE}.items():
        conv = _conv(padding)
        cases[name] = Case(
            lambda x, r, k, b, conv=conv: op.add(op.nn.relu(op.add(conv(x, k), b)), r),
            [tensor(n, h, w, inputs), tensor(outputs)],
            [random(outputs, 3, 3, inputs), random(outputs)],
        )
    for inputs in DEEP:
        weight = random(16, 3, 3, inputs)
        cases[f"deep{inputs}"] = Case(_conv((1, 1, 1, 1)), [tensor(n, h, w, inputs)], [weight])
    return Compiled(cases, winograd=winograd)


@pytest.mark.parametrize("name", [*CONVS, *LARGE])
def test_every_size(limited: tuple[int, Compiled], name: str) -> None:
    winograd, run = limited
    outputs, inputs, padding = {**CONVS, **LARGE}[name]
    chosen = run.choices[f"{name}_group"]
    assert [f"winograd {size}x{size}" in chosen for size in (4, 2)] == [
        winograd == 4, winograd == 2 or (winograd == 4 and name in LARGE)
    ]  # fmt: skip
    w, bias, shift = random(outputs, 3, 3, inputs), random(outputs), random(outputs)
    for image in IMAGES:
        if image[1] + padding[0] + padding[2] >= 3 and image[2] + padding[1] + padding[3] >= 3:
            x = random(*image, inputs) / 4
            close(run(name, x, shift), relu(conv2d(x, w, padding=padding) + bias) + shift)


@pytest.mark.parametrize("cores", [1, 3, 8])
def test_threads_that_divide_panels_and_tiles(cores: int) -> None:
    """From panels for each thread to tiles for each; enough work for several threads."""
    n, h, w = dims("n h w")
    outputs, inputs = 70, 83
    weight = random(outputs, 3, 3, inputs)
    case = Case(_conv((1, 1, 1, 1)), [tensor(n, h, w, inputs)], [weight])
    traits = replace(Traits.from_target(host_target()), cores=cores)
    run = Compiled({"conv": case}, traits)
    for image in ((1, 9, 13), (1, 24, 24), (2, 23, 29), (1, 61, 62)):
        x = random(*image, inputs) / 4
        close(run("conv", x), conv2d(x, weight, padding=(1, 1, 1, 1)))


@pytest.mark.parametrize("inputs", DEEP)
def test_accuracy(limited: tuple[int, Compiled], inputs: int) -> None:
    """Tiles of 2x2 are no worse than direct sums in float32; 4x4 with the usual points 0, +-1, +-2
    would have errors of 1e-5 and more."""
    winograd, run = limited
    for x in (random(1, 12, 12, inputs), relu(random(2, 9, 31, inputs))):
        expected = conv2d(x, random(16, 3, 3, inputs), padding=(1, 1, 1, 1))
        error = np.abs(run(f"deep{inputs}", x) - expected).max()
        assert error < ERRORS[winograd] * np.abs(expected).max()


def _least(depth: int, channels: int, constant: Form | None, traits: Traits, *image: int) -> str:
    """The cheapest version for outputs [batch, height, width], by the kernel's costs."""
    batch, height, width = image
    found = {}
    for form in FORMS:
        tiles = batch * -(-height // form.out) * -(-width // form.out)
        cost = Cost.winograd(form, depth, channels, form is constant, traits)
        found[f"{form.out}x{form.out}"] = cost.fixed + cost.each * tiles
    if constant is None:
        found["direct"] = 9 * batch * height * width
    return min(found, key=found.__getitem__)


@pytest.mark.parametrize("name", LARGE)
def test_images_lie_on_all_sides_of_the_choice(run: Compiled, name: str) -> None:
    """`test_every_size` runs every version of each kernel."""
    outputs, inputs, (top, left, bottom, right) = LARGE[name]
    constant = TWO if "largest" not in name else None
    traits = Traits.from_target(host_target())
    kernel = run.choices[f"{name}_group"]
    assert kernel.startswith("least of winograd 4x4 ")
    for form in FORMS:
        assert f" at {Cost.winograd(form, inputs, outputs, form is constant, traits)}" in kernel
    images = [(n, h + top + bottom - 2, w + left + right - 2) for n, h, w in IMAGES]
    sides = {_least(inputs, outputs, constant, traits, *i) for i in images if min(i) > 0}
    assert sides == {"4x4", "2x2", *(["direct"] if constant is None else [])}


def test_the_choice_follows_the_cost() -> None:
    """Few pixels are left to direct code, more so where transformed weights leave the cache."""
    small = Traits(32, 16, True, 2**15, 2**18, 1)
    large = Traits(32, 16, True, 2**15, 2**24, 1)
    found = [_least(128, 128, None, large, 1, size, size) for size in (3, 5, 7, 10, 20, 40)]
    assert found == ["direct", "direct", "2x2", "2x2", "4x4", "4x4"]
    assert _least(128, 128, None, small, 1, 5, 5) == "direct"
    # One row of 4x4 tiles is mostly padding.
    assert _least(128, 128, None, large, 1, 1, 1000) == "direct"
    assert _least(128, 128, None, large, 1, 2, 500) == "2x2"
    assert _least(128, 128, None, large, 1, 4, 250) == "4x4"


def test_weights_of_4x4_tiles_that_are_constants_leave_no_choice(run: Compiled) -> None:
    assert run.choices["same_group"].startswith("winograd 4x4 ")


def test_few_channels_are_convolved_directly() -> None:
    n, h, w = dims("n h w")
    mod = scheduled({"few": Case(_conv((1, 1, 1, 1)), [tensor(n, h, w, 8)], [random(16, 3, 3, 8)])})
    assert "not winograd: fewer than 16 channels" in choices(mod)["few_group"]


def test_the_limit_stays_with_the_module() -> None:
    n, h, w = dims("n h w")
    case = Case(_conv((1, 1, 1, 1)), [tensor(n, h, w, 16)], [random(16, 3, 3, 16)])
    mod = scheduled({"none": case}, winograd=0)
    assert winograd_limit(mod) == 0
    assert "not winograd: not allowed" in choices(mod)["none_group"]


def test_other_tiles_are_refused() -> None:
    with pytest.raises(
        BuildError, match="winograd is 3, expected 4, 2 for tiles of so many outputs"
    ):
        with_winograd_limit(scheduled({}), 3)
