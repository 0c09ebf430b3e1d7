"""What a target's CPU offers to kernels: vector length, registers, caches."""

from __future__ import annotations

import os
from dataclasses import dataclass

import tvm
from tvm.target import Target, codegen


@dataclass(frozen=True)
class Traits:
    """Machine facts that kernels are shaped by.

    Attributes:
        vector_bytes: bytes of one vector register.
        vector_registers: number of architectural vector registers.
        fma: whether one instruction multiplies and adds.
        l1_bytes, l2_bytes: data caches of one core; typical for the family, not measured.
        cores: threads that a parallel loop may use.
        dot: how bytes are multiplied and summed: "vnni" (unsigned times signed, four at a time),
            "sdot" (signed, four at a time), "madd" (pairs of 16 bits) or "plain".
        rounds: whether one instruction rounds a vector to whole numbers.
    """

    vector_bytes: int
    vector_registers: int
    fma: bool
    l1_bytes: int
    l2_bytes: int
    cores: int
    dot: str = "plain"
    rounds: bool = False

    def lanes(self, dtype: str) -> int:
        """Elements of `dtype` in one vector register, at least one."""
        return max(1, self.vector_bytes * 8 // tvm.DataType(dtype).bits)

    @staticmethod
    def from_target(target: Target) -> Traits:
        """Derive the traits of an LLVM target; anything unknown gets 128-bit vectors."""
        cores = int(target.attrs.get("num-cores", 0)) or os.cpu_count() or 1
        kib = 1024
        if target.kind.name != "llvm":
            return Traits(16, 16, False, 32 * kib, 256 * kib, cores)

        def has(*features: str) -> bool:
            return all(codegen.llvm_cpu_has_features(f, target) for f in features)

        triple = str(target.attrs.get("mtriple", "")) or codegen.llvm_get_system_triple()
        if triple.startswith(("aarch64", "arm64")):
            dot = "sdot" if has("dotprod") else "plain"
            return Traits(16, 32, True, 64 * kib, 512 * kib, cores, dot, True)
        if triple.startswith("x86_64"):
            if has("avx512f", "avx512vl", "avx512bw"):
                dot = "vnni" if has("avx512vnni") else "madd"
                return Traits(64, 32, True, 32 * kib, 1024 * kib, cores, dot, True)
            if has("avx2", "fma"):
                dot = "vnni" if has("avxvnni") else "madd"
                return Traits(32, 16, True, 32 * kib, 256 * kib, cores, dot, True)
            return Traits(16, 16, False, 32 * kib, 256 * kib, cores, "madd", has("sse4.1"))
        return Traits(16, 16, False, 32 * kib, 256 * kib, cores)


def host_target() -> Target:
    """This machine's CPU with its own features.

    The name is asked of LLVM because TVM reads `mcpu: "native"` as generic code, on which a GEMM
    ran 8 times slower. On AMD's Zen 4 a gather takes longer than its loads one by one: a bilinear
    resize took 1.8 times as long with those that LLVM makes of scalar loops.
    """
    cpu = codegen.llvm_get_system_cpu()
    tuning = {"mattr": ["+prefer-no-gather"]} if cpu.startswith("znver") else {}
    return Target({"kind": "llvm", "mcpu": cpu, **tuning})
