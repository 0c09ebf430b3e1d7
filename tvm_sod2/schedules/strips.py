"""Where the tiles of a direct convolution lie: strips of neighbouring pixels in an output row.

Kernel rows outside the image are skipped by clipping the range of the kernel-row loop. A strip with
pixels whose window crosses the left or right border goes over the taps that any of them has inside,
each added to those pixels that have it. Or such pixels are computed one by one over their taps, or
in strips that share them: a dilated window's taps leave the image several pixels apart. What is
skipped is exactly what zero padding would add.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.convolution import Convolution, Window
from tvm_sod2.schedules.kernel import Code, EvenBlocks, i64
from tvm_sod2.schedules.microkernel import Registers
from tvm_sod2.schedules.output import Versions
from tvm_sod2.schedules.panels import Widths, by_rows

# Pixels of a row whose borders are not worth a tile.
_SHORT = 4

# Sums of some interior pixels; of pixels at the border from a tap on over a number of taps.
Interior = Callable[[int, Widths], Registers]
Border = Callable[[int, Widths, Any, Any], Registers]

# Sums of pixels of which some are at the border.
Edge = Callable[[int, Widths], Registers]


@dataclass(frozen=True)
class Strip:
    """Output pixels side by side: all interior, or one at the border, or all with the same taps.

    Attributes:
        n, line: image and output row.
        first, pixels: the first output pixel, and how many there are, at most `most`.
        inside: whether they are interior; None where they only have the same taps.
        top, left: input position of the first pixel's tap 0; may be negative.
        kernel_rows: the first kernel row inside the image, and how many follow.
        even: whether some of several pixels may be at the border.
    """

    code: Code
    conv: Convolution
    n: Any
    line: Any
    first: Any
    pixels: Any
    inside: Any
    most: int
    top: Any
    left: Any
    kernel_rows: tuple[Any, Any]
    even: bool = False

    @contextmanager
    def each_tap(self) -> Iterator[tuple[Any, Callable[[int], Any]]]:
        """A loop over the taps that any pixel has inside; yields the tap and which pixels do."""
        code, across = self.code, self.conv.horizontal
        stride, step = i64(across.stride), i64(across.dilation)
        first, count = across.taps(code, self.left, "left")
        end = code.slot(first + count, "kw_end")
        last = self.left + (self.pixels - i64(1)) * stride
        first, _ = across.taps(code, last, "right")
        with code.loop(tirx.max(end - first, i64(0)), "kw") as k:
            kw = code.slot(first + k, "kw")
            place = code.slot(self.left + kw * step, "place")

            def from_pixel(beyond: Any) -> Any:
                return (tirx.max(beyond, i64(0)) + stride - i64(1)) // stride

            high = code.slot(tirx.min(from_pixel(across.extent - place), self.pixels), "high")
            low = tirx.min(from_pixel(-place), high)
            bits = code.slot((i64(1) << high) - (i64(1) << low), "bits")
            yield kw, lambda r: (bits & i64(1 << r)) != i64(0)

    @contextmanager
    def each_kernel_row(self) -> Iterator[Any]:
        """A loop over the kernel rows inside the image; yields the row."""
        first, count = self.kernel_rows
        with self.code.loop(count, "kh") as kh:
            yield first + kh

    def under(self, kh: Any, kw: Any, r: int) -> tuple[Any, Any, Any]:
        """Index, less the channel, of the input pixel under a tap of the r-th pixel's window."""
        down, across = self.conv.windows
        line = self.top + kh * i64(down.dilation)
        pixel = self.left + kw * i64(across.dilation) + i64(r * across.stride)
        return (self.n, *self.conv.place(line, pixel))

    def at(self, r: Any) -> tuple[Any, Any, Any]:
        """Output index, less the channel, of the r-th pixel."""
        return (self.n, *self.conv.place(self.line, self.first + r))

    def versions(self, interior: Interior, border: Border, edge: Edge | None = None) -> Versions:
        """All versions of the strip: interior by its number of pixels, and one at the border.

        edge: of even strips, border: of others; where those share their taps, all are of the border
        and by their number of pixels.
        """
        code = self.code

        def write(vectors: Widths, done: Callable[[Registers], None]) -> None:
            def taps() -> tuple[Any, Any]:
                return self.conv.horizontal.taps(code, self.left, "kw")

            if self.inside is None:
                same = taps()
                by_rows(code, self.pixels, self.most, lambda n: done(border(n, vectors, *same)))
                return

            def inner() -> None:
                by_rows(code, self.pixels, self.most, lambda n: done(interior(n, vectors)))

            def alone() -> None:
                done(border(1, vectors, *taps()))

            def together(sums: Edge) -> None:
                registers = sums(self.most, vectors)
                registers.used = self.pixels
                done(registers)

            cases = [(self.inside, inner), (None, alone)]
            if self.even and edge is not None:
                one = self.pixels.equal(i64(1))
                cases[1:] = [(one, alone), (None, partial(together, edge))]
            code.branch(cases)

        return write


@contextmanager
def strips(
    code: Code, conv: Convolution, n: Any, line: Any, most: int, shared: bool = False
) -> Iterator[Strip]:
    """A loop over the strips of an output row, from left to right, of at most `most` pixels.

    shared: cut the row where its pixels' taps change, not into interior and single border pixels.
    """
    down, across = conv.windows
    top = code.slot(down.start(line), "top")
    kernel_rows = down.taps(code, top, "kh")
    if shared:
        with _spans(code, across) as (begin, end):
            spans = EvenBlocks(code, end - begin, most)
            with code.loop(spans.count, "block") as block:
                start, pixels = spans.locate(block)
                first = code.slot(begin + start, "pixel")
                left = code.slot(across.start(first), "left")
                yield Strip(code, conv, n, line, first, pixels, None, most, top, left, kernel_rows)
        return
    blocks = _Blocks(code, *across.interior(code, "ow"), across.out, most)
    with code.loop(blocks.count, "block") as block:
        first, pixels, inside = blocks.locate(block)
        left = code.slot(across.start(first), "left")
        yield Strip(code, conv, n, line, first, pixels, inside, most, top, left, kernel_rows)


@contextmanager
def even_strips(code: Code, conv: Convolution, n: Any, line: Any, most: int) -> Iterator[Strip]:
    """A loop over strips of about as many pixels each, at most `most`, wherever borders are.

    Short rows, of which a strip at the border would not fill a tile, are cut as `strips` does.
    """
    down, across = conv.windows
    top = code.slot(down.start(line), "top")
    kernel_rows = down.taps(code, top, "kh")
    low, high = across.interior(code, "ow")
    out = i64(across.out)
    short, alone, even = (
        out <= i64(_SHORT),
        _Blocks(code, low, high, out, most),
        EvenBlocks(code, out, most),
    )
    # Carried from block to block: LLVM would compute a function of the block's number anew in
    # every step of a tile.
    at = code.buffer(1, "at", "int64")
    code.store(at, i64(0), 0)
    with code.loop(tirx.Select(short, alone.count, even.count), "block") as block:
        first = code.slot(at[i64(0)], "pixel")
        pixels = tirx.Select(short, alone.locate(block)[1], even.locate(block)[1])
        pixels = code.slot(pixels, "pixels")
        code.store(at, first + pixels, 0)
        left = code.slot(across.start(first), "left")
        inside = tirx.all(first >= low, first + pixels <= high)
        yield Strip(code, conv, n, line, first, pixels, inside, most, top, left, kernel_rows, True)


@contextmanager
def _spans(code: Code, across: Window) -> Iterator[tuple[Any, Any]]:
    """A loop over parts of an output row whose pixels have the same taps: first pixel and end.

    A part ends where the tap before its first one enters the image, or its last one leaves.
    """
    size, out = int(across.size), i64(across.out)
    step, stride, before = i64(across.dilation), i64(across.stride), i64(across.before)
    at = code.buffer(1, "at", "int64")
    code.store(at, i64(0), 0)
    with code.loop(2 * size + 1, "span"):
        begin = code.slot(at[i64(0)], "begin")
        first, count = across.taps(code, across.start(begin), "span")
        enters = before - (first - i64(1)) * step
        leaves = across.extent + before - (first + count - i64(1)) * step
        end: Any = out
        for some, place in ((first, enters), (count, leaves)):
            pixel = (tirx.max(place, i64(0)) + stride - i64(1)) // stride
            end = tirx.min(end, tirx.Select(some > i64(0), pixel, out))
        end = code.slot(end, "end")
        code.store(at, end, 0)
        yield begin, end


class _Blocks:
    """An output row of `out` pixels cut into single border pixels and blocks of interior ones.

    Interior pixels are those in [low, high); blocks are numbered from left to right.
    """

    def __init__(self, code: Code, low: Any, high: Any, out: Any, most: int) -> None:
        self.code, self.low, self.high = code, low, high
        self.interior = EvenBlocks(code, high - low, most)
        self.count = code.slot(low + self.interior.count + out - high, "blocks")

    def locate(self, block: Any) -> tuple[Any, Any, Any]:
        """First pixel, number of pixels and whether they are interior."""
        code, inside = self.code, self.interior.count
        inner = code.slot(block - self.low, "inner")
        start, size = self.interior.locate(inner)
        interior = tirx.all(inner >= i64(0), inner < inside)
        edge = tirx.Select(inner < i64(0), block, self.high + inner - inside)
        first = code.slot(tirx.Select(interior, self.low + start, edge), "pixel")
        return first, code.slot(tirx.Select(interior, size, i64(1)), "pixels"), interior
