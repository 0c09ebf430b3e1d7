"""Concat and split by views: what becomes one, what stays a copy, and the numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import tvm
from tvm import relax

import tvm_sod2
from tvm_sod2.memory import parts
from tvm_sod2.memory.arena import PlanArena
from tvm_sod2.memory.checker import check_memory
from tvm_sod2.memory.parts import ViewParts
from tvm_sod2.passes.lower import explicit_form
from tvm_sod2.pipeline import phases, resolve

SIZES = (0, 1, 3, 16, 29)


def scheduled(mod: tvm.IRModule) -> tvm.IRModule:
    """The module as it is before memory is planned, in explicit form."""
    target = resolve(None)
    with target:
        for phase in phases(target):
            if phase.name == "order":
                break
            mod = tvm.transform.Sequential(phase.passes)(mod)
        return tvm.transform.Sequential(explicit_form())(mod)


def calls(mod: tvm.IRModule, name: str = "main") -> list[str]:
    """Operators and kernels that a function calls, in order."""
    found: list[str] = []
    for block in mod[name].body.blocks:
        for binding in block.bindings:
            if isinstance(binding.value, relax.Call):
                op = binding.value.op
                found.append(op.name_hint if isinstance(op, tvm.ir.GlobalVar) else op.name)
    return found


def copies(mod: tvm.IRModule) -> int:
    return sum("concat" in name or "split" in name for name in calls(mod))


def views(mod: tvm.IRModule) -> int:
    return calls(mod).count("relax.memory.view")


def network(body: Callable[[relax.BlockBuilder, list], relax.Expr], *shapes) -> tvm.IRModule:
    """A module whose main computes `body` of float32 inputs; dims given by name are symbols."""
    dims: dict[str, tvm.tirx.Var] = {}

    def dim(size):
        return dims.setdefault(size, tvm.tirx.Var(size, "int64")) if isinstance(size, str) else size

    xs = [
        relax.Var(f"x{i}", relax.TensorType([dim(d) for d in shape], "float32"))
        for i, shape in enumerate(shapes)
    ]
    bb = relax.BlockBuilder()
    with bb.function("main", xs):
        with bb.dataflow():
            out = bb.emit_output(body(bb, xs))
        bb.emit_func_output(out)
    return bb.get()


def softmax(bb: relax.BlockBuilder, x: relax.Expr) -> relax.Expr:
    return bb.emit(relax.op.nn.softmax(x, axis=-1))


def concat(bb: relax.BlockBuilder, *parts: relax.Expr, axis: int = 1) -> relax.Expr:
    return bb.emit(relax.op.concat(list(parts), axis))


def joined(bb, xs):
    return softmax(bb, concat(bb, *(softmax(bb, x) for x in xs)))


def joined_twice(bb, xs):
    a, b, c = (softmax(bb, x) for x in xs)
    inner = concat(bb, a, b)
    rows = inner.ty.shape[1]
    halves = bb.emit(relax.op.reshape(inner, [1, rows * 2, 8]))
    return bb.emit(relax.op.add(softmax(bb, concat(bb, halves, c)), relax.const(1.0)))


def taken_apart(bb, xs):
    whole = softmax(bb, xs[0])
    pieces = bb.emit(relax.op.split(whole, [3, 7], axis=1))
    first, second, third = (softmax(bb, bb.emit(pieces[i])) for i in range(3))
    return concat(bb, third, first, second)


def used_before_and_after(bb, xs):
    a, b = (softmax(bb, x) for x in xs)
    sums = bb.emit(relax.op.sum(a, axis=[1], keepdims=True))
    whole = softmax(bb, concat(bb, a, b))
    return bb.emit(relax.op.add(bb.emit(relax.op.multiply(whole, sums)), softmax(bb, sums)))


def reference(name: str, xs: list[np.ndarray]) -> np.ndarray:
    def soft(x: np.ndarray) -> np.ndarray:
        e = np.exp(x.astype(np.float64))
        return e / e.sum(-1, keepdims=True)

    if name == "joined":
        return soft(np.concatenate([soft(x) for x in xs], 1))
    if name == "joined_twice":
        a, b, c = (soft(x) for x in xs)
        return soft(np.concatenate([np.concatenate([a, b], 1).reshape(1, -1, 8), c], 1)) + 1
    if name == "taken_apart":
        first, second, third = np.split(soft(xs[0]), [3, 7], axis=1)
        return np.concatenate([soft(third), soft(first), soft(second)], 1)
    a, b = (soft(x) for x in xs)
    sums = a.sum(1, keepdims=True)
    return soft(np.concatenate([a, b], 1)) * sums + soft(sums)


CASES = {
    "joined": (joined, [(1, "n", 16), (1, "m", 16)], 0, 2),
    "joined_twice": (joined_twice, [(1, "n", 16), (1, "m", 16), (1, "k", 8)], 0, 4),
    "taken_apart": (taken_apart, [(1, "n", 16)], 0, 6),
    "used_before_and_after": (used_before_and_after, [(1, "n", 16), (1, "m", 16)], 0, 2),
}


@pytest.mark.parametrize("name", CASES)
def test_views_take_the_place_of_copies_and_the_numbers_stay(name: str) -> None:
    body, shapes, left, made = CASES[name]
    mod = network(body, *shapes)
    explicit = scheduled(mod)
    assert copies(explicit) > 0
    viewed = ViewParts()(explicit)
    assert (copies(viewed), views(viewed)) == (left, made)

    planned = PlanArena()(viewed)
    main = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    names = [shape[1] for shape in shapes]
    rng = np.random.default_rng(0)
    for sizes in product(SIZES, repeat=len(names)):
        if name == "taken_apart" and sizes[0] < 7:
            continue
        check_memory(planned, dict(zip(names, sizes, strict=True)))
        drawn = zip(sizes, shapes, strict=True)
        xs = [rng.standard_normal((1, n, s[-1])).astype(np.float32) for n, s in drawn]
        expected = reference(name, xs)
        found = main(*map(tvm.runtime.tensor, xs)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def of_an_input(bb, xs):
    return softmax(bb, concat(bb, softmax(bb, xs[0]), xs[1]))


def twice_the_same(bb, xs):
    a = softmax(bb, xs[0])
    return softmax(bb, concat(bb, a, softmax(bb, xs[1]), a))


def returned_part(bb, xs):
    a = softmax(bb, xs[0])
    whole = softmax(bb, concat(bb, a, softmax(bb, xs[1])))
    return bb.emit(relax.Tuple([whole, a]))


def two_concats(bb, xs):
    a, b = (softmax(bb, x) for x in xs)
    forth, back = softmax(bb, concat(bb, a, b)), softmax(bb, concat(bb, b, a))
    return bb.emit(relax.op.add(forth, relax.op.sum(back, axis=[1], keepdims=True)))


def returned_pieces(bb, xs):
    return bb.emit(relax.op.split(softmax(bb, xs[0]), [3], axis=1))


REFUSED = {
    "an operand is an input": (of_an_input, [(1, "n", 16), (1, "m", 16)], 1),
    "an operand comes twice": (twice_the_same, [(1, "n", 16), (1, "m", 16)], 1),
    "an operand is returned": (returned_part, [(1, "n", 16), (1, "m", 16)], 1),
    "pieces are returned": (returned_pieces, [(1, "n", 16)], 1),
    "rows of 20 bytes": (joined, [(1, "n", 5), (1, "m", 5)], 1),
    "two images": (joined, [(2, "n", 16), (2, "m", 16)], 1),
    "images whose number is not known": (joined, [("b", "n", 16), ("b", "m", 16)], 1),
    "the second of two concats": (two_concats, [(1, "n", 16), (1, "m", 16)], 1),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_copy_stays(why: str) -> None:
    body, shapes, left = REFUSED[why]
    viewed = ViewParts()(scheduled(network(body, *shapes)))
    assert copies(viewed) == left


def test_rows_of_20_bytes_lie_one_after_another_where_a_part_is_aligned() -> None:
    viewed = ViewParts()(scheduled(network(joined, (1, 16, 5), (1, "m", 5))))
    assert (copies(viewed), views(viewed)) == (0, 2)


def test_a_view_never_raises_the_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first operand is small and early; the whole would be alive while the rest is large."""

    def skip(bb, xs):
        a = softmax(bb, xs[0])
        wide = bb.emit(relax.op.matmul(a, relax.const(np.ones((16, 4096), np.float32))))
        wide = bb.emit(relax.op.nn.softmax(wide, axis=1))
        narrow = bb.emit(relax.op.matmul(wide, relax.const(np.ones((4096, 16), np.float32))))
        tall = bb.emit(relax.op.concat([narrow] * 32, axis=1))
        return softmax(bb, concat(bb, a, softmax(bb, tall)))

    explicit = scheduled(network(skip, (1, "n", 16)))
    before = copies(explicit)
    viewed = ViewParts()(explicit)
    plain, planned = PlanArena()(explicit), PlanArena()(viewed)
    assert before == copies(viewed)
    for n in SIZES:
        assert check_memory(planned, {"n": n}) <= check_memory(plain, {"n": n})
    monkeypatch.setattr(parts, "_peaks", lambda *_: [0])
    assert copies(ViewParts()(explicit)) == before - 1
