"""Which version of a 3x3 convolution is worth it, by the dims.

Costs are counted in multiply-adds for each pair of an input and an output channel: a direct
convolution takes nine for a pixel, Winograd 36 for a tile of 4x4 pixels or 16 for one of 2x2. What
else it does is counted as the multiply-adds that take as long, measured on one AVX-512 core (Zen 4)
with 64 to 256 channels on images of 3x3 to 40x40.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
from tvm import tirx

from tvm_sod2.errors import BuildError
from tvm_sod2.schedules.kernel import i64
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.winograd_matrices import FORMS, TAPS, Form

LIMIT = "sod2.winograd"
"""The attribute, of a module and its convolutions, with the largest tile that Winograd may have."""

# Operations that transform a filter; its values then go to memory and come back, through the
# second-level cache or from beyond it.
FILTER = {4: 9 * 13, 2: 7 * 6}
WITHIN_L2, BEYOND_L2 = 3, 6

# To transform one channel of a tile, of inputs or of outputs: operations, loads and stores.
TILE = {4: 450, 2: 150}

# How much longer a transform takes whose inputs another core may have written.
CROSSED = 1.5


@dataclass(frozen=True)
class Cost:
    """`fixed` at each call, and `each` for every one of what `unit` names."""

    fixed: int
    each: int
    unit: str

    @staticmethod
    def direct() -> Cost:
        """Of a direct convolution."""
        return Cost(0, TAPS**2, "pixels")

    @staticmethod
    def winograd(form: Form, depth: int, channels: int, constant: bool, traits: Traits) -> Cost:
        """For `depth` input and `channels` output channels, weights transformed at build or not."""
        pairs = depth * channels
        fits = 4 * form.products * pairs < traits.l2_bytes
        filters = FILTER[form.out] + form.products * (WITHIN_L2 if fits else BEYOND_L2)
        each = form.products + TILE[form.out] * (depth + channels) // pairs
        return Cost(0 if constant else filters, each, f"{form.out}x{form.out} tiles")

    def of(self, count: Any) -> Any:
        """For so many units."""
        return i64(self.fixed) + i64(self.each) * count

    def least_stripe(self, form: Form, channels: int) -> int:
        """Tiles for which a thread had better make all weights of its own, see Division.

        With all tiles and half of the panels it saves half of the weights, and transforms the
        inputs of as many tiles again, which costs as much at twice what is returned.
        """
        return int(self.fixed * channels / (2 * CROSSED * TILE[form.out]))

    def __str__(self) -> str:
        return " + ".join(
            [*([str(self.fixed)] if self.fixed else []), f"{self.each} * {self.unit}"]
        )


def with_winograd_limit(mod: tvm.IRModule, largest: int) -> tvm.IRModule:
    """The module with the largest tile of outputs that its 3x3 convolutions may have.

    Raises BuildError for a tile that there is not.
    """
    known = [form.out for form in FORMS]
    if largest not in (*known, 0):
        raise BuildError(
            f"winograd is {largest!r}, expected {', '.join(map(str, known))} for tiles of so many "
            "outputs along an axis, or 0 for direct convolutions"
        )
    return mod.with_attr(LIMIT, largest)


def winograd_limit(of: tvm.IRModule | tirx.PrimFunc) -> int:
    """What `with_winograd_limit` has set, else the largest tile there is."""
    attrs = of.attrs
    return int(attrs[LIMIT]) if attrs is not None and LIMIT in attrs else FORMS[0].out
