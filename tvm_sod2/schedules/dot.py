"""Sums of four products of bytes at a time, into 32 bits and exact.

The reduction runs over words of four bytes of activations, and weights lie so that the same four
bytes of every column make one vector: [K / 4][columns][4]. How a word is multiplied depends on the
machine (`Traits.dot`):

- "vnni", "sdot": one instruction. Its operands have fixed signs, so activations of the other sign
  are moved by 128 with one exclusive or, which the sums start with undone (`offset`).
- "madd": the even and the odd bytes as 16-bit pairs, multiplied and added in pairs. The instruction
  that takes bytes (vpmaddubsw) saturates and is not used.
- "plain": byte by byte in 32-bit lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tvm import tirx

from tvm_sod2.schedules.kernel import Code, Refusal, i64, ramp, splat
from tvm_sod2.schedules.microkernel import IN_FLIGHT, Registers
from tvm_sod2.schedules.panels import Shape, Widths
from tvm_sod2.schedules.traits import Traits

EPILOGUE = 8
"""Vector instructions that requantise a vector of sums."""

WORD = 4
"""Bytes of activations that one step of the reduction takes."""

# Vector instructions for each vector of sums in a step.
_INSTRUCTIONS = {"vnni": 1, "sdot": 1, "madd": 4, "plain": 12}

# Vectors that a step needs beside the sums: weights and data, in parts, and a product.
_BESIDE = {"vnni": 3, "sdot": 3, "madd": 8, "plain": 16}

_VNNI = {4: "128", 8: "256", 16: "512"}
_MADD = {
    4: "llvm.x86.sse2.pmadd.wd",
    8: "llvm.x86.avx2.pmadd.wd",
    16: "llvm.x86.avx512.pmaddw.d.512",
}


@dataclass(frozen=True)
class Dot:
    """How words of activations are multiplied with int8 weights.

    Attributes:
        dtype: the activations' type, "int8" or "uint8".
        instructions: `Traits.dot`.
    """

    dtype: str
    instructions: str

    @property
    def offset(self) -> int:
        """What the instruction sees in an activation beyond its value."""
        return {("vnni", "int8"): 128, ("sdot", "uint8"): -128}.get(
            (self.instructions, self.dtype), 0
        )

    def shape(self, columns: int, traits: Traits) -> Shape:
        """The tile for some columns whose sums stay in registers."""
        shape = Shape.for_columns(columns, traits)
        rows = (traits.vector_registers - _BESIDE[self.instructions]) // 2
        return replace(shape, rows=max(1, min(shape.rows, rows)))

    def work(self, steps: int) -> Any:
        """What an element of the result costs in the unit of grain.py, with its rounding."""
        return i64(-(-steps // WORD) * _INSTRUCTIONS[self.instructions] + EPILOGUE)

    def zero(self, code: Code, point: Any) -> Any:
        """The int32 that the instruction sees where an activation means 0; None if that is 0.

        point: the activations' zero point, None for none.
        """
        if point is None and not self.offset:
            return None
        seen = code.buffer(1, "zero", "int32")
        offset = tirx.const(self.offset, "int32")
        code.store(seen, offset if point is None else point + offset, 0)
        return seen[i64(0)]

    def word(self, data: Any, lead: Sequence[Any], first: Any, count: int = WORD) -> Any:
        """`count` bytes of a buffer's last axis as the instruction wants them, in an int32.

        Bytes beyond `count` are not touched: they may lie behind the end of a tensor. The
        exclusive or is on a scalar because LLVM 22 does not come to an end with one on vectors.
        """
        total: Any = tirx.const(0, "int32")
        if count == WORD:
            total = tirx.reinterpret("int32", data[(*lead, ramp(first, WORD))])
        else:
            for byte in range(count):
                value = tirx.reinterpret("uint8", data[(*lead, first + i64(byte))])
                total = total | (tirx.Cast("int32", value) << tirx.const(8 * byte, "int32"))
        return total ^ tirx.const(-0x7F7F7F80, "int32") if self.offset else total

    def interleaved(self, parts: Sequence[Any]) -> Any:
        """The lanes' bytes of four vectors as a word in each lane, as the instruction wants it."""
        lanes = _lanes(parts[0])
        bytes_ = interleave(parts)
        if self.offset:
            bytes_ = tirx.reinterpret(f"uint8x{WORD * lanes}", bytes_)
            bytes_ = bytes_ + splat(tirx.const(128, "uint8"), WORD * lanes)
        return tirx.reinterpret(f"int32x{lanes}", bytes_)

    def widened(self, data: Any) -> Any:
        """Bytes as the instruction sees them, each in 32 bits."""
        lanes = _lanes(data)
        wide = tirx.Cast("int32" if lanes == 1 else f"int32x{lanes}", data)
        return wide + splat(tirx.const(self.offset, "int32"), lanes)

    def accumulate(self, total: Any, word: Any, weights: Any, lanes: int) -> Any:
        """`total` plus, in each lane, the sum of four products.

        word: the same int32 in every lane; weights: int8, four for each lane.
        """
        if self.instructions in _FORMS and lanes >= 4:
            return _FORMS[self.instructions](total, word, weights, lanes, self.dtype)
        return _plain(total, word, weights, lanes, self.dtype)


def _vnni(total: Any, word: Any, weights: Any, lanes: int, _dtype: str) -> Any:
    name = f"llvm.x86.avx512.vpdpbusd.{_VNNI[lanes]}"
    data = tirx.reinterpret(f"uint8x{4 * lanes}", word)
    return tirx.call_llvm_pure_intrin(f"int32x{lanes}", name, total, data, weights)


def _sdot(total: Any, word: Any, weights: Any, lanes: int, _dtype: str) -> Any:
    data = tirx.reinterpret(f"int8x{4 * lanes}", word)
    return tirx.call_llvm_pure_intrin(
        f"int32x{lanes}", "llvm.aarch64.neon.sdot", total, weights, data
    )


def _madd(total: Any, word: Any, weights: Any, lanes: int, dtype: str) -> Any:
    """Pairs (0, 2) and (1, 3) of each word's bytes, widened to 16 bits without a shuffle."""
    for data, weight in zip(
        _halves(word, lanes, dtype), _halves(weights, lanes, "int8"), strict=True
    ):
        pairs = tirx.call_llvm_pure_intrin(f"int32x{lanes}", _MADD[lanes], data, weight)
        total = total + pairs
    return total


def _halves(bytes_: Any, lanes: int, dtype: str) -> tuple[Any, Any]:
    wide = f"{'u' if dtype == 'uint8' else ''}int16"
    value = tirx.reinterpret(f"{wide}x{2 * lanes}", bytes_)
    eight = splat(tirx.const(8, wide), 2 * lanes)
    even, odd = (value << eight) >> eight, value >> eight
    return tuple(tirx.reinterpret(f"int16x{2 * lanes}", half) for half in (even, odd))


def _plain(total: Any, word: Any, weights: Any, lanes: int, dtype: str) -> Any:
    factors = tirx.reinterpret("int32" if lanes == 1 else f"int32x{lanes}", weights)
    for byte in range(WORD):
        total = total + _byte(word, byte, lanes, dtype) * _byte(factors, byte, lanes, "int8")
    return total


def _byte(word: Any, byte: int, lanes: int, dtype: str) -> Any:
    """Byte `byte`, from the lowest, of each lane as int32."""
    up = word << splat(tirx.const(24 - 8 * byte, "int32"), lanes)
    if dtype == "int8":
        return up >> splat(tirx.const(24, "int32"), lanes)
    return (up >> splat(tirx.const(24, "int32"), lanes)) & splat(tirx.const(255, "int32"), lanes)


_FORMS: dict[str, Callable[..., Any]] = {"vnni": _vnni, "sdot": _sdot, "madd": _madd}


class DotRegisters(Registers):
    """A tile of int32 sums; its reduction runs over words."""

    dtype = "int32"

    def __init__(
        self,
        code: Code,
        rows: int,
        vectors: Widths,
        dot: Dot,
        start: Callable[[int, int], Any] | None = None,
    ) -> None:
        # One more chain could leave no registers for the parts of words.
        super().__init__(code, rows, vectors, max(1, IN_FLIGHT // (rows * len(vectors))), start)
        self.dot = dot

    def accumulate(self, total: Any, data: Any, weight: Any) -> Any:
        """One step of a vector's sum: int32 words times int8 weights."""
        return self.dot.accumulate(total, data, weight, _lanes(total))

    def run_bytes(
        self,
        length: int,
        data: Callable[[int, Any, int], Any],
        weight: Callable[[int, int, Any], Any],
    ) -> None:
        """`run` over the words of `length` bytes, the last of which may be short.

        data: the word at (row, number), of so many bytes; weight: as in `run`, by number.
        """
        words, rest = divmod(length, WORD)
        self.run(words, lambda r, i: data(r, i, WORD), weight)
        if rest:
            last = i64(words)
            self.multiply(
                lambda r, _offset, width: splat(data(r, last, rest), width),
                lambda offset, width: weight(offset, width, last),
            )


def interleave(parts: Sequence[Any]) -> Any:
    """Vectors of equally many bytes as one, whose first bytes are the vectors' first."""
    lanes = _lanes(parts[0])
    order = [number * lanes + lane for lane in range(lanes) for number in range(len(parts))]
    return tirx.Shuffle(list(parts), [tirx.const(i, "int32") for i in order])


def unsuited(data: Any, weights: Any, *allowed: str) -> Refusal | None:
    """Why operands are not bytes times weights of the `allowed` types, None if they are."""
    if str(data.dtype) in ("int8", "uint8") and str(weights.dtype) in allowed:
        return None
    return Refusal(f"operands of {data.dtype} and {weights.dtype}")


def pack_words(matrix: np.ndarray, columns: int) -> np.ndarray:
    """Lay out int8 weights [K, N] as [panels, ceil(K / 4), columns * 4], zeros beyond K and N."""
    k, n = matrix.shape
    panels, words = -(-n // columns), -(-k // WORD)
    padded = np.zeros((words * WORD, panels * columns), np.int8)
    padded[:k, :n] = matrix
    split = padded.reshape(words, WORD, panels, columns).transpose(2, 0, 3, 1)
    return np.ascontiguousarray(split.reshape(panels, words, columns * WORD))


def pack_sums(sums: np.ndarray, columns: int) -> np.ndarray:
    """Lay out int32 sums [rows, N] as bytes [panels, rows, columns * 4], beside `pack_words`."""
    rows, n = sums.shape
    panels = -(-n // columns)
    padded = np.zeros((rows, panels * columns), "<i4")
    padded[:, :n] = sums
    split = padded.reshape(rows, panels, columns).transpose(1, 0, 2)
    return np.ascontiguousarray(split).view(np.int8)


def sums_of(packed: Any, panel: Any, row: Any, offset: int, width: int) -> Any:
    """`width` of the sums that `pack_sums` put into a row of bytes."""
    lanes = packed[panel, row, ramp(WORD * offset, WORD * width)]
    return tirx.reinterpret(f"int32x{width}", lanes)


def _lanes(value: Any) -> int:
    return int(value.ty.dtype.lanes)
