"""Random programs over sequences of float matrices with 3 columns, as ONNX text."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import onnx
from sequence_graphs import Feed, floats, index, model

INPUTS = (
    "seq(float[q,3]) s, float[n,3] x, float[w,3] y, int64 i, int64 j, int64 part, int64 trips, "
    "bool c1, bool c2"
)
MOST_DEPTH = 2


def program(seed: int) -> onnx.ModelProto:
    """Two sequences and two tensors out of some random steps."""
    rng = random.Random(seed)
    block = _Block(rng, [], ["x", "y"], ["s"], 0)
    block.grow(3, 9)
    names = [block.sequences[-1], rng.choice(block.sequences)]
    names += [block.tensors[-1], rng.choice(block.tensors)]
    kinds = ["seq(float[u,3])"] * 2 + ["float[v,3]"] * 2
    outputs = ", ".join(f"{kind} out{k}" for k, kind in enumerate(kinds))
    copies = [f"out{k} = Identity ({name})" for k, name in enumerate(names)]
    yes = "yes = Constant <value = bool {1}> ()"
    return model(f"({INPUTS}) => ({outputs})", "\n".join([yes, *block.lines, *copies]))


def given(seed: int) -> Feed:
    """Inputs with empty sequences and tensors among them."""
    rng = random.Random(seed)
    shapes = [(rng.choice([0, 1, 4]), 3) for _ in range(rng.choice([0, 1, 3]))]
    x, y = floats((rng.choice([0, 1, 2, 5]), 3), (rng.choice([1, 3]), 3), seed=seed)
    numbers = {"i": [0, -1], "j": [0, -1], "part": [1, 2, 7], "trips": [0, 1, 3]}
    return {
        "s": floats(*shapes, seed=seed + 1),
        "x": x,
        "y": y,
        **{name: index(rng.choice(values)) for name, values in numbers.items()},
        **{name: np.asarray(rng.random() < 0.5) for name in ("c1", "c2")},
    }


class _Block:
    """Nodes under construction, and the tensors and sequences that they can use."""

    count = 0

    def __init__(
        self,
        rng: random.Random,
        lines: list[str],
        tensors: list[str],
        sequences: list[str],
        depth: int,
    ) -> None:
        self.rng, self.lines, self.depth = rng, lines, depth
        self.tensors, self.sequences = tensors, sequences

    def grow(self, least: int, most: int) -> None:
        for _ in range(self.rng.randint(least, most)):
            self.rng.choice(_STEPS if self.depth < MOST_DEPTH else _PLAIN)(self)

    def inner(self) -> _Block:
        return _Block(self.rng, [], [*self.tensors], [*self.sequences], self.depth + 1)

    def tensor(self) -> str:
        return self.rng.choice(self.tensors)

    def sequence(self) -> str:
        return self.rng.choice(self.sequences)

    def filled(self) -> str:
        """A sequence that is not empty."""
        return self.emit("filled", f"SequenceInsert ({self.sequence()}, {self.tensor()})")

    def place(self) -> str:
        """The first or the last place, known at import or not."""
        if self.rng.random() < 0.5:
            return self.rng.choice(["i", "j"])
        return self.emit("p", f"Constant <value_int = {self.rng.choice([0, -1])}> ()")

    def name(self, stem: str) -> str:
        _Block.count += 1
        return f"{stem}{_Block.count}"

    def emit(self, stem: str, call: str) -> str:
        name = self.name(stem)
        self.lines.append(f"{name} = {call}")
        return name

    def result(self, value: str) -> str:
        """The value under a name that no other graph has."""
        return self.emit("r", f"Identity ({value})")


def _construct(b: _Block) -> None:
    items = ", ".join(b.tensor() for _ in range(b.rng.randint(1, 3)))
    b.sequences.append(b.emit("s", f"SequenceConstruct ({items})"))


def _append(b: _Block) -> None:
    b.sequences.append(b.filled())


def _insert(b: _Block) -> None:
    call = f"SequenceInsert ({b.filled()}, {b.tensor()}, {b.place()})"
    b.sequences.append(b.emit("s", call))


def _erase(b: _Block) -> None:
    b.sequences.append(b.emit("s", f"SequenceErase ({b.filled()}, {b.place()})"))


def _at(b: _Block) -> None:
    b.tensors.append(b.emit("t", f"SequenceAt ({b.filled()}, {b.place()})"))


def _join(b: _Block) -> None:
    b.tensors.append(b.emit("t", f"ConcatFromSequence <axis = 0> ({b.filled()})"))


def _split(b: _Block) -> None:
    known = b.emit("p", f"Constant <value_int = {b.rng.randint(1, 3)}> ()")
    part = b.rng.choice(["", ", part", f", {known}"])
    b.sequences.append(b.emit("s", f"SplitToSequence <axis = 0> ({b.tensor()}{part})"))


def _negate(b: _Block) -> None:
    b.tensors.append(b.emit("t", f"Neg ({b.tensor()})"))


def _wrap(b: _Block) -> None:
    optional = b.emit("o", f"Optional ({b.sequence()})")
    b.sequences.append(b.emit("s", f"OptionalGetElement ({optional})"))


def _branch(b: _Block) -> None:
    arms = []
    for _ in range(2):
        arm = b.inner()
        arm.grow(0, 3)
        s, t = arm.result(arm.sequences[-1]), arm.result(arm.tensors[-1])
        head = f"graph = {b.name('g')} () => (seq(float[a,3]) {s}, float[b,3] {t})"
        arms.append(f"{head} {{ {' '.join(arm.lines)} }}")
    s, t, condition = b.name("s"), b.name("t"), b.rng.choice(["c1", "c2"])
    b.lines.append(f"{s}, {t} = If ({condition}) <then_branch: {arms[0]}, else_branch: {arms[1]}>")
    b.sequences.append(s)
    b.tensors.append(t)


def _loop(b: _Block) -> None:
    body = b.inner()
    s, t, turn, goes_on = (b.name(stem) for stem in ("s", "t", "i", "b"))
    body.sequences.append(s)
    body.tensors.append(t)
    body.grow(1, 3)
    again = body.result(goes_on)
    s_next = body.result(body.sequences[-1])
    if b.rng.random() < 0.5:
        s_next = body.emit("r", f"SequenceInsert ({s}, {body.tensors[-1]})")
    t_next = body.result(body.tensor()) if b.rng.random() < 0.5 else body.emit("r", f"Neg ({t})")
    head = (
        f"graph = {b.name('g')} (int64 {turn}, bool {goes_on}, seq(float[a,3]) {s}, float[b,3] {t})"
        f" => (bool {again}, seq(float[a,3]) {s_next}, float[b,3] {t_next})"
    )
    values = f"{b.name('s')}, {b.name('t')}"
    call = f"Loop (trips, yes, {b.sequence()}, {b.tensor()})"
    b.lines.append(f"{values} = {call} <body: {head} {{ {' '.join(body.lines)} }}>")
    s_out, t_out = values.split(", ")
    b.sequences.append(s_out)
    b.tensors.append(t_out)


def _map(b: _Block) -> None:
    item, result = b.name("t"), b.name("t")
    head = f"graph = {b.name('g')} (float[a,3] {item}) => (float[b,3] {result})"
    body = f"{head} {{ {result} = Concat <axis = 0> ({item}, {b.tensor()}) }}"
    b.sequences.append(b.emit("s", f"SequenceMap ({b.sequence()}) <body: {body}>"))


_PLAIN: list[Callable[[_Block], None]] = [
    _construct, _append, _insert, _erase, _at, _join, _split, _negate, _wrap
]  # fmt: skip
_STEPS = [*_PLAIN, _branch, _loop, _map]
