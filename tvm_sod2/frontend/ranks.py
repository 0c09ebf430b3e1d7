"""Ranks that a model tells by its types, or by nodes that take a value with one rank alone.

Types of sequences often leave the rank of their tensors open, and a vector of unknown length hides
the rank of a Reshape. Nothing is guessed: a node that takes several ranks demands none, and the
``match_cast`` to a rank found here is checked at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from onnx import GraphProto, NodeProto

from tvm_sod2.frontend.check import DEFAULT_DOMAINS, subgraphs, walk

Ranks = dict[str, int]
Demand = Callable[[NodeProto, Ranks], Iterator[tuple[str, int]]]


def known_ranks(graph: GraphProto) -> Ranks:
    """Ranks of tensors by name, in a graph and all graphs inside it.

    A name that stands for values of two ranks, in two arms say, has none here.
    """
    declared = dict(_declared(graph))
    found = {name: {rank} for name, rank in declared.items()}
    nodes = list(walk(graph))
    for name, rank in (
        pair for node in nodes for arm in subgraphs(node) for pair in _declared(arm)
    ):
        found.setdefault(name, set()).add(rank)
    ranks = _single(found)
    for node in reversed(nodes):
        demand = _DEMANDS.get(node.op_type) if node.domain in DEFAULT_DOMAINS else None
        for name, rank in demand(node, ranks) if demand else ():
            found.setdefault(name, set()).add(rank)
            ranks[name] = rank
    return _single(found) | declared


def _single(found: dict[str, set[int]]) -> Ranks:
    return {name: next(iter(ranks)) for name, ranks in found.items() if len(ranks) == 1}


def _declared(graph: GraphProto) -> Iterator[tuple[str, int]]:
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            yield value.name, len(value.type.tensor_type.shape.dim)
    for tensor in graph.initializer:
        yield tensor.name, len(tensor.dims)


def _fixed(rank: int, operands: int = 1) -> Demand:
    def demand(node: NodeProto, ranks: Ranks) -> Iterator[tuple[str, int]]:
        return ((name, rank) for name in node.input[:operands])

    return demand


def _entries_of(attribute: str, more: int = 0) -> Demand:
    """As many axes as an attribute has entries, and some more."""

    def demand(node: NodeProto, ranks: Ranks) -> Iterator[tuple[str, int]]:
        for attr in node.attribute:
            if attr.name == attribute:
                yield node.input[0], len(attr.ints) + more

    return demand


def _as_weights(node: NodeProto, ranks: Ranks) -> Iterator[tuple[str, int]]:
    if node.input[1] in ranks:
        yield node.input[0], ranks[node.input[1]]
    yield from _entries_of("kernel_shape", 2)(node, ranks)


def _as_result(node: NodeProto, ranks: Ranks) -> Iterator[tuple[str, int]]:
    if node.output[0] in ranks:
        yield node.input[0], ranks[node.output[0]]


def _all_alike(node: NodeProto, ranks: Ranks) -> Iterator[tuple[str, int]]:
    known = [ranks[name] for name in (*node.input, *node.output) if name in ranks]
    return ((name, known[0]) for name in node.input if known)


def _broadcast(node: NodeProto, ranks: Ranks) -> Iterator[tuple[str, int]]:
    """The one operand of unknown rank has that of the result where no other has."""
    result = ranks.get(node.output[0])
    open_ = [name for name in node.input if name not in ranks]
    known = [ranks[name] for name in node.input if name in ranks]
    if result is not None and len(open_) == 1 and all(rank < result for rank in known):
        yield open_[0], result


def _each(names: str, demand: Demand) -> dict[str, Demand]:
    return dict.fromkeys(names.split(), demand)


_DEMANDS: dict[str, Demand] = {
    **_each(
        """Abs Cast Ceil Clip CumSum Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity
        LayerNormalization LeakyRelu Log LogSoftmax Mish Neg Not Relu Round Sigmoid Sign Slice
        Softmax Softplus Sqrt Tanh TopK""",
        _as_result,
    ),
    **_each("Add And Div Equal Max Min Mul Or Pow Sub Sum Where", _broadcast),
    **_each("Conv ConvInteger ConvTranspose", _as_weights),
    **_each("AveragePool LpPool MaxPool", _entries_of("kernel_shape", 2)),
    **_each("DepthToSpace SpaceToDepth", _fixed(4)),
    **_each("GRU LSTM RNN", _fixed(3)),
    "Concat": _all_alike,
    "Gemm": _fixed(2, operands=2),
    "Transpose": _entries_of("perm"),
}
