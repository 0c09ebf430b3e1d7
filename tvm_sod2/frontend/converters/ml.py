"""Operators of ai.onnx.ml that work on numbers; those on strings are out of scope."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.kernels import emit_te

Attrs = dict[str, Any]
Inputs = list[Any]


def _array_feature_extractor(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """The columns of these numbers, of the last axis."""
    x, columns = inputs
    if c.rank(x) == 1:
        x = c.reshape(x, [1, *c.dims(x)])
    columns = c.reshape(columns, [c.dims(columns)[-1]])
    return R.take(x, columns, c.rank(x) - 1, mode="clip")


def _binarizer(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x = inputs[0]
    above = c.emit(R.greater(x, c.scalar(attrs.get("threshold", 0.0), x)))
    return c.astype(above, c.dtype(x))


def _scaler(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """(x - offset) * scale, one of each per column or for all."""
    x = c.astype(inputs[0], "float32")
    offset, scale = (
        const(np.asarray(attrs.get(key, [default]), "float32"))
        for key, default in (("offset", 0.0), ("scale", 1.0))
    )
    return c.broadcast(R.multiply, c.broadcast(R.subtract, x, offset), scale)


def _label_encoder(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """The value that belongs to each key; the default where there is none."""
    keys, values = _side(c, attrs, "keys"), _side(c, attrs, "values")
    x = c.astype(inputs[0], str(keys.dtype))

    def compute(data: te.Tensor, known: te.Tensor) -> te.Tensor:
        key = te.reduce_axis((0, known.shape[0]), name="key")
        number = tirx.Cast("int64", key)

        def element(*index: Any) -> Any:
            same = data(*index) == known(key)
            if c.is_float(x):
                both = tirx.all(tirx.isnan(data(*index)), tirx.isnan(known(key)))
                same = tirx.any(same, both)
            return te.max(tirx.if_then_else(same, number, tirx.const(-1, "int64")), axis=key)

        return te.compute(data.shape, element, name="label")

    place = emit_te(c, compute, x, const(keys))
    found = c.emit(R.take(const(values), place, 0, mode="clip"))
    return R.where(c.emit(R.less(place, c.ints(0))), const(_default(attrs, values)), found)


def _side(c: Context, attrs: Attrs, name: str) -> np.ndarray:
    for key, dtype in ((f"{name}_int64s", "int64"), (f"{name}_floats", "float32")):
        if attrs.get(key):
            return np.asarray(attrs[key], dtype)
    tensor = attrs.get(f"{name}_tensor")
    if tensor is None:
        raise c.error(f"{name} that are strings cannot be imported, only numbers")
    return np.asarray(tensor).reshape(-1)


def _default(attrs: Attrs, values: np.ndarray) -> np.ndarray:
    tensor = attrs.get("default_tensor")
    if tensor is not None:
        return np.asarray(tensor, values.dtype).reshape(())
    number = attrs.get("default_int64", -1)
    if values.dtype.kind == "f":
        number = attrs.get("default_float", -0.0)
    return np.asarray(number, values.dtype)


CONVERTERS: dict[str, Converter] = {
    "ai.onnx.ml.ArrayFeatureExtractor": _array_feature_extractor,
    "ai.onnx.ml.Binarizer": _binarizer,
    "ai.onnx.ml.LabelEncoder": _label_encoder,
    "ai.onnx.ml.Scaler": _scaler,
}
