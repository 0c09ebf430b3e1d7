"""The symbolic dims of a Relax function: which there are, and what is known of them."""

from __future__ import annotations

import tvm
from tvm import relax, tirx
from tvm.ir import PrimType


def input_symbols(func: relax.Function) -> list[tirx.Var]:
    """Symbols that are known when the function is entered, each once, in parameter order."""
    found: dict[tirx.Var, None] = {}
    for param in func.params:
        if isinstance(param.ty, PrimType):
            found[param] = None
        found.update(dict.fromkeys(relax.analysis.definable_tir_vars_in_type(param.ty)))
    return list(found)


def all_symbols(func: relax.Function) -> list[tirx.Var]:
    """The input symbols, then those that become known while the function runs."""
    found = dict.fromkeys(input_symbols(func))
    for var in relax.analysis.all_vars(func):
        found.update(dict.fromkeys(relax.analysis.tir_vars_in_type(var.ty)))
    return list(found)


def free_symbols(func: relax.Function) -> list[tirx.Var]:
    """Symbols that its parameters do not determine, also of those that only their types mention."""
    known = set(input_symbols(func))
    found = dict.fromkeys(relax.analysis.free_symbolic_vars(func))
    for param in func.params:
        symbols = relax.analysis.tir_vars_in_type(param.ty)
        found.update(dict.fromkeys(symbol for symbol in symbols if symbol not in known))
    return list(found)


def extents(func: relax.Function) -> set[tirx.Var]:
    """Symbols that are, on their own, the extent of some tensor: never negative."""
    found: set[tirx.Var] = set()

    def of_type(ty: tvm.ir.Type) -> None:
        if isinstance(ty, relax.TupleType):
            for part in ty.fields:
                of_type(part)
        elif isinstance(ty, relax.TensorType) and isinstance(ty.shape, relax.ShapeExpr):
            found.update(extent for extent in ty.shape.values if isinstance(extent, tirx.Var))

    for var in relax.analysis.all_vars(func):
        of_type(var.ty)
    return found
