"""Checks made before any work: operators known, nodes well formed, values defined."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, defs

from tvm_sod2.errors import ImportModelError, UnsupportedOperatorError
from tvm_sod2.frontend.context import node_label

DEFAULT_DOMAINS = ("", "ai.onnx")


def opset_version(model: onnx.ModelProto) -> int:
    """Return the version of the default operator set that the model was written for.

    The newest for a model that needs none, having operators of other domains only.
    """
    versions = [s.version for s in model.opset_import if s.domain in DEFAULT_DOMAINS]
    newest = defs.onnx_opset_version()
    if not versions and not any(node.domain in DEFAULT_DOMAINS for node in walk(model.graph)):
        return newest
    if not versions:
        domains = ", ".join(s.domain for s in model.opset_import)
        raise ImportModelError(f"the model imports no default operator set, only: {domains}")
    if max(versions) > newest:
        raise ImportModelError(
            f"the model needs operator set {max(versions)}; the installed onnx package knows up "
            f"to {newest}: install a newer onnx"
        )
    return max(versions)


def check_model(model: onnx.ModelProto, supported: set[str]) -> None:
    """Refuse a model with unknown operators (all named at once) or malformed nodes.

    ``supported`` holds operator names; those of other domains as "domain.Name".
    """
    unknown = [node for node in walk(model.graph) if operator_key(node) not in supported]
    if unknown:
        names = sorted({operator_key(node) for node in unknown})
        nodes = "\n".join(f"  {node_label(node)}" for node in unknown)
        raise UnsupportedOperatorError(
            f"{len(names)} operator(s) cannot be imported: {', '.join(names)}\n"
            f"used by {len(unknown)} node(s):\n{nodes}{_advice(names)}"
        )
    opset = opset_version(model)
    for node in walk(model.graph):
        if node.domain in DEFAULT_DOMAINS:
            _check_node(node, opset)
    _check_defined(model.graph, set())


def _advice(operators: list[str]) -> str:
    if not any(name.startswith("com.microsoft.nchwc.") for name in operators):
        return ""
    return (
        "\nOperators of com.microsoft.nchwc fit the machine that saved the model; save it with "
        "graph_optimization_level = ORT_ENABLE_EXTENDED"
    )


def operator_key(node: NodeProto) -> str:
    """Return the name under which the converter of a node's operator is filed."""
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


def walk(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield the nodes of a graph and of all graphs inside it."""
    for node in graph.node:
        yield node
        for subgraph in subgraphs(node):
            yield from walk(subgraph)


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attr in node.attribute:
        if attr.type == AttributeProto.GRAPH:
            yield attr.g
        yield from attr.graphs


# What ONNX Runtime's optimiser writes whatever the operator set: the operator of ONNX that it is,
# and the operator set that brought that.
_WRITTEN_EARLY = {
    "LayerNormalization": ("LayerNormalization", 17),
    "SimplifiedLayerNormalization": ("RMSNormalization", 23),
}


def _check_node(node: NodeProto, opset: int) -> None:
    name, since = _WRITTEN_EARLY.get(node.op_type, (node.op_type, opset))
    try:
        schema = defs.get_schema(name, max(opset, since), "")
    except defs.SchemaError:
        raise ImportModelError(
            f"node {node_label(node)}: operator set {opset} has no such operator"
        ) from None
    for what, count, low, high in (
        ("inputs", len(node.input), schema.min_input, schema.max_input),
        ("outputs", len(node.output), schema.min_output, schema.max_output),
    ):
        if not low <= count <= high:
            wanted = f"{low}" if low == high else f"{low} to {high}"
            raise ImportModelError(
                f"node {node_label(node)}: has {count} {what}, where {wanted} are expected"
            )
    given = {attr.name: attr for attr in node.attribute}
    for name, attr in given.items():
        known = schema.attributes.get(name)
        if known is None:
            expected = ", ".join(sorted(schema.attributes)) or "none"
            raise ImportModelError(
                f"node {node_label(node)}: unknown attribute {name!r} in operator set {opset} "
                f"(known: {expected})"
            )
        # Models of IR version 1 leave the type out.
        if attr.type and int(attr.type) != int(known.type.value):
            raise ImportModelError(
                f"node {node_label(node)}: attribute {name!r} is of type "
                f"{AttributeProto.AttributeType.Name(attr.type)}, where {known.type.name} is "
                "expected"
            )
    for name, known in schema.attributes.items():
        if known.required and name not in given:
            raise ImportModelError(
                f"node {node_label(node)}: the required attribute {name!r} is missing"
            )


def _check_defined(graph: GraphProto, outer: set[str]) -> None:
    known = outer | {value.name for value in graph.input}
    known |= {tensor.name for tensor in graph.initializer}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise ImportModelError(
                    f"node {node_label(node)}: its input {name!r} is not produced before it by "
                    "any node, initialiser or graph input"
                )
        for subgraph in subgraphs(node):
            _check_defined(subgraph, known)
        known |= set(node.output)
    for value in graph.output:
        if value.name not in known:
            raise ImportModelError(f"the graph output {value.name!r} is not produced by any node")
