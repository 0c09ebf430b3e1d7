"""Nodes whose inputs are all constants are constants; NumPy computes them at import.

Only the small operators that exporters wrap around constants are here. A value that depends on a
run-time shape is not folded: that is the work of RDP, which knows more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from tvm.relax import Expr

from tvm_sod2.frontend.constants import array_of
from tvm_sod2.frontend.dtypes import relax_dtype

Arrays = list[np.ndarray]
Folder = Callable[[Arrays, dict[str, Any], int], "np.ndarray | None"]

# A result larger than this and than its inputs stays a run-time value, not to bloat the executable.
_MAX_BYTES = 1 << 20


def fold(
    node: onnx.NodeProto, inputs: list[Expr | None], attrs: dict[str, Any], opset: int
) -> list[np.ndarray] | None:
    """Return the outputs of a node whose inputs are all constants, None if it has to run."""
    folder = _FOLDERS.get(node.op_type) if not node.domain else None
    if folder is None or not inputs or len(node.output) != 1:
        return None
    values = [array_of(value) for value in inputs]
    arrays = [value for value in values if value is not None]
    if len(arrays) != len(inputs):
        return None
    try:
        with np.errstate(all="ignore"):
            result = folder(arrays, attrs, opset)
    except (ValueError, IndexError, TypeError):
        return None  # The converter names what is wrong with the node.
    budget = max(_MAX_BYTES, sum(array.nbytes for array in arrays))
    if result is None or np.asarray(result).nbytes > budget:
        return None
    return [np.asarray(result)]


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    if a.dtype.kind == "f":
        return a / b
    if not b.all():
        return None
    quotient = np.abs(a) // np.abs(b)
    return (quotient * np.sign(a) * np.sign(b)).astype(a.dtype)


def _binary(function: Callable[..., Any]) -> Folder:
    def folder(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray | None:
        # Before opset 7, broadcasting was by attribute.
        return None if "broadcast" in attrs else function(*arrays)

    return folder


def _unary(function: Callable[..., Any]) -> Folder:
    return lambda arrays, attrs, opset: np.asarray(function(arrays[0])).astype(arrays[0].dtype)


def _cast(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray | None:
    if not isinstance(attrs["to"], int):
        return None  # Before opset 6, the name of a type.
    return arrays[0].astype(relax_dtype(attrs["to"]))


def _axes(arrays: Arrays, attrs: dict[str, Any]) -> tuple[int, ...] | None:
    axes = arrays[1].tolist() if len(arrays) > 1 else attrs.get("axes")
    return None if axes is None else tuple(axes)


def _unsqueeze(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray | None:
    axes = _axes(arrays, attrs)
    return None if axes is None else np.expand_dims(arrays[0], axes)


def _squeeze(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray:
    return np.squeeze(arrays[0], _axes(arrays, attrs))


def _reshape(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray:
    data = arrays[0]
    shape = arrays[1].tolist() if len(arrays) > 1 else attrs["shape"]
    if not attrs.get("allowzero"):
        shape = [data.shape[i] if dim == 0 else dim for i, dim in enumerate(shape)]
    return data.reshape(shape)


def _slice(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray:
    data = arrays[0]
    if len(arrays) > 1:
        starts, ends = arrays[1].tolist(), arrays[2].tolist()
        axes = arrays[3].tolist() if len(arrays) > 3 else range(len(starts))
        steps = arrays[4].tolist() if len(arrays) > 4 else [1] * len(starts)
    else:
        starts, ends = attrs["starts"], attrs["ends"]
        axes, steps = attrs.get("axes", range(len(starts))), [1] * len(starts)
    index = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # With a negative step an end below the first element means "through element 0".
        last = None if step < 0 and end < -data.shape[axis] else end
        index[axis] = slice(start, last, step)
    return data[tuple(index)]


def _constant_of_shape(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray | None:
    value = attrs.get("value", np.zeros(1, "float32"))
    shape = arrays[0].tolist()
    return np.full(shape, value.item(), value.dtype) if np.prod(shape) < _MAX_BYTES else None


def _transpose(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray:
    return arrays[0].transpose(attrs.get("perm"))


def _quantize(arrays: Arrays, attrs: dict[str, Any], opset: int) -> np.ndarray | None:
    """Weights that a quantiser left in floats: as bytes, their products run on integers."""
    x, scale, *zero = arrays
    if not zero or zero[0].dtype.kind not in "iu" or attrs.get("block_size"):
        return None
    axis = attrs.get("axis", 1) % max(x.ndim, 1)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)] if scale.size > 1 else []
    factor, point = (p.reshape(shape).astype(np.float32) for p in (scale, zero[0]))
    steps = np.rint(x.astype(np.float32) / factor) + point
    limits = np.iinfo(zero[0].dtype)
    return np.clip(steps, limits.min, limits.max).astype(zero[0].dtype)


_FOLDERS: dict[str, Folder] = {
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _cast,
    "Ceil": _unary(np.ceil),
    "Concat": lambda arrays, attrs, opset: np.concatenate(arrays, attrs.get("axis", 1)),
    "ConstantOfShape": _constant_of_shape,
    "Div": _binary(_divide),
    "Equal": _binary(np.equal),
    "Exp": _unary(np.exp),
    "Expand": lambda arrays, attrs, opset: np.broadcast_to(
        arrays[0], np.broadcast_shapes(arrays[0].shape, tuple(arrays[1].tolist()))
    ),
    "Floor": _unary(np.floor),
    "Gather": lambda arrays, attrs, opset: arrays[0].take(arrays[1], attrs.get("axis", 0)),
    "Greater": _binary(np.greater),
    "Identity": lambda arrays, attrs, opset: arrays[0],
    "Less": _binary(np.less),
    "Log": _unary(np.log),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pow": _binary(lambda a, b: np.power(a, b).astype(a.dtype) if a.dtype.kind == "f" else None),
    "QuantizeLinear": _quantize,
    "Range": lambda arrays, attrs, opset: np.arange(*(array.item() for array in arrays)).astype(
        arrays[0].dtype
    ),
    "Reciprocal": _unary(np.reciprocal),
    "Reshape": _reshape,
    "Shape": lambda arrays, attrs, opset: np.asarray(arrays[0].shape, "int64")[
        attrs.get("start", 0) : attrs.get("end")
    ],
    "Size": lambda arrays, attrs, opset: np.asarray(arrays[0].size, "int64"),
    "Slice": _slice,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _binary(np.where),
}
