"""Element types: those of ONNX that kernels here compute with."""

from __future__ import annotations

from onnx import TensorProto

_DTYPES = {
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.BOOL: "bool",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.INT8: "int8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.UINT8: "uint8",
}


def relax_dtype(elem_type: int) -> str:
    """Return the Relax dtype of an ONNX element type.

    Raises ValueError, naming the type, for one that has no kernels here: strings, complex numbers,
    and numbers of 8 bits and below that are not integers of 8 bits.
    """
    dtype = _DTYPES.get(elem_type)
    if dtype is not None:
        return dtype
    known = elem_type in TensorProto.DataType.values()
    kind = TensorProto.DataType.Name(elem_type) if known else f"unknown type {elem_type}"
    raise ValueError(f"{kind}, an element type that has no kernels here")
