"""The register tile every dense kernel is made of.

A tile is `rows` x `vectors` accumulators. Each step of the reduction loads the panel's vectors
once, broadcasts one scalar for each row and multiplies and adds. When a tile has too few
accumulators to cover the latency of FMA, the reduction is dealt out to several chains that are
added at the end. A finished tile usually goes through a stack buffer, so that the epilogue is one
loop over rows, generated once instead of once for each version; where tiles are short and the
epilogue is light, each version applies it to its registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, i64, ramp, splat
from tvm_sod2.schedules.panels import Widths

# FMAs that must be in flight to hide their latency: 4 cycles on two ports.
IN_FLIGHT = 8


class Registers:
    """Zeroed accumulators: `rows` rows of vectors side by side.

    Different tiles of one bank use the same ones. With `chains` left out there are as many sums for
    each accumulator as keep the FMA units busy. `start` gives what the vector at (offset, width)
    begins with, in every row, instead of zeros.

    Attributes:
        used: run-time number of rows that have sums, None for all.
    """

    dtype = "float32"
    used: Any = None

    def __init__(
        self,
        code: Code,
        rows: int,
        vectors: Widths,
        chains: int | None = None,
        start: Callable[[int, int], Any] | None = None,
    ) -> None:
        self.code, self.vectors = code, vectors
        self.offsets = [sum(vectors[:v]) for v in range(len(vectors))]
        sums = rows * len(vectors)
        # Vectors of 16 bytes may be SSE's: 12 sums, two factors, a product and a copy are too many.
        more = sums - 1 if max(vectors) > 4 else 0
        self.chains = chains or max(1, (IN_FLIGHT + more) // sums)
        self.sums = [
            [
                [code.register(width, "sum", r, v, c, dtype=self.dtype) for c in range(self.chains)]
                for v, width in enumerate(vectors)
            ]
            for r in range(rows)
        ]
        for row in self.sums:
            for chains_of, offset, width in zip(row, self.offsets, vectors, strict=True):
                for chain, total in enumerate(chains_of):
                    first = splat(tirx.const(0, self.dtype), width)
                    if start is not None and chain == 0:
                        first = start(offset, width)
                    code.store(total, first, ramp(0, width))

    def run(
        self,
        length: Any,
        data: Callable[[int, Any], Any],
        weight: Callable[[int, int, Any], Any],
        where: Callable[[int], Any] | None = None,
    ) -> None:
        """Add `data(row, k) * weight(offset, width, k)` for k in [0, length), data a scalar.

        where: the rows that have these products, None for all.
        """
        code = self.code
        chains = self.chains if isinstance(length, int) else i64(self.chains)
        whole, rest = length // chains, length % chains

        def step(k: Any, chain: int) -> None:
            self.multiply(
                lambda r, _offset, width: splat(data(r, k), width),
                lambda offset, width: weight(offset, width, k),
                chain,
                where,
            )

        with code.loop(whole, "k") as k:
            for c in range(self.chains):
                step(k * i64(self.chains) + i64(c), c)
        if self.chains > 1 and not (isinstance(rest, int) and rest == 0):
            with code.loop(rest, "k") as k:
                step(i64(whole * chains) + k, 0)

    def multiply(
        self,
        data: Callable[[int, int, int], Any],
        weight: Callable[[int, int], Any],
        chain: int = 0,
        where: Callable[[int], Any] | None = None,
    ) -> None:
        """Add `data(row, offset, width) * weight(offset, width)`, in rows `where` there are any."""
        code = self.code
        places = list(zip(self.offsets, self.vectors, strict=True))
        factors = [weight(*at) for at in places]
        if where is not None:  # one load for all rows, none of which has to be there
            for v, width in enumerate(self.vectors):
                factor = code.register(width, "factor", v)
                code.store(factor, factors[v], ramp(0, width))
                factors[v] = factor[ramp(0, width)]

        def add(r: int) -> None:
            for v, (offset, width) in enumerate(places):
                total, lanes = self.sums[r][v][chain], ramp(0, width)
                value = self.accumulate(total[lanes], data(r, offset, width), factors[v])
                code.store(total, value, lanes)

        for r in range(len(self.sums)):
            if where is None:
                add(r)
            else:
                code.branch([(where(r), partial(add, r))])

    def accumulate(self, total: Any, data: Any, weight: Any) -> Any:
        """One step of a vector's sum."""
        return total + data * weight

    def totals(self) -> Iterator[tuple[int, int, int, Any]]:
        """Row, offset, width and register of each vector, after adding up the chains."""
        for r, row in enumerate(self.sums):
            for offset, width, chains in zip(self.offsets, self.vectors, row, strict=True):
                lanes = ramp(0, width)
                value = chains[0][lanes]
                for other in chains[1:]:
                    value = value + other[lanes]
                if self.chains > 1:
                    self.code.store(chains[0], value, lanes)
                yield r, offset, width, chains[0]


def across(code: Code, vector: Any, width: int) -> Any:
    """The sum of a vector's lanes, by halves; written in a bank."""
    if width == 1:
        return vector
    register = code.register(width, "across", width)
    code.store(register, vector, ramp(0, width))
    for half in (width >> n for n in range(1, width.bit_length())):
        halves = register[ramp(0, half)] + register[ramp(half, half)]
        register = code.register(half, "half", width)
        code.store(register, halves, ramp(0, half))
    return register[i64(0)]
