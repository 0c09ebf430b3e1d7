"""The compiled function that computes offsets and storage sizes from the dims, once per call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import tvm
from tvm import tirx
from tvm_ffi import structural_map

from tvm_sod2.memory.heights import Height, Heights

SMALLEST_STORAGE = 4096  # bytes: the page that TVM's pool rounds to anyway


def layout_kernel(
    heights: Heights, exact: Sequence[Height], rounded: Sequence[Height]
) -> tuple[tirx.PrimFunc, list[tirx.Var], int]:
    """A PrimFunc (dims..., out int64 vector) that writes the values of heights.

    Returns the function, the symbols to call it with, and how many slots precede `exact` in
    `out`: those hold the maxima that `exact` and `rounded` refer to by name. Each of `rounded` is
    written as the next power of two, at least `SMALLEST_STORAGE`.
    """
    named = _needed(heights, [*exact, *rounded])
    values = [heights.expr(heights.named[symbol]) for symbol in named]
    values += [heights.expr(height) for height in (*exact, *rounded)]
    symbols = _free_symbols(values, named)
    params = {symbol: tirx.Var(heights.sizes.name(symbol), "int64") for symbol in symbols}
    out = tirx.decl_buffer((len(values),), "int64", name="out", layout=None)
    slot_of = {symbol: slot for slot, symbol in enumerate(named)}

    def known(var: tirx.Var) -> tvm.ir.Expr:
        if var in slot_of:
            return tirx.BufferLoad(out, [_int(slot_of[var])])
        return params.get(var, var)

    body: list[tirx.Stmt] = []
    for slot, value in enumerate(values):
        value = structural_map(value, [(tirx.Var, known)])
        body.append(tirx.BufferStore(out, value, [_int(slot)]))
        if slot >= len(named) + len(exact):
            body += _round_up(out, slot)
    func = tirx.PrimFunc([*params.values(), out], tirx.SeqStmt(body) if len(body) > 1 else body[0])
    # `is_host_func`: it computes sizes, whatever the kernels' device is.
    func = func.with_attrs({"tirx.noalias": True, "s_tir": True, "tirx.is_host_func": True})
    return func, symbols, len(named)


def _round_up(out: tirx.Buffer, slot: int) -> Iterable[tirx.Stmt]:
    """The slot's value to the next power of two: fill all bits below the highest, add one."""
    at = [_int(slot)]

    def load() -> tvm.ir.Expr:
        return tirx.BufferLoad(out, at)

    yield tirx.BufferStore(out, tirx.max(load(), _int(SMALLEST_STORAGE)) - _int(1), at)
    for shift in (1, 2, 4, 8, 16, 32):
        filled = tirx.bitwise_or(load(), tirx.shift_right(load(), _int(shift)))
        yield tirx.BufferStore(out, filled, at)
    yield tirx.BufferStore(out, load() + _int(1), at)


def _needed(heights: Heights, wanted: Iterable[Height]) -> list[tirx.Var]:
    """The named maxima that `wanted` depends on, in the order in which they can be computed."""
    found: set[tirx.Var] = set()
    stack = [heights.expr(height) for height in wanted]
    while stack:
        for symbol in tirx.analysis.undefined_vars(stack.pop()):
            if symbol in heights.named and symbol not in found:
                found.add(symbol)
                stack.append(heights.expr(heights.named[symbol]))
    return [symbol for symbol in heights.named if symbol in found]


def _free_symbols(values: Iterable[tvm.ir.Expr], named: Iterable[tirx.Var]) -> list[tirx.Var]:
    hidden = set(named)
    found: dict[tirx.Var, None] = {}
    for value in values:
        for symbol in tirx.analysis.undefined_vars(value):
            if symbol not in hidden:
                found[symbol] = None
    return list(found)


def _int(value: int) -> tvm.ir.Expr:
    return tirx.IntImm("int64", value)
