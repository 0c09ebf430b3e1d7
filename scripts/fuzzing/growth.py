"""Grows a random graph node by node; a node that no peer can compute is not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .drawing import MOST_ENTRIES, SAMPLES, Drawing, RejectedError
from .peers import IR_VERSION, Peer, PeerError, read_names
from .values import Arrays, Case, Value, tolerance

LARGEST = 1e4

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

    def op(self, op_type: str, *inputs: Value | None, **attributes: Any) -> Value:
        return self.ops(op_type, 1, *inputs, **attributes)[0]

    def ops(
        self, op_type: str, count: int, *inputs: Value | None, **attributes: Any
    ) -> list[Value]:
        """Add a node with `count` results; raises RejectedError where the peers refuse it."""
        names = [self._name("v") for _ in range(count)]
        given = ["" if value is None else value.name for value in inputs]
        node = helper.make_node(op_type, given, names, **attributes)
        values = self._evaluated(node)
        tame = [self._accept(value) for value in values]
        self.nodes.append(node)
        for name in read_names(node):
            self._uses[name] += 1
        for value, good in zip(values, tame, strict=True):
            self.by_name[value.name] = value
            (self.visible if good else self.terminal).append(value)
        if not all(tame) and self.depth:
            raise RejectedError
        return values

    def _evaluated(self, node: onnx.NodeProto) -> list[Value]:
        reads = {name: self.by_name[name] for name in read_names(node)}
        constants = {name: value.some for name, value in reads.items() if value.constant}
        feeds = {name: value for name, value in reads.items() if not value.constant}
        try:
            peer = Peer(node, self.opset, constants, {n: v.some.dtype for n, v in feeds.items()})
        except PeerError as error:
            raise RejectedError(str(error)) from error
        exact: list[list[np.ndarray] | None] = []
        noisy: list[list[np.ndarray] | None] = []
        for sample in range(SAMPLES):
            try:
                if not self.alive[sample]:
                    raise PeerError("dead")
                results = peer.run({n: _at(v.exact, sample) for n, v in feeds.items()})
                others = peer.run({n: _at(v.noisy, sample) for n, v in feeds.items()})
            except PeerError:
                exact.append(None)
                noisy.append(None)
                continue
            exact.append(results)
            noisy.append([self._disturbed(node.op_type, *p) for p in zip(results, others)])  # noqa: B905
        self._bury([results is not None for results in exact])
        return [
            Value(
                name,
                [None if r is None else r[i] for r in exact],
                [None if r is None else r[i] for r in noisy],
            )
            for i, name in enumerate(node.output)
        ]

    def _bury(self, computed: list[bool]) -> None:
        """Go on without the samples that the peers refused, or reject the node."""
        lost = sum(self.alive) - sum(computed)
        if not any(computed) or (lost and (self.depth or self.flip(0.93))):
            raise RejectedError
        self.alive = computed

    def _disturbed(self, op_type: str, exact: np.ndarray, noisy: np.ndarray) -> np.ndarray:
        if exact.dtype.kind != "f" or op_type in _EXACT:
            return noisy
        if np.array_equal(exact, noisy) and np.array_equal(exact * 256, np.round(exact * 256)):
            return noisy
        ulps = 1e-3 if exact.dtype.itemsize == 2 else 1e-6
        with np.errstate(all="ignore"):
            factor = 1 + ulps * self.rng.uniform(-1, 1, noisy.shape)
            return np.asarray(noisy * factor, noisy.dtype)

    def _accept(self, value: Value) -> bool:
        """Whether others may read the value. Raises RejectedError where it cannot be compared."""
        pairs = [(a, b) for a, b in zip(value.exact, value.noisy, strict=True) if a is not None]
        if len({a.ndim for a, _ in pairs}) != 1 or value.some.dtype.kind not in "biuf":
            raise RejectedError
        tame = True
        for exact, noisy in pairs:
            if noisy is None or exact.shape != noisy.shape or exact.size > MOST_ENTRIES:
                raise RejectedError
            if exact.dtype.kind != "f":
                if not np.array_equal(exact, noisy):
                    raise RejectedError
                small = exact.dtype.kind == "b" or np.abs(exact.astype("float64")).max(initial=0)
                if small > LARGEST:
                    raise RejectedError
                continue
            same = np.array_equal(np.isfinite(exact), np.isfinite(noisy))
            largest = np.abs(exact[np.isfinite(exact)]).max(initial=0)
            if not same or largest > (200 if exact.dtype.itemsize == 2 else LARGEST):
                raise RejectedError
            if tolerance(exact, noisy) > 0.02 * largest + 1e-2:
                raise RejectedError
            tame &= bool(np.isfinite(exact).all())
        if not tame and self.flip(0.8):
            raise RejectedError
        return tame

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Undo everything added inside when it raises RejectedError."""
        nodes, size, visible = self.nodes, len(self.nodes), list(self.visible)
        state = (self.depth, list(self.alive), list(self.terminal), Counter(self._uses),
                 len(self.inputs))  # fmt: skip
        try:
            yield
        except RejectedError:
            self.nodes, self.visible = nodes, visible
            del nodes[size:]
            self.depth, self.alive, self.terminal, self._uses, count = state
            del self.inputs[count:], self._input_infos[count:]
            raise

    @contextmanager
    def body(self, formals: Sequence[Value] = ()) -> Iterator[list[onnx.NodeProto]]:
        """Open a subgraph: nodes added inside go to the list given."""
        outer, seen = self.nodes, list(self.visible)
        inputs = len(self.inputs)
        self.nodes = []
        self.depth += 1
        self.by_name.update({formal.name: formal for formal in formals})
        self.visible = [*seen, *formals]
        yield self.nodes
        self.nodes, self.depth = outer, self.depth - 1
        self.visible = seen + self.inputs[inputs:]

    def formal(self, arrays: Arrays) -> Value:
        """An input of a body, as it is at the first trip."""
        return Value(self._name("f"), arrays, arrays)

    def model(self) -> Case:
        """The finished graph; what nobody reads is an output, and some of what is read."""
        made = {name for node in self.nodes for name in node.output}
        ends = [v for v in self.visible if v.name in made and not self._uses[v.name]]
        kept = [v for v in self.visible if v.name in made and self._uses[v.name] and self.flip(0.1)]
        outputs = [*ends, *kept, *(v for v in self.terminal if v.name in made)]
        if not outputs:
            raise RejectedError
        read = {name for node in self.nodes for name in read_names(node)}
        weights = [v for v in self.by_name.values() if v.constant and v.name in read]
        infos = [info for info in self._input_infos if info.name in read]
        graph = helper.make_graph(
            self.nodes, "fuzz", infos,
            [output_info(v) for v in outputs],
            [numpy_helper.from_array(v.some, v.name) for v in weights],
        )  # fmt: skip
        imports = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
        feeds = [
            {i.name: a for i in infos if (a := self.by_name[i.name].exact[s]) is not None}
            for s in range(SAMPLES)
        ]
        read |= made
        values = {n: v for n, v in self.by_name.items() if n in read and not v.constant}
        return Case(model, self.sizes, feeds, values, list(self.alive))


def output_info(value: Value) -> onnx.ValueInfoProto:
    """The declaration of an output: its dtype, nothing of its shape."""
    dtype = helper.np_dtype_to_tensor_dtype(value.some.dtype)
    return helper.make_tensor_value_info(value.name, dtype, None)


def _at(arrays: Arrays, sample: int) -> np.ndarray:
    array = arrays[sample]
    if array is None:
        raise PeerError("dead")
    return array
