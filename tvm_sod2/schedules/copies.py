"""Copies that no pass looks into: for state that is kept in one place and overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.ir import Expr

from tvm_sod2.schedules.grain import MOVED
from tvm_sod2.schedules.kernel import Code, i64
from tvm_sod2.schedules.panels import product


def copy_kernel(rank: int, dtype: str) -> tirx.PrimFunc:
    """(source, target): all elements, whatever the dims."""
    source, target = (_buffer(name, rank, dtype) for name in ("source", "target"))
    return _kernel([source, target], source, target)


def overwrite_kernel(rank: int, dtype: str, after: Sequence[tuple[int, str]]) -> tirx.PrimFunc:
    """(target, source, operands that are not read): for `call_tir_inplace` on the first.

    after: rank and dtype of the further operands. They make the call wait for what computes them,
    and so for everything that still reads the target.
    """
    target, source = (_buffer(name, rank, dtype) for name in ("target", "source"))
    waited = [_buffer(f"after_{i}", *kind) for i, kind in enumerate(after)]
    return _kernel([target, source, *waited], source, target)


def slice_kernel(rank: int, dtype: str) -> tirx.PrimFunc:
    """(all, slice, number): for `call_tir_inplace` on the first, whose slice is written."""
    whole, source = _buffer("all", rank + 1, dtype), _buffer("slice", rank, dtype)
    number = tirx.decl_buffer([], "int64", "number", layout=None)
    code = Code()
    _copy(code, source, whole, [], [number[()]])
    return _finished([whole, source, number], code)


def empty_kernel(rank: int, dtype: str) -> tirx.PrimFunc:
    """(target): writes nothing."""
    return _finished([_buffer("target", rank, dtype)], Code())


def _buffer(name: str, rank: int, dtype: str) -> Any:
    dims = [tirx.Var(f"{name}_{axis}", "int64") for axis in range(rank)]
    return tirx.decl_buffer(dims, dtype, name, layout=None)


def _kernel(params: list[Any], source: Any, target: Any) -> tirx.PrimFunc:
    code = Code()
    _copy(code, source, target, [], [])
    return _finished(params, code)


def _finished(params: list[Any], code: Code) -> tirx.PrimFunc:
    func = tirx.PrimFunc(params, code.body())
    return func.with_attrs({"tirx.is_scheduled": True, "sod2.kernel": "copy"})


def _copy(code: Code, source: Any, target: Any, at: list[Expr], before: list[Expr]) -> None:
    axis = len(at)
    if axis == len(source.shape):
        code.store(target, source[tuple(at)], *before, *at)
        return
    extent, name = i64(source.shape[axis]), f"i{axis}"
    outermost = axis == 0 and len(source.shape) > 1
    work = product([*source.shape, MOVED])
    loop = code.tasks(extent, name, work) if outermost else code.loop(extent, name)
    with loop as i:
        _copy(code, source, target, [*at, i], before)
