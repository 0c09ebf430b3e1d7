"""Kernels for machines other than this one: they compile, with the vectors that machine has."""

import re

import pytest
import tvm
from kernel_cases import Case, dims, random, scheduled, tensor
from tvm import relax, tirx
from tvm.target import Target

from tvm_sod2.schedules.traits import Traits

op = relax.op

# Target, one of its fused multiply-add instructions on whole vectors, accumulators of a tile.
MACHINES = {
    "avx512": ({"mcpu": "skylake-avx512", "mtriple": "x86_64-linux-gnu"}, r"vfmadd\w+\s.*%zmm", 24),
    "avx2": ({"mcpu": "haswell", "mtriple": "x86_64-linux-gnu"}, r"vfmadd\w+\s.*%ymm", 12),
    "neon": ({"mcpu": "cortex-a76", "mtriple": "aarch64-linux-gnu"}, r"fmla\s+v\d+\.4s", 24),
}


@pytest.mark.parametrize("name", MACHINES)
def test_accumulators_stay_in_registers(name: str) -> None:
    """The full tile's inner loop is one multiply-add for each accumulator, and stores nothing."""
    options, instruction, accumulators = MACHINES[name]
    target = Target({"kind": "llvm", **options})
    (m,) = dims("m")
    case = Case(lambda x, w: op.matmul(x, w), [tensor(m, 200)], [random(200, 64)])
    mod = scheduled({"gemm": case}, Traits.from_target(target))
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    kernel = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    asm = tvm.compile(kernel, target).mod.inspect_source("asm")
    blocks = re.split(r"\n[.\w]+:|\n\s+(?:j\w+|b\.\w+|cbn?z|tbn?z|b)\s", asm)
    # Versions with fewer rows and the epilogue multiply and add as well, but never as often.
    loops = [b for b in blocks if len(re.findall(instruction, b)) >= accumulators]
    assert loops
    stores = r"mov[au]ps\s+%[xyz]mm\d+, .*\(%rsp\)|st[rpu]\s+q\d+"
    assert not any(re.search(stores, loop) for loop in loops)
