"""A reshape that RDP could not have checked at entry is checked where it stands.

    y = reshape(x: (n, m), (k, 4))           _ = require(n * m - k * 4 == 0, "...")
                                         ->  y = reshape(x, (k, 4))

That is where the run decides a dim, and in arms of an If, which bind nobody else. A view of fewer
elements than its tensor has would pass unnoticed.
"""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import fact_of_type
from tvm_sod2.op_classes.expressions import as_expr, symbols_of
from tvm_sod2.op_classes.shapes.join import reshape_agreements
from tvm_sod2.passes.entry import EntryMutator
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.requirements import require


@tvm.transform.module_pass(opt_level=0, name="CheckReshapes")
def check_reshapes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Emit what a reshape needs of dims that the run decides; see `requirements`."""
    return map_functions(mod, lambda func: _Writer(func).visit_expr(func))


@relax.expr_functor.mutator
class _Writer(EntryMutator):
    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        call = binding.value
        if isinstance(call, relax.Call) and call.op == _RESHAPE:
            self._check(binding.var, call)
        super().visit_var_binding_(binding)

    def _check(self, var: tvm.ir.Var, call: relax.Call) -> None:
        facts = [fact_of_type(argument.ty) for argument in call.args]
        for agreement in reshape_agreements(call, facts, self.arithmetic):
            count, expected = as_expr(agreement.dim), as_expr(agreement.expected)
            if not self.arms and self.entry.issuperset(symbols_of(count) + symbols_of(expected)):
                continue
            zero = as_expr(self.arithmetic.subtract(count, expected))
            found = f"number of elements in the new shape is {to_python(count)}"
            where = f"{self.names.node(var)}: {found}, expected {to_python(expected)}"
            require(self.builder_, zero, where)


_RESHAPE = tvm.ir.Op.get("relax.reshape")
