"""Threads are woken only for kernels with enough work, decided from the dims at every call.

    attr "sod2.fork" = n * 64                  def k_tasks(x, begin, count):
    for t in T.parallel(n):                        for t in range(begin, begin + count):
        x[t] = f(t)                                    x[t] = f(t)

                                      ->       if n * 64 >= GRAIN:
                                                   for c in T.parallel(ceildiv(n, size)):
                                                       k_tasks(x, c * size, min(size, n - c * size))
                                               else:
                                                   k_tasks(x, 0, n)

The tasks become a function of their own, since machine code for them is wanted only once.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import ForKind
from tvm_ffi import structural_map

from tvm_sod2.schedules.grain import FORK, GRAIN

CHUNKS = 64
"""Calls that the tasks of a fork are dealt out in: fine enough for many threads, few enough to cost
nothing."""


_CPU = 1  # DLPack's number


@tvm.transform.module_pass(opt_level=0, name="ForkAboveGrain")
class ForkAboveGrain:
    """Replace what schedules/grain.py marks; runs in the place of TVM's SplitHostDevice."""

    def __init__(self, target: tvm.target.Target) -> None:
        self.target = target

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        outliner = _Outliner(self.target)
        # The split refuses a variable that two lets bind, as they do where inlining copied one.
        mod = tirx.transform.ConvertSSA()(mod)
        for gvar, func in mod.functions.items():
            mod[gvar] = structural_map(func, [(tirx.AttrStmt, outliner.mark)], order="post")
        mod = tirx.transform.SplitHostDevice()(mod)
        for gvar, func in mod.functions.items():
            mod[gvar] = structural_map(func, [(tirx.AttrStmt, outliner.choose)], order="post")
        return mod


class _Outliner:
    """Marks regions for SplitHostDevice to outline, then writes the choice between the calls."""

    def __init__(self, target: tvm.target.Target) -> None:
        self.target = target
        # The two variables of each region, by the first of them, and the number of tasks.
        self.regions: dict[tirx.Var, tuple[tirx.Var, Any]] = {}

    def mark(self, node: tirx.AttrStmt) -> Any:
        """The loop over tasks as a loop over chunks of them."""
        if node.attr_key != FORK:
            return node
        loop, one = node.body, _i64(1)
        begin, count = tirx.Var("begin", "int64"), tirx.Var("count", "int64")
        self.regions[begin] = count, loop.extent
        tasks = tirx.For(loop.loop_var, begin, count, ForKind.SERIAL, loop.body)
        # Where a task's larger buffers come from, as MakePackedAPI says it of whole kernels.
        for key, value in (("device_id", 0), ("device_type", _CPU)):
            tasks = tirx.AttrStmt(tvm.ir.StringImm("default"), key, _i32(value), tasks)
        region = tirx.AttrStmt(self.target, "target", _i32(0), tasks)
        size = tirx.max(tirx.floordiv(loop.extent + _i64(CHUNKS - 1), _i64(CHUNKS)), one)
        chunk = tirx.Var("chunk", "int64")
        body = [
            tirx.Bind(begin, chunk * size),
            tirx.Bind(count, tirx.min(size, loop.extent - begin)),
            region,
        ]
        chunks = tirx.floordiv(loop.extent + size - one, size)
        forked = tirx.For(chunk, _i64(0), chunks, ForKind.PARALLEL, tirx.SeqStmt(body))
        return tirx.AttrStmt(node.node, FORK, node.value, forked)

    def choose(self, node: tirx.AttrStmt) -> Any:
        """The forked loop where there is work for it, else one call for all tasks."""
        if node.attr_key != FORK:
            return node
        forked = node.body
        first, _, *call = forked.body.seq
        begin = first.var
        count, extent = self.regions[begin]
        whole = {begin: _i64(0), count: extent}
        error = call[0].var
        whole[error] = tirx.Var(error.name, "int32")
        alone = structural_map(
            tirx.SeqStmt(call), [(tirx.Var, lambda var: whole.get(var, var))], order="post"
        )
        if isinstance(node.value, tirx.IntImm):
            return forked if node.value.value >= GRAIN else alone
        return tirx.IfThenElse(node.value >= _i64(GRAIN), forked, alone)


def _i32(value: int) -> tirx.IntImm:
    return tirx.IntImm("int32", value)


def _i64(value: int) -> tirx.IntImm:
    return tirx.IntImm("int64", value)
