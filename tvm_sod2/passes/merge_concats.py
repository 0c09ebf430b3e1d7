"""Concats and splits that move what another one moves anyway.

    concat(a, concat(b, c))                     ->  concat(a, b, c)
    p, q = split(x);  concat(p, q, y)           ->  concat(x, y)
    p, q = split(x), of which only q is used    ->  q = strided_slice(x)

One axis in each rule. The second and third are what a YOLO's C2f block is made of.
"""

from __future__ import annotations

from collections import defaultdict

import tvm
from tvm import relax, tirx

from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions


@tvm.transform.module_pass(opt_level=0, name="MergeConcats")
def merge_concats(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above; what becomes unused is removed."""
    mod = inline_leaves(map_functions(mod, lambda func: _Merger().visit_expr(func)))
    return inline_leaves(map_functions(mod, lambda func: _Slicer(func).visit_expr(func)))


@relax.expr_functor.mutator
class _Merger(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> tvm.ir.Expr:
        call = self.builder_.normalize(super().visit_call_(call))
        if not _is(call, "relax.concat") or not isinstance(call.args[0], relax.Tuple):
            return call
        axis = _axis(call, call.ty.ndim)
        parts = list(call.args[0].fields)
        merged = [operand for part in parts for operand in self._operands(part, axis)]
        merged = self._rejoined(merged, axis)
        if len(merged) == len(parts):
            return call
        return merged[0] if len(merged) == 1 else relax.op.concat(merged, axis)

    def _operands(self, part: tvm.ir.Expr, axis: int) -> list[tvm.ir.Expr]:
        """What `part` was put together from along the axis, or itself."""
        inner = self._defined(part, "relax.concat")
        if inner is None or not isinstance(inner.args[0], relax.Tuple):
            return [part]
        return list(inner.args[0].fields) if _axis(inner, part.ty.ndim) == axis else [part]

    def _rejoined(self, parts: list[tvm.ir.Expr], axis: int) -> list[tvm.ir.Expr]:
        """All pieces of a split, one after another, as the tensor that was split."""
        result: list[tvm.ir.Expr] = []
        while parts:
            source, _ = self._piece(parts[0]) or (None, 0)
            split = self._defined(source, "relax.split")
            count = 0 if source is None else len(source.ty.fields)
            row = [self._piece(part) for part in parts[:count]]
            along = split is not None and _axis(split, split.args[0].ty.ndim) == axis
            if split is not None and along and row == [(source, i) for i in range(count)]:
                result, parts = [*result, split.args[0]], parts[count:]
            else:
                result, parts = [*result, parts[0]], parts[1:]
        return result

    def _piece(self, part: tvm.ir.Expr) -> tuple[tvm.ir.Var, int] | None:
        """The variable of the split that `part` comes from, and its number."""
        value = self.lookup_binding(part) if isinstance(part, tvm.ir.Var) else None
        if not isinstance(value, relax.TupleGetItem):
            return None
        split = self._defined(value.tuple_value, "relax.split")
        return None if split is None else (value.tuple_value, int(value.index))

    def _defined(self, expr: tvm.ir.Expr | None, name: str) -> relax.Call | None:
        """The call of the operator `name` that `expr` is bound to."""
        value = self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else None
        return value if _is(value, name) else None


@relax.expr_functor.mutator
class _Slicer(relax.PyExprMutator):
    """Takes a slice where a function reads one piece of a split, with sizes known at build."""

    def __init__(self, func: relax.Function) -> None:
        super().__init__()
        self.read = _pieces_read(func)

    def visit_tuple_getitem_(self, item: relax.TupleGetItem) -> tvm.ir.Expr:
        read = self.read.get(item.tuple_value)
        item = super().visit_tuple_getitem_(item)
        split = self.lookup_binding(item.tuple_value)
        if read != {int(item.index)} or not _is(split, "relax.split"):
            return item
        axis = _axis(split, split.args[0].ty.ndim)
        sizes = [piece.shape.values[axis] for piece in item.tuple_value.ty.fields]
        if not all(isinstance(size, tirx.IntImm) for size in sizes):
            return item
        begin = sum(int(size.value) for size in sizes[: item.index])
        end = begin + int(sizes[item.index].value)
        return relax.op.strided_slice(split.args[0], [axis], [begin], [end])


def _pieces_read(func: relax.Function) -> dict[tvm.ir.Var, set[int]]:
    """The numbers of the fields that are read of each tuple."""
    items: dict[tvm.ir.Var, set[int]] = defaultdict(set)

    def visit(expr: tvm.ir.Expr) -> None:
        if isinstance(expr, relax.TupleGetItem) and isinstance(expr.tuple_value, tvm.ir.Var):
            items[expr.tuple_value].add(int(expr.index))

    relax.analysis.post_order_visit(func, visit)
    return items


def _is(expr: tvm.ir.Expr | None, name: str) -> bool:
    return isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == name


def _axis(call: relax.Call, rank: int) -> int:
    axis = 0 if call.attrs.axis is None else int(call.attrs.axis)
    return axis % rank if rank else 0
