"""Write RDP's facts into the IR: shape arithmetic and the symbols it bound disappear.

    t: Tensor((2,)) = shape_to_tensor(shape_of(x))         (dead, removed)
    s: Shape([a, b]) = match_cast(tensor_to_shape(t), ...) (dead, removed)
    y: Tensor((a, b)) = reshape(z, s)                  ->  y: Tensor((n, m)) = reshape(z, (n, m))

A symbol that stays fresh afterwards is execution-determined. What the model needs of its input dims
is kept as the function attribute "sod2.constraints", for the check at entry.
"""

from __future__ import annotations

import numpy as np
import tvm
import tvm_ffi
from tvm import relax

from tvm_sod2.op_classes import Agreement, Fact
from tvm_sod2.op_classes.shapes import tensor_type
from tvm_sod2.op_classes.symbolic import as_expr
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.rdp import FunctionFacts, propagate

CONSTRAINTS = "sod2.constraints"
"""Function attribute: list of [condition over input dims, message]."""


@tvm.transform.module_pass(opt_level=0, name="FoldShapes")
def fold_shapes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Run RDP on every Relax function and rewrite the function with what it found."""
    mod = map_functions(mod, _fold)
    clean = [
        relax.transform.CanonicalizeBindings(),
        relax.transform.DeadCodeElimination(),
    ]
    return tvm.transform.Sequential(clean)(mod)


def _fold(func: relax.Function) -> relax.Function:
    found = propagate(func)
    folded = _Folder(found).visit_expr(func)
    if found.symbols:
        # Symbols that shape expressions still name outside of the types that inference redoes.
        folded = tvm_ffi.structural_map(folded, (tvm.ir.Var, lambda v: found.symbols.get(v, v)))
    if found.constraints:
        noted = [[c.condition, tvm.ir.StringImm(c.message)] for c in found.constraints]
        folded = folded.with_attr(CONSTRAINTS, noted)
    return folded


@relax.expr_functor.mutator
class _Folder(relax.PyExprMutator):
    def __init__(self, found: FunctionFacts) -> None:
        super().__init__()
        self.found = found

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        fact = self.found.facts.get(binding.var)
        value = binding.value
        if fact is not None and fact.known and isinstance(value, relax.Call):
            value = self._materialised(fact, value)
        agreements = self.found.agreements.get(binding.var)
        if agreements:
            value = self._refined(value, agreements)
        super().visit_var_binding_(relax.VarBinding(binding.var, value))

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        """A match_cast that states what inference finds by itself is a plain binding."""
        wanted = self.found.substitute(binding.ty)
        value = self.visit_expr(binding.value)
        if isinstance(wanted, relax.ShapeType) and not self._binds(binding):
            shape = relax.ShapeExpr(list(wanted.values))
            super().visit_var_binding_(relax.VarBinding(binding.var, shape))
        elif tvm_ffi.structural_equal(self._type_of(value), wanted):
            self._alias(binding.var, value)
        else:
            super().visit_match_cast_(relax.MatchCast(binding.var, value, wanted))

    def _binds(self, binding: relax.MatchCast) -> bool:
        """Whether the match_cast is what gives a symbol its value at run time."""
        symbols = relax.analysis.definable_tir_vars_in_type(binding.ty)
        return any(symbol in self.found.origins for symbol in symbols)

    def _alias(self, var: tvm.ir.Var, value: tvm.ir.Expr) -> None:
        if isinstance(var, relax.DataflowVar) and isinstance(value, tvm.ir.Var):
            self.set_var_remap(var, value)
        else:
            super().visit_var_binding_(relax.VarBinding(var, value))

    def visit_shape_expr_(self, op: relax.ShapeExpr) -> tvm.ir.Expr:
        return relax.ShapeExpr([self.found.substitute(value) for value in op.values])

    def _type_of(self, value: tvm.ir.Expr) -> tvm.ir.Type:
        return self.found.substitute(self.builder_.normalize(value).ty)

    def _materialised(self, fact: Fact, call: relax.Call) -> tvm.ir.Expr:
        """A value whose every entry is known needs no operator: a constant, or R.shape."""
        assert fact.value is not None
        known = list(fact.value.flat)
        if isinstance(fact.ty, relax.ShapeType):
            return relax.ShapeExpr([as_expr(entry) for entry in known])
        dtype = str(fact.ty.dtype)
        if all(isinstance(entry, int) for entry in known):
            data = np.array(known, dtype=dtype).reshape(fact.value.shape)
            return relax.const(data, dtype)
        if dtype != "int64" or fact.value.ndim != 1:
            return call  # Dead where it served a shape; real data otherwise.
        return relax.op.shape_to_tensor(relax.ShapeExpr([as_expr(entry) for entry in known]))

    def _refined(self, call: relax.Call, agreements: list[Agreement]) -> relax.Call:
        """The call with its arguments' dims stated to be what the operator needs them to be."""
        in_tuple = len(call.args) == 1 and isinstance(call.args[0], relax.Tuple)
        arguments = list(call.args[0].fields if in_tuple else call.args)
        for index in {agreement.argument for agreement in agreements}:
            argument = self.visit_expr(arguments[index])
            dims = Fact(argument.ty).dims
            if dims is None:
                continue
            for agreement in agreements:
                if agreement.argument == index:
                    dims[agreement.axis] = as_expr(agreement.expected)
            wanted = tensor_type(dims, argument.ty)
            arguments[index] = self.builder_.match_cast(argument, wanted)
        new_args = [relax.Tuple(arguments)] if in_tuple else arguments
        return relax.Call(call.op, new_args, call.attrs, call.ty_args)
