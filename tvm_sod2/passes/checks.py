"""What the inputs' dims must satisfy, checked once per call before anything is allocated.

The constraints come from the function attribute ``sod2.constraints``, a list of (condition over
symbolic dims, message), and from the bounds in TVM's ``tir_var_lower_bound`` and
``tir_var_upper_bound``. They become one compiled function of asserts:

    def main(x: R.Tensor(("n", "m"))):            def main(x: R.Tensor(("n", "m"))):
        R.func_attr({"sod2.constraints":     ->       cls.main_checks(n, m)
            [[n == m, "..."]]})                       ...
        ...

A failed one is an error of kind "InputError" with its message.
"""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import relax, tirx
from tvm_ffi import structural_map

from tvm_sod2.errors import BuildError
from tvm_sod2.memory.symbols import input_symbols

CONSTRAINTS = "sod2.constraints"


@tvm.transform.module_pass(opt_level=0, name="CheckInputs")
class CheckInputs:
    """Call the checks first in every function that has any. Runs where purity no longer matters."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        builder = relax.BlockBuilder(mod)
        for gvar, func in mod.functions.items():
            if not isinstance(func, relax.Function):
                continue
            checks = _checks(func, gvar.name_hint)
            if checks:
                builder.update_func(gvar, _with_checks(func, gvar.name_hint, checks, builder))
        return builder.get()


Check = tuple[tvm.ir.Expr, str]


def _checks(func: relax.Function, name: str) -> list[Check]:
    """Every condition of `func` that is not true whatever the dims, over its own symbols."""
    attrs = func.attrs or {}
    symbols = {symbol.name: symbol for symbol in input_symbols(func)}
    checks = [
        (_over(symbols, condition, text, name), text)
        for condition, message in attrs.get(CONSTRAINTS, [])
        for text in [getattr(message, "value", message)]
    ]
    for attr, compare, word in (
        ("tir_var_lower_bound", tirx.expr.GE, "least"),
        ("tir_var_upper_bound", tirx.expr.LE, "most"),
    ):
        for symbol, bound in dict(attrs.get(attr, {})).items():
            if str(symbol) in symbols:
                condition = compare(symbols[str(symbol)], tirx.IntImm("int64", int(bound)))
                text = f"dim {symbol} must be at {word} {int(bound)}, as {name} was built for"
                checks.append((condition, text))
    analyzer = tvm.sym.Analyzer()
    for symbol in symbols.values():
        zero, huge = tirx.IntImm("int64", 0), tirx.IntImm("int64", 1 << 40)
        analyzer.bind(symbol, tvm.ir.Range.from_min_extent(zero, huge))
    return [(condition, text) for condition, text in checks if not analyzer.can_prove(condition)]


def _over(
    symbols: Mapping[str, tirx.Var], condition: tvm.ir.Expr, message: str, name: str
) -> tvm.ir.Expr:
    """`condition` over `symbols`; a pass may have renewed them since, so names decide."""

    def renew(var: tirx.Var) -> tirx.Var:
        if var.name not in symbols:
            raise BuildError(
                f"{name}: the constraint {message!r} is about {var.name}, "
                f"which no input has as a dim; the inputs' dims are {sorted(symbols)}"
            )
        return symbols[var.name]

    return structural_map(condition, [(tirx.Var, renew)])


def _with_checks(
    func: relax.Function, name: str, checks: list[Check], builder: relax.BlockBuilder
) -> relax.Function:
    used: dict[tirx.Var, None] = {}
    for condition, _ in checks:
        used.update(dict.fromkeys(tirx.analysis.undefined_vars(condition)))
    kernel = builder.add_func(asserts(list(used), checks, "InputError"), f"{name}_checks")
    call = builder.normalize(relax.Call(kernel, list(used)))
    opening = relax.BindingBlock([relax.VarBinding(relax.Var("_", call.ty), call)])
    body = builder.normalize(relax.SeqExpr([opening, *func.body.blocks], func.body.body))
    return relax.Function(
        func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span
    ).without_attr(CONSTRAINTS)


def asserts(symbols: list[tirx.Var], checks: list[Check], kind: str) -> tirx.PrimFunc:
    """A function of the symbols that raises an error of this kind at the first that is false."""
    params = {symbol: tirx.Var(symbol.name, "int64") for symbol in symbols}
    body: list[tirx.Stmt] = []
    for condition, text in checks:
        condition = structural_map(condition, [(tirx.Var, lambda var: params.get(var, var))])
        # TVM 0.27's Python names the first two the other way round than its C++ takes them.
        parts = [tvm.ir.StringImm(text)]
        body.append(tirx.AssertStmt(condition, tvm.ir.StringImm(kind), parts))
    body.append(tirx.Evaluate(tirx.IntImm("int32", 0)))
    func = tirx.PrimFunc(list(params.values()), tirx.SeqStmt(body))
    return func.with_attrs({"s_tir": True, "tirx.is_host_func": True})
