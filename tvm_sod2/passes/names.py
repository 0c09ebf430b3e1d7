"""ONNX's names for Relax variables, for messages and reports."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

VALUES = "sod2.onnx_values"
"""Function attribute: Relax variable name -> ONNX value name."""
NODES = "sod2.onnx_nodes"
"""Function attribute: Relax variable name -> "node name (OpType)"."""
SAME = "sod2.onnx_same"
"""Function attribute: ONNX value that has no Relax variable of its own -> the one it equals."""
CONSTANTS = "sod2.onnx_constants"
"""Function attribute: constant ONNX value -> dtype, dims and, of small ones, value."""


class Names:
    """Looks names up in a function's attributes; falls back on Relax's own names."""

    def __init__(self, func: relax.Function) -> None:
        attrs = func.attrs or {}
        self._values = dict(attrs[VALUES]) if VALUES in attrs else {}
        self._nodes = dict(attrs[NODES]) if NODES in attrs else {}
        self.same: dict[str, str] = dict(attrs[SAME]) if SAME in attrs else {}
        self.constants: dict[str, Any] = dict(attrs[CONSTANTS]) if CONSTANTS in attrs else {}

    def value(self, var: tvm.ir.Var) -> str:
        """The ONNX value that a variable holds."""
        return str(self._values.get(var.name, var.name))

    @property
    def from_onnx(self) -> bool:
        """Whether the function has ONNX names at all."""
        return bool(self._values)

    def is_value(self, var: tvm.ir.Var) -> bool:
        """Whether a variable holds a value of the ONNX graph, not a step on the way to one."""
        return var.name in self._values

    def node(self, var: tvm.ir.Var) -> str:
        """The ONNX node that defines a variable."""
        return str(self._nodes.get(var.name, var.name))

    def argument(self, call: relax.Call, index: int) -> str:
        """What the index-th argument of a call is called; a tuple's fields count as arguments."""
        arguments = list(call.args)
        if len(arguments) == 1 and isinstance(arguments[0], relax.Tuple):
            arguments = list(arguments[0].fields)
        argument = arguments[index]
        return self.value(argument) if isinstance(argument, tvm.ir.Var) else f"input {index}"
