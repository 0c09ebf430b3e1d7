"""Shapes that are wanted as tensors, written by compiled code.

    s = R.shape_of(x)                      s = R.shape_of(x)
    t = R.shape_to_tensor(s)         ->    t = R.call_tir(cls.write_shape, (n, m), ...)

`LegalizeOps` lowers `shape_to_tensor` to a function that exists in Python only: run this first. The
kernel takes plain symbols and computes compound dims itself: `FuseTIR` accepts no other scalars.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm_ffi import structural_map

from tvm_sod2.passes.mutate import rewrite_functions


@tvm.transform.module_pass(opt_level=0, name="LowerShapeToTensor")
class LowerShapeToTensor:
    """Replace every `R.shape_to_tensor`; where only the rank is known, the dims are matched."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        return rewrite_functions(mod, _Rewriter(mod))


@mutator
class _Rewriter(PyExprMutator):
    def visit_call_(self, call: relax.Call) -> relax.Expr:
        call = self.visit_expr_post_order(call)
        if not isinstance(call.op, tvm.ir.Op) or call.op.name != "relax.shape_to_tensor":
            return call
        shape = call.args[0]
        dims = shape.ty.values
        if dims is None:
            symbols = [tirx.Var(f"extent_{i}", "int64") for i in range(shape.ty.ndim)]
            self.builder_.match_cast(shape, relax.ShapeType(symbols))
            dims = symbols
        kernel, scalars = _write_shape(list(dims))
        gvar = self.builder_.add_func(kernel, "write_shape")
        return relax.call_tir(gvar, scalars, relax.TensorType([len(dims)], "int64"))


def _write_shape(dims: list[tvm.ir.Expr]) -> tuple[tirx.PrimFunc, list[tirx.Var]]:
    """A kernel that writes `dims` into an int64 vector, and the symbols it takes."""
    symbols: dict[tirx.Var, tirx.Var] = {}
    for dim in dims:
        for symbol in tirx.analysis.undefined_vars(dim):
            symbols.setdefault(symbol, tirx.Var(symbol.name, "int64"))
    out = tirx.decl_buffer((len(dims),), "int64", name="out", layout=None)

    def at(slot: int, dim: tvm.ir.Expr) -> tirx.Stmt:
        value = structural_map(dim, [(tirx.Var, lambda var: symbols.get(var, var))])
        return tirx.BufferStore(out, value, [tirx.IntImm("int64", slot)])

    stores = [at(slot, dim) for slot, dim in enumerate(dims)]
    stores = stores or [tirx.Evaluate(tirx.IntImm("int32", 0))]
    body = stores[0] if len(stores) == 1 else tirx.SeqStmt(stores)
    func = tirx.PrimFunc([*symbols.values(), out], body)
    attrs = {"tirx.noalias": True, "s_tir": True, "tirx.is_scheduled": True}
    return func.with_attrs(attrs), list(symbols)
