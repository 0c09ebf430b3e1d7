"""ONNX into Relax: walks the graph once, one small converter per operator."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence as Several
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import onnx
import tvm
from tvm import relax
from tvm.relax import Expr

from tvm_sod2 import signature
from tvm_sod2.errors import ImportModelError, Sod2Error
from tvm_sod2.frontend.blocks import ends_blocks
from tvm_sod2.frontend.check import (
    check_model,
    check_types,
    operator_key,
    opset_version,
    subgraphs,
    walk,
)
from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Module
from tvm_sod2.frontend.converters import CONVERTERS
from tvm_sod2.frontend.converters.control import RankDependsError
from tvm_sod2.frontend.fold import fold
from tvm_sod2.frontend.functions import expand_functions
from tvm_sod2.frontend.names import identifier, with_names
from tvm_sod2.frontend.onnx_file import load_model
from tvm_sod2.frontend.protos import attribute, dtype_of, initializers
from tvm_sod2.frontend.ranks import known_ranks
from tvm_sod2.frontend.sequence_lists import bound, copied, whole
from tvm_sod2.frontend.sequences import Optional, Sequence, Value, declared, described
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.signature import OBJECTS_ATTR, Signature

Values = dict[str, Value]

_MOST_ENTRIES = 1 << 56
"""Of a tensor: its bytes are still a number of 64 bits."""


def from_onnx(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tvm.IRModule:
    """Import an ONNX model as a Relax module with one function, ``main``.

    Parameters of ``main`` are the ONNX inputs in their order, its result is the output tensor or a
    tuple in ONNX's order. Unknown dims stay symbolic: symbols are named after ``dim_param``, or
    ``<input>_d<axis>`` where the model gives no name. Weights are constants. Shape arithmetic stays
    in the graph as ordinary tensor operators.

    Function attributes: ``num_input``; ``sod2.onnx_values`` maps Relax variables to ONNX values;
    ``sod2.onnx_nodes`` maps Relax variables to the "node name (Operator)" they come from;
    ``sod2.onnx_same`` and ``sod2.onnx_constants`` say of every other ONNX value which Relax
    variable it equals, or its dtype, dims and, where small and whole, entries. Functions of loops
    have the names of what is in them, too.

    Raises
    ------
    ModelFileError
        The file cannot be read as an ONNX model.
    UnsupportedOperatorError
        Operators without a converter; the message names each of their nodes.
    ImportModelError
        A node is malformed, or needs something that is not known before run time.
    """
    proto = expand_functions(load_model(model), set(CONVERTERS))
    check_model(proto, set(CONVERTERS))
    return _import(proto, {})


def _import(proto: onnx.ModelProto, arms: dict[str, int]) -> tvm.IRModule:
    """Import the model with the arms of some ``If`` nodes chosen by what they need behind them."""
    try:
        return _Importer(proto, arms).run()
    except RankDependsError as open_question:
        made = _import(proto, {**arms, open_question.node: 0})
        try:
            _import(proto, {**arms, open_question.node: 1})
        except ImportModelError:
            return made  # What follows cannot be with the other arm's rank.
        raise


class _Importer:
    def __init__(self, proto: onnx.ModelProto, arms: dict[str, int]) -> None:
        self.graph = proto.graph
        self.module = Module(relax.BlockBuilder(), opset_version(proto), arms=arms)

    def run(self) -> tvm.IRModule:
        bb = self.module.bb
        values = self._initializers(self.graph)
        inputs = [value for value in self.graph.input if value.name not in values]
        params = [self._parameter(value) for value in inputs]
        values |= {value.name: param for value, param in zip(inputs, params, strict=True)}
        self.module.crossing = _crossing(self.graph)
        self.module.ranks = known_ranks(self.graph)
        with ends_blocks(bb), bb.function("main", params):
            given = {value.name: self._given(value, values[value.name]) for value in inputs}
            values |= given
            outputs = self._main(values)
            bb.emit_func_output(outputs[0] if len(outputs) == 1 else relax.Tuple(outputs))
        module = bb.get()
        main = module["main"]
        attrs = {
            "num_input": len(params),
            "sod2.onnx_same": self.module.onnx_same,
            "sod2.onnx_constants": self.module.onnx_constants,
        }
        objects = Signature(_objects(self.graph.input, given), _objects(self.graph.output, values))
        if objects != Signature(()):
            attrs[OBJECTS_ATTR] = objects.to_json()
        module["main"] = main.with_attrs(attrs)
        known = self.module.onnx_values, self.module.onnx_nodes
        return map_functions(module, lambda func: with_names(func, *known))

    def _parameter(self, value: onnx.ValueInfoProto) -> relax.Var:
        name = self.module.bb.get_unique_name(identifier(value.name))
        self.module.onnx_values[name] = value.name
        if not value.type.HasField("tensor_type"):
            return relax.Var(name, relax.AnyType())
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            raise ImportModelError(
                f"input {value.name!r} has no declared rank; set its shape in the model, with a "
                "name for each unknown dim (onnx.tools.update_model_dims, or the exporter's "
                "dynamic axes)"
            )
        dims = [self._input_dim(value.name, axis, dim) for axis, dim in enumerate(tensor.shape.dim)]
        known = [dim for dim in dims if isinstance(dim, int)]
        if math.prod(known) > _MOST_ENTRIES:
            raise ImportModelError(
                f"input {value.name!r} has dims {known}, more entries than can be counted"
            )
        dtype = dtype_of(tensor.elem_type, f"input {value.name!r}")
        return relax.Var(name, relax.TensorType(dims, dtype))

    def _given(self, value: onnx.ValueInfoProto, param: Value) -> Value:
        """A tensor given to the model, or an object and what its type says of it."""
        try:
            kind = declared(value.type)
        except ValueError as error:
            raise ImportModelError(f"input {value.name!r} is {error}") from None
        if isinstance(kind, Sequence):
            return kind.held_by(copied(self.module.bb, param))
        return kind.held_by(param) if isinstance(kind, Optional) else param

    def _input_dim(self, name: str, axis: int, dim: onnx.TensorShapeProto.Dimension) -> Any:
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0:
            return dim.dim_value
        # Exporters write "?" for dims that have nothing to do with each other.
        if any(char.isalnum() for char in dim.dim_param):
            return self.module.symbols.named(dim.dim_param)
        return self.module.symbols.fresh(f"{name}_d{axis}")

    def _main(self, values: Values) -> list[Expr]:
        """Emit the main graph: one dataflow block, broken only by nodes with arms of their own.

        Not by ``relax.transform.ConvertToDataflow``: its CanonicalizeBindings replaces the symbols
        of a match_cast by those of its operand and so drops the check.
        """
        for has_arms, nodes in groupby(self.graph.node, _may_branch):
            with nullcontext() if has_arms else self.module.bb.dataflow():
                for node in nodes:
                    self._node(node, values)
        return [self._returned(value.name, values) for value in self.graph.output]

    def _returned(self, name: str, values: Values) -> Expr:
        """A result of the model: a tensor, or the object as it is at run time."""
        value = values[name]
        if isinstance(value, Expr):
            return value
        var = whole(self._context(onnx.helper.make_node("Identity", [name], [name]), values), value)
        if self.module.onnx_values.get(var.name, name) != name:
            var = self.module.bb.emit(var, identifier(name))
        self.module.onnx_values[var.name] = name
        return var

    def _outputs(self, graph: onnx.GraphProto, outer: Values) -> list[Value]:
        """Emit the nodes of a graph into the open block and return its outputs."""
        values = {**outer, **self._initializers(graph)}
        for node in graph.node:
            self._node(node, values)
        return [values[value.name] for value in graph.output]

    def _node(self, node: onnx.NodeProto, values: Values) -> None:
        inputs = [values[name] if name else None for name in node.input]
        attrs = {attr.name: attribute(attr, node) for attr in node.attribute}
        check_types(node, self.module.opset, list(map(_tensor_dtype, inputs)))
        constants = fold(node, inputs, attrs, self.module.opset)
        if constants is not None:
            self._bind(dict(zip(node.output, map(const, constants), strict=True)), values)
            return
        context = self._context(node, values)
        try:
            results = CONVERTERS[operator_key(node)](context, inputs, attrs)
            if not isinstance(results, list | tuple):
                results = [results]
            named = [
                (name, bound(context, expr, name))
                for name, expr in zip(node.output, results, strict=False)
                if name
            ]
        except Sod2Error:
            raise
        except Exception as error:
            # Relax's own refusals come with a C++ backtrace; its last line says what is wrong.
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise context.error(f"its inputs do not fit each other: {reason}") from error
        missing = [name for name in node.output[len(results) :] if name]
        if missing:
            raise context.error(f"its output(s) {', '.join(missing)} cannot be imported")
        self._bind(dict(named), values)

    def _context(self, node: onnx.NodeProto, values: Values) -> Context:
        return Context(
            self.module,
            node,
            lambda graph, inputs=(): self._outputs(graph, {**values, **dict(inputs)}),
            values,
        )

    def _initializers(self, graph: onnx.GraphProto) -> Values:
        values: Values = {}
        weights = {name: const(array) for name, array in initializers(graph).items()}
        self._bind(weights, values)
        return values

    def _bind(self, named: Values, values: Values) -> None:
        for name, expr in named.items():
            self.module.note(name, expr)
        values |= named


# Where the run decides how many tensors a sequence has, a loop goes over them.
_LOOPS = {"ConcatFromSequence", "SplitToSequence"}


def _may_branch(node: onnx.NodeProto) -> bool:
    """Whether what a node becomes may have arms, which no dataflow block can hold."""
    return any(subgraphs(node)) or node.op_type in _LOOPS


def _crossing(graph: onnx.GraphProto) -> set[str]:
    """Return the values used outside of the run of nodes without arms that makes them."""
    crossing = {value.name for value in graph.output}
    made_here: set[str] = set()
    for node in graph.node:
        inner = list(subgraphs(node))
        if _may_branch(node):
            made_here = set()
        used = {name for name in node.input if name not in made_here}
        used |= {name for arm in inner for sub in walk(arm) for name in sub.input}
        used |= {value.name for arm in inner for value in arm.output}
        crossing |= used
        if not _may_branch(node):
            made_here |= set(node.output)
    return crossing


def _objects(infos: Several[onnx.ValueInfoProto], values: Values) -> tuple[signature.Value, ...]:
    """What is said of the inputs or outputs that are no tensors."""
    found = [(info.name, values.get(info.name)) for info in infos]
    return tuple(described(n, v) for n, v in found if isinstance(v, Sequence | Optional))


def _tensor_dtype(value: Value | None) -> str | None:
    ty = value.ty if isinstance(value, Expr) else None
    return str(ty.dtype) if isinstance(ty, relax.TensorType) else None
