"""Traits come from the target alone, so that cross builds get the other machine's."""

import pytest
from tvm.target import Target

from tvm_sod2.schedules.traits import Traits, host_target

MACHINES = {
    "znver4": ("x86_64-linux-gnu", "znver4", 64, 32, True),
    "skylake-avx512": ("x86_64-linux-gnu", "skylake-avx512", 64, 32, True),
    "haswell": ("x86_64-linux-gnu", "haswell", 32, 16, True),
    "nehalem": ("x86_64-linux-gnu", "nehalem", 16, 16, False),
    "cortex-a76": ("aarch64-linux-gnu", "cortex-a76", 16, 32, True),
}


@pytest.mark.parametrize("name", MACHINES)
def test_known_machines(name: str) -> None:
    triple, cpu, vector_bytes, registers, fma = MACHINES[name]
    traits = Traits.from_target(Target({"kind": "llvm", "mtriple": triple, "mcpu": cpu}))
    found = (traits.vector_bytes, traits.vector_registers, traits.fma)
    assert found == (vector_bytes, registers, fma)


def test_anything_else_gets_short_vectors() -> None:
    traits = Traits.from_target(Target("c"))
    assert (traits.vector_bytes, traits.vector_registers) == (16, 16)


def test_lanes() -> None:
    traits = Traits(32, 16, True, 1, 1, 1)
    lanes = [traits.lanes(t) for t in ("float32", "float64", "float16", "int8")]
    assert lanes == [8, 4, 16, 32]


def test_number_of_cores_may_be_given() -> None:
    assert Traits.from_target(Target({"kind": "llvm", "num-cores": 3})).cores == 3


def test_host_target_names_its_cpu() -> None:
    assert host_target().attrs["mcpu"] not in ("native", "generic", "")
