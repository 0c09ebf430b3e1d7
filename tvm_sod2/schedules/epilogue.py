"""Reads a fused PrimFunc as anchor plus epilogue, ready for an emitter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, sym, tirx
from tvm.ir.expr import TensorLoad

from tvm_sod2.schedules.kernel import Code, Kernel, Pack, Refusal, i64, lowered
from tvm_sod2.schedules.rounding import INTRINSIC

ANCHOR = "sod2.anchor"
IF_THEN_ELSE = "prim.if_then_else"

# Distinct float operations of an epilogue that is still light; bias, hardswish, scale: 8.
LIGHT = 12

# Anchors whose emitters read operands with their last two axes in the other order.
_TURNS = frozenset({"matmul"})


@dataclass(frozen=True)
class Group:
    """One anchor and what follows it, as `tirx` expressions.

    Attributes:
        func: the fused PrimFunc, after inlining.
        kind: the anchor's kind, e.g. "conv2d".
        attrs: the anchor's parameters without their "sod2." prefix.
        inputs: the two buffers that the anchor multiplies, both parameters of `func`.
        zero: what is subtracted from the first in int32 before, None for nothing.
        result: the anchor's own result (a temporary, or the output where nothing follows).
        output: the parameter that the group writes; same shape as `result`.
        axes: the epilogue's index variables, one for each dim of `output`.
        value: the element stored at `axes`, reading `result` at exactly `axes`.
        constants: positions of parameters that are constants at every call.
        turned: whether each of `inputs` lies with its last two axes in the other order.
    """

    func: tirx.PrimFunc
    kind: str
    attrs: Mapping[str, Any]
    inputs: tuple[Any, Any]
    zero: Any
    result: Any
    output: Any
    axes: Sequence[Any]
    value: Any
    constants: frozenset[int]
    turned: tuple[bool, ...] = (False, False)

    def position(self, buffer: Any) -> int:
        """Position of a parameter."""
        return next(i for i, p in enumerate(self.func.params) if p.same_as(buffer))

    def packable(self, buffer: Any) -> bool:
        """Whether a parameter may be laid out anew: a constant that nothing else here reads."""
        readers = [*self.inputs, *(load.source for load in loads(self.value))]
        alone = sum(reader.same_as(buffer) for reader in readers) == 1
        return alone and self.position(buffer) in self.constants

    def emitted(self, code: Code, name: str, buffer: Any, packed: Any, pack: Pack) -> Kernel:
        """The kernel `code`, which reads `packed` in place of the parameter `buffer`."""
        at = self.position(buffer)
        params = list(self.func.params)
        params[at] = packed
        return Kernel(lowered(self.func, params, code.body()), name, {at: pack})

    def row_linear(self) -> bool:
        """Whether leading dims may be run through as one.

        True if whatever the epilogue reads either does not depend on the leading axes or has the
        output's leading dims and is read at the leading axes, so that both are linear in one
        row number.
        """
        lead = list(self.axes[:-1])
        shape = list(self.output.shape)[:-1]
        for load in loads(self.value):
            if load.source.same_as(self.result) or not _mentions(list(load.indices), lead):
                continue
            if len(load.indices) != len(self.axes) or _mentions([load.indices[-1]], lead):
                return False
            if not _same_all(list(load.indices)[:-1], lead):
                return False
            if not _equal_all(list(load.source.shape)[:-1], shape):
                return False
        without_loads = tvm_ffi.structural_map(
            self.value, [(TensorLoad, lambda node: tirx.const(0, str(node.ty.dtype)))]
        )
        return not _mentions([without_loads], lead)

    def light(self) -> bool:
        """Whether the epilogue is a few operations, none a function, cheap to write many times."""
        nodes: list[Any] = []
        tvm_ffi.structural_walk(self.value, [(ir.Expr, lambda node: nodes.append(node))])
        calls = [node for node in nodes if isinstance(node, ir.Call)]
        if any(getattr(call.op, "name", "") != INTRINSIC for call in calls):
            return False
        # Inlining repeats what is used twice; LLVM computes it once.
        operations = {
            tvm_ffi.structural_hash(node, map_free_vars=False)
            for node in nodes
            if hasattr(node, "a") and str(node.ty.dtype) == "float32"
        }
        return len(operations) <= LIGHT

    def stored(self, register: Any, index: Sequence[Any]) -> Any:
        """The epilogue's value at `index`, with `register` for the anchor's result there."""
        where = {axis: i64(i) for axis, i in zip(self.axes, index, strict=True)}

        def variable(var: Any) -> Any:
            return where.get(var, var)

        def load(node: Any) -> Any:
            return register if node.source.same_as(self.result) else node

        return tvm_ffi.structural_map(
            self.value, [(ir.Var, variable), (TensorLoad, load)], order="post"
        )


def loads(expr: Any) -> list[Any]:
    """All buffer reads in an expression."""
    found: list[Any] = []
    tvm_ffi.structural_walk(expr, [(TensorLoad, lambda node: found.append(node))])
    return found


def read_group(func: tirx.PrimFunc, constants: frozenset[int]) -> Group | Refusal:
    """Inline what follows the anchor into one block and take that block's expression.

    Refuses groups without exactly one anchor, with anything but elementwise blocks after it or
    with any computation before it, with several outputs, or that move elements.
    """
    sch = s_tir.Schedule(func)
    blocks = _children(sch)
    kinds = [sch.get(b).annotations.get(ANCHOR) for b in blocks]
    if sum(k is not None for k in kinds) != 1:
        return Refusal("no single anchor")
    at = next(i for i, k in enumerate(kinds) if k is not None)
    given = _factors(sch.get(blocks[at]))
    for i, block in enumerate(blocks[:-1]):
        if i != at:
            try:
                sch.compute_inline(block)
            except s_tir.ScheduleError:
                return Refusal(f"{sch.get(block).name_hint} is not elementwise")
    anchor, last = sch.get(blocks[at]), sch.get(blocks[-1])
    func = sch.mod["main"]
    if not all(_among(read.source, func.params) for read in anchor.reads):
        return Refusal("computation before the anchor")
    factors = _factors(anchor)
    if factors is None or given is None:
        return Refusal("computation before the anchor")
    # An emitter knows its operands' indices and sizes by the anchor's kind.
    turned = [_turned(*pair) for pair in zip(given[:2], factors[:2], strict=True)]
    if None in turned or (any(turned) and kinds[at] not in _TURNS):
        return Refusal("elements move before the anchor")
    inputs, zero = [load.source for load in factors[:2]], factors[2]
    result = anchor.writes[0].source
    output = last.writes[0].source
    if sum(_among(sch.get(b).writes[0].source, func.params) for b in _children(sch)) != 1:
        return Refusal("several outputs")
    if result.same_as(output):
        axes = [tirx.Var(f"i{i}", "int64") for i in range(len(output.shape))]
        value = output[tuple(axes)]
    elif isinstance(last.body, tirx.BufferStore):
        axes, value = [v.var for v in last.iter_vars], last.body.value
        if not _same_all(list(last.body.indices), axes, list(output.shape)):
            return Refusal("the epilogue moves elements")
    else:
        return Refusal("the last block reduces")
    if len(axes) != len(result.shape) or not _equal_all(output.shape, result.shape):
        return Refusal("the epilogue changes the shape")
    for load in loads(value):
        if load.source.same_as(result):
            if not _same_all(list(load.indices), axes, list(output.shape)):
                return Refusal("the epilogue moves elements")
        elif not _among(load.source, func.params):
            return Refusal("the epilogue reads a temporary")
    attrs = {k.removeprefix("sod2."): v for k, v in anchor.annotations.items()}
    return Group(
        func,
        str(kinds[at]),
        attrs,
        tuple(inputs),
        zero,
        result,
        output,
        tuple(axes),
        value,
        constants,
        tuple(map(bool, turned)),
    )


def _children(sch: s_tir.Schedule) -> list[Any]:
    """The root block's children."""
    return list(sch.get_child_blocks(sch.get_sblock("root")))


def _factors(anchor: Any) -> tuple[Any, Any, Any] | None:
    """What an anchor `out = out + x * w` reads of x and w, x possibly guarded by a condition.

    Integers may be widened bytes, x with a zero point: `(int32(x) - zero) * int32(w)`.
    """
    if not isinstance(anchor.body, tirx.BufferStore) or not isinstance(anchor.body.value, tirx.Add):
        return None
    product = anchor.body.value.b
    if not isinstance(product, tirx.Mul):
        return None
    data, weight, zero = _unguarded(product.a), _narrow(product.b), None
    # TVM writes x - -5 as x + 5.
    if isinstance(data, tirx.Sub | tirx.Add):
        if _mentions([data.b], [v.var for v in anchor.iter_vars]):
            return None
        zero = data.b if isinstance(data, tirx.Sub) else -data.b
        data = data.a
    data = _narrow(data)
    if isinstance(data, TensorLoad) and isinstance(weight, TensorLoad):
        return data, weight, zero
    return None


def _turned(given: Any, read: Any) -> bool | None:
    """Whether a buffer is read at an index with its last two axes in the other order; None where
    neither this nor the index itself is what it is read at."""

    def equal(order: Callable[[Sequence[Any]], list[Any]]) -> bool:
        pairs = ((given.source.shape, read.source.shape), (given.indices, read.indices))
        return all(_equal_all(order(before), after) for before, after in pairs)

    if equal(list):
        return False
    return True if equal(lambda axes: [*axes[:-2], *reversed(axes[-2:])]) else None


def _narrow(value: Any) -> Any:
    """What is widened to int32, or the value itself."""
    widened = isinstance(value, tirx.Cast) and str(value.ty.dtype) == "int32"
    return value.value if widened else value


def _unguarded(value: Any) -> Any:
    guarded = isinstance(value, ir.Call) and getattr(value.op, "name", "") == IF_THEN_ELSE
    return value.args[1] if guarded else value


def _among(buffer: Any, buffers: Any) -> bool:
    return any(buffer.same_as(b) for b in buffers)


def _mentions(exprs: Sequence[Any], names: Sequence[Any]) -> bool:
    """Whether any of the variables occurs in any of the expressions."""
    found: list[Any] = []
    for expr in exprs:
        tvm_ffi.structural_walk(expr, [(ir.Var, lambda var: found.append(var))])
    return any(_among(var, names) for var in found)


def _same_all(index: Sequence[Any], axes: Sequence[Any], shape: Sequence[Any] = ()) -> bool:
    """Whether an index is the axes themselves; index 0 counts as the axis of a dim of one."""
    if len(index) != len(axes):
        return False
    for i, (at, axis) in enumerate(zip(index, axes, strict=True)):
        single = bool(shape) and _is(shape[i], 1) and _is(at, 0)
        if not (at.same_as(axis) or single):
            return False
    return True


def _equal_all(left: Sequence[Any], right: Sequence[Any]) -> bool:
    analyzer = sym.Analyzer()
    return len(left) == len(right) and all(
        analyzer.can_prove_equal(a, b) for a, b in zip(left, right, strict=True)
    )


def _is(expr: Any, value: int) -> bool:
    return isinstance(expr, tirx.IntImm) and expr.value == value
