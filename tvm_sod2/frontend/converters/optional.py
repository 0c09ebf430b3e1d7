"""Operators on optionals; see `frontend.sequences` for how they stand in Relax."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.sequence_lists import held, is_present, size_tensor
from tvm_sod2.frontend.sequences import Optional, Sequence, declared, element_of

Attrs = dict[str, Any]
Inputs = list[Any]


def _optional(c: Context, inputs: Inputs, attrs: Attrs) -> Optional:
    if inputs and inputs[0] is not None:
        value = inputs[0]
        if isinstance(value, Sequence):
            return Optional(Sequence(value.element), True, None, value)
        return Optional(element_of(value), True, None, value)
    if "type" not in attrs:
        raise c.error("it has neither an input nor the attribute 'type'")
    try:
        kind = declared(attrs["type"])
    except ValueError as error:
        raise c.error(f"it is made for {error}") from None
    if isinstance(kind, Optional):
        raise c.error("it is made for an optional; a tensor or a sequence is expected")
    return Optional(kind, False)


def _get(c: Context, inputs: Inputs, attrs: Attrs) -> Expr | Sequence:
    value: Expr | Sequence | Optional = inputs[0]
    return held(c, value) if isinstance(value, Optional) else value


def _has(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    if not inputs or inputs[0] is None:
        return const(np.asarray(False))
    if not isinstance(inputs[0], Optional):
        return const(np.asarray(True))
    present = is_present(c, inputs[0])
    if isinstance(present, int):
        return const(np.asarray(bool(present)))
    return c.emit(R.equal(size_tensor(c, present), c.ints(1)))


CONVERTERS: dict[str, Converter] = {
    "Optional": _optional,
    "OptionalGetElement": _get,
    "OptionalHasElement": _has,
}
