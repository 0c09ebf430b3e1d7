"""Grows a random graph node by node; a node that no peer can compute is not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .drawing import SAMPLES, Drawing, RejectedError
from .peers import IR_VERSION, Peer, PeerError, read_names
from .ties import mirrored, tame
from .values import Arrays, Case, Held, Listed, Value, declared

# Operators that only move, choose or count entries: their results carry no rounding of their own.
_EXACT = frozenset(
    [
        "Abs",
        "CenterCropPad",
        "Compress",
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GatherElements",
        "GatherND",
        "GlobalMaxPool",
        "Identity",
        "If",
        "Max",
        "MaxPool",
        "Min",
        "Neg",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Relu",
        "Reshape",
        "ReverseSequence",
        "ScatterElements",
        "ScatterND",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Trilu",
        "Unique",
        "Unsqueeze",
        "Where",
    ]
)


class Growth(Drawing):
    """A graph under growth.

    opset: of the model. free: also draw operands whose dims broadcast at some samples and are equal
    at others.
    """

    def __init__(self, rng: np.random.Generator, opset: int, free: bool = False) -> None:
        super().__init__(rng, free)
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.terminal: list[Value] = []
        """Infinite or undefined values: outputs, read by nobody."""
        self.depth = 0
        """How many bodies of control flow are open."""

    def op(self, op_type: str, *inputs: Held | None, **attributes: Any) -> Value:
        return self.ops(op_type, 1, *inputs, **attributes)[0]

    def ops(self, op_type: str, count: int, *inputs: Held | None, **attributes: Any) -> list[Value]:
        """Add a node whose `count` results are tensors; RejectedError where the peers refuse it."""
        values = self.group([self.node(op_type, count, *inputs, **attributes)])
        return [value for value in values if isinstance(value, Value)]

    def sequence(self, op_type: str, *inputs: Held | None, **attributes: Any) -> Listed:
        """Add a node whose result is a sequence; RejectedError where the peers refuse it."""
        (value,) = self.group([self.node(op_type, 1, *inputs, **attributes)])
        assert isinstance(value, Listed)
        return value

    def node(
        self, op_type: str, count: int, *inputs: Held | str | None, **attributes: Any
    ) -> onnx.NodeProto:
        """A node for `group`; inputs: values, or names of results of nodes before it."""
        names = [self._name("v") for _ in range(count)]
        given = [getattr(value, "name", value) or "" for value in inputs]
        return helper.make_node(op_type, given, names, **attributes)

    def group(self, nodes: Sequence[onnx.NodeProto]) -> list[Held]:
        """Add nodes of which only the last one's results are values for others."""
        values = self._evaluated(nodes)
        tame = [self._accept(value) for value in values]
        self.nodes += nodes
        for node in nodes:
            for name in read_names(node):
                self._uses[name] += 1
        for value, good in zip(values, tame, strict=True):
            self.by_name[value.name] = value
            if isinstance(value, Listed):
                self.sequences.append(value)
            else:
                (self.visible if good else self.terminal).append(value)
        if not all(tame) and self.depth:
            raise RejectedError
        return values

    def _evaluated(self, nodes: Sequence[onnx.NodeProto]) -> list[Held]:
        own = {name for node in nodes for name in node.output}
        named = (name for node in nodes for name in read_names(node) if name not in own)
        reads = {name: self.by_name[name] for name in named}
        constants = {n: v.some for n, v in reads.items() if v.constant and isinstance(v, Value)}
        feeds = {name: value for name, value in reads.items() if not value.constant}
        names = nodes[-1].output
        try:
            infos = list(map(declared, feeds.values()))
            peer = Peer(nodes, names, self.opset, constants, infos, self.depth > 0)
        except PeerError as error:
            raise RejectedError(str(error)) from error
        exact: list[list[Any] | None] = []
        noisy: list[list[Any] | None] = []
        other: list[list[Any] | None] = []
        for sample in range(SAMPLES):
            try:
                if not self.alive[sample]:
                    raise PeerError("dead")
                results = peer.run({n: _at(v.exact, sample) for n, v in feeds.items()})
                others = peer.run({n: _at(v.noisy, sample) for n, v in feeds.items()})
                opposite = peer.run({n: mirrored(v, sample) for n, v in feeds.items()})
            except PeerError:
                for each in (exact, noisy, other):
                    each.append(None)
                continue
            exact.append(results)
            other.append(opposite)
            rounds = not all(node.op_type in _EXACT for node in nodes)
            noisy.append([self._disturbed(rounds, *p) for p in zip(results, others, strict=True)])
        self._bury([results is not None for results in exact])

        def held(second: list[list[Any] | None]) -> list[Held]:
            return [
                _held(
                    name,
                    [None if r is None else r[i] for r in exact],
                    [None if r is None else r[i] for r in second],
                    peer.element(i),
                )
                for i, name in enumerate(names)
            ]

        for value in held(other):
            tame(value)
        return held(noisy)

    def _bury(self, computed: list[bool]) -> None:
        """Go on without the samples that the peers refused, or reject the node."""
        lost = sum(self.alive) - sum(computed)
        if not any(computed) or (lost and (self.depth or self.flip(0.93))):
            raise RejectedError
        if lost:
            self.alive = computed
            self.by_name = {name: value.at(computed) for name, value in self.by_name.items()}
            self.visible = [value.at(computed) for value in self.visible]
            self.sequences = [value.at(computed) for value in self.sequences]

    def _disturbed(self, rounds: bool, exact: Any, noisy: Any) -> Any:
        if isinstance(exact, list):
            if len(exact) != len(noisy):
                raise RejectedError
            return [self._disturbed(rounds, *pair) for pair in zip(exact, noisy, strict=True)]
        if exact.dtype.kind != "f" or not rounds:
            return noisy
        if np.array_equal(exact, noisy) and np.array_equal(exact * 256, np.round(exact * 256)):
            return noisy
        ulps = 1e-3 if exact.dtype.itemsize == 2 else 1e-6
        with np.errstate(all="ignore"):
            factor = 1 + ulps * self.rng.uniform(-1, 1, noisy.shape)
            return np.asarray(noisy * factor, noisy.dtype)

    def _accept(self, value: Held) -> bool:
        """Whether others may read the value. Raises RejectedError where it cannot be compared."""
        finite = tame(value)
        if not finite and (isinstance(value, Listed) or self.flip(0.8)):
            raise RejectedError
        return finite

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Undo everything added inside when it raises RejectedError."""
        nodes, size, visible = self.nodes, len(self.nodes), list(self.visible)
        sequences, by_name = list(self.sequences), dict(self.by_name)
        state = (self.depth, list(self.alive), list(self.terminal), Counter(self._uses),
                 len(self.inputs))  # fmt: skip
        try:
            yield
        except RejectedError:
            self.nodes, self.visible, self.sequences = nodes, visible, sequences
            self.by_name = by_name
            del nodes[size:]
            self.depth, self.alive, self.terminal, self._uses, count = state
            del self.inputs[count:], self._input_infos[count:]
            raise

    @contextmanager
    def body(self, formals: Sequence[Held] = ()) -> Iterator[list[onnx.NodeProto]]:
        """Open a subgraph: nodes added inside go to the list given."""
        outer, seen, sequences = self.nodes, list(self.visible), list(self.sequences)
        inputs = len(self.inputs)
        self.nodes = []
        self.depth += 1
        self.by_name.update({formal.name: formal for formal in formals})
        self.visible = [*seen, *(value for value in formals if isinstance(value, Value))]
        self.sequences += [value for value in formals if isinstance(value, Listed)]
        yield self.nodes
        self.nodes, self.depth = outer, self.depth - 1
        self.visible, self.sequences = seen + self.inputs[inputs:], sequences

    def formal(self, arrays: Arrays) -> Value:
        """An input of a body, as it is at the first trip."""
        return Value(self._name("f"), arrays, arrays)

    def formal_sequence(self, sequence: Listed) -> Listed:
        """An input of a body that is a sequence, as it is at the first trip."""
        return Listed(self._name("f"), sequence.exact, sequence.exact, sequence.dtype)

    def model(self) -> Case:
        """The finished graph; what nobody reads is an output, and some of what is read."""
        made = {name for node in self.nodes for name in node.output}
        held: list[Held] = [*self.visible, *self.sequences]
        results = [v for v in held if v.name in made]
        ends = [v for v in results if not self._uses[v.name]]
        kept = [v for v in results if self._uses[v.name] and self.flip(0.1)]
        outputs = [*ends, *kept, *(v for v in self.terminal if v.name in made)]
        if not outputs:
            raise RejectedError
        read = {name for node in self.nodes for name in read_names(node)}
        constants = [v for v in self.by_name.values() if isinstance(v, Value) and v.constant]
        weights = [v for v in constants if v.name in read]
        infos = [info for info in self._input_infos if info.name in read]
        graph = helper.make_graph(
            self.nodes, "fuzz", infos,
            [declared(v) for v in outputs],
            [numpy_helper.from_array(v.some, v.name) for v in weights],
        )  # fmt: skip
        imports = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        given = [v for v in self.inputs if v.name in read]
        feeds = [
            {v.name: a for v in given if (a := v.exact[s]) is not None} for s in range(SAMPLES)
        ]
        read |= made
        values = {n: v for n, v in self.by_name.items() if n in read and not v.constant}
        values |= {v.name: v for v in given}
        return Case(model, self.sizes, feeds, values, list(self.alive))


def _held(name: str, exact: list, noisy: list, dtype: str) -> Held:
    if any(isinstance(result, list) for result in exact):
        return Listed(name, exact, noisy, dtype)
    return Value(name, exact, noisy)


def _at(arrays: Sequence[Any], sample: int) -> Any:
    array = arrays[sample]
    if array is None:
        raise PeerError("dead")
    return array
