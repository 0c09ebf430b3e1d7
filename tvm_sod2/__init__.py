"""tvm_sod2: dynamic neural networks compiled ahead of time with Apache TVM.

Attributes load on first use, so that importing this package never imports TVM: TVM imports us
through the entry-point group ``tvm.backends`` while it is itself half imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm_sod2.frontend import from_onnx
    from tvm_sod2.pipeline import build
    from tvm_sod2.report import analyze

__version__ = "0.1.0"

_HOMES = {
    "from_onnx": "tvm_sod2.frontend",
    "build": "tvm_sod2.pipeline",
    "analyze": "tvm_sod2.report",
}

__all__ = ["analyze", "build", "from_onnx"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tvm_sod2' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
