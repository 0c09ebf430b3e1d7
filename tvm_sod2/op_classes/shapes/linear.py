"""Products: matmul, einsum, convolution, attention."""

from __future__ import annotations

import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.row import Agreement, Agreements
from tvm_sod2.op_classes.shapes.broadcast import broadcast_dims, column_agreements
from tvm_sod2.op_classes.shapes.common import (
    Place,
    dims_of,
    letter,
    must_be,
    must_equal,
    place,
)
from tvm_sod2.op_classes.symbolic import Arithmetic


def matmul(_call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Entry] | None:
    """Batch dims broadcast; a vector has no row or column of its own in the result."""
    left, right = dims_of(facts[0]), dims_of(facts[1])
    if not left or not right:
        return None
    batch = broadcast_dims([left[:-2], right[:-2]], arithmetic)
    return [*batch, *left[-2:-1], *(right[-1:] if len(right) > 1 else [])]


def matmul_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """The shared K (last dim of the left operand, last but one of the right) and batch dims."""
    left, right = dims_of(facts[0]), dims_of(facts[1])
    if not left or not right:
        return []
    axis = max(len(right) - 2, 0)
    batches = [(0, left[:-2]), (1, right[:-2])]
    return [
        *must_equal(arithmetic, place(facts, 1, axis), place(facts, 0, -1)),
        *column_agreements(batches, arithmetic),
    ]


def einsum_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """Dims of one label are equal; those under an ellipsis are left to its broadcasting.

    `argument` counts the tuple's fields.
    """
    operands = str(call.attrs.subscripts).replace(" ", "").split("->")[0].split(",")
    labelled: dict[str, Place] = {}
    found: list[Agreement] = []
    for argument, (labels, field) in enumerate(zip(operands, facts[0].fields, strict=False)):
        dims = dims_of(field)
        if dims is None:
            continue
        before, dots, after = labels.partition("...")
        late = len(dims) - len(after)
        for axis, label in [*enumerate(before), *enumerate(after if dots else "", start=late)]:
            if axis >= len(dims) or arithmetic.equal(dims[axis], 1):
                continue
            at = Place(argument, axis, dims[axis])
            found += must_equal(arithmetic, at, labelled.setdefault(label, at))
    return found


def conv_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """The data's channels are the weight's, times the groups."""
    data = letter(call.attrs.data_layout, "C")
    weight = letter(call.attrs.kernel_layout, "I")
    if data is None or weight is None:
        return []
    channels = place(facts, 1, weight)
    if channels is None:
        return []
    expected = arithmetic.multiply(channels.dim, int(call.attrs.groups))
    return must_be(arithmetic, place(facts, 0, data), expected)


def window_axes(call: tvm.ir.Call) -> list[int]:
    """The spatial axes of a convolution's or pooling's result.

    An input smaller than its window has no result. TVM's rounded size is 0 or less there; ONNX
    Runtime refuses a convolution and lets a pooling window hang over the edge.
    """
    layout = str(call.attrs.out_layout)
    return (
        [axis for axis, name in enumerate(layout) if name not in "NC"] if layout.isalpha() else []
    )


def conv_transpose_agreements(
    call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """A transposed weight holds all of the data's channels."""
    data = letter(call.attrs.data_layout, "C")
    weight = letter(call.attrs.kernel_layout, "I")
    if data is None or weight is None:
        return []
    return must_equal(arithmetic, place(facts, 0, data), place(facts, 1, weight))


_SAME_IN_ATTENTION = (
    ((0, 0), (1, 0)),
    ((0, 0), (2, 0)),
    ((1, 1), (2, 1)),
    ((0, 3), (1, 3)),
    ((1, 2), (2, 2)),
)


def attention_agreements(
    _call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic
) -> list[Agreement]:
    """(batch, sequence, heads, size): one batch; keys and values of one length; one head size.

    Keys may have fewer heads than queries. A bias (batch, heads, queries, keys) broadcasts.
    """
    found: list[Agreement] = []
    for a, b in _SAME_IN_ATTENTION:
        found += must_equal(arithmetic, place(facts, *a), place(facts, *b))
    for axis, (argument, of) in enumerate([(0, 0), (0, 2), (0, 1), (1, 1)]):
        bias = place(facts, 3, axis)
        if bias is not None and not (axis < 3 and arithmetic.equal(bias.dim, 1)):
            found += must_equal(arithmetic, bias, place(facts, argument, of))
    return found


def norm_agreements(*vectors: int) -> Agreements:
    """Layer and RMS norm: the vectors have the dims of the data at the normalised axes."""

    def agree(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Agreement]:
        found: list[Agreement] = []
        for vector in vectors:
            for axis, of in enumerate(call.attrs.axes):
                data = place(facts, 0, int(of))
                found += must_equal(arithmetic, data, place(facts, vector, axis))
        return found

    return agree


def channel_agreements(attribute: str, *vectors: int) -> Agreements:
    """The vectors have the data's dim at the axis that this attribute names."""

    def agree(call: tvm.ir.Call, facts: list[Fact], arithmetic: Arithmetic) -> list[Agreement]:
        data = place(facts, 0, int(getattr(call.attrs, attribute)))
        found: list[Agreement] = []
        for vector in vectors:
            dims = dims_of(facts[vector]) if vector < len(facts) else None
            if dims is not None and len(dims) == 1:
                found += must_equal(arithmetic, data, place(facts, vector, 0))
        return found

    return agree


def batch_norm(
    _call: tvm.ir.Call, facts: list[Fact], _arithmetic: Arithmetic
) -> tuple[list[Entry] | None, ...]:
    """The data, and the two running statistics."""
    return dims_of(facts[0]), dims_of(facts[3]), dims_of(facts[4])
