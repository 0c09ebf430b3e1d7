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
    for name, formal in zip(node.input, schema.inputs, strict=False):
        if not name and formal.option == defs.OpSchema.FormalParameterOption.Single:
            raise ImportModelError(
                f"node {node_label(node)}: its input {formal.name!r} is missing, which is required"
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
        _check_value(node, attr)
    for arm in subgraphs(node):
        if node.op_type == "If" and len(arm.output) != len(node.output):
            raise ImportModelError(
                f"node {node_label(node)}: an arm has {len(arm.output)} results, where "
                f"{len(node.output)} are expected"
            )
    for name, known in schema.attributes.items():
        if known.required and name not in given:
            raise ImportModelError(
                f"node {node_label(node)}: the required attribute {name!r} is missing"
            )


_POSITIVE = {"blocksize", "dilations", "group", "hidden_size", "kernel_shape", "strides"}
_WORDS = {
    ("Pad", "mode"): ("constant", "reflect", "edge", "wrap"),
    ("Resize", "mode"): ("nearest", "linear", "cubic"),
    ("Upsample", "mode"): ("nearest", "linear", "bilinear"),
}
_AUTO_PAD = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def _check_value(node: NodeProto, attr: AttributeProto) -> None:
    """Attributes of sizes and of words, whose values no type tells."""
    where = f"node {node_label(node)}: attribute {attr.name!r} is"
    numbers = [attr.i] if attr.type == AttributeProto.INT else list(attr.ints)
    if attr.name in _POSITIVE and any(number < 1 for number in numbers):
        found = ", ".join(map(str, numbers))
        raise ImportModelError(f"{where} {found}, where numbers above 0 are expected")
    words = _AUTO_PAD if attr.name == "auto_pad" else _WORDS.get((node.op_type, attr.name))
    word = attr.s.decode("utf-8", "replace")
    if words and word not in words:
        raise ImportModelError(f"{where} {word!r}, where one of {', '.join(words)} is expected")


def check_types(node: NodeProto, opset: int, dtypes: list[str | None]) -> None:
    """Refuse inputs of two types where the operator takes one; dtypes: None for what is no tensor.

    Only of ONNX's own operators, which say what they take.
    """
    if node.domain not in DEFAULT_DOMAINS or not defs.has(node.op_type, opset, ""):
        return
    schema = defs.get_schema(node.op_type, opset, "")
    found: dict[str, tuple[str, str]] = {}
    for place, (name, dtype) in enumerate(zip(node.input, dtypes, strict=True)):
        formal = schema.inputs[min(place, len(schema.inputs) - 1)]
        if dtype is None or "(" in formal.type_str or not formal.is_homogeneous:
            continue
        other, expected = found.setdefault(formal.type_str, (name, dtype))
        if dtype != expected:
            raise ImportModelError(
                f"node {node_label(node)}: its input {name!r} is {dtype}, where {expected} is "
                f"expected as of {other!r}"
            )


def _check_defined(graph: GraphProto, outer: set[str]) -> None:
    inputs = [value.name for value in graph.input]
    here = set(inputs)
    if len(here) < len(inputs):
        twice = sorted({name for name in inputs if inputs.count(name) > 1})
        raise ImportModelError(f"two graph inputs have the same name: {', '.join(twice)}")
    here |= {tensor.name for tensor in graph.initializer}
    here |= {tensor.values.name for tensor in graph.sparse_initializer}
    known = outer | here
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise ImportModelError(
                    f"node {node_label(node)}: its input {name!r} is not produced before it by "
                    "any node, initialiser or graph input"
                )
        for subgraph in subgraphs(node):
            _check_defined(subgraph, known)
        for name in filter(None, node.output):
            if name in here:
                raise ImportModelError(
                    f"node {node_label(node)}: its output {name!r} is the name of another value"
                )
            here.add(name)
        known |= here
    for value in graph.output:
        if value.name not in known:
            raise ImportModelError(f"the graph output {value.name!r} is not produced by any node")
