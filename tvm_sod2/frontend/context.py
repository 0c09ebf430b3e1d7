"""What a converter sees of the module under construction: one node's view of the builder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.errors import ImportModelError
from tvm_sod2.frontend.constants import array_of, const, described, is_constant
from tvm_sod2.frontend.dims import broadcast_dims, fixed, is_same
from tvm_sod2.frontend.names import Symbols, identifier

Dim = Any  # int, tvm IntImm or a tirx expression
Converter = Callable[["Context", list[Any], dict[str, Any]], Any]


@dataclass
class Module:
    """State shared by all nodes of one import.

    ``arms`` names the arm to take of an ``If``, by its first output, whose other arm gives a rank
    that nothing behind it can take.

    ``crossing`` names the ONNX values that are used outside of the dataflow block that makes them;
    ``ranks`` holds the ranks that the model tells (`frontend.ranks`); ``overwritten`` counts the
    loops around that write over the tensors of their state.
    """

    bb: relax.BlockBuilder
    opset: int
    crossing: set[str] = field(default_factory=set)
    symbols: Symbols = field(default_factory=Symbols)
    ranks: dict[str, int] = field(default_factory=dict)
    arms: dict[str, int] = field(default_factory=dict)
    overwritten: int = 0
    onnx_values: dict[str, str] = field(default_factory=dict)
    onnx_nodes: dict[str, str] = field(default_factory=dict)
    onnx_same: dict[str, str] = field(default_factory=dict)
    onnx_constants: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, name: str, expr: Expr) -> None:
        """Keep track of an ONNX value that has no Relax variable of its own name, for reports."""
        if is_constant(expr):
            self.onnx_constants[name] = described(expr)
        elif isinstance(expr, relax.Var) and self.onnx_values.get(expr.name) != name:
            self.onnx_same[name] = expr.name


@dataclass
class Context:
    """One node being converted.

    ``import_arm`` imports a subgraph of the node into the block now open and returns its outputs;
    a second argument gives values to its inputs. ``visible`` holds the values that it may capture.
    """

    module: Module
    node: onnx.NodeProto
    import_arm: Callable[..., list[Expr]]
    visible: Mapping[str, Expr] = field(default_factory=dict)

    @property
    def bb(self) -> relax.BlockBuilder:
        return self.module.bb

    @property
    def opset(self) -> int:
        return self.module.opset

    @property
    def label(self) -> str:
        return node_label(self.node)

    @property
    def hint(self) -> str:
        """The node's first named output, which names everything made on the way to it."""
        return next((name for name in self.node.output if name), self.node.op_type)

    def error(self, message: str) -> ImportModelError:
        """Return the error to raise for this node."""
        return ImportModelError(f"node {self.label}: {message}")

    # Emitting

    def emit(self, expr: Expr, dims: Sequence[Dim] | None = None, name: str = "") -> Expr:
        """Bind ``expr`` and return its variable, whose dims are all known symbolically.

        Where Relax infers no shape, a ``match_cast`` follows: to ``dims`` where given, else to
        fresh symbols. ``name`` is the ONNX value's name for the result of the node.
        """
        if is_constant(expr):
            return expr
        expr = self.bb.normalize(expr)
        ty = expr.ty
        hint = identifier(name or f"{self.hint}_t")
        if not isinstance(ty, relax.TensorType) or ty.shape is not None:
            return expr if isinstance(expr, relax.Var) else self._bind(expr, hint, name)
        if ty.ndim < 0:
            raise self.error(f"the rank of its output {self.hint!r} cannot be known at import")
        raw = self._record(self.bb.emit(expr, hint + "_raw"), "")
        if dims is None:
            base = name or self.hint
            dims = [self.module.symbols.fresh(f"{base}_d{i}") for i in range(ty.ndim)]
        return self._record(self.bb.match_cast(raw, relax.TensorType(dims, ty.dtype), hint), name)

    def _leaves_block(self, name: str) -> bool:
        return name in self.module.crossing and bool(self.bb.current_block_is_dataflow())

    def _bind(self, expr: Expr, hint: str, name: str) -> relax.Var:
        bind = self.bb.emit_output if self._leaves_block(name) else self.bb.emit
        return self._record(bind(expr, hint), name)

    def _record(self, var: relax.Var, name: str) -> relax.Var:
        self.module.onnx_nodes[var.name] = self.label
        if name:
            self.module.onnx_values[var.name] = name
        return var

    def result(self, expr: Expr, name: str) -> Expr:
        """Bind ``expr`` as the ONNX value ``name``."""
        var = self.emit(expr, name=name)
        if is_constant(var):
            return var
        if self._leaves_block(name) and isinstance(var, relax.DataflowVar):
            # A converter bound it inside the block; an alias carries it out.
            return self._bind(var, identifier(name), name)
        self.module.onnx_values.setdefault(var.name, name)
        return var

    def broadcast(self, op: Callable[..., Expr], *operands: Expr, name: str = "") -> Expr:
        """Emit the elementwise ``op`` under NumPy's broadcasting rules."""
        return self.emit(op(*operands), self.broadcast_dims(*operands), name)

    def broadcast_dims(self, *operands: Expr) -> list[Dim]:
        """Return the dims of the broadcast operands; a truly ambiguous dim is a fresh symbol."""
        shapes = [self.dims(operand) for operand in operands]
        rank = max(len(shape) for shape in shapes)
        dims: list[Dim] = []
        for axis in range(-rank, 0):
            column = [shape[axis] for shape in shapes if len(shape) >= -axis]
            try:
                dim = broadcast_dims(column)
            except ValueError as error:
                raise self.error(f"cannot broadcast axis {axis + rank}: {error}") from None
            if dim is None:
                dim = self.module.symbols.fresh(f"{self.hint}_d{axis + rank}")
            dims.append(dim)
        return dims

    def equate(self, value: Expr, dims: Sequence[Dim]) -> Expr:
        """Return ``value`` with dims that ONNX demands but nothing proves: checked at run time."""
        mine = self.dims(value)
        if all(map(is_same, mine, dims)):
            return value
        known = [
            pair
            for pair in zip(mine, dims, strict=True)
            if all(isinstance(dim, int) for dim in pair)
        ]
        if any(a != b for a, b in known):
            raise self.error(f"an input has shape {mine}, where {list(dims)} is expected")
        ty = relax.TensorType(list(dims), value.ty.dtype)
        return self._record(self.bb.match_cast(value, ty, identifier(f"{self.hint}_t")), "")

    # Facts about values

    def dims(self, value: Expr) -> list[Dim]:
        """Return the dims of a tensor: ints where known, else expressions."""
        shape = value.ty.shape
        if isinstance(shape, relax.ShapeExpr):
            return [fixed(dim) for dim in shape.values]
        raise self.error(f"the shape of {value} is not known symbolically")

    def rank(self, value: Expr) -> int:
        return int(value.ty.ndim)

    def dtype(self, value: Expr) -> str:
        return str(value.ty.dtype)

    def is_float(self, value: Expr) -> bool:
        return "float" in self.dtype(value)

    def axis(self, axis: int, rank: int) -> int:
        """Return ``axis`` as 0 <= axis < rank."""
        if not -rank <= axis < max(rank, 1):
            raise self.error(f"axis {axis} is outside of a tensor of rank {rank}")
        return axis % max(rank, 1)

    def constant(self, value: Expr | None) -> np.ndarray | None:
        """Return the value of a constant, None for anything else."""
        return array_of(value)

    def require_constant(self, value: Expr, what: str) -> np.ndarray:
        """Return the value of an input that has to be constant."""
        array = self.constant(value)
        if array is None:
            raise self.error(
                f"its input {what!r} is computed at run time, which this operator does not admit "
                "here; make it a constant or initialiser of the model"
            )
        return array

    def vector_length(self, value: Expr, what: str) -> int:
        """Return the length of a 1-D tensor, which has to be known."""
        dims = self.dims(value)
        if len(dims) != 1 or not isinstance(dims[0], int):
            rank = self.result_rank()
            if len(dims) == 1 and rank is not None:
                return rank
            raise self.error(
                f"its input {what!r} has shape {dims}; a vector of known length is needed, as the "
                "rank of the result depends on it"
            )
        return dims[0]

    def result_rank(self) -> int | None:
        """Return the rank that the model tells of the node's first output, None if none."""
        return self.module.ranks.get(self.hint)

    # Little tensors that many converters need

    def scalar(self, number: float, like: Expr) -> Expr:
        """Return a 0-d constant with the dtype of ``like``."""
        return const(number, self.dtype(like))

    def ints(self, numbers: npt.ArrayLike) -> Expr:
        """Return an int64 constant."""
        return const(np.asarray(numbers, "int64"))

    def astype(self, value: Expr, dtype: str) -> Expr:
        """Return ``value`` converted, or itself where it has the dtype already."""
        if self.dtype(value) == dtype:
            return value
        array = self.constant(value)
        if array is not None:
            return const(array.astype(dtype))
        return self.emit(relax.op.astype(value, dtype))

    def shape_tensor(self, value: Expr) -> Expr:
        """Return the shape as an int64 vector: ONNX's ``Shape``."""
        dims = self.dims(value)
        if all(isinstance(dim, int) for dim in dims):
            return self.ints(dims)
        shape = self.emit(relax.op.shape_of(value))
        return self.emit(relax.op.shape_to_tensor(shape))

    def symbols_of(self, vector: Expr, length: int, name: str = "") -> list[Dim]:
        """Return the entries of an int64 vector as dims: ints of a constant, else new symbols."""
        array = self.constant(vector)
        if array is not None:
            return [int(number) for number in array.reshape(-1)]
        base = name or self.hint
        symbols = [self.module.symbols.fresh(f"{base}_s{i}") for i in range(length)]
        vector = self.equate(self.astype(vector, "int64"), [length])
        shape = self.emit(relax.op.tensor_to_shape(vector))
        hint = identifier(f"{base}_shape")
        self._record(self.bb.match_cast(shape, relax.ShapeType(symbols), hint), "")
        return list(symbols)

    def reshape(self, value: Expr, dims: Sequence[Dim]) -> Expr:
        """Emit a reshape; constants are reshaped at once."""
        array = self.constant(value)
        if array is not None and all(isinstance(dim, int) for dim in dims):
            return const(array.reshape([int(dim) for dim in dims]))
        mine = self.dims(value)
        if len(mine) == len(dims) and all(map(is_same, mine, dims)):
            return value
        if any(isinstance(dim, int) and dim == 0 for dim in dims):
            # Relax's reshape takes a 0 for "copy this dim"; there is no entry to move anyway.
            return self.emit(relax.op.zeros(relax.ShapeExpr(list(dims)), self.dtype(value)))
        return self.emit(relax.op.reshape(value, relax.ShapeExpr(list(dims))))

    def take(self, value: Expr, indices: Expr, axis: int = 0) -> Expr:
        """Emit a gather whose indices are inside by construction.

        Not in mode "fast", Relax's default: TVM prints a warning at each.
        """
        return self.emit(relax.op.take(value, indices, axis, mode="clip"))

    def iota(self, length: Dim, dtype: str = "int64") -> Expr:
        """Return 0, 1, ..., length - 1."""
        if isinstance(length, int):
            return const(np.arange(length).astype(dtype))
        numbers = self.emit(relax.op.arange(tirx.const(0, "int64"), length, 1, "int64"))
        return self.astype(numbers, dtype)


def node_label(node: onnx.NodeProto) -> str:
    """Return how messages name a node: its own name, or its first output's, and its operator."""
    name = node.name or next((out for out in node.output if out), "")
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"{name} ({domain}{node.op_type})"
