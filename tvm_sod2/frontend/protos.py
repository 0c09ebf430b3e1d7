"""ONNX's tensors and attributes as NumPy arrays and Python values."""

from __future__ import annotations

from collections.abc import Sequence as Several
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tvm_sod2.errors import ImportModelError
from tvm_sod2.frontend.context import node_label
from tvm_sod2.frontend.dtypes import relax_dtype


def initializers(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """The weights of a graph by name."""
    if graph.sparse_initializer:
        names = ", ".join(tensor.values.name for tensor in graph.sparse_initializer)
        raise ImportModelError(f"sparse initialisers cannot be imported; make them dense: {names}")
    return {
        tensor.name: array(tensor, f"initialiser {tensor.name!r}") for tensor in graph.initializer
    }


def array(tensor: onnx.TensorProto, where: str) -> np.ndarray:
    """The entries of a tensor; `where` names it in errors."""
    dtype_of(tensor.data_type, where)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ImportModelError(
            f"{where} lies in another file; give the path of the model, beside which that file is"
        )
    if any(dim < 0 for dim in tensor.dims):
        raise ImportModelError(f"{where} is damaged: its dims are {list(tensor.dims)}")
    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise ImportModelError(f"{where} is damaged: {error}") from None


def dtype_of(elem_type: int, where: str) -> str:
    """The Relax dtype of an ONNX element type."""
    try:
        return relax_dtype(elem_type)
    except ValueError as error:
        raise ImportModelError(f"{where} is a tensor of {error}") from None


def attribute(attr: onnx.AttributeProto, node: onnx.NodeProto) -> Any:
    """An attribute as Python values: str, int, float, lists, arrays or a GraphProto."""
    value = onnx.helper.get_attribute_value(attr)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, onnx.TensorProto):
        return array(value, f"node {node_label(node)}: attribute {attr.name!r}")
    if isinstance(value, Several) and value and isinstance(value[0], bytes):
        return [item.decode("utf-8", "replace") for item in value]
    return list(value) if isinstance(value, Several) and not isinstance(value, str) else value
