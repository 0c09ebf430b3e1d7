"""Fused groups for the rules' tests: built with Relax, scheduled, run, compared with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.tirx import PrimFunc

from tvm_sod2.schedules import grain
from tvm_sod2.schedules.rules import RULES
from tvm_sod2.schedules.traits import Traits, host_target

TARGET = host_target()
TRAITS = Traits.from_target(TARGET)

Graph = Callable[..., relax.Expr]


def dims(names: str) -> list[tirx.Var]:
    """Symbolic dims, one per letter."""
    return [tirx.Var(name, "int64") for name in names]


def tensor(*shape: object, dtype: str = "float32") -> relax.TensorType:
    """A tensor type."""
    return relax.TensorType(list(shape), dtype)


def chain(*steps: Graph) -> Graph:
    """A graph of unary steps, each bound to a variable."""

    def build(bb: relax.BlockBuilder, x: relax.Var) -> relax.Expr:
        value: relax.Expr = x
        for step in steps:
            value = bb.emit(step(value))
        return value

    return build


def fused(types: Sequence[relax.TensorType], graph: Graph) -> PrimFunc:
    """The graph as the one PrimFunc that LegalizeOps and FuseTIR make of it."""
    bb = relax.BlockBuilder()
    xs = [relax.Var(f"x{i}", t) for i, t in enumerate(types)]
    with bb.function("group", xs):
        with bb.dataflow():
            out = bb.emit_output(bb.emit(graph(bb, *xs)))
        bb.emit_func_output(out)
    group = bb.get()["group"].with_attr("Primitive", True).without_attr("global_symbol")
    bb = relax.BlockBuilder()
    gvar = bb.add_func(group, "fused")
    ys = [relax.Var(f"x{i}", t) for i, t in enumerate(types)]
    with bb.function("main", ys):
        with bb.dataflow():
            out = bb.emit_output(bb.emit(relax.Call(gvar, ys)))
        bb.emit_func_output(out)
    mod = relax.transform.FuseTIR()(relax.transform.LegalizeOps()(bb.get()))
    return mod["fused"].with_attr("global_symbol", "main")


def schedule(func: PrimFunc, traits: Traits = TRAITS) -> PrimFunc:
    """What the first rule that applies makes of a function."""
    return next(found for rule in RULES if (found := rule(func, traits)) is not None)


def ruled_by(func: PrimFunc) -> str:
    """The name of the first rule that applies."""
    return next(rule.__name__ for rule in RULES if rule(func, TRAITS) is not None)


def compiled(func: PrimFunc) -> Any:
    """A callable of input and output tensors."""
    return tvm.compile(tvm.IRModule({"main": func}), target=TARGET)


class Kernel:
    """A scheduled group that can be called with NumPy arrays, forked and on one thread."""

    def __init__(self, types: Sequence[relax.TensorType], graph: Graph) -> None:
        self.func = fused(types, graph)
        self.count = len(types)
        self.scheduled = schedule(self.func)
        limit, grain.GRAIN = grain.GRAIN, 1
        try:
            forked = schedule(self.func, replace(TRAITS, cores=2))
        finally:
            grain.GRAIN = limit
        alone = schedule(self.func, replace(TRAITS, cores=1))
        names = {"forked": forked, "alone": alone}
        module = tvm.compile(
            tvm.IRModule({k: f.with_attr("global_symbol", k) for k, f in names.items()}),
            target=TARGET,
        )
        self.builds = [module[name] for name in names]

    def __call__(self, *arrays: np.ndarray) -> list[np.ndarray]:
        """The outputs; both builds must agree."""
        sizes: dict[tirx.Var, int] = {}
        for param, array in zip(self.func.params[: self.count], arrays, strict=True):
            for dim, size in zip(param.ty.shape, array.shape, strict=True):
                if isinstance(dim, tirx.Var):
                    sizes[dim] = size
        results = []
        for build in self.builds:
            outputs = [
                tvm.runtime.tensor(np.full(shape_at(p, sizes), 7, str(p.ty.dtype)))
                for p in self.func.params[self.count :]
            ]
            build(*(tvm.runtime.tensor(a) for a in arrays), *outputs)
            results.append([o.numpy() for o in outputs])
        for a, b in zip(*results, strict=True):
            np.testing.assert_array_equal(a, b)
        return results[0]


def shape_at(param: tirx.Var, sizes: dict[tirx.Var, int]) -> list[int]:
    """A buffer's shape with its dims known."""
    analyzer = tvm.sym.Analyzer()
    values = {hash(v): tirx.IntImm("int64", n) for v, n in sizes.items()}
    return [
        int(
            analyzer.simplify(
                tvm_ffi.structural_map(d, [(tirx.Var, lambda v: values.get(hash(v), v))])
            )
        )
        for d in param.ty.shape
    ]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
