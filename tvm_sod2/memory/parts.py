"""Concat and split without copies: where parts lie one after another, they are views of the whole.

    a = alloc([n, 16]);  k(x, a)             whole = alloc([n + m, 16])
    b = alloc([m, 16]);  l(y, b)             a = view(whole, [n, 16], 0);       k(x, a)
    whole = alloc([n + m, 16])        ->     b = view(whole, [m, 16], n * 64);  l(y, b)
    concat(a, b, whole)

    a = alloc([4, 16])
    b = alloc([n - 4, 16])            ->     a = view(x, [4, 16], 0)
    split(x, a, b)                           b = view(x, [n - 4, 16], 256)

So it is where every dim before the axis is 1, each part begins at a multiple of 64 bytes, which
kernels rely on, and only kernels touch the parts, none of which writes over what is there already.
What is concatenated must have been allocated for it: no input, no constant, nothing twice. A view
that would raise the peak of live bytes, since the whole lives as long as its parts, stays a copy.

Works on the explicit form of `CallTIRRewrite`, before the arena is planned.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax, tirx

from tvm_sod2.memory.lifetimes import find_lifetimes
from tvm_sod2.memory.offsets import peak_live
from tvm_sod2.memory.part_moves import Move, find_moves
from tvm_sod2.memory.samples import sample_dims
from tvm_sod2.memory.sizes import SizeAlgebra
from tvm_sod2.memory.symbols import extents


@tvm.transform.module_pass(opt_level=0, name="ViewParts")
class ViewParts:
    """Make views of the parts of concats and splits, in every Relax function."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        functions = dict(mod.functions_items())
        for gvar, func in mod.functions_items():
            if isinstance(func, relax.Function):
                functions[gvar] = _with_views(func, mod)
        return tvm.IRModule(functions, attrs=mod.attrs, global_infos=mod.global_infos)


def _with_views(func: relax.Function, mod: tvm.IRModule) -> relax.Function:
    algebra = SizeAlgebra(extents(func))
    chosen: list[Move] = []
    best, lowest = func, None
    for move in find_moves(func, mod, algebra):
        if lowest is None:
            lowest = _peaks(func, mod, algebra)
        rewritten = _Rewriter([*chosen, move]).function(func)
        peaks = _peaks(rewritten, mod, algebra)
        if all(after <= before for after, before in zip(peaks, lowest, strict=True)):
            chosen, best, lowest = [*chosen, move], rewritten, peaks
    return best


def _peaks(func: relax.Function, mod: tvm.IRModule, algebra: SizeAlgebra) -> list[int]:
    """Most live bytes at each of the sample dims, of all tensors whose dims are known."""
    known = [a for a in find_lifetimes(func, mod).allocations if a.point is not None]
    sizes = [algebra.bytes_of(a.shape, a.dtype) for a in known]
    spans = [a.span for a in known]
    samples = sample_dims(func, algebra)
    return [peak_live(spans, [algebra.evaluate(s, dims) for s in sizes]) for dims in samples]


class _Rewriter:
    """Rewrites one function along the moves chosen."""

    def __init__(self, moves: Sequence[Move]) -> None:
        self._builder = relax.BlockBuilder()
        self._calls = {move.call: move for move in moves}
        self._wholes = {part: move for move in moves if move.joins for part in move.parts}
        self._split = {part for move in moves if not move.joins for part in move.parts}
        self._early = {move.whole for move in moves if move.joins}
        self._bindings: dict[relax.Var, relax.Binding] = {}  # of what is allocated for a concat
        self._done: set[relax.Var] = set()

    def function(self, func: relax.Function) -> relax.Function:
        body = self._sequence(func.body)
        return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span)

    def _sequence(self, body: relax.SeqExpr) -> relax.SeqExpr:
        for block in body.blocks:
            self._bindings |= {b.var: b for b in block.bindings if b.var in self._early}
        blocks = [
            relax.BindingBlock([new for old in block.bindings for new in self._binding(old)])
            for block in body.blocks
        ]
        return self._builder.normalize(relax.SeqExpr(blocks, body.body))

    def _binding(self, binding: relax.Binding) -> list[relax.Binding]:
        var, value = binding.var, binding.value
        if isinstance(value, relax.If):
            arms = self._sequence(value.true_branch), self._sequence(value.false_branch)
            branch = self._builder.normalize(relax.If(value.cond, *arms, value.span))
            return [relax.VarBinding(var, branch)]
        if var in self._calls:
            move = self._calls[var]
            return [] if move.joins else [v for part in move.parts for v in _view(part, move)]
        if var in self._split:
            return []
        if var in self._wholes or var in self._early:
            return self._allocated(var)
        return [binding]

    def _allocated(self, var: relax.Var) -> list[relax.Binding]:
        """What stands for the allocation of `var`, after that of the whole it is part of."""
        if var in self._done:
            return []
        self._done.add(var)
        if var not in self._wholes:
            return [self._bindings[var]]
        move = self._wholes[var]
        return [*self._allocated(move.whole), *_view(var, move)]


def _view(part: relax.Var, move: Move) -> list[relax.Binding]:
    """The part as a view of the whole; kernels refuse a tensor that begins at an offset."""
    builder = relax.BlockBuilder()
    offset = move.offsets[move.parts.index(part)]
    shape = relax.ShapeExpr(part.ty.shape.values)
    dtype = str(part.ty.dtype)
    view = builder.normalize(relax.op.memory.view(move.whole, shape, dtype, offset))
    if isinstance(offset, tirx.IntImm) and offset.value == 0:
        return [relax.VarBinding(part, view)]
    raw = relax.Var(f"{part.name}_raw", view.ty)
    moved = builder.normalize(relax.op.memory.ensure_zero_offset(raw))
    return [relax.VarBinding(raw, view), relax.VarBinding(part, moved)]
