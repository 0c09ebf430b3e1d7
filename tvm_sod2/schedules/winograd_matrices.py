"""The transforms of Winograd's F(4x4, 3x3) and F(2x2, 3x3) for convolution.

Toom-Cook with the points 0, +-3/4, +-3/2 and infinity for tiles of 4x4 outputs (Lavin and Gray,
arXiv 1509.09308, use 0, +-1, +-2), chosen for accuracy: over 96 channels of random data the largest
error is then 1.5e-6 of the largest output, against 1.3e-5 for the usual points and 0.9e-6 for
direct summation in float32. Tiles of 2x2 have 0, +-1 and infinity and the error of direct
summation. Every constant of the data and output transforms is exact in float32; weights transformed
at build are so in float64, those transformed by the kernel in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_sod2.schedules.kernel import f32, splat

# Names a vector, so that it is computed once.
Name = Callable[[Any], Any]

# Vectors of so many lanes along one row or column to the vectors that they make.
Transform = Callable[[Sequence[Any], int, Name], list[Any]]

TAPS = 3

_A, _B = 0.75, 1.5


@dataclass(frozen=True)
class Form:
    """F(out x out, 3 x 3), given by its points; infinity is one more.

    Attributes:
        out: outputs of a tile along one axis.
        filter, data, output: G, B^T and A^T times the taps, inputs or products of one axis.
    """

    out: int
    points: tuple[float, ...]
    filter: Transform
    data: Transform
    output: Transform

    @property
    def size(self) -> int:
        """Inputs of a tile along one axis."""
        return self.out + TAPS - 1

    @property
    def products(self) -> int:
        """Multiplications of a tile for a pair of channels."""
        return self.size**2

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """Weights [3, 3, I, O] as [products, I, O] in float64: G g G^T for each pair."""
        g = np.zeros((self.size, TAPS))
        for i, p in enumerate(self.points):
            g[i] = np.array([1, p, p * p]) / np.prod([p - q for q in self.points if q != p])
        g[-1, -1] = 1
        moved = np.einsum("ai,bj,ijcd->abcd", g, g, weight.astype(np.float64))
        return moved.reshape(self.products, *weight.shape[2:])


def _filter4(g: Sequence[Any], lanes: int, name: Name) -> list[Any]:
    """Three weights to six values, 13 operations."""

    def times(factor: float, value: Any) -> Any:
        return splat(f32(factor), lanes) * value

    aa, bb = _A * _A, _B * _B
    scale_a, scale_b = 1 / (2 * aa * (aa - bb)), 1 / (2 * bb * (bb - aa))
    even_a, odd_a = (times(scale_a, g[0] + times(aa, g[2])), times(scale_a * _A, g[1]))
    even_b, odd_b = (times(scale_b, g[0] + times(bb, g[2])), times(scale_b * _B, g[1]))
    even_a, odd_a, even_b, odd_b = map(name, (even_a, odd_a, even_b, odd_b))
    return [
        name(times(1 / (aa * bb), g[0])),
        name(even_a + odd_a),
        name(even_a - odd_a),
        name(even_b + odd_b),
        name(even_b - odd_b),
        g[2],
    ]


def _data4(d: Sequence[Any], lanes: int, name: Name) -> list[Any]:
    """Six inputs to six values, 12 operations."""
    aa, bb, product, total = (
        splat(f32(c), lanes) for c in (_A * _A, _B * _B, (_A * _B) ** 2, _A * _A + _B * _B)
    )
    even_a, odd_a = name(d[4] - bb * d[2]), name(d[3] - bb * d[1])
    even_b, odd_b = name(d[4] - aa * d[2]), name(d[3] - aa * d[1])
    a, b = splat(f32(_A), lanes), splat(f32(_B), lanes)
    return [
        name(d[4] - total * d[2] + product * d[0]),
        name(even_a + a * odd_a),
        name(even_a - a * odd_a),
        name(even_b + b * odd_b),
        name(even_b - b * odd_b),
        name(d[5] - total * d[3] + product * d[1]),
    ]


def _output4(m: Sequence[Any], lanes: int, name: Name) -> list[Any]:
    """Six products to four outputs."""

    def times(factor: float, value: Any) -> Any:
        return splat(f32(factor), lanes) * value

    sum_a, difference_a = name(m[1] + m[2]), name(m[1] - m[2])
    sum_b, difference_b = name(m[3] + m[4]), name(m[3] - m[4])
    return [
        name(m[0] + sum_a + sum_b),
        name(times(_A, difference_a) + times(_B, difference_b)),
        name(times(_A**2, sum_a) + times(_B**2, sum_b)),
        name(m[5] + times(_A**3, difference_a) + times(_B**3, difference_b)),
    ]


def _filter2(g: Sequence[Any], lanes: int, name: Name) -> list[Any]:
    """Three weights to four values."""
    half = splat(f32(0.5), lanes)
    even, odd = name(half * (g[0] + g[2])), name(half * g[1])
    return [name(splat(f32(0.0), lanes) - g[0]), name(even + odd), name(even - odd), g[2]]


def taps_of(v: Sequence[Any], lanes: int, name: Name) -> list[Any]:
    """The three weights that F(2x2, 3x3) made four values of."""
    return [name(splat(f32(0.0), lanes) - v[0]), name(v[1] - v[2]), v[3]]


def _data2(d: Sequence[Any], _lanes: int, name: Name) -> list[Any]:
    """Four inputs to four values."""
    return [name(d[2] - d[0]), name(d[2] + d[1]), name(d[2] - d[1]), name(d[3] - d[1])]


def _output2(m: Sequence[Any], _lanes: int, name: Name) -> list[Any]:
    """Four products to two outputs."""
    return [name(m[0] + m[1] + m[2]), name(m[1] - m[2] + m[3])]


FOUR = Form(4, (0.0, _A, -_A, _B, -_B), _filter4, _data4, _output4)
TWO = Form(2, (0.0, 1.0, -1.0), _filter2, _data2, _output2)

# All there are, the largest tile first.
FORMS = (FOUR, TWO)
