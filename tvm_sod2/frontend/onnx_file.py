"""Reading an ONNX model from a path, bytes or a ModelProto, with errors that say what was found."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import load_external_data_for_model
from onnx.inliner import inline_local_functions

from tvm_sod2.errors import ModelFileError

# Field 1 (ir_version) as a varint: how the serialised ModelProto of every known writer begins.
_MODEL_START = b"\x08"
_FIRST_BYTES = 16


def load_model(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with its external weights loaded and its local functions inlined.

    Raises
    ------
    ModelFileError
        The file is missing, unreadable, truncated, empty or not an ONNX model.
    """
    if isinstance(model, onnx.ModelProto):
        proto, where = model, "the given ModelProto"
    elif isinstance(model, bytes):
        where = "the given bytes"
        proto = _parse(model, where)
    else:
        path = Path(os.fspath(model))
        where = str(path)
        proto = _parse(_read(path), where)
        _load_external(proto, path)
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise ModelFileError(f"{where}: not an ONNX model: it holds no graph")
    if not proto.opset_import:
        raise ModelFileError(f"{where}: the model declares no operator set (opset_import is empty)")
    if proto.functions:
        try:
            proto = inline_local_functions(proto)
        except (RuntimeError, onnx.checker.ValidationError) as error:
            reason = str(error).strip().splitlines()[-1].rpartition("failed: ")[2]
            raise ModelFileError(f"{where}: its functions cannot be inlined: {reason}") from None
    return proto


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ModelFileError(f"{path}: a folder, where an ONNX file is expected")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"{path}: no such file (working folder: {Path.cwd()})") from None
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from None


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise ModelFileError(f"{where}: not an ONNX model: 0 bytes")
    found = f"{len(data)} bytes, beginning with {data[:_FIRST_BYTES]!r}"
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        if data.startswith(_MODEL_START):
            raise ModelFileError(
                f"{where}: a truncated or damaged ONNX model ({found}); fetch the file again"
            ) from None
        raise ModelFileError(f"{where}: not an ONNX model ({found})") from None
    if not proto.ir_version or not proto.HasField("graph"):
        # A file cut exactly between two fields still parses.
        kind = "a truncated ONNX model" if data.startswith(_MODEL_START) else "not an ONNX model"
        raise ModelFileError(f"{where}: {kind} ({found})")
    return proto


def _load_external(proto: onnx.ModelProto, path: Path) -> None:
    try:
        load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"{path}: its external weights cannot be read: {error}") from None
