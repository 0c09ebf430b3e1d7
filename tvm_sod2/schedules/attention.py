"""Attention, softmax(q @ k^T + ...) @ v, as one kernel that never holds all scores.

Query rows go in blocks of up to two vectors, one row in each lane: the scores of a block lie
transposed, a line of lanes for each key, so that maxima and sums over keys need nothing across
lanes, and no key is packed, only the block's queries. Keys go in chunks that stay in the
first-level cache, with a running maximum and a running sum of each row; what a chunk adds to the
result comes on top of what was there, scaled to the new maximum. A few rows alone take narrow
vectors, and dot products along the keys where these are contiguous. Under a causal mask a block
does the keys up to the last one that any of its rows sees, and compares only behind those that all
see.

Source: T. Dao et al., FlashAttention (2022), for the running softmax.
"""

from __future__ import annotations

from tvm import tirx

from tvm_sod2.schedules.attention_block import Block
from tvm_sod2.schedules.attention_scratch import Scratch
from tvm_sod2.schedules.attention_spec import Attention
from tvm_sod2.schedules.kernel import Code, EvenBlocks, i64, unravel
from tvm_sod2.schedules.panels import product
from tvm_sod2.schedules.rules import SCRATCH
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.work import WORK, note


def attention_kernel(attention: Attention, traits: Traits) -> tirx.PrimFunc:
    """The kernel for a target's vectors, with scratch to be lifted into the arena."""
    code, layout = Code(), Scratch.of(attention, traits)
    lanes = layout.lanes
    most = i64(2 * lanes)
    tasks = product(attention.batch) * ((attention.rows + most - i64(1)) // most)
    workers = tirx.min(tasks, i64(4 * traits.cores))
    scratch = tirx.decl_buffer([workers * i64(layout.size)], "float32", "scratch")
    code.add(tirx.AllocBuffer(scratch))
    blocks = EvenBlocks(code, attention.rows, 2 * lanes)
    tasks, workers = code.slot(tasks, "tasks"), code.slot(workers, "workers")
    work = attention.multiplications()
    with code.tasks(workers, "worker", work) as worker:
        # Neighbouring blocks have the same keys and values: those stay in the caches.
        memory = code.slot(worker * i64(layout.size), "memory")
        begin = code.slot(worker * tasks // workers, "begin")
        end = code.slot((worker + i64(1)) * tasks // workers, "end")
        with code.loop(end - begin, "turn") as turn:
            task = code.slot(begin + turn, "task")
            first, rows = blocks.locate(task % blocks.count)
            batch = unravel(code, task // blocks.count, attention.batch)
            Block(code, attention, layout, scratch, memory, batch, first, rows).write()
    kind = "attention" if attention.causal is None else "causal attention"
    return tirx.PrimFunc([*attention.params], code.body()).with_attrs(
        {
            "tirx.noalias": True,
            "tirx.is_scheduled": True,
            "sod2.kernel": f"{kind} {layout.shape.rows}x{2 * lanes}",
            WORK: note("attention", work * i64(2), attention.params),
            SCRATCH: True,
        }
    )
