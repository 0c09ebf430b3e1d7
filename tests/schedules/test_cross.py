"""Kernels for machines other than this one: they compile, with the vectors that machine has."""

import re

import numpy as np
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


# The same for products of bytes: sums of four, or two halves of a sum, for each accumulator.
DOTS = {
    "vnni": ({"mcpu": "cascadelake", "mtriple": "x86_64-linux-gnu"}, r"vpdpbusd\s.*%zmm", 24),
    "avx_vnni": ({"mcpu": "alderlake", "mtriple": "x86_64-linux-gnu"}, r"vpdpbusd\s.*%ymm", 12),
    "avx512": ({"mcpu": "skylake-avx512", "mtriple": "x86_64-linux-gnu"}, r"vpmaddwd\s.*%zmm", 48),
    "avx2": ({"mcpu": "haswell", "mtriple": "x86_64-linux-gnu"}, r"vpmaddwd\s.*%ymm", 16),
    "sse": ({"mcpu": "nehalem", "mtriple": "x86_64-linux-gnu"}, r"pmaddwd\s.*%xmm", 16),
    "dotprod": ({"mcpu": "cortex-a76", "mtriple": "aarch64-linux-gnu"}, r"sdot\s+v\d+\.4s", 24),
    "neon": ({"mcpu": "cortex-a72", "mtriple": "aarch64-linux-gnu"}, r"mla\s+v\d+\.4s", 64),
}


def _assembly(case: Case, target: Target) -> str:
    mod = scheduled({"gemm": case}, Traits.from_target(target))
    (func,) = (f for f in mod.functions.values() if isinstance(f, tirx.PrimFunc))
    kernel = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    return tvm.compile(kernel, target).mod.inspect_source("asm")


def _check_inner_loop(asm: str, instruction: str, accumulators: int) -> None:
    """The full tile's inner loop has its multiply-adds, and stores nothing."""
    blocks = re.split(r"\n[.\w]+:|\n\s+(?:j\w+|b\.\w+|cbn?z|tbn?z|b)\s", asm)
    # Versions with fewer rows and the epilogue multiply and add as well, but never as often.
    loops = [b for b in blocks if len(re.findall(instruction, b)) >= accumulators]
    assert loops
    stores = r"mov[adu]\w*\s+%[xyz]mm\d+, .*\(%rsp\)|st[rpu]\s+q\d+"
    assert not any(re.search(stores, loop) for loop in loops)


@pytest.mark.parametrize("name", MACHINES)
def test_accumulators_stay_in_registers(name: str) -> None:
    options, instruction, accumulators = MACHINES[name]
    (m,) = dims("m")
    case = Case(lambda x, w: op.matmul(x, w), [tensor(m, 200)], [random(200, 64)])
    asm = _assembly(case, Target({"kind": "llvm", **options}))
    _check_inner_loop(asm, instruction, accumulators)


@pytest.mark.parametrize("name", DOTS)
def test_sums_of_bytes_stay_in_registers(name: str) -> None:
    options, instruction, accumulators = DOTS[name]
    (m,) = dims("m")
    case = Case(
        lambda x, w: op.matmul(op.astype(x, "int32"), op.astype(w, "int32")),
        [relax.TensorType((m, 200), "uint8")],
        [np.ones((200, 64), np.int8)],
    )
    asm = _assembly(case, Target({"kind": "llvm", **options}))
    # TVM's debug labels stand between instructions.
    _check_inner_loop(re.sub(r"\n\.Ltmp\d+:", "", asm), instruction, accumulators)
