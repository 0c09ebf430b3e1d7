"""Threads are woken only for kernels with enough work, decided from the dims at every call.

    attr "sod2.fork" = n * 64                  def k_tasks(x, begin, count):
    for t in T.parallel(n):                        for t in range(begin, begin + count):
        x[t] = f(t)                                    x[t] = f(t)

                                      ->       if n * 64 >= GRAIN and n > 1:
                                                   on each thread:
                                                       k_tasks(x, begin, count)  # its part
                                               else:
                                                   k_tasks(x, 0, n)

The tasks become a function of their own, since machine code for them is wanted only once. A body
that asks for the end of its part (schedules/grain.py) is that function's body, without a loop.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx
from tvm.tirx import ForKind
from tvm_ffi import structural_map

from tvm_sod2.schedules.grain import FORK, GRAIN, PART

CHUNKS = 240
"""Equal parts in which the tasks of a fork are dealt out: few enough to go through in no time, and
as many for each thread where there are 2 to 6, 8, 10, 12, 15, 16, 20 or 24."""

_CPU = 1  # DLPack's number
_END_OF_PART = tvm.ir.Op.get(PART)


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
        """The loop over tasks as one over a part of them, run by each thread."""
        if node.attr_key != FORK:
            return node
        loop = node.body
        begin, count = tirx.Var("begin", "int64"), tirx.Var("count", "int64")
        self.regions[begin] = count, loop.extent
        part = _part(loop, begin, count)
        # Where a task's larger buffers come from, as MakePackedAPI says it of whole kernels.
        for key, value in (("device_id", 0), ("device_type", _CPU)):
            part = tirx.AttrStmt(tvm.ir.StringImm("default"), key, _i32(value), part)
        region = tirx.AttrStmt(self.target, "target", _i32(0), part)
        forked = _on_each_thread(begin, count, loop.extent, region)
        return tirx.AttrStmt(node.node, FORK, node.value, forked)

    def choose(self, node: tirx.AttrStmt) -> Any:
        """The forked loop where there is work for it, else one call for all tasks."""
        if node.attr_key != FORK:
            return node
        forked = node.body
        *_, first, _, guarded = forked.body.seq
        begin, call = first.var, guarded.then_case.seq
        count, extent = self.regions[begin]
        whole = {begin: _i64(0), count: extent}
        error = call[0].var
        whole[error] = tirx.Var(error.name, "int32")
        alone = structural_map(
            tirx.SeqStmt(call), [(tirx.Var, lambda var: whole.get(var, var))], order="post"
        )
        enough = [] if isinstance(node.value, tirx.IntImm) else [node.value >= _i64(GRAIN)]
        if not enough and node.value.value < GRAIN:
            return alone
        if not isinstance(extent, tirx.IntImm):
            enough.append(extent > _i64(1))
        return tirx.IfThenElse(tirx.all(*enough), forked, alone) if enough else forked


def _part(loop: tirx.For, begin: tirx.Var, count: tirx.Var) -> Any:
    """The tasks [begin, begin + count), or a body that goes through them itself."""
    found = False

    def end(call: tvm.ir.Call) -> Any:
        nonlocal found
        if not call.op.same_as(_END_OF_PART):
            return call
        found = True
        return begin + count

    body = structural_map(loop.body, [(tvm.ir.Call, end)], order="post")
    if found:
        return tirx.SeqStmt([tirx.Bind(loop.loop_var, begin), body])
    return tirx.For(loop.loop_var, begin, count, ForKind.SERIAL, loop.body)


def _on_each_thread(begin: tirx.Var, count: tirx.Var, tasks: Any, part: Any) -> Any:
    """`part` by every thread that has tasks: the chunks that TVM gives it of a parallel loop."""
    first, end = (tirx.decl_buffer([_i64(1)], "int64", name) for name in ("first", "end"))
    at, chunks, chunk = _i64(0), _i64(CHUNKS), tirx.Var("chunk", "int64")

    def before(chunk: Any) -> Any:
        """The tasks of the chunks before one."""
        return tirx.floordiv(chunk * tasks + chunks - _i64(1), chunks)

    bounds = [
        tirx.BufferStore(first, tirx.min(first[at], chunk), [at]),
        tirx.BufferStore(end, chunk + _i64(1), [at]),
    ]
    body = [
        tirx.AllocBuffer(first),
        tirx.BufferStore(first, chunks, [at]),
        tirx.AllocBuffer(end),
        tirx.BufferStore(end, at, [at]),
        tirx.For(chunk, at, chunks, ForKind.PARALLEL, tirx.SeqStmt(bounds)),
        tirx.Bind(begin, before(first[at])),
        tirx.Bind(count, before(end[at]) - begin),
        tirx.IfThenElse(count > at, part, None),
    ]
    return tirx.AttrStmt(_i32(0), "pragma_parallel_launch_point", _i32(1), tirx.SeqStmt(body))


def _i32(value: int) -> tirx.IntImm:
    return tirx.IntImm("int32", value)


def _i64(value: int) -> tirx.IntImm:
    return tirx.IntImm("int64", value)
