"""How threads divide a Winograd convolution whose weights are made at each call.

A thread transforms the weights of the panels it has and the inputs of the tiles it has. With few
tiles the threads had better have panels of their own, with many tiles of their own: the tiles are
cut into stripes, whose weights are made for each anew, and a stripe's panels go round among
as many threads as there are for each stripe. Where these do not come out even, two threads share a
panel: each takes a strip of the stripe's tiles.

So there is a line of stripes x panels x strips, the strips of a panel side by side, and part k of
`threads` is its cells [k * stripes * panels, (k + 1) * stripes * panels). With 3 panels and two
threads:

    one stripe                          two stripes
    panel 0  | strip 0 | strip 1 |      stripe 0  | panel 0 | panel 1 | panel 2 |    first thread
    panel 1  | strip 0 | strip 1 |      stripe 1  | panel 0 | panel 1 | panel 2 |    second
    panel 2  | strip 0 | strip 1 |
    the first thread has the first three, the second the others
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tvm_sod2.schedules.kernel import Code, EvenBlocks, i64

MOST_THREADS = 8
"""Parts of a division: each may need a place of its own for weights."""


@dataclass(frozen=True)
class Division:
    """Panels and stripes of tiles for up to so many threads.

    Attributes:
        threads: the number of parts.
        stripes: how many there are, at least 1 and at most `threads`, in the dims.
    """

    panels: int
    threads: int
    stripes: Any

    @staticmethod
    def of(panels: int, cores: int, tiles: Any, least: int) -> Division:
        """Stripes of `least` tiles and more, if there are several."""
        threads = min(cores, MOST_THREADS)
        stripes = tirx.min(tiles // i64(least), i64(threads))
        return Division(panels, threads, tirx.max(stripes, i64(1)))

    @property
    def places(self) -> Any:
        """Places for a panel's weights: those of all stripes, and more where panels are shared."""
        return self.stripes * i64(self.panels) + i64(self.threads - 1) * self.shared(self.stripes)

    def shared(self, stripes: Any) -> Any:
        """1 where threads may share a panel, else 0: with a stripe for each none do."""
        return i64(1 if self.panels % self.threads else 0) * (i64(1) - stripes // i64(self.threads))


@dataclass(frozen=True)
class Share:
    """What one thread has: cells [begin, end) of the line.

    Attributes:
        first: the first panel, counted through all stripes.
        made: how many panels' weights it makes, from the first on and round.
        place: where those of the first go; the others follow.
    """

    code: Code
    division: Division
    stripes: Any
    begin: Any
    end: Any
    first: Any
    made: Any
    place: Any

    @staticmethod
    def of(code: Code, division: Division, stripes: Any, part: tuple[Any, Any]) -> Share:
        """Parts [begin, end) of the line; `stripes` is the number of stripes, computed before."""
        strips, panels = i64(division.threads), i64(division.panels)
        begin, end = (code.slot(k * stripes * panels, "cell") for k in part)
        first = code.slot(begin // strips, "first")
        made = code.slot(tirx.min((end + strips - i64(1)) // strips - first, panels), "made")
        place = code.slot(first + part[0] * division.shared(stripes), "place")
        return Share(code, division, stripes, begin, end, first, made, place)

    def panel(self, number: Any) -> Any:
        """The panel whose weights are made as the `number`th."""
        return (self.first + number) % i64(self.division.panels)

    def placed(self, panel: Any) -> Any:
        """Where the weights of one of its panels are."""
        count = i64(self.division.panels)
        number = (panel + count - self.first % count) % count
        return self.code.slot(self.place + number, "place")

    def panels(self, block: Any, blocks: EvenBlocks) -> tuple[Any, Any]:
        """The range of panels that it multiplies a block of tiles with; may be empty."""
        code = self.code
        strips, panels = i64(self.division.threads), i64(self.division.panels)
        # The last of all strips whose first block is not behind this one.
        number = ((block + i64(1)) * self.stripes * strips - i64(1)) // blocks.divisor
        number = code.slot(number, "number")
        before = code.slot(number // strips * panels, "before")
        strip = code.slot(number % strips, "strip")

        def past(cell: Any) -> Any:
            """The panels of this strip whose cells are before `cell`."""
            return tirx.max(
                tirx.min((cell - strip + strips - i64(1)) // strips - before, panels), i64(0)
            )

        return code.slot(past(self.begin), "low"), code.slot(past(self.end), "high")
