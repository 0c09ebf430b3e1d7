"""SequenceMap: a body applied to each tensor of a sequence, or to those of several side by side."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import replace
from itertools import repeat
from typing import Any

import onnx
from tvm.relax import Expr

from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.loop_function import symbols_in
from tvm_sod2.frontend.loops import Turn, loop
from tvm_sod2.frontend.sequence_lists import (
    grown,
    length,
    place,
    sequence_in,
    size_tensor,
    tensor_at,
    whole,
)
from tvm_sod2.frontend.sequences import Element, Sequence, declared, element_of

Attrs = dict[str, Any]
Inputs = list[Any]

_MOST_BODIES = 8
"""For a sequence of at most so many tensors the body is written out for each of them."""


def _map(c: Context, inputs: Inputs, attrs: Attrs) -> list[Sequence]:
    body = attrs["body"]
    if len(body.input) != len(inputs):
        raise c.error(f"its body takes {len(body.input)} inputs, where {len(inputs)} are given")
    names = [value.name for value in body.input]
    given = [v if isinstance(v, Expr) else sequence_in(c, v) for v in inputs]
    given[0] = sequence_in(c, inputs[0])
    if all(v.items is not None for v in given if isinstance(v, Sequence)):
        columns: list[Any] = [v.items if isinstance(v, Sequence) else repeat(v) for v in given]
        if len(columns[0]) <= _MOST_BODIES:
            return _written_out(c, body, names, columns)
    return _at_run_time(c, body, names, given)


def _written_out(
    c: Context, body: onnx.GraphProto, names: list[str], columns: list[Any]
) -> list[Sequence]:
    """columns: for each input, the values that the body gets one after the other."""
    rows = list(zip(*columns, strict=False))
    if len(rows) < len(columns[0]):
        raise c.error(f"a sequence has {len(rows)} tensors, where the first has {len(columns[0])}")
    results = [c.import_arm(body, dict(zip(names, row, strict=True))) for row in rows]
    return [
        Sequence.of([row[i] for row in results], _element(c, value).dtype)
        for i, value in enumerate(body.output)
    ]


def _at_run_time(
    c: Context, body: onnx.GraphProto, names: list[str], given: list[Any]
) -> list[Sequence]:
    given = [
        _ranked(c, v.held_by(whole(c, v)), value) if isinstance(v, Sequence) else v
        for v, value in zip(given, body.input, strict=True)
    ]
    count = length(c, given[0])
    made: list[Element] = []

    def run(number: Expr, state: Several[Expr]) -> Turn:
        values = []
        for i, v in enumerate(given):
            if not isinstance(v, Sequence):
                values.append(v)
                continue
            message = f"its input {i} has fewer tensors than the first"
            at = place(c, number, count if i == 0 else length(c, v), message)
            symbol = c.symbols_of(at, 1)[0]
            values.append(tensor_at(c, v.whole, symbol, v.element))
        results = c.import_arm(body, dict(zip(names, values, strict=True)))
        made[:] = map(element_of, results)
        return Turn(None, [grown(c, *pair) for pair in zip(state, results, strict=True)], [])

    nothing = [whole(c, Sequence.of([], _element(c, value).dtype)) for value in body.output]
    state, _ = loop(c, run, size_tensor(c, count), None, nothing, count)
    known = symbols_in(list(c.visible.values()))
    return [
        Sequence(element.within(known), None, values)
        for element, values in zip(made, state, strict=True)
    ]


def _ranked(c: Context, sequence: Sequence, value: onnx.ValueInfoProto) -> Sequence:
    """The sequence with the rank that the body declares or needs, where nothing else tells it."""
    if sequence.element.dims is not None:
        return sequence
    element, rank = _element(c, value), c.module.ranks.get(value.name)
    if element.dims is None and rank is not None:
        element = replace(element, dims=(None,) * rank)
    return replace(sequence, element=element)


def _element(c: Context, value: onnx.ValueInfoProto) -> Element:
    try:
        kind = declared(value.type)
    except ValueError as error:
        raise c.error(f"{value.name!r} of its body is {error}") from None
    if not isinstance(kind, Element):
        raise c.error(f"{value.name!r} of its body is no tensor")
    return kind


CONVERTERS: dict[str, Converter] = {"SequenceMap": _map}
