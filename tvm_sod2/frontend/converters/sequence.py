"""Operators on sequences of tensors; see `frontend.sequences` for how they stand in Relax."""

from __future__ import annotations

from typing import Any

from tvm.relax import Expr

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.dtypes import relax_dtype
from tvm_sod2.frontend.sequence_lists import (
    appended,
    erased,
    grown,
    inserted,
    length,
    place,
    sequence_in,
    size_tensor,
    taken,
    whole,
)
from tvm_sod2.frontend.sequences import MOST_ITEMS, Sequence, element_of

Attrs = dict[str, Any]
Inputs = list[Any]


def _construct(c: Context, inputs: Inputs, attrs: Attrs) -> Sequence:
    dtypes = sorted({c.dtype(value) for value in inputs})
    if len(dtypes) > 1:
        raise c.error(f"its inputs are tensors of {' and '.join(dtypes)}; one dtype is expected")
    return Sequence.of(inputs)


def _empty(c: Context, inputs: Inputs, attrs: Attrs) -> Sequence:
    try:
        return Sequence.of([], relax_dtype(attrs.get("dtype", 1)))
    except ValueError as error:
        raise c.error(f"it is made for tensors of {error}") from None


def _length(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return size_tensor(c, length(c, sequence_in(c, inputs[0])))


def _known_place(c: Context, sequence: Sequence, position: Any, behind: int = 0) -> int | None:
    """A place known at import in a sequence known one by one, counted from the front."""
    constant = c.constant(position)
    if sequence.items is None or constant is None:
        return None
    index, count = int(constant.item()), len(sequence.items)
    if not -count <= index < count + behind:
        raise c.error(
            f"position {index} is outside of a sequence of {count} tensors; expected {-count} to "
            f"{count + behind - 1}"
        )
    return index % count if index < 0 else index


def _at(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    sequence = sequence_in(c, inputs[0])
    known = _known_place(c, sequence, inputs[1])
    if known is not None and sequence.items is not None:
        return sequence.items[known]
    return taken(c, sequence, inputs[1])


def _insert(c: Context, inputs: Inputs, attrs: Attrs) -> Sequence:
    sequence, tensor = sequence_in(c, inputs[0]), inputs[1]
    position = inputs[2] if len(inputs) > 2 else None
    if c.dtype(tensor) != sequence.element.dtype:
        raise c.error(
            f"a tensor of {c.dtype(tensor)} is put into a sequence of {sequence.element.dtype}"
        )
    items = sequence.items
    known = None if position is None else _known_place(c, sequence, position, 1)
    if items is not None and (position is None or known is not None) and len(items) < MOST_ITEMS:
        at = len(items) if known is None else known
        return Sequence.of([*items[:at], tensor, *items[at:]])
    element = sequence.element.join(element_of(tensor))
    values = whole(c, sequence)
    if position is None:
        return Sequence(element, None, (grown if sequence.grows else appended)(c, values, tensor))
    message = "its position is outside of the sequence; expected -n to n where n tensors are in"
    found = place(c, position, length(c, sequence), message, behind=True)
    at = c.symbols_of(found, 1, f"{c.hint}_at")[0]
    return Sequence(element, None, inserted(c, values, tensor, at))


def _erase(c: Context, inputs: Inputs, attrs: Attrs) -> Sequence:
    sequence = sequence_in(c, inputs[0])
    position = inputs[1] if len(inputs) > 1 and inputs[1] is not None else c.ints(-1)
    known = _known_place(c, sequence, position)
    if known is not None and sequence.items is not None:
        left = [*sequence.items[:known], *sequence.items[known + 1 :]]
        return Sequence.of(left, sequence.element.dtype)
    message = "its position is outside of the sequence; expected -n to n - 1 where n tensors are in"
    at = place(c, position, length(c, sequence), message)
    made = erased(c, whole(c, sequence), c.symbols_of(at, 1, f"{c.hint}_at")[0])
    return sequence.held_by(made)


CONVERTERS: dict[str, Converter] = {
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
}
