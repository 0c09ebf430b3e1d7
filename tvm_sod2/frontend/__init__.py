"""Importers: a model file becomes a Relax module; nothing is guessed, nothing is lost."""

from __future__ import annotations

from tvm_sod2.frontend.importer import from_onnx

__all__ = ["from_onnx"]
