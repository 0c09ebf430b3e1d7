"""Dims at which a plan or an order is judged when the real ones are not known yet.

One point would do where all sizes grow with the same symbols. Where they do not, as between a
batch and an image's sides, a choice made at one point can be bad at another, so several are
taken: all symbols small, medium, large, and each symbol small or large against the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tvm import relax

from tvm_sod2.memory.sizes import SizeAlgebra
from tvm_sod2.memory.symbols import all_symbols

_SMALL, _MEDIUM, _LARGE = 8, 64, 512
# More symbols than this are not set apart one by one: the points would outnumber their use.
_MOST_APART = 6


def sample_dims(func: relax.Function, sizes: SizeAlgebra) -> tuple[Mapping[str, int], ...]:
    """Points (symbol name -> value) for the symbols of `func`, within their known bounds.

    Bounds are TVM's function attributes ``tir_var_lower_bound`` and ``tir_var_upper_bound``.
    """
    symbols = all_symbols(func)
    bounds = _Bounds(func)
    names = {symbol: sizes.name(symbol) for symbol in symbols}

    def point(values: Iterable[int]) -> dict[str, int]:
        pairs = zip(symbols, values, strict=True)
        return {names[symbol]: bounds.clip(symbol.name, value) for symbol, value in pairs}

    points = [
        {names[s]: bounds.middle(s.name, _MEDIUM) for s in symbols},
        point(_LARGE for _ in symbols),
        point(_SMALL for _ in symbols),
    ]
    if 1 < len(symbols) <= _MOST_APART:
        for apart in symbols:
            points.append(point(1 if s.same_as(apart) else _LARGE for s in symbols))
    unique: dict[tuple[int, ...], Mapping[str, int]] = {}
    for dims in points:
        unique.setdefault(tuple(dims.values()), dims)
    return tuple(unique.values())


class _Bounds:
    def __init__(self, func: relax.Function) -> None:
        attrs = func.attrs or {}
        self.low = {str(k): int(v) for k, v in dict(attrs.get("tir_var_lower_bound", {})).items()}
        self.high = {str(k): int(v) for k, v in dict(attrs.get("tir_var_upper_bound", {})).items()}

    def clip(self, name: str, value: int) -> int:
        return max(self.low.get(name, value), min(self.high.get(name, value), value))

    def middle(self, name: str, default: int) -> int:
        if name in self.low and name in self.high:
            return (self.low[name] + self.high[name] + 1) // 2
        return self.clip(name, default)
