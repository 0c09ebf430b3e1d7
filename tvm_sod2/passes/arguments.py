"""What a caller gives for each input is checked in words of the model, before TVM looks at it.

    def main(x: R.Tensor(("n", 3))):       ->      def main(x: R.Tensor(("n", 3))):
        ...                                            _ = R.ExternFunc("main_arguments")(x)
                                                       ...

    input 'x' is given None; expected x: float32 [n, 3]
    input 'x' has dtype float64, expected float32

TVM's own checks name the parameter too, but know nothing of sequences and of order in memory, and
the one of dtypes ends the process where NumPy's complex numbers come in. Ours need no Python.
"""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.tirx import Stmt

from tvm_sod2.metadata import describe_function
from tvm_sod2.passes.argument_checks import HANDLE, argument_checks
from tvm_sod2.signature import TENSOR

_SYMBOL_PREFIX = "__tvm_ffi_"  # what TVM puts before the names of packed functions in a library
_C_PACKED = 1  # tvm::CallingConv::kCPackedFunc


@tvm.transform.module_pass(opt_level=0, name="CheckArguments")
def check_arguments(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Call the checks first in every public function. Runs behind VMShapeLower, whose come next."""
    if mod.get_attr("system_lib_prefix") is not None:  # TVM compiles such kernels, and names them
        return mod
    mod = mod.clone()
    for gvar, func in mod.functions_items():
        if not isinstance(func, relax.Function) or "global_symbol" not in (func.attrs or {}):
            continue
        arguments = tirx.Var("arguments", HANDLE)
        body = _checks(func, arguments)
        if body:
            name = f"{gvar.name_hint}_arguments"
            mod[gvar] = _calling(name, func)
            mod[_SYMBOL_PREFIX + name] = _packed(_SYMBOL_PREFIX + name, arguments, body)
    return mod


def _checks(func: relax.Function, arguments: tirx.Var) -> list[Stmt]:
    return [
        check
        for position, (value, param) in enumerate(
            zip(describe_function(func).inputs, func.params, strict=False)
        )
        if isinstance(param.ty, relax.TensorType) or value.kind != TENSOR
        for check in argument_checks(arguments, position, value)
    ]


def _calling(name: str, func: relax.Function) -> relax.Function:
    void = relax.TupleType([])
    call = relax.Call(relax.ExternFunc(name), list(func.params), ty_args=[void])
    relax.expr._update_type(call, void)
    first = relax.BindingBlock([relax.VarBinding(relax.Var("_", void), call)])
    body = relax.SeqExpr([first, *func.body.blocks], func.body.body)
    relax.expr._update_type(body, func.body.ty)
    return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span)


def _packed(symbol: str, arguments: tirx.Var, checks: list[Stmt]) -> tirx.PrimFunc:
    """The function as TVM calls it; MakePackedAPI would check what is to be checked here."""
    before, after = (
        tirx.Var("self", HANDLE),
        [tirx.Var("count", "int32"), tirx.Var("result", HANDLE)],
    )
    body = tirx.SeqStmt([*checks, tirx.Return(tirx.const(0, "int32"))])
    func = tirx.PrimFunc([before, arguments, *after], body, tvm.ir.PrimType("int32"))
    return func.with_attrs(
        {"global_symbol": symbol, "calling_conv": _C_PACKED, "tirx.is_host_func": True}
    )
