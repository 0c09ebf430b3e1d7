"""The parameters of an attention kernel, put together from the operands of the operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tvm
from tvm import relax, tirx
from tvm.relax import Expr

from tvm_sod2.passes.operand_views import Place
from tvm_sod2.schedules.attention_spec import Axis, View
from tvm_sod2.schedules.kernel import i64


class Operands:
    """Buffers with symbols of their own, for kernels to be equal where their operands are.

    `logical` are the dims that loops run over; a dim of a parameter that is provably the same gets
    the same symbol.
    """

    def __init__(self, logical: Sequence[Any]) -> None:
        self.arguments: list[Expr] = []
        self.params: list[Any] = []
        self.analyzer = tvm.sym.Analyzer()
        self.known: list[tuple[Any, Any]] = []
        self.bound: list[Any] = []
        for number, dim in enumerate(logical):
            if not isinstance(dim, tirx.IntImm) and self._known(dim) is None:
                self.known.append((dim, tirx.Var(f"n{number}", "int64")))

    def dim(self, expr: Any) -> Any:
        """The kernel's name of a dim."""
        if isinstance(expr, tirx.IntImm):
            return expr
        known = self._known(expr)
        if known is None:
            known = tirx.Var(f"m{len(self.known)}", "int64")
            self.known.append((expr, known))
        return known

    def named(self, expr: Any) -> Any:
        """An expression over dims in the kernel's names: what lies between two of them, or None."""
        known = [(i64(0), i64(0)), *self.known]
        for dim, name in known:
            for less, name_less in known:
                rest = self.analyzer.simplify(expr - (dim - less))
                if isinstance(rest, tirx.IntImm):
                    return self.analyzer.simplify(name - name_less + rest)
        return None

    def _known(self, expr: Any) -> Any:
        same = (name for dim, name in self.known if self.analyzer.can_prove_equal(dim, expr))
        return next(same, None)

    def parameter(self, value: Expr) -> Any:
        """The buffer of an argument, one for each tensor."""
        for argument, param in zip(self.arguments, self.params, strict=True):
            if argument.same_as(value):
                return param
        self.arguments.append(value)
        return self._buffer(value.ty, f"x{len(self.params)}")

    def result(self, ty: relax.TensorType) -> Any:
        """The last parameter."""
        return self._buffer(ty, "y")

    def _buffer(self, ty: relax.TensorType, name: str) -> Any:
        dims = [self.dim(dim) for dim in ty.shape.values]
        self.bound += [dim for dim in dims if isinstance(dim, tirx.Var)]
        self.params.append(tirx.decl_buffer(dims, str(ty.dtype), name, layout=None))
        return self.params[-1]

    def view(self, place: Place, operand: relax.TensorType, rank: int) -> View:
        """A view of an operand that broadcasts: its axes are the last ones of `rank`."""
        extents = list(operand.shape.values)
        missing = rank - len(extents)
        axes = []
        for axis in place.axes:
            if axis.of is None or _is_one(extents[axis.of]):
                axes.append(Axis(None, axis.offset))
            else:
                axes.append(replace(axis, of=axis.of + missing))
        return View(self.parameter(place.source), tuple(axes))

    def complete(self) -> bool:
        """Whether every symbol is a parameter's dim, so that a call gives it a value."""
        return all(any(name.same_as(dim) for dim in self.bound) for _, name in self.known)


def broadcasts(ty: Any, dims: Sequence[Any]) -> bool:
    """Whether a tensor provably takes the shape `dims` where it is broadcast to them."""
    if not isinstance(ty, relax.TensorType) or ty.shape is None or ty.ndim > len(dims):
        return False
    tail = list(dims)[len(dims) - ty.ndim :]
    return all(
        _is_one(own) or tvm.sym.Analyzer().can_prove_equal(own, dim)
        for own, dim in zip(ty.shape.values, tail, strict=True)
    )


def _is_one(dim: Any) -> bool:
    return isinstance(dim, tirx.IntImm) and dim.value == 1
