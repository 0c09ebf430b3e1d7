"""A memory plan as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tvm_sod2.memory.lifetimes import ENTRY, Allocation
from tvm_sod2.memory.text import to_python

if TYPE_CHECKING:
    from tvm_sod2.memory.plan import Plan, Segment

_WIDEST_SHAPE = 56


def table(plan: Plan, dims: Mapping[str, int] | None = None) -> str:
    """What lies where in the arena and what is outside and why, in numbers at `dims`.

    Default: the first dims that the plan was made at; the totals are shown at all of them.
    """
    at = dims or plan.samples[0]
    lines = [f"memory plan of {plan.name}, bytes of the arena: {plan.arena_text}"]
    if at:
        lines.append(f"at {_point(at)}:")
    for segment in plan.segments:
        lines += _segment_lines(plan, segment, at)
    if plan.kept:
        lines.append("  allocated on their own:")
    for allocation, size in plan.kept:
        known = "?" if size is None else f"{plan.heights.sizes.evaluate(size, at):,}"
        lines.append(f"{_named(plan, allocation)} {known:>15}  {allocation.kept_because}")
    for point in [at] if dims else plan.samples:
        count = plan.at(point)
        lines.append(
            f"  {_point(point)}: {count.before:,} bytes without sharing, "
            f"{count.after:,} in the arena, {count.lower_bound:,} at least"
        )
    return "\n".join(lines)


def _segment_lines(plan: Plan, segment: Segment, dims: Mapping[str, int]) -> list[str]:
    lines = []
    if segment.point != ENTRY and segment.after is not None:
        lines.append(f"  allocated when the dims of {segment.after.name} are known:")
    title = f"    {'tensor':20} {'shape':{_WIDEST_SHAPE}}"
    lines.append(f"{title} {'bytes':>15} {'offset':>15}  {'alive':>11}")
    for tensor, size, offset in zip(segment.tensors, segment.sizes, segment.offsets, strict=True):
        count = plan.heights.sizes.evaluate(size, dims)
        place = plan.heights.evaluate(offset, dims)
        alive = f"{tensor.span.start}..{tensor.span.end}"
        lines.append(f"{_named(plan, tensor)} {count:15,} {place:15,}  {alive:>11}")
    return lines


def _named(plan: Plan, tensor: Allocation) -> str:
    names = plan.heights.sizes.names
    extents = ", ".join(to_python(extent, names) for extent in tensor.shape)
    shape = f"{tensor.dtype}({extents})"
    if len(shape) > _WIDEST_SHAPE:
        shape = shape[: _WIDEST_SHAPE - 3] + "..."
    return f"    {tensor.name:20.20} {shape:{_WIDEST_SHAPE}}"


def _point(dims: Mapping[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in dims.items()) or "any input"
