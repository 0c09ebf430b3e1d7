"""One-dimensional convolutions run as two-dimensional ones over images of height 1.

    y = conv1d(x, w)          y' = conv2d(reshape(x, (n, c, 1, l)), w'); y = reshape(y', (n, o, m))
    z = relu(y)          ->   z' = relu(y'); z = reshape(z', (n, o, m))

So they have the layout and the kernels of all convolutions. What is elementwise, and slices, take
the image of their operand where there is one: no reshape parts them from their convolution.
"""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.op_classes import is_elementwise
from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.images import ImageMutator
from tvm_sod2.passes.mutate import map_functions

# What a convolution becomes, the layout of its kernel, and parameters of its own.
_WIDE = {
    "relax.nn.conv1d": (R.nn.conv2d, "OIW", ()),
    "relax.nn.conv1d_transpose": (R.nn.conv2d_transpose, "IOW", ("output_padding",)),
}

_HEIGHT = 2  # the axis that an image (n, c, 1, l) has beyond a row (n, c, l)


@tvm.transform.module_pass(opt_level=0, name="WidenConv1d")
def widen_conv1d(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace every float32 convolution in layout NCW, and what follows it elementwise."""
    mod = map_functions(mod, lambda func: _Widener().visit_expr(func))
    return relax.transform.DeadCodeElimination()(mod)


@relax.expr_functor.mutator
class _Widener(ImageMutator):
    def __init__(self) -> None:
        super().__init__()
        self.images = {}

    def type_of_image(self, var: tvm.ir.Var) -> relax.TensorType:
        return relax.TensorType(_widened(var.ty), var.ty.dtype)

    def back(self, image: tvm.ir.Var, var: tvm.ir.Var) -> Expr:
        return R.reshape(image, var.ty.shape)

    def image(self, value: Expr) -> relax.Call | None:
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return None
        if not _is_rows(value) or value.ty.shape is None:
            return None
        if value.op.name in _WIDE:
            return self._convolution(value)
        if not any(argument in self.images for argument in value.args):
            return None
        if value.op.name == "relax.strided_slice":
            return self._slice(value)
        known = all(_known(argument) for argument in value.args)
        if not known or not is_elementwise(value.op.name):
            return None
        operands = [self._operand(argument) for argument in value.args]
        return relax.Call(value.op, operands, value.attrs, value.ty_args)

    def _convolution(self, call: relax.Call) -> relax.Call | None:
        attrs, (x, w) = call.attrs, call.args
        wide, kernel, extra = _WIDE[call.op.name]
        plain = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) == ("NCW", kernel, "NCW")
        if not plain or not all(_known(e) and str(e.ty.dtype) == "float32" for e in (x, w)):
            return None
        left, right = attrs.padding
        return wide(
            self._operand(x),
            self._operand(w),
            strides=[1, *attrs.strides],
            padding=[0, left, 0, right],
            dilation=[1, *attrs.dilation],
            groups=attrs.groups,
            **{name: [0, *getattr(attrs, name)] for name in extra},
        )

    def _slice(self, call: relax.Call) -> relax.Call | None:
        x, axes, begin, end, *strides = call.args
        if x not in self.images:
            return None
        moved = [int(axis.value) % 3 for axis in axes.fields]
        moved = [axis + (axis >= _HEIGHT) for axis in moved]
        return R.strided_slice(
            self.images[x], moved, begin, end, *strides, assume_inbound=call.attrs.assume_inbound
        )

    def _operand(self, operand: Expr) -> Expr:
        """The image of an operand that broadcasts with rows."""
        if operand in self.images:
            return self.images[operand]
        if operand.ty.ndim < 2:
            return self.visit_expr(operand)
        data = constant_array(operand)
        dims = _widened(operand.ty)
        if data is not None:
            return relax.const(data.reshape([int(dim) for dim in dims]), str(operand.ty.dtype))
        return self.builder_.emit(R.reshape(self.visit_expr(operand), relax.ShapeExpr(dims)))


def _is_rows(value: Expr) -> bool:
    return isinstance(value.ty, relax.TensorType) and value.ty.ndim == 3


def _known(value: Expr) -> bool:
    ty = value.ty
    return isinstance(ty, relax.TensorType) and ty.shape is not None and ty.ndim <= 3


def _widened(ty: relax.TensorType) -> list[Any]:
    """The dims with one of 1 before the last."""
    dims = list(ty.shape.values)
    return [*dims[:-1], tvm.tirx.IntImm("int64", 1), dims[-1]]
