"""Memory of a compiled function: lifetimes, one arena with offsets for every shape, a checker."""

from tvm_sod2.memory.plan import Bytes, Plan, plan
from tvm_sod2.memory.text import arena_bytes

__all__ = ["Bytes", "Plan", "arena_bytes", "plan"]
