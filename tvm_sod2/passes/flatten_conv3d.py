"""Three-dimensional convolutions run as two-dimensional ones over the planes of their result.

    y = conv3d(x, w)     y' = conv2d(planes(x), w');  y = permute_dims(reshape(y', (n, d, h, w, o)))
    z = relu(y)     ->   z' = relu(y');  z = permute_dims(reshape(z', (n, d, h, w, o)))

Image number n * d of `planes` has, side by side in its channels, the planes of x that the kernel's
planes lie on where they make plane d of batch n: a copy of x for each plane of the kernel, little
beside what is done with it. With a filter for each channel there is a conv2d for each of the
kernel's planes, and their sum. What is elementwise takes the images of its operand. Where the
kernel is 1x1x1 and its operand no image, it is a matrix product, of channels as they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import mul
from typing import Any

import numpy as np
import tvm
from tvm import relax, te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.op_classes import is_elementwise
from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.images import ImageMutator

_CHANNELS_LAST, _CHANNELS_FIRST = [0, 2, 3, 4, 1], [0, 4, 1, 2, 3]


@tvm.transform.module_pass(opt_level=0, name="FlattenConv3d")
def flatten_conv3d(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace every float32 conv3d in layout NCDHW, and what follows it elementwise."""
    flattener = _Flattener(mod)
    for gvar, func in mod.functions_items():
        if isinstance(func, relax.Function):
            flattener.images.clear()
            flattener.builder_.update_func(gvar, flattener.visit_expr(func))
    return relax.transform.DeadCodeElimination()(flattener.builder_.get())


@relax.expr_functor.mutator
class _Flattener(ImageMutator):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.images = {}

    def type_of_image(self, var: tvm.ir.Var) -> relax.TensorType:
        return relax.TensorType(_flat(_dims(var)), var.ty.dtype)

    def back(self, image: tvm.ir.Var, var: tvm.ir.Var) -> Expr:
        n, c, *space = _dims(var)
        volume = R.reshape(image, relax.ShapeExpr([n, *space, c]))
        return R.permute_dims(self.builder_.emit(volume), _CHANNELS_FIRST)

    def image(self, value: Expr) -> relax.Call | None:
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            return None
        if not _is_tensor(value) or value.ty.ndim != 5:
            return None
        if value.op.name == "relax.nn.conv3d":
            alone = value.args[0] not in self.images and _is_pointwise(value)
            return None if alone else self._convolution(value)
        if not is_elementwise(value.op.name):
            return None
        if not any(argument in self.images for argument in value.args):
            return None
        if not all(_is_tensor(e) and _flattens(e, value) for e in value.args):
            return None
        operands = [self._operand(argument) for argument in value.args]
        return relax.Call(value.op, operands, value.attrs, value.ty_args)

    def visit_call_(self, call: relax.Call) -> Expr:
        call = super().visit_call_(call)
        if not _is_pointwise(call):
            return call
        x, weight = call.args
        n, inputs, *space = _dims(x)
        columns = relax.ShapeExpr([n, inputs, reduce(mul, space)])
        matrix = self.builder_.emit(R.reshape(weight, relax.ShapeExpr(_dims(weight)[:2])))
        product = R.matmul(matrix, self.builder_.emit(R.reshape(x, columns)))
        return R.reshape(self.builder_.emit(product), relax.ShapeExpr(_dims(call)))

    def _operand(self, operand: Expr) -> Expr:
        """The planes of an operand that broadcasts with volumes."""
        if operand in self.images:
            return self.images[operand]
        dims = [tirx.IntImm("int64", 1)] * (5 - operand.ty.ndim) + _dims(operand)
        wide = self.visit_expr(operand)
        if operand.ty.ndim < 5:
            wide = self.builder_.emit(R.reshape(wide, relax.ShapeExpr(dims)))
        last = self.builder_.emit(R.permute_dims(wide, _CHANNELS_LAST))
        return self.builder_.emit(R.reshape(last, relax.ShapeExpr(_flat(dims))))

    def _convolution(self, call: relax.Call) -> relax.Call | None:
        attrs, (x, w) = call.attrs, call.args
        layouts = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
        if layouts != ("NCDHW", "OIDHW", "NCDHW"):
            return None
        if not all(_is_tensor(e) and str(e.ty.dtype) == "float32" for e in (x, w)):
            return None
        weight = constant_array(w)
        if weight is None or weight.size == 0:
            return None
        outputs, inputs, deep, *size = weight.shape
        every = list(range(deep))
        terms = [[k] for k in every] if inputs == 1 and attrs.groups > 1 else [every]
        source, total = self._operand(x), None
        for planes in terms:
            kernel = weight[:, :, planes].transpose(0, 3, 4, 2, 1)
            kernel = np.ascontiguousarray(kernel.reshape(outputs, *size, -1))
            _, top, left, _, bottom, right = attrs.padding
            term = R.nn.conv2d(
                self._planes(call, source, planes),
                relax.const(kernel),
                strides=attrs.strides[1:],
                padding=[top, left, bottom, right],
                dilation=attrs.dilation[1:],
                groups=attrs.groups,
                data_layout="NHWC",
                kernel_layout="OHWI",
            )
            total = (
                term
                if total is None
                else R.add(self.builder_.emit(total), self.builder_.emit(term))
            )
        return total

    def _planes(self, call: relax.Call, source: Expr, planes: Sequence[int]) -> Expr:
        """The images (n * d, h, w, groups * planes * c) that a conv2d takes, all of one conv3d."""
        attrs = call.attrs
        n, channels, depth, *size = _dims(call.args[0])
        out, groups, stride = _dims(call)[2], int(attrs.groups), int(attrs.strides[0])
        groups = groups if len(planes) > 1 else 1
        each = int(channels) // groups
        shape = relax.ShapeExpr([n, depth, *size, groups, each])
        volume = self.builder_.emit(R.reshape(source, shape))
        starts = [k * int(attrs.dilation[0]) - int(attrs.padding[0]) for k in planes]
        whole = starts == [0] and stride == 1 and _same(out, depth)
        if not whole:
            step = starts[1] - starts[0] if len(starts) > 1 else 1
            volume = self.builder_.emit_te(
                _gather, volume, [out], starts[0], step, len(planes), stride
            )
        flat = [n * out, *size, channels * len(planes)]
        return self.builder_.emit(R.reshape(volume, relax.ShapeExpr(flat)))


def _is_pointwise(call: relax.Call) -> bool:
    """Whether it is a product of channels at each place of a volume."""
    if getattr(call.op, "name", "") != "relax.nn.conv3d" or not all(map(_is_tensor, call.args)):
        return False
    attrs = call.attrs
    layouts = (attrs.data_layout, attrs.kernel_layout, attrs.out_layout)
    whole = [*attrs.strides, attrs.groups, *map(_number, _dims(call.args[1])[2:])]
    return (
        layouts == ("NCDHW", "OIDHW", "NCDHW")
        and _is_tensor(call)
        and str(call.ty.dtype) == "float32"
        and all(int(one) == 1 for one in whole)
        and all(int(p) == 0 for p in attrs.padding)
    )


def _number(dim: Any) -> int:
    """A known dim, or 0."""
    return int(dim) if isinstance(dim, tirx.IntImm) else 0


def _gather(
    x: te.Tensor, out: Sequence[Any], first: int, step: int, planes: int, stride: int
) -> te.Tensor:
    """(n, depth, h, w, g, c) as (n, out, h, w, g, planes, c), zeros beyond x.

    Plane k of the kernel lies `first` + k * `step` behind the place of the result.
    """
    n, depth, height, width, groups, each = x.shape

    def element(b: Any, d: Any, y: Any, z: Any, g: Any, k: Any, c: Any) -> Any:
        at = d * stride + first + k * step
        inside = tirx.all(at >= 0, at < depth)
        return tirx.if_then_else(inside, x(b, at, y, z, g, c), tirx.const(0, x.dtype))

    shape = (n, out[0], height, width, groups, planes, each)
    return te.compute(shape, element, name="planes")


def _flattens(operand: Expr, result: Expr) -> bool:
    """Whether an operand of `result` has images: its batches and planes are as many, or one."""
    dims = [tirx.IntImm("int64", 1)] * (5 - operand.ty.ndim) + _dims(operand)
    ones = all(_is_one(dims[axis]) for axis in (0, 2))
    return ones or all(_same(dims[axis], _dims(result)[axis]) for axis in (0, 2))


def _same(dim: Any, other: Any) -> bool:
    return bool(tvm.sym.Analyzer().can_prove_equal(dim, other))


def _is_one(dim: Any) -> bool:
    return isinstance(dim, tirx.IntImm) and dim.value == 1


def _is_tensor(value: Expr) -> bool:
    ty = value.ty
    return isinstance(ty, relax.TensorType) and ty.shape is not None and ty.ndim <= 5


def _dims(value: Expr) -> list[Any]:
    return list(value.ty.shape.values)


def _flat(dims: Sequence[Any]) -> list[Any]:
    """The dims of a volume's planes, channels last."""
    n, c, d, h, w = dims
    return [n * d, h, w, c]
