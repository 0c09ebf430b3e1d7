"""Discrete Fourier transforms as products with tables of cosines and sines.

A table of known size is computed here, in float64; one of a size that only the run knows is made of
tensor arithmetic. The product k t is taken modulo the size first, in integers, so that the angle is
small and exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.matmul import matmul
from tvm_sod2.frontend.converters.pad import dim_tensor
from tvm_sod2.frontend.dims import floordiv

Attrs = dict[str, Any]
Inputs = list[Any]
Complex = tuple[Expr, "Expr | None"]  # an imaginary part of None is 0

_MAX_TABLE = 1 << 22
"""Entries of a table that becomes a constant of the executable."""


def _tables(c: Context, size: Dim, bins: Dim, dtype: str) -> tuple[Expr, Expr]:
    """Return cos and sin of 2 pi k t / size, each of shape (size, bins)."""
    if isinstance(size, int) and isinstance(bins, int) and size * bins <= _MAX_TABLE:
        turns = np.outer(np.arange(size), np.arange(bins)) % max(size, 1) / max(size, 1)
        angles = 2 * math.pi * turns
        return const(np.cos(angles), dtype), const(np.sin(angles), dtype)
    count = dim_tensor(c, size)
    steps = c.emit(
        R.multiply(c.reshape(c.iota(size), [size, 1]), c.reshape(c.iota(bins), [1, bins]))
    )
    turns = c.astype(c.emit(R.floor_mod(steps, count)), dtype)
    angles = c.emit(R.multiply(turns, const(2 * math.pi, dtype)))
    angles = c.emit(R.divide(angles, c.astype(count, dtype)))
    return c.emit(R.cos(angles)), c.emit(R.sin(angles))


def transform(c: Context, x: Complex, size: Dim, bins: Dim, inverse: bool = False) -> Complex:
    """Return the first ``bins`` entries of the transform over the last axis, of ``size``."""
    real, imaginary = x
    cos, sin = _tables(c, size, bins, c.dtype(real))
    plus, minus = (R.subtract, R.add) if inverse else (R.add, R.subtract)
    a, b = matmul(c, real, cos), matmul(c, real, sin)
    if imaginary is None:
        low, high = a, b if inverse else c.emit(R.negative(b))
    else:
        low = c.emit(plus(a, matmul(c, imaginary, sin)))
        high = c.emit(minus(matmul(c, imaginary, cos), b))
    if inverse:
        scale = c.astype(dim_tensor(c, size), c.dtype(real))
        low, high = c.emit(R.divide(low, scale)), c.emit(R.divide(high, scale))
    return low, high


def _parts(c: Context, x: Expr) -> Complex:
    """Return real and imaginary part of a tensor whose last axis holds them, or only the first."""
    dims = c.dims(x)
    if dims[-1] == 1:
        return c.reshape(x, dims[:-1]), None
    parts = [c.reshape(c.take(x, c.ints([i]), len(dims) - 1), dims[:-1]) for i in range(2)]
    if dims[-1] != 2:
        # One or two, as the run will have it: the second is the first again where there is one.
        there = c.astype(c.emit(R.subtract(dim_tensor(c, dims[-1]), c.ints(1))), c.dtype(x))
        parts[1] = c.emit(R.multiply(parts[1], there))
    return parts[0], parts[1]


def _joined(c: Context, x: Complex) -> Expr:
    parts = [c.emit(R.expand_dims(part, -1)) for part in x if part is not None]
    return c.emit(R.concat(parts, c.rank(parts[0]) - 1))


def _dft(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    x, length = inputs[0], inputs[1] if len(inputs) > 1 else None
    rank = c.rank(x)
    if c.opset >= 20:
        given = inputs[2] if len(inputs) > 2 else None
        axis = -2 if given is None else int(c.require_constant(given, "axis").reshape(()))
    else:
        axis = attrs.get("axis", 1)
    axis = c.axis(axis, rank)
    onesided, inverse = bool(attrs.get("onesided")), bool(attrs.get("inverse"))
    order = [i for i in range(rank - 1) if i != axis] + [axis]
    parts = [p if p is None else c.emit(R.permute_dims(p, order)) for p in _parts(c, x)]
    size = c.dims(parts[0])[-1]
    whole = size
    if onesided and inverse:
        # Half of a conjugate-symmetric transform: the rest follows from it.
        whole = (size - 1) * 2
    if length is not None:
        symbols = c.symbols_of(c.astype(c.reshape(length, [1]), "int64"), 1, f"{c.hint}_length")
        whole = symbols[0]
    half = floordiv(whole, 2) + 1
    if onesided and inverse:
        if parts[1] is None:
            parts[1] = c.emit(R.multiply(parts[0], c.scalar(0, parts[0])))
        found = _real_inverse(c, (_resized(c, parts[0], half), _resized(c, parts[1], half)), whole)
        result: Complex = (found, None)
    else:
        parts = [p if p is None else _resized(c, p, whole) for p in parts]
        result = transform(c, (parts[0], parts[1]), whole, half if onesided else whole, inverse)
    back = [order.index(i) for i in range(rank - 1)]
    moved = [p if p is None else c.emit(R.permute_dims(p, back)) for p in result]
    return _joined(c, (moved[0], moved[1]))


def _real_inverse(c: Context, half: Complex, whole: Dim) -> Expr:
    """Return the real signal of ``whole`` elements whose transform begins with ``half``."""
    real, imaginary = half
    bins = c.dims(real)[-1]
    cos, sin = (c.emit(R.permute_dims(t, [1, 0])) for t in _tables(c, whole, bins, c.dtype(real)))
    # All but the first, and the middle one of an even number, stand for two.
    place, count = c.iota(bins), dim_tensor(c, whole)
    twice = c.emit(R.multiply(place, c.ints(2)))
    alone = c.emit(R.logical_or(c.emit(R.equal(twice, c.ints(0))), c.emit(R.equal(twice, count))))
    share = c.emit(R.where(alone, c.scalar(1, real), c.scalar(2, real)))
    a = matmul(c, c.emit(R.multiply(real, share)), cos)
    b = matmul(c, c.emit(R.multiply(imaginary, share)), sin)
    return c.emit(R.divide(c.emit(R.subtract(a, b)), c.astype(count, c.dtype(real))))


def _resized(c: Context, x: Expr, size: Dim) -> Expr:
    """Cut the last axis, or fill it up with zeros."""
    dims = c.dims(x)
    if dims[-1] is size or dims[-1] == size:
        return x
    last = len(dims) - 1
    wanted = c.iota(size)
    inside = c.emit(R.less(wanted, dim_tensor(c, dims[-1])))
    return c.emit(R.where(inside, c.take(x, wanted, last), c.scalar(0, x)))


def _stft(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    signal, step, window, length = (*inputs, None, None)[:4]
    one = c.astype(c.reshape(step, [1]), "int64")
    dims = c.dims(signal)
    if length is not None:
        size = c.symbols_of(c.astype(c.reshape(length, [1]), "int64"), 1, f"{c.hint}_frame")[0]
    elif window is not None:
        size = c.dims(window)[0]
    else:
        size = dims[1]
    # As many frames as fit in whole.
    known = c.constant(one)
    stride = c.symbols_of(one, 1, f"{c.hint}_step")[0] if known is None else int(known.item())
    if known is None:
        room = c.emit(R.subtract(dim_tensor(c, dims[1]), dim_tensor(c, size)))
        fit = c.emit(R.add(c.emit(R.floor_divide(c.reshape(room, [1]), one)), c.ints([1])))
        frames = c.symbols_of(fit, 1, f"{c.hint}_frames")[0]
    else:
        frames = floordiv(dims[1] - size, stride) + 1
    first = c.reshape(c.emit(R.multiply(c.iota(frames), one)), [frames, 1])
    places = c.emit(R.add(first, c.reshape(c.iota(size), [1, size])))
    parts = []
    for part in _parts(c, signal) if len(dims) == 3 else (signal, None):
        if part is not None:
            part = c.emit(R.take(part, places, 1, mode="clip"))
            if window is not None:
                part = c.emit(R.multiply(part, c.equate(window, [size])))
        parts.append(part)
    bins = floordiv(size, 2) + 1 if attrs.get("onesided", 1) else size
    return _joined(c, transform(c, (parts[0], parts[1]), size, bins))


CONVERTERS: dict[str, Converter] = {"DFT": _dft, "STFT": _stft}
