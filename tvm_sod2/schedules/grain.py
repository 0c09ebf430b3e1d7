"""Loops whose iterations are tasks for several threads, and how much work is worth a fork.

    attr "sod2.fork" = work
    for task in T.parallel(tasks): ...

Whether the threads are woken is decided at run time from `work`, see passes/fork.py. A task must
not depend on another.

What each thread has to do once, whatever its part of the tasks, stands before a loop over the part:

    attr "sod2.fork" = work
    for begin in T.parallel(tasks):            # is run once by each thread
        prepare()
        for task in T.serial(begin, end_of_part(begin)): ...
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx import ForKind

FORK = "sod2.fork"

MOVED = 16
"""What an element that is read and written counts, beside its arithmetic.

A copy of 128 KB takes 5 to 8 us. To read what another core has written takes several times as long,
so the threads that wrote an operand had better read it.
"""

READ = 3
"""What a multiplication counts whose factor is read for it alone, as in a matrix times a vector: 32
of these take a nanosecond at best, from the second-level cache.
"""

PART = "tirx.tvm_thread_invariant"  # to TVM's passes an identity that they cannot see through

GRAIN = 2**19
"""Work below which a kernel stays on one thread, in vector instructions times lanes.

A fused multiply-add counts as one for each of its lanes. Measured on one AVX-512 core: 65 of these
take a nanosecond, so this is 8 us; a fork takes 3.3 us where both cores are free, and milliseconds
where something else runs on them.
"""


def tasks(var: Any, extent: Any, work: Any, body: Any) -> Any:
    """`body` for each value of `var` in [0, extent), on several threads if `work` is worth it."""
    loop = tirx.For(var, tirx.IntImm("int64", 0), extent, ForKind.PARALLEL, body)
    return tirx.AttrStmt(tirx.IntImm("int32", 0), FORK, work, loop)


def end_of_part(begin: Any) -> Any:
    """The end of the part of the tasks that begins with `begin`: one task until passes/fork.py."""
    return tirx.call_intrin("int64", PART, begin + tirx.IntImm("int64", 1))
