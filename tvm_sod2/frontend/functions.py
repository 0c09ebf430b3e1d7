"""Operators without a converter that ONNX itself defines by a graph of simpler ones.

The loss functions, attention, rotary embedding and others come with such a graph in the operator
set. Their nodes are replaced by it, so that they need no code here and mean exactly what the
standard says. Not with ``onnx.inliner``'s own option for that: it wants a type for inputs that are
left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import FunctionProto, GraphProto, NodeProto, TypeProto, defs, shape_inference
from onnx.inliner import inline_local_functions

from tvm_sod2.frontend.check import DEFAULT_DOMAINS, opset_version, subgraphs

# Random numbers: its graph draws them, and RandomUniformLike has no converter.
_KEPT = {"Bernoulli"}

# Definitions refer to each other, but not far.
_MAX_DEPTH = 8

_DOMAIN = "tvm_sod2.definitions"

Types = dict[str, TypeProto]


def expand_functions(model: onnx.ModelProto, supported: set[str]) -> onnx.ModelProto:
    """Return the model without the nodes that are not supported but defined by other operators."""
    for _ in range(_MAX_DEPTH):
        if not _undefined(model, supported):
            break
        # Some definitions depend on the types of their inputs.
        typed = shape_inference.infer_shapes(model, data_prop=True)
        functions = _define(typed, supported)
        if not functions:
            break
        typed.functions.extend(functions)
        typed.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
        model = inline_local_functions(typed)
    return model


def _undefined(
    model: onnx.ModelProto, supported: set[str]
) -> list[tuple[NodeProto, defs.OpSchema, Types]]:
    """Return the nodes without converter whose operator has a definition."""
    opset = opset_version(model)
    found = []
    for node, types in _typed_nodes(model.graph, {}):
        if node.domain in DEFAULT_DOMAINS and node.op_type not in supported | _KEPT:
            try:
                schema = defs.get_schema(node.op_type, opset, "")
            except defs.SchemaError:
                continue
            if schema.has_function or schema.has_context_dependent_function:
                found.append((node, schema, types))
    return found


def _typed_nodes(graph: GraphProto, outer: Types) -> Iterator[tuple[NodeProto, Types]]:
    """Yield the nodes of a graph and of those inside it, with the types of the values they see."""
    types = dict(outer)
    for value in [*graph.input, *graph.value_info, *graph.output]:
        types[value.name] = value.type
    for tensor in graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    for node in graph.node:
        yield node, types
        for subgraph in subgraphs(node):
            yield from _typed_nodes(subgraph, types)


def _define(model: onnx.ModelProto, supported: set[str]) -> list[FunctionProto]:
    """Make each such node a call of a function of its own, and return the functions."""
    opset = opset_version(model)
    functions: list[FunctionProto] = []
    for node, schema, types in _undefined(model, supported):
        body = _body(node, schema, opset, types)
        if body is None:
            continue
        body.domain, body.name = _DOMAIN, f"{node.op_type}_{len(functions)}"
        del body.opset_import[:]
        body.opset_import.extend(e for e in model.opset_import if e.domain in DEFAULT_DOMAINS)
        node.domain, node.op_type = body.domain, body.name
        functions.append(body)
    return functions


def _body(node: NodeProto, schema: defs.OpSchema, opset: int, types: Types) -> FunctionProto | None:
    body = FunctionProto()
    if schema.has_context_dependent_function:
        if any(name and name not in types for name in node.input):
            return None  # The check of the whole model names the node.
        given = [types.get(name, TypeProto()).SerializeToString() for name in node.input]
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
        text = schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), given
        )
    else:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        text = schema.get_function_with_opset_version(max(versions))
    body.ParseFromString(text if isinstance(text, bytes) else text.SerializeToString())
    return body
