"""A memory plan as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm_sod2.memory.lifetimes import ENTRY
from tvm_sod2.memory.text import to_python

if TYPE_CHECKING:
    from tvm_sod2.memory.plan import Plan, Segment

_WIDEST_SIZE = 48


def table(plan: Plan) -> str:
    """What is where in the arena, what is outside and why, and the bytes at the sample dims."""
    lines = [f"memory plan of {plan.name}: arena = {plan.arena_text} bytes"]
    for segment in plan.segments:
        lines += _segment_lines(plan, segment)
    if plan.kept:
        lines.append("  allocated on their own:")
    for allocation, size in plan.kept:
        text = "?" if size is None else _size_text(plan, size)
        lines.append(
            f"    {allocation.var.name:24} {text:{_WIDEST_SIZE}} {allocation.kept_because}"
        )
    for dims in plan.samples:
        count = plan.at(dims)
        where = ", ".join(f"{name}={value}" for name, value in dims.items()) or "any input"
        lines.append(
            f"  at {where}: {count.before:,} bytes without sharing, {count.after:,} in the arena, "
            f"{count.lower_bound:,} at least"
        )
    return "\n".join(lines)


def _segment_lines(plan: Plan, segment: Segment) -> list[str]:
    lines = []
    if segment.point != ENTRY and segment.after is not None:
        lines.append(f"  allocated when the dims of {segment.after.name} are known:")
    lines.append(f"    {'tensor':24} {'bytes':{_WIDEST_SIZE}} {'alive':>11}  offset")
    for tensor, size, offset in zip(segment.tensors, segment.sizes, segment.offsets, strict=True):
        alive = f"{tensor.span.start}..{tensor.span.end}"
        place = _clip(plan.heights.text(offset), 72)
        lines.append(
            f"    {tensor.var.name:24} {_size_text(plan, size):{_WIDEST_SIZE}} {alive:>11}  {place}"
        )
    return lines


def _size_text(plan: Plan, size: tuple) -> str:
    sizes = plan.heights.sizes
    return _clip(to_python(sizes.expr(size), sizes.names), _WIDEST_SIZE)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
