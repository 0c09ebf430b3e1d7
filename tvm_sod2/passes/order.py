"""An execution order in which less is alive at once.

    a = f(x); b = g(x); c = h(a); d = h(b)      ->      a = f(x); c = h(a); b = g(x); d = h(b)

Each dataflow block is cut at the bindings that every other one comes before or after: what is
alive there is the same in any order, so the parts between them are ordered on their own, by an
exact search where it stays small and greedily where it does not. A part keeps its own order unless
another one has a lower peak at some sample dims and a higher one at none. SoD2 (ASPLOS 2024) cuts
where shapes become known; here a symbol is a dependency like any other, so `match_cast` needs no
special case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm import relax

from tvm_sod2.memory.dataflow import Dataflow, dataflow_of
from tvm_sod2.memory.samples import sample_dims
from tvm_sod2.memory.sequence import best_order
from tvm_sod2.memory.sizes import SizeAlgebra
from tvm_sod2.memory.symbols import extents


@tvm.transform.module_pass(opt_level=0, name="OrderForMemory")
class OrderForMemory:
    """Reorder the dataflow blocks of every Relax function but fused groups."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        updates = {}
        for gvar, func in mod.functions.items():
            if isinstance(func, relax.Function) and "Primitive" not in (func.attrs or {}):
                ordered = _order_function(func)
                if not ordered.same_as(func):
                    updates[gvar] = ordered
        mod = mod.clone()
        for gvar, func in updates.items():
            mod[gvar] = func
        return mod


def _order_function(func: relax.Function) -> relax.Function:
    sizes = SizeAlgebra(extents(func))
    samples = sample_dims(func, sizes)
    blocks, changed = [], False
    for number, block in enumerate(func.body.blocks):
        if isinstance(block, relax.DataflowBlock) and len(block.bindings) > 2:
            later = func.body.blocks[number + 1 :]
            flow = dataflow_of(block, later, func.body.body, sizes)
            order = best_order(flow, _sizes_at(flow, sizes, samples))
            if order != list(range(len(block.bindings))):
                block = relax.DataflowBlock([block.bindings[i] for i in order])
                changed = True
        blocks.append(block)
    if not changed:
        return func
    body = relax.BlockBuilder().normalize(relax.SeqExpr(blocks, func.body.body))
    return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span)


def _sizes_at(
    flow: Dataflow, sizes: SizeAlgebra, samples: Sequence[Mapping[str, int]]
) -> list[list[int]]:
    """Bytes of each tensor of `flow` at each sample."""
    return [[sizes.evaluate(size, dims) for size in flow.sizes] for dims in samples]
