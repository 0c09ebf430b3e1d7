"""Integer products take bytes: what widens them stands before each product, for its kernel to read.

    w: int32 constant in [-128, 127]
    a = subtract(astype(x: uint8, int32), zero); y = matmul(a, w)
        ->  a' = subtract(astype(x, int32), zero); w' = astype(w: int8, int32); y = matmul(a', w')

Each product has a copy of its own of the widening operators, so that fusion can put them into its
kernel and no int32 tensor is stored. Weights of nine bits (bytes less a zero point) are moved by a
constant into eight, which adds that constant times a sum of the activations; those of grouped
convolutions stay, as int16:

    matmul(a, w)  ->  add(matmul(a, w - c), multiply(matmul(a, ones), c))

Where w is known only at run time, its zero point and 128, if it is unsigned, are such a constant:

    matmul(a, subtract(astype(w: int8, int32), c))
        ->  subtract(matmul(a, astype(w, int32)), multiply(sum(a, [-1], keepdims), c))
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax
from tvm.ir import Expr

from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions

_ASTYPE, _SUBTRACT, _PERMUTE = (
    tvm.ir.Op.get(f"relax.{name}") for name in ("astype", "subtract", "permute_dims")
)
_NARROW = ("int8", "uint8", "int16")


@tvm.transform.module_pass(opt_level=0, name="IntegerOperands")
def integer_operands(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rules above to every integer product; what becomes unused is removed."""
    return inline_leaves(map_functions(mod, lambda func: _Narrower().visit_expr(func)))


def is_widening(value: Expr) -> bool:
    """Whether the operator only widens bytes to int32, or takes a zero point off."""
    if not isinstance(value, relax.Call) or str(getattr(value.ty, "dtype", "")) != "int32":
        return False
    if value.op == _ASTYPE:
        return str(value.args[0].ty.dtype) in _NARROW
    return value.op == _SUBTRACT and value.args[1].ty.ndim == 0


def is_product(value: Expr) -> bool:
    """Whether the call is an anchor that computes in int32."""
    if not isinstance(value, relax.Call) or getattr(value.op, "name", "") not in CHANNEL_AXIS:
        return False
    return all(str(e.ty.dtype) == "int32" for e in (value, *value.args))


def _channel_axis(call: relax.Call) -> int:
    return int(call.attrs.kernel_layout.index("O"))


def along_channels(call: relax.Call, count: int) -> list[int]:
    """The shape of `count` numbers that broadcast along the channels of a product's result."""
    if count == 1:
        return []
    layout = "C" if call.op.name == "relax.matmul" else call.attrs.data_layout
    return [count if letter == "C" else 1 for letter in layout]


# Which axis of the weights are the columns, or output channels, of the result.
CHANNEL_AXIS: dict[str, Callable[[relax.Call], int]] = {
    "relax.matmul": lambda call: call.args[1].ty.ndim - 1,
    "relax.nn.conv2d": _channel_axis,
}


@relax.expr_functor.mutator
class _Narrower(relax.PyExprMutator):
    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if not is_product(call):
            return call
        data, weight = self._widened(call.args[0]), constant_array(call.args[1])
        if data is None:
            return call
        if weight is None:
            return self._of_run_time(call, data)
        return self._narrowed(call, data, weight)

    def _of_run_time(self, call: relax.Call, data: Expr) -> Expr:
        """A product of which both operands are known only at run time."""
        read = self._bytes(call.args[1])
        if read is None or call.op.name != "relax.matmul" or call.args[0].ty.ndim < 2:
            return call
        source, zeros = read
        emit = self.builder_.emit
        if str(source.ty.dtype) == "uint8":
            half = relax.const(128, "int32")
            moved = emit(relax.op.subtract(emit(relax.op.astype(source, "int32")), half))
            source = emit(relax.op.astype(moved, "int8"))
            zeros.append(relax.const(-128, "int32"))
        right = emit(relax.op.astype(source, "int32"))
        total = relax.Call(call.op, [data, right], call.attrs)
        if not zeros:
            return total
        shift = zeros[0]
        for zero in zeros[1:]:
            shift = emit(relax.op.add(shift, zero))
        sums = emit(relax.op.sum(self._widened(call.args[0]), [-1], keepdims=True))
        return relax.op.subtract(emit(total), emit(relax.op.multiply(sums, shift)))

    def _narrowed(self, call: relax.Call, data: Expr, weight: np.ndarray) -> Expr:
        axis = CHANNEL_AXIS[call.op.name](call)
        grouped = call.op.name != "relax.matmul" and int(call.attrs.groups) != 1
        if _fits(weight, "int8") or (grouped and _fits(weight, "int16")):
            return self._product(call, data, weight)
        shift = _shift(weight, axis)
        if grouped or not _fits(weight - shift, "int8"):
            return call
        ones = np.ones([1 if i == axis else d for i, d in enumerate(weight.shape)], np.int32)
        sums = self._product(call, self._widened(call.args[0]), ones)
        first = self._product(call, data, weight - shift)
        factor = relax.const(shift.reshape(along_channels(call, shift.size)), "int32")
        emit = self.builder_.emit
        return relax.op.add(emit(first), emit(relax.op.multiply(emit(sums), factor)))

    def _product(self, call: relax.Call, data: Expr, weight: np.ndarray) -> relax.Call:
        """The call with its weights as bytes, or 16 bits where they need them."""
        dtype = "int8" if _fits(weight, "int8") else "int16"
        narrow = relax.const(weight.astype(dtype), dtype)
        wide = self.builder_.emit(relax.op.astype(narrow, "int32"))
        return relax.Call(call.op, [data, wide], call.attrs)

    def _widened(self, expr: Expr) -> Expr | None:
        """A new copy of what widens `expr` from bytes, None if it does more than that."""
        read = self._bytes(expr)
        if read is None:
            return None
        source, zeros = read
        wide = self.builder_.emit(relax.op.astype(source, "int32"))
        for zero in zeros:
            wide = self.builder_.emit(relax.op.subtract(wide, zero))
        return wide

    def _bytes(self, expr: Expr, axes: list[int] | None = None) -> tuple[Expr, list[Expr]] | None:
        """What `expr` is widened from, and the zero points taken off, in order.

        Axes are permuted while elements are bytes.
        """
        value = self.lookup_binding(expr) if isinstance(expr, tvm.ir.Var) else None
        if not isinstance(value, relax.Call):
            return None
        if value.op == _PERMUTE and axes is None and value.attrs.axes is not None:
            return self._bytes(value.args[0], list(map(int, value.attrs.axes)))
        if not is_widening(value):
            return None
        source, *zero = value.args
        if value.op == _ASTYPE:
            if axes is not None:
                source = self.builder_.emit(relax.op.permute_dims(source, axes))
            return source, []
        inner = self._bytes(source, axes)
        return None if inner is None else (inner[0], [*inner[1], *zero])


def _fits(weight: np.ndarray, dtype: str) -> bool:
    limits = np.iinfo(dtype)
    return not weight.size or bool(weight.min() >= limits.min and weight.max() <= limits.max)


def _shift(weight: np.ndarray, axis: int) -> np.ndarray:
    """What to subtract for nine bits to become eight, of rank alike: one number or, where that
    will not do, one for each channel."""
    if weight.max() - weight.min() <= 255:
        return np.full([1] * weight.ndim, weight.min() + 128, np.int32)
    others = tuple(i for i in range(weight.ndim) if i != axis)
    return weight.min(axis=others, keepdims=True) + np.int32(128)
