"""Constants, and operators that pass values on or choose which part of the model runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tvm import relax, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.errors import ImportModelError
from tvm_sod2.frontend.claims import DimClaim, dim_claim
from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.dims import is_same
from tvm_sod2.frontend.loop_function import symbols_in
from tvm_sod2.frontend.sequence_lists import join, place, whole
from tvm_sod2.frontend.sequences import Object

Attrs = dict[str, Any]
Inputs = list[Any]


def _constant(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    for key, dtype in (
        ("value", None),
        ("value_float", "float32"),
        ("value_floats", "float32"),
        ("value_int", "int64"),
        ("value_ints", "int64"),
    ):
        if key in attrs:
            return const(np.asarray(attrs[key], dtype))
    raise c.error(f"a constant given by {', '.join(attrs) or 'nothing'} cannot be imported")


def _identity(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    return inputs[0]


def _dropout(c: Context, inputs: Inputs, attrs: Attrs) -> list[Expr]:
    x, ratio, training = (*inputs, None, None)[:3]
    active = False if training is None else c.constant(training)
    share = 0.5 if ratio is None else c.constant(ratio)
    if active and share:
        raise c.error("random masks (training mode) cannot be imported; export for inference")
    if (active is None and share != 0) or (active and share is None):
        x = _undropped(c, x, training, ratio)
    if len(c.node.output) == 1:
        return [x]
    mask = const(True, "bool" if c.opset >= 10 else c.dtype(x))
    return [x, R.broadcast_to(mask, relax.ShapeExpr(c.dims(x)))]


def _undropped(c: Context, x: Expr, training: Expr, ratio: Expr | None) -> Expr:
    """Return x, refused when the run asks for a random mask."""
    wanted = c.reshape(training, [1])
    if ratio is not None:
        above = c.emit(R.greater(c.reshape(ratio, [1]), c.scalar(0, ratio)))
        wanted = c.emit(R.logical_and(wanted, above))
    message = "random masks are not supported; expected training_mode false or ratio 0"
    # Wanted is position 1 of one, and nothing is behind the first.
    nothing = place(c, wanted, 1, message)
    return c.emit(R.multiply(x, c.astype(c.emit(R.subtract(c.ints([1]), nothing)), c.dtype(x))))


class RankDependsError(ImportModelError):
    """The arms of an ``If`` give different ranks; ``node`` is its first output."""

    def __init__(self, message: str, node: str) -> None:
        super().__init__(message)
        self.node = node


def _arm(c: Context, graph: onnx.GraphProto) -> tuple[relax.SeqExpr, list[Any]]:
    """An arm, and what it gives: tensors, sequences, optionals."""
    c.bb._begin_binding_block()
    values = c.import_arm(graph)
    outputs = [value if isinstance(value, Expr) else whole(c, value) for value in values]
    result = outputs[0] if len(outputs) == 1 else c.bb.normalize(relax.Tuple(outputs))
    if not isinstance(result, relax.Var):
        result = c.bb.emit(result)
    return relax.SeqExpr([c.bb._end_block()], result), values


def _if(c: Context, inputs: Inputs, attrs: Attrs) -> list[Any]:
    arms = [attrs["then_branch"], attrs["else_branch"]]
    chosen = c.constant(inputs[0])
    if chosen is not None:
        return c.import_arm(arms[0 if chosen.item() else 1])
    claim = dim_claim(c, inputs[0])
    if claim is not None and claim.decided is not None:
        return c.import_arm(arms[0 if claim.decided else 1])
    if c.hint in c.module.arms:
        arm = c.module.arms[c.hint]
        return c.import_arm(arms[arm], {} if arm or claim is None else _assuming(c, claim))
    condition = c.reshape(inputs[0], [])
    (then, left), (other, right) = (_arm(c, arm) for arm in arms)
    outputs = list(c.node.output)
    if len(left) != len(right):
        raise c.error(f"its arms return {len(left)} and {len(right)} values")
    pairs = list(zip(left, right, strict=True))
    tensors = [(a.ty, b.ty) for a, b in pairs if isinstance(a, Expr) and isinstance(b, Expr)]
    if claim is not None and any(a.ndim != b.ndim for a, b in tensors):
        # x.squeeze() of a dim that the rest may need to be 1: `from_onnx` finds out.
        raise RankDependsError(str(_ranks_differ(c, outputs[0], *tensors[0])), c.hint)
    known = symbols_in(c.visible.values())
    merged = [_merge(c, name, *pair, known) for name, pair in zip(outputs, pairs, strict=True)]
    choice = relax.If(condition, then, other)
    parts = [choice]
    if len(merged) > 1:
        both = c.emit(choice)
        parts = [relax.TupleGetItem(both, i) for i in range(len(merged))]
    return [
        c.emit(part, found, name) if isinstance(found, list) else found.held_by(c.emit(part))
        for part, name, found in zip(parts, outputs, merged, strict=True)
    ]


def _ranks_differ(c: Context, name: str, a: Any, b: Any) -> ImportModelError:
    return c.error(
        f"its arms give {name!r} with rank {a.ndim} and {b.ndim}; the rank must not depend "
        "on the data: reshape both to one rank"
    )


def _assuming(c: Context, claim: DimClaim) -> dict[str, Expr]:
    """The values under their names, with the claimed dim stated: checked at run time."""
    dims = [*c.dims(claim.value)]
    dims[claim.axis] = claim.size
    stated = c.equate(claim.value, dims)
    return {name: stated for name, value in c.visible.items() if claim.value.same_as(value)}


def _merge(
    c: Context, name: str, left: Any, right: Any, known: set[tirx.Var]
) -> list[Dim] | Object:
    """Return the dims that both arms agree on, with a fresh symbol where they do not.

    Of a sequence or an optional, return what both arms say of it.
    """
    if not isinstance(left, Expr) or not isinstance(right, Expr):
        return join(c, left, right, known)
    a, b = left.ty, right.ty
    if str(a.dtype) != str(b.dtype):
        raise c.error(f"its arms give {name!r} as {a.dtype} and as {b.dtype}")
    if a.ndim != b.ndim:
        raise _ranks_differ(c, name, a, b)
    return [
        x if is_same(x, y) else c.module.symbols.fresh(f"{name}_d{axis}")
        for axis, (x, y) in enumerate(zip(a.shape.values, b.shape.values, strict=True))
    ]


CONVERTERS: dict[str, Converter] = {
    "Constant": _constant,
    "Dropout": _dropout,
    "Identity": _identity,
    "If": _if,
}
