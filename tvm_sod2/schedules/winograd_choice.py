"""When a Winograd kernel that transforms its weights is worth it, by the dims.

Costs are counted in multiply-adds for each pair of an input and an output channel: a direct
convolution takes nine for a pixel, Winograd 36 for a tile of 4x4 pixels. What else it does is
counted as the multiply-adds that take as long, measured on one AVX-512 core (Zen 4) with 64 to 256
channels on images of 3x3 to 40x40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.winograd_matrices import IN

DIRECT = 9

POINTS = IN * IN

# To transform a filter: nine transforms of 13 operations, and its 36 values go to memory and come
# back, through the second-level cache or from beyond it.
FILTER = 9 * 13
WITHIN_L2, BEYOND_L2 = 3, 6

# To transform one channel of a tile, of inputs or of outputs: 100 to 150 operations and as many
# loads and stores.
TILE = 450


@dataclass(frozen=True)
class Choice:
    """Winograd costs `weights` at each call and `tile` for each tile."""

    weights: int
    tile: int

    @staticmethod
    def between(depth: int, channels: int, traits: Traits) -> Choice:
        """For `depth` input and `channels` output channels."""
        fits = 4 * POINTS * depth * channels <= traits.l2_bytes
        weights = FILTER + POINTS * (WITHIN_L2 if fits else BEYOND_L2)
        return Choice(weights, POINTS + TILE * (depth + channels) // (depth * channels))

    def direct(self, pixels: Any, tiles: Any) -> Any:
        """Whether a direct convolution of `pixels` outputs, in `tiles` tiles, is faster."""
        return pixels * i64(DIRECT) <= tiles * i64(self.tile) + i64(self.weights)

    def __str__(self) -> str:
        return f"{DIRECT} * pixels > {self.weights} + {self.tile} * tiles"
