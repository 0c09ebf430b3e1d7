"""The dims of a fusion group: its own symbols for those of the function it is cut out of."""

from __future__ import annotations

import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.passes.fusion_plan import SameDims


class GroupDims:
    """The group's own dims for main's.

    abstract: every dim of an operand that is no int becomes one symbol, the same for equal dims.
    Otherwise only main's symbols are renamed and its expressions kept.
    """

    def __init__(self, abstract: bool, same: SameDims) -> None:
        self.abstract = abstract
        self._same = same
        self._analyzer = tvm.sym.Analyzer()
        self._known: dict[tvm_ffi.StructuralKey, tvm.ir.Expr] = {}
        self._outside: dict[tvm.ir.Var, tvm.ir.Expr] = {}

    def inside(self, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        """The group's expression for one of main's."""
        if not isinstance(expr, tvm.ir.Expr) or not isinstance(expr.ty, tvm.ir.PrimType):
            return expr
        symbols = relax.analysis.tir_vars_in_type(relax.ShapeType([expr])) if _integer(expr) else ()
        if not symbols:
            return expr
        if not self.abstract:
            for symbol in symbols:
                self._symbol(symbol, symbol.name)
            return tvm_ffi.structural_map(
                expr, (tvm.ir.Var, lambda v: self._known.get(self._key(v), v))
            )
        return self._symbol(expr, expr.name if isinstance(expr, tvm.ir.Var) else "d")

    def type_inside(self, ty: tvm.ir.Type) -> tvm.ir.Type:
        if isinstance(ty, relax.TensorType) and ty.shape is not None:
            return relax.TensorType([self.inside(d) for d in ty.shape.values], ty.dtype)
        if isinstance(ty, relax.TupleType):
            return relax.TupleType([self.type_inside(field) for field in ty.fields])
        return ty

    def learn(self, outer: tvm.ir.Type, inner: tvm.ir.Type) -> bool:
        """Take the dims that inference found inside as the names of main's.

        False where inference lost the shape or found two different names for one dim.
        """
        if isinstance(outer, relax.TupleType):
            return all(map(self.learn, outer.fields, inner.fields))
        if inner.shape is None:
            return False
        for dim, found in zip(outer.shape.values, inner.shape.values, strict=True):
            if isinstance(dim, tirx.IntImm):
                if not isinstance(found, tirx.IntImm):
                    return False
                continue
            known = self._known.setdefault(self._key(dim), found)
            if not self._analyzer.can_prove_equal(known, found) and self.abstract:
                return False
        return True

    def scalars(self, params: list[tvm.ir.Var]) -> dict[tvm.ir.Var, tvm.ir.Expr]:
        """Symbols that no parameter's shape binds, with their values in main."""
        bound = relax.analysis.definable_tir_vars_in_type(
            relax.TupleType([param.ty for param in params])
        )
        return {s: value for s, value in self._outside.items() if s not in set(bound)}

    def _symbol(self, expr: tvm.ir.Expr, name: str) -> tvm.ir.Expr:
        key = self._key(expr)
        if key not in self._known:
            symbol = tirx.Var(name, "int64")
            self._known[key] = symbol
            self._outside[symbol] = expr
        return self._known[key]

    def _key(self, expr: tvm.ir.Expr) -> tvm_ffi.StructuralKey:
        return self._same.find(self._analyzer.simplify(expr))


def _integer(expr: tvm.ir.Expr) -> bool:
    return str(expr.ty.dtype).startswith("int")
