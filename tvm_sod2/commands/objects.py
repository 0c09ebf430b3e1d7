"""Arrays, lists of them and None, as the VM takes and gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvm_sod2.errors import Sod2Error
from tvm_sod2.signature import Given, Value


def given(value: Given) -> Any:
    """An input for the VM."""
    import tvm

    if value is None:
        return None
    if isinstance(value, list):
        return [tvm.runtime.tensor(array) for array in value]
    return tvm.runtime.tensor(value)


def taken(result: Any, outputs: Sequence[Value]) -> list[Given]:
    """What ``main`` returned, one entry for each output. Raises Sod2Error for other objects."""
    alone = result is None or hasattr(result, "numpy")
    alone |= len(outputs) == 1 and outputs[0].is_sequence
    fields = [result] if alone else list(result)
    return [_taken(value, field) for value, field in zip(outputs, fields, strict=True)]


def _taken(value: Value, field: Any) -> Given:
    if field is None and value.is_optional:
        return None
    if hasattr(field, "numpy"):
        return np.asarray(field.numpy())
    if value.is_sequence:
        return [tensor.numpy() for tensor in field]
    raise Sod2Error(f"output {value.name!r} is a {type(field).__name__}, not a tensor")


def unfolded(name: str, value: Given) -> dict[str, np.ndarray]:
    """The arrays in a value under names of their own: those of a sequence are numbered."""
    if value is None:
        return {}
    if isinstance(value, list):
        return {f"{name}[{i}]": array for i, array in enumerate(value)}
    return {name: value}


def describe_object(value: list[np.ndarray] | None) -> str:
    """``sequence of length 3``, or what an optional without content is called."""
    return "nothing" if value is None else f"sequence of length {len(value)}"
