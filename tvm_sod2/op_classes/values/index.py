"""Gathering and scattering: an index that is an expression picks an entry nobody can name.

Negative indices are not followed where the compiled kernels do not wrap them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Values
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import (
    constants,
    in_front,
    is_small,
    number,
    small_dims,
    stored,
)

_COMBINE: dict[str, Callable[[Arithmetic, Entry, Entry], Entry]] = {
    "update": lambda _arithmetic, _old, new: new,
    "add": Arithmetic.add,
    "mul": Arithmetic.multiply,
    "min": Arithmetic.minimum,
    "max": Arithmetic.maximum,
}


def take(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """Entries at constant indices; where an index is not constant the entry is unknown."""
    source, index = facts[0].value, facts[1].value
    if source is None or index is None:
        return None
    axis = None if call.attrs.axis is None else int(call.attrs.axis)
    size = source.size if axis is None else source.shape[axis]
    places = np.frompyfunc(lambda i: _place(i, size, str(call.attrs.mode)), 1, 1)(index)
    places = np.asarray(places, dtype=object)
    missing = np.array([i is None for i in places.flat], dtype=bool).reshape(places.shape)
    if size == 0 or not is_small(places.size * max(source.size // size, 1)):
        return None
    found = np.asarray(np.take(source, np.where(missing, 0, places).astype(np.int64), axis=axis))
    result = np.array(found, dtype=object)
    before = 0 if axis is None else axis % source.ndim
    result[(slice(None),) * before + (missing,)] = None
    return result


def _place(index: Entry, size: int, mode: str) -> int | None:
    """The position that `index` means in Relax's mode, None where nobody can name it."""
    if not isinstance(index, int) or size == 0:
        return None
    if mode == "wrap":
        return index % size
    if mode == "clip":
        return min(max(index, 0), size - 1)
    return index if 0 <= index < size else None


def gather_elements(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    source, index, axis = facts[0].value, constants(facts[1]), int(call.attrs.axis)
    if source is None or index is None or not in_front(index, source.shape[axis]):
        return None
    places: list[np.ndarray] = list(np.indices(index.shape))
    places[axis] = index
    return source[tuple(places)]


def gather_nd(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """The last axis of the indices runs over axes of the data; batch_dims axes go in parallel."""
    source, index, batch = facts[0].value, constants(facts[1]), int(call.attrs.batch_dims)
    if source is None or index is None or index.ndim == 0:
        return None
    depth = index.shape[-1]
    if not in_front(index, np.asarray(source.shape[batch : batch + depth], dtype=np.int64)):
        return None
    lead = list(np.indices(index.shape[:-1])[:batch])
    if any((places >= size).any() for places, size in zip(lead, source.shape, strict=False)):
        return None
    found = source[(*lead, *np.moveaxis(index, -1, 0))]
    return np.asarray(found, dtype=object)


def index_tensor(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """NumPy's advanced indexing by several index tensors on the first axes."""
    source, dims = facts[0].value, small_dims(call.ty)
    indices = [constants(field) for field in facts[1].fields]
    if source is None or dims is None or any(index is None for index in indices):
        return None
    known = [index for index in indices if index is not None]
    if not all(in_front(index, n) for index, n in zip(known, source.shape, strict=False)):
        return None
    return np.asarray(source[tuple(known)], dtype=object)


def scatter_elements(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    source, index, updates = facts[0].value, constants(facts[1]), facts[2].value
    axis = int(call.attrs.axis)
    if source is None or index is None or updates is None or index.shape != updates.shape:
        return None
    if not in_front(index, source.shape[axis]):
        return None
    places: list[np.ndarray] = list(np.indices(index.shape))
    places[axis] = index
    return _scattered(call, source, tuple(places), updates, arithmetic)


def scatter_nd(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> Values:
    source, index, updates = facts[0].value, constants(facts[1]), facts[2].value
    if source is None or index is None or updates is None or index.ndim == 0:
        return None
    depth = index.shape[-1]
    if not in_front(index, np.asarray(source.shape[:depth], dtype=np.int64)):
        return None
    if updates.shape != (*index.shape[:-1], *source.shape[depth:]):
        return None
    return _scattered(call, source, tuple(np.moveaxis(index, -1, 0)), updates, arithmetic)


def _scattered(
    call: tvm.ir.Call,
    source: np.ndarray,
    places: tuple[np.ndarray, ...],
    updates: np.ndarray,
    arithmetic: Arithmetic,
) -> Values:
    """One update after the other; two to the same place in "update" mode come in no fixed order."""
    mode = str(call.attrs.reduction)
    if mode not in _COMBINE:
        return None
    result, dtype = source.copy(), str(call.ty.dtype)
    written: set[tuple[int, ...]] = set()
    for position in np.ndindex(places[0].shape):
        at = tuple(int(axis[position]) for axis in places)
        if mode == "update" and at in written:
            return None
        written.add(at)
        window = result[at]
        if isinstance(window, np.ndarray):
            old, new = np.atleast_1d(window), np.atleast_1d(updates[position])
            for inner in np.ndindex(old.shape):
                entry = _COMBINE[mode](arithmetic, old[inner], new[inner])
                window[inner] = stored(arithmetic, entry, dtype)
        else:
            entry = _COMBINE[mode](arithmetic, window, updates[position])
            result[at] = stored(arithmetic, entry, dtype)
    return result


def slice_scatter(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """`src` written over a slice of `input` along one axis."""
    source, updates, axis = facts[0].value, facts[1].value, int(call.attrs.axis)
    begin, end, step = (number(call.args[i], facts[i]) for i in (2, 3, 4))
    if source is None or updates is None or not isinstance(step, int) or step < 1:
        return None
    size = source.shape[axis]
    if not isinstance(begin, int) or not isinstance(end, int) or not 0 <= begin <= end <= size:
        return None
    result = source.copy()
    window = (slice(None),) * (axis % source.ndim) + (slice(begin, end, step),)
    if result[window].shape != updates.shape:
        return None
    result[window] = updates
    return result


def one_hot(call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic) -> Values:
    """on_value at the index, off_value elsewhere; an index outside of the depth is nowhere."""
    index, depth = constants(facts[0]), int(call.attrs.depth)
    on, off = (number(call.args[i], facts[i]) for i in (1, 2))
    if index is None or on is None or off is None or not is_small(index.size * depth):
        return None
    axis = int(call.attrs.axis)
    hits = np.expand_dims(index, axis if axis >= 0 else index.ndim)
    column = [depth if i == axis % hits.ndim else 1 for i in range(hits.ndim)]
    places = np.arange(depth).reshape(column)
    return np.where(hits == places, on, off).astype(object)
