"""What a rewrite has to know of a function to tell what is checked at its entry."""

from __future__ import annotations

from tvm import relax
from tvm.relax import Expr

from tvm_sod2.op_classes import Arithmetic
from tvm_sod2.passes.bounds import input_symbols
from tvm_sod2.passes.names import Names


class EntryMutator(relax.PyExprMutator):
    """`entry`: the symbols that the function's inputs bind. `arms`: how deep in arms of Ifs it is,
    whose dims bind nobody outside."""

    def __init__(self, func: relax.Function) -> None:
        super().__init__()
        self.arithmetic = Arithmetic()
        self.entry = set(input_symbols(func))
        self.names = Names(func)
        self.arms = 0

    def visit_if_(self, branch: relax.If) -> Expr:
        self.arms += 1
        branch = super().visit_if_(branch)
        self.arms -= 1
        return branch
