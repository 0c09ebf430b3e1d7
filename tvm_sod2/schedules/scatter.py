"""Scatters: a copy of the data, then the updates in order. The kernels come scheduled.

Every dim is symbolic. Where updates replace, the order of two to one place is nobody's business:
threads share them. Where they are combined, one thread does them all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.tirx import PrimFunc

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.kernel import Code, i64
from tvm_sod2.schedules.panels import product

Value = Any

_BLOCK = 8192
"""Elements of a task of the copy."""

_COMBINE: dict[str, Callable[[Value, Value], Value]] = {
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "min": tirx.min,
    "max": tirx.max,
}


def scatter_rows(dtype: str, index: str, depth: int, reduction: str) -> PrimFunc:
    """(data (d_1, ..., d_depth, c), indices (m, depth), updates (m, c), result like the data).

    Row i of the updates goes where row i of the indices says. These are not negative.
    reduction: "update", "add", "mul", "min" or "max".
    """
    dims = [tirx.Var(f"d{axis}", "int64") for axis in range(depth)]
    rows, width = tirx.Var("m", "int64"), tirx.Var("c", "int64")
    data, result = (_buffer(name, [*dims, width], dtype) for name in ("data", "result"))
    indices, updates = (
        _buffer("indices", [rows, depth], index),
        _buffer("updates", [rows, width], dtype),
    )
    code = Code()
    target = _copied(code, data, result)
    source = _flat(code, updates)
    loop = _loop(code, rows, product([rows, width, MOVED]), reduction)
    with loop as row:
        place: Value = i64(0)
        for axis, dim in enumerate(dims):
            place = place * dim + indices[row, axis].astype("int64")
        at = code.slot(place * width, "at")
        with code.loop(width, "j") as j:
            _store(code, target, at + j, source[row * width + j], reduction)
    return _finished([data, indices, updates, result], code)


def scatter_along(dtype: str, index: str, rank: int, axis: int, reduction: str) -> PrimFunc:
    """(data, indices, updates like the indices, result like the data).

    Each update goes to its own place but along the axis, where the index says, from the end if
    it is negative. The indices may be fewer than the data along any axis.
    """
    dims = [tirx.Var(f"d{a}", "int64") for a in range(rank)]
    given = [tirx.Var(f"m{a}", "int64") for a in range(rank)]
    data, result = (_buffer(name, dims, dtype) for name in ("data", "result"))
    indices, updates = _buffer("indices", given, index), _buffer("updates", given, dtype)
    code = Code()
    target = _copied(code, data, result)
    places, source = _flat(code, indices), _flat(code, updates)
    stride = product([i64(1), *dims[axis + 1 :]])
    work = product([*given, MOVED])

    def walk(at: list[Value]) -> None:
        """Loops over all axes but the last, whose place and update are known by then."""
        if len(at) < rank - 1:
            extent = given[len(at)]
            loop = code.loop(extent, "i") if at else _loop(code, extent, work, reduction)
            with loop as i:
                walk([*at, i])
            return
        row: Value = i64(0)
        start: Value = i64(0)
        for a, i in enumerate(at):
            row = row * given[a] + i
            start = start * dims[a] + (i64(0) if a == axis else i)
        row = code.slot(row * given[-1], "row")
        start = code.slot(start * dims[-1], "start")
        with code.loop(given[-1], "j") as j:
            place = places[row + j].astype("int64")
            place = tirx.Select(place < i64(0), place + dims[axis], place) * stride
            own = i64(0) if axis == rank - 1 else j
            _store(code, target, start + own + place, source[row + j], reduction)

    walk([])
    return _finished([data, indices, updates, result], code)


def _buffer(name: str, dims: Sequence[Value], dtype: str) -> Any:
    return tirx.decl_buffer([i64(dim) for dim in dims], dtype, name, layout=None)


def _flat(code: Code, buffer: Any) -> Any:
    """The buffer's elements in a row."""
    size = product(list(buffer.ty.shape))
    flat = tirx.decl_buffer((size,), buffer.ty.dtype, name=f"{buffer.name}_flat")
    code.add(tirx.DeclBuffer(flat, data=buffer.data))
    return flat


def _copied(code: Code, data: Any, result: Any) -> Any:
    """Write the data to the result; gives the result's elements in a row."""
    source, target = _flat(code, data), _flat(code, result)
    size = product(list(data.ty.shape))
    blocks = tirx.floordiv(size + i64(_BLOCK - 1), i64(_BLOCK))
    with code.tasks(blocks, "block", size * i64(MOVED)) as block:
        start = code.slot(block * i64(_BLOCK), "start")
        with code.loop(tirx.min(i64(_BLOCK), size - start), "j") as j:
            code.store(target, source[start + j], start + j)
    return target


def _loop(code: Code, extent: Value, work: Value, reduction: str) -> Any:
    """The outermost loop over updates."""
    return code.loop(extent, "i") if reduction in _COMBINE else code.tasks(extent, "i", work)


def _store(code: Code, target: Any, at: Value, update: Value, reduction: str) -> None:
    combine = _COMBINE.get(reduction)
    code.store(target, update if combine is None else combine(target[at], update), at)


def _finished(params: list[Any], code: Code) -> PrimFunc:
    func = PrimFunc(params, code.body())
    return func.with_attrs({"tirx.noalias": True, "tirx.is_scheduled": True})
