"""A function in two versions: one under assumptions on its dims, one without, chosen at entry.

    def main(x: (n,), y: (m,)):                  def main(x: (n,), y: (m,)):
        return R.add(x, y)                  ->       if n == m: cls.main_equal(x, y)
                                                     else: cls.main_broadcast(x, y)

Both are private, with the function's attributes. The choice is one compiled comparison. What the
model needs of its dims in any case is checked before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.relax.utils import copy_with_new_vars

from tvm_sod2.passes.checks import CONSTRAINTS
from tvm_sod2.passes.constraints import Constraint

EQUAL, BROADCAST = "equal", "broadcast"
"""Suffixes of the two functions' names."""


def in_two_versions(
    builder: relax.BlockBuilder,
    name: str,
    equal: relax.Function,
    broadcast: relax.Function,
    assumptions: Sequence[Constraint],
) -> relax.Function:
    """Add both versions to the builder's module and return the function that chooses.

    assumptions: over symbols of `broadcast`'s parameters. Both have the same parameters.
    """
    checked = _constraints(broadcast)
    versions = (EQUAL, _without(equal, checked)), (BROADCAST, _without(broadcast, checked))
    condition = reduce(tirx.And, (assumed.condition for assumed in assumptions))
    arms = [
        _arm(builder, f"{name}_{suffix}", version, broadcast.params) for suffix, version in versions
    ]
    promised = arms[1].body.ty
    chosen = builder.normalize(relax.If(condition, *arms))
    merged = relax.Var("chosen", chosen.ty)
    bindings: list[relax.Binding] = [relax.VarBinding(merged, chosen)]
    result = merged
    if not tvm_ffi.structural_equal(chosen.ty, promised):
        result = relax.Var("result", promised)
        bindings.append(relax.MatchCast(result, merged, promised))
    body = builder.normalize(relax.SeqExpr([relax.BindingBlock(bindings)], result))
    choice = relax.Function(
        broadcast.params, body, is_pure=broadcast.is_pure, attrs=broadcast.attrs
    )
    return copy_with_new_vars(choice)


def _constraints(func: relax.Function) -> list[Sequence[tvm.ir.Expr]]:
    return list((func.attrs or {}).get(CONSTRAINTS, []))


def _without(func: relax.Function, checked: list[Sequence[tvm.ir.Expr]]) -> relax.Function:
    """The function without the constraints that have been checked."""
    rest = [
        constraint
        for constraint in _constraints(func)
        if not any(tvm_ffi.structural_equal(constraint[0], known[0]) for known in checked)
    ]
    func = func.without_attr(CONSTRAINTS)
    return func.with_attr(CONSTRAINTS, rest) if rest else func


def _arm(
    builder: relax.BlockBuilder, name: str, version: relax.Function, params: Sequence[relax.Var]
) -> relax.SeqExpr:
    """A call of the version, now a private function of the module."""
    private = copy_with_new_vars(version).without_attr("global_symbol")
    call = builder.normalize(relax.Call(builder.add_func(private, name), params))
    result = relax.Var("arm", call.ty)
    block = relax.BindingBlock([relax.VarBinding(result, call)])
    return builder.normalize(relax.SeqExpr([block], result))
