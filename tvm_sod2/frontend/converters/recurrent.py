"""LSTM, GRU and RNN: one product for the inputs of all steps, then one kernel over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter, Dim
from tvm_sod2.frontend.converters.matmul import matmul
from tvm_sod2.schedules.recurrent import recurrent_kernel
from tvm_sod2.schedules.recurrent_cell import ACTIVATIONS, GATES, Activation, Cell

Attrs = dict[str, Any]
Inputs = list[Any]

_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}

# Defaults of the activations' constants; alpha and beta are given only to those that take them.
_ALPHA = {
    "Affine": 1.0, "Elu": 1.0, "HardSigmoid": 0.2, "LeakyRelu": 0.01, "ScaledTanh": 1.0,
    "ThresholdedRelu": 1.0,
}  # fmt: skip
_BETA = {"Affine": 0.0, "HardSigmoid": 0.5, "ScaledTanh": 1.0}

_WALKS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


def recurrent(
    c: Context, inputs: Inputs, attrs: Attrs, kind: str = "", rounds: bool = False
) -> list[Expr | None]:
    """Emit an LSTM, GRU or RNN, by default the node's own kind; `rounds` is `Cell.rounds`."""
    kind = kind or c.node.op_type
    x, w, r, b, lengths, h, state_c, p = (*inputs, *[None] * (8 - len(inputs)))[:8]
    cell = _cell(
        c,
        kind,
        attrs,
        r,
        lengths=lengths is not None,
        peepholes=p is not None,
        from_zero=_is_zero(c, h),
        rounds=rounds,
    )
    dtype = c.dtype(x)
    if dtype not in ("float32", "float16"):
        raise c.error(f"no recurrent kernel computes in {dtype}; cast its inputs to float32")
    x, w, r, b, h, state_c, p = (
        None if value is None else c.astype(value, "float32")
        for value in (x, w, r, b, h, state_c, p)
    )
    batch_first = bool(attrs.get("layout", 0))
    if batch_first:
        x = _transposed(c, x, [1, 0, 2])
    directions, hidden, width = len(cell.reverse), cell.hidden, cell.gates * cell.hidden
    steps, rows = c.dims(x)[:2]
    w = c.equate(w, [directions, width, c.dims(w)[2]])
    r = c.equate(r, [directions, width, hidden])
    bias, candidate = _biases(c, cell, b)
    arguments = [_projected(c, cell, x, w, bias), _transposed(c, r, [0, 2, 1])]
    if cell.linear_before_reset:
        arguments.append(candidate)
    if p is not None:
        arguments.append(c.equate(p, [directions, 3 * hidden]))
    if lengths is not None:
        arguments.append(c.equate(c.astype(lengths, "int32"), [rows]))
    for first in (h, state_c) if kind == "LSTM" else (h,):
        arguments.append(_first(c, first, [directions, rows, hidden], batch_first))
    y, last = _run(c, cell, arguments, steps, rows)
    if batch_first:
        y = None if y is None else _transposed(c, y, [2, 0, 1, 3])
        last = [_transposed(c, value, [1, 0, 2]) for value in last]
    return [value if value is None else c.astype(value, dtype) for value in (y, *last)]


def _run(
    c: Context, cell: Cell, arguments: Sequence[Expr], steps: Dim, rows: Dim
) -> tuple[Expr | None, list[Expr]]:
    """Call the kernel: the states of all steps, where wanted, and the last ones."""
    directions = len(cell.reverse)
    states = [directions, rows, cell.hidden]
    shapes = [[steps, *states]] if cell.sequence else []
    shapes += [states] * (2 if cell.kind == "LSTM" else 1)
    shapes.append([directions, rows, cell.scratch])
    gvar = c.bb.add_func(recurrent_kernel(cell), f"{cell.kind.lower()}_{cell.hidden}")
    types = [relax.TensorType(shape, "float32") for shape in shapes]
    # Constants among the operands need no names of their own.
    both = c.emit(relax.call_tir(gvar, relax.Tuple(list(arguments)), types))
    results = [c.emit(relax.TupleGetItem(both, i)) for i in range(len(types) - 1)]
    return (results[0], results[1:]) if cell.sequence else (None, results)


def _cell(c: Context, kind: str, attrs: Attrs, r: Expr, **given: bool) -> Cell:
    """What the kernel is made for; `given` are fields of `Cell` that the node's inputs decide."""
    hidden = attrs.get("hidden_size")
    if hidden is None:
        hidden = c.dims(r)[-1]
    if not isinstance(hidden, int):
        raise c.error("its hidden size is not known; set the attribute hidden_size")
    direction = attrs.get("direction", "forward")
    if direction not in _WALKS:
        raise c.error(f"direction {direction!r} is none of {', '.join(_WALKS)}")
    clip = attrs.get("clip")
    return Cell(
        kind,
        hidden,
        _WALKS[direction],
        _activations(c, kind, len(_WALKS[direction]), attrs),
        None if not clip else float(clip),
        linear_before_reset=kind == "GRU" and bool(attrs.get("linear_before_reset", 0)),
        input_forget=bool(attrs.get("input_forget", 0)),
        sequence=bool(c.node.output and c.node.output[0]),
        **given,
    )


def _activations(
    c: Context, kind: str, directions: int, attrs: Attrs
) -> tuple[tuple[Activation, ...], ...]:
    """For each direction its activations; constants belong, in order, to those that take them."""
    each = len(_DEFAULTS[kind])
    names = attrs.get("activations") or _DEFAULTS[kind] * directions
    if len(names) != each * directions:
        raise c.error(f"{each * directions} activations are expected, it names {len(names)}")
    spelled = {known.lower(): known for known in ACTIVATIONS}
    unknown = [name for name in names if name.lower() not in spelled]
    if unknown:
        raise c.error(f"unknown activation {unknown[0]!r} (known: {', '.join(ACTIVATIONS)})")
    alphas = iter(attrs.get("activation_alpha") or ())
    betas = iter(attrs.get("activation_beta") or ())
    made = []
    for name in (spelled[name.lower()] for name in names):
        alpha = next(alphas, _ALPHA[name]) if name in _ALPHA else 0.0
        beta = next(betas, _BETA[name]) if name in _BETA else 0.0
        made.append(Activation(name, float(alpha), float(beta)))
    return tuple(tuple(made[i : i + each]) for i in range(0, len(made), each))


def _projected(c: Context, cell: Cell, x: Expr, w: Expr, bias: Expr | None) -> Expr:
    """x @ w^T + bias for all steps, rows and directions at once: (T, B, D * G * H)."""
    steps, rows = c.dims(x)[:2]
    width = len(cell.reverse) * cell.gates * cell.hidden
    size = c.dims(w)[2]
    flat = _transposed(c, c.reshape(w, [width, size]), [1, 0])
    product = matmul(c, c.equate(x, [steps, rows, size]), flat)
    return product if bias is None else c.broadcast(R.add, product, bias)


def _biases(c: Context, cell: Cell, b: Expr | None) -> tuple[Expr | None, Expr | None]:
    """The bias that goes with the projection, flat, and GRU's candidate's own.

    ONNX gives (D, 2 * G * H): the input's and the state's. Both may be added at once, but for the
    candidate that is reset after its product.
    """
    directions, hidden = len(cell.reverse), cell.hidden
    width = cell.gates * hidden
    if b is None:
        zeros = const(np.zeros((directions, hidden), "float32"))
        return None, zeros if cell.linear_before_reset else None
    b = c.equate(b, [directions, 2 * width])
    of_input, of_state = (_columns(c, b, start, start + width) for start in (0, width))
    if not cell.linear_before_reset:
        return c.reshape(_sum(c, of_input, of_state), [directions * width]), None
    gates = _columns(c, of_state, 0, width - hidden)
    none = const(np.zeros((directions, hidden), "float32"))
    joined = _joined(c, gates, none)
    flat = c.reshape(_sum(c, of_input, joined), [directions * width])
    return flat, _columns(c, of_state, width - hidden, width)


# Constants are computed at import: the kernels' operands are then constants that can be packed.


def _transposed(c: Context, value: Expr, axes: list[int]) -> Expr:
    array = c.constant(value)
    if array is not None:
        return const(np.ascontiguousarray(array.transpose(axes)))
    return c.emit(R.permute_dims(value, axes))


def _columns(c: Context, value: Expr, start: int, end: int) -> Expr:
    array = c.constant(value)
    if array is not None:
        return const(np.ascontiguousarray(array[:, start:end]))
    return c.emit(R.strided_slice(value, [1], [start], [end]))


def _sum(c: Context, a: Expr, b: Expr) -> Expr:
    arrays = c.constant(a), c.constant(b)
    if arrays[0] is not None and arrays[1] is not None:
        return const(arrays[0] + arrays[1])
    return c.emit(R.add(a, b))


def _joined(c: Context, a: Expr, b: Expr) -> Expr:
    arrays = c.constant(a), c.constant(b)
    if arrays[0] is not None and arrays[1] is not None:
        return const(np.concatenate([arrays[0], arrays[1]], 1))
    return c.emit(R.concat([a, b], 1))


def _is_zero(c: Context, state: Expr | None) -> bool:
    if state is None:
        return True
    array = c.constant(state)
    return array is not None and not array.any()


def _first(c: Context, state: Expr | None, dims: list[Dim], batch_first: bool) -> Expr:
    if state is None:
        if all(isinstance(dim, int) for dim in dims):
            return const(np.zeros(dims, "float32"))
        return c.emit(R.zeros(relax.ShapeExpr(dims), "float32"))
    return c.equate(_transposed(c, state, [1, 0, 2]) if batch_first else state, dims)


CONVERTERS: dict[str, Converter] = dict.fromkeys(GATES, recurrent)
