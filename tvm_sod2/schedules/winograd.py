"""3x3 convolution of stride 1 by Winograd's minimal filtering, channels last, constant weights.

F(4x4, 3x3) takes 36 multiplications for each pair of channels and 4x4 outputs, F(2x2, 3x3) 16 for
2x2, a direct convolution 144 and 36. See winograd_steps.py for the loops. Where weights are
transformed by the kernel, it has several versions, and the dims choose the one that costs least:
see winograd_weights.py and winograd_choice.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.conv2d import convolve
from tvm_sod2.schedules.convolution import Convolution, read_convolution
from tvm_sod2.schedules.epilogue import Group
from tvm_sod2.schedules.kernel import Code, Kernel, Refusal, lowered
from tvm_sod2.schedules.panels import Panels, Shape
from tvm_sod2.schedules.rules import SCRATCH
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.winograd_choice import Cost, winograd_limit
from tvm_sod2.schedules.winograd_division import Division
from tvm_sod2.schedules.winograd_matrices import FORMS, TAPS, Form
from tvm_sod2.schedules.winograd_steps import convolve_tiles, tiles
from tvm_sod2.schedules.winograd_weights import Weights, pack_weights, transformed_at_build

# Below this many channels on either side the transforms cost more than they save.
FEWEST_CHANNELS = 16

# Rows of a tile where a kernel has other versions, to keep its code short.
NARROW = 6


@dataclass(frozen=True)
class _Version:
    """One way to convolve, what it costs by the dims, and its name."""

    name: str
    cost: Cost
    count: Any
    write: Callable[[], None]


def emit_winograd(group: Group, traits: Traits) -> Kernel | Refusal:
    """Ungrouped, undilated 3x3 convolution of stride 1 with enough channels."""
    conv = read_convolution(group)
    if isinstance(conv, Refusal):
        return conv
    if conv.groups != 1:
        return Refusal("grouped")
    if any((w.size, w.stride, w.dilation) != (TAPS, 1, 1) for w in conv.windows):
        return Refusal("not 3x3 with stride 1")
    depth, channels = conv.sizes["I"], conv.sizes["O"]
    if min(depth, channels) < FEWEST_CHANNELS:
        return Refusal(f"fewer than {FEWEST_CHANNELS} channels")
    panels = Panels(channels, Shape.for_columns(channels, traits))
    forms = [form for form in FORMS if form.out <= winograd_limit(group.func)]
    if not forms:
        return Refusal("not allowed")
    stored = next((form for form in forms if transformed_at_build(form, panels, depth)), None)
    code = Code()
    sizes = panels.packed_shape(depth)
    division = _division(conv, panels, forms[0], forms[0] is stored, traits)
    name = conv.weights.name
    weights = Weights.declare(code, name, sizes, stored, forms[0], division.places)
    versions = _versions(code, group, conv, panels, weights, forms, division, traits)
    _write(code, versions)
    params = list(group.func.params)
    params[group.position(conv.weights)] = weights.packed
    pack = partial(pack_weights, conv.layout, stored, panels.shape.columns)
    return Kernel(
        lowered(group.func, params, code.body()).with_attr(SCRATCH, True),
        _name(versions),
        {group.position(conv.weights): pack},
    )


def _versions(
    code: Code,
    group: Group,
    conv: Convolution,
    panels: Panels,
    weights: Weights,
    forms: list[Form],
    division: Division,
    traits: Traits,
) -> list[_Version]:
    """The forms down to the one whose weights are stored, without one a direct convolution, too."""
    depth, shape = conv.sizes["I"], panels.shape
    narrow = replace(panels, shape=replace(shape, rows=min(shape.rows, NARROW)))
    stored = weights.stored
    used = forms if stored is None else forms[: forms.index(stored) + 1]
    versions = []
    for form in used:
        tiled = panels if form is used[0] else narrow

        def winograd(form: Form = form, tiled: Panels = tiled) -> None:
            convolve_tiles(code, group, form, tiled, weights, depth, division)

        cost = Cost.winograd(form, depth, panels.n, form is stored, traits)
        count = _tiles(conv, form)
        size = f"{tiled.shape.rows}x{tiled.shape.columns}"
        versions.append(_Version(f"winograd {form.out}x{form.out} {size}", cost, count, winograd))
    if stored is None:
        direct = partial(convolve, code, group, conv, narrow, weights.packed)
        name = f"conv 3x3 {narrow.shape.rows}x{narrow.shape.columns}"
        versions.append(_Version(name, Cost.direct(), conv.pixels, direct))
    return versions


def _division(
    conv: Convolution, panels: Panels, form: Form, constant: bool, traits: Traits
) -> Division:
    """One for all versions, by the tiles of the largest form."""
    least = Cost.winograd(form, conv.sizes["I"], panels.n, constant, traits).least_stripe(
        form, panels.n
    )
    least = max(least, panels.shape.rows)
    return Division.of(panels.count, traits.cores, _tiles(conv, form), least)


def _tiles(conv: Convolution, form: Form) -> Any:
    return conv.batch * tiles(form, conv.vertical.out) * tiles(form, conv.horizontal.out)


def _write(code: Code, versions: list[_Version]) -> None:
    """All versions, of which the cheapest runs."""
    if len(versions) == 1:
        versions[0].write()
        return
    costs = [code.slot(v.cost.of(v.count), "cost") for v in versions]
    least = [tirx.all(*(cost <= other for other in costs if other is not cost)) for cost in costs]
    cases = [(here, v.write) for here, v in zip(least, versions, strict=True)]
    code.branch([*cases[:-1], (None, versions[-1].write)])


def _name(versions: list[_Version]) -> str:
    if len(versions) == 1:
        return versions[0].name
    return "least of " + ", ".join(f"{v.name} at {v.cost}" for v in versions)
