"""What the user knows about dims: TVM's function attributes for bounds of symbols."""

from __future__ import annotations

from collections.abc import Mapping

import tvm
from tvm import relax

from tvm_sod2.errors import BuildError

UPPER = "tir_var_upper_bound"
LOWER = "tir_var_lower_bound"


def input_symbols(func: relax.Function) -> list[tvm.ir.Var]:
    """The symbols that a function's parameters bind, in order of appearance."""
    return list(
        relax.analysis.definable_tir_vars_in_type(relax.TupleType([p.ty for p in func.params]))
    )


def dim_bounds(func: relax.Function) -> dict[str, tuple[int, ...]]:
    """(low, high) of each symbol that has an upper bound, else (low,), inclusive."""
    attrs = func.attrs or {}
    low = {str(k): int(v) for k, v in attrs[LOWER].items()} if LOWER in attrs else {}
    high = {str(k): int(v) for k, v in attrs[UPPER].items()} if UPPER in attrs else {}
    return {
        name: (low.get(name, 0), high[name]) if name in high else (low[name],)
        for name in {**low, **high}
    }


def with_bounds(mod: tvm.IRModule, bounds: Mapping[str, tuple[int, int]]) -> tvm.IRModule:
    """The module with `bounds` (symbol name -> (low, high), inclusive) on its public functions.

    Raises BuildError for a name that no input dim has, or an empty range.
    """
    for name, (low, high) in bounds.items():
        if not 0 <= low <= high:
            raise BuildError(f"bound of dim '{name}' is {low}:{high}, expected 0 <= low <= high")
    known: set[str] = set()
    result = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs)
    for gvar, func in mod.functions_items():
        if not isinstance(func, relax.Function):
            continue
        symbols = {v.name for v in input_symbols(func)}
        known |= symbols
        chosen = {name: pair for name, pair in bounds.items() if name in symbols}
        if chosen:
            func = func.with_attr(LOWER, {n: low for n, (low, _) in chosen.items()})
            func = func.with_attr(UPPER, {n: high for n, (_, high) in chosen.items()})
            result.update_func(gvar, func)
    unknown = sorted(set(bounds) - known)
    if unknown:
        raise BuildError(
            f"no input has a dim called {', '.join(unknown)}; the dims are: "
            f"{', '.join(sorted(known)) or 'none, all are constants'}"
        )
    return result
