"""Short convolutions between two changes of layout do without them.

    a = permute_dims(x, [0, 2, 3, 1])                    y = relu(conv2d(x, w)), channels first
    y = permute_dims(relu(conv2d(a, w)), [0, 3, 1, 2])   ->

Where few products make an element, moving it takes about as long, and the kernel for channels-first
images (schedules/channels_first.py) stores it in place. A first layer has such a pair where what
follows wants channels first: a convolution of a waveform before a norm over its time, say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.op_classes import is_elementwise
from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.mutate import map_functions
from tvm_sod2.passes.permutes import order_of

_TO_LAST, _TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]

INPUTS = 4
"""The most input channels of a first layer."""

LONGEST = 256
"""Products for an element up to which moving it counts."""

OUTPUTS = 12
"""Output channels, for each pixel of a stride, that pay for taking the stride out of the inputs."""

NARROW = 3
"""Columns of a kernel that few products are made with where a channel has one filter."""

NARROWEST = 16
"""Pixels of a row that fill a vector."""


@tvm.transform.module_pass(opt_level=0, name="KeepChannelsFirst")
def keep_channels_first(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Replace every such pair around a convolution and what follows it elementwise."""
    return inline_leaves(map_functions(mod, _rewritten))


def _rewritten(func: relax.Function) -> relax.Function:
    found = _Found(func)
    return _Keeper(found).visit_expr(func) if found.sources else func


class _Found:
    """The convolutions of a function that keep their layout.

    Attributes:
        sources: by the variable of each, its data, channels first or of one channel.
        inside: their variables and those of what follows.
    """

    def __init__(self, func: relax.Function) -> None:
        blocks = func.body.blocks if isinstance(func.body, relax.SeqExpr) else []
        bindings = [b for block in blocks for b in block.bindings]
        self.made = {b.var: b.value for b in bindings if isinstance(b, relax.VarBinding)}
        self.uses = Counter(var for b in bindings for var in relax.analysis.free_vars(b.value))
        self.sources: dict[tvm.ir.Var, Expr] = {}
        self.inside: set[tvm.ir.Var] = set()
        for binding in bindings:
            if order_of(binding.value) == _TO_FIRST:
                self._follow(binding.value.args[0])

    def _follow(self, var: Expr) -> None:
        """From what is changed back to the convolution that it comes from, if there is one."""
        chain = []
        while isinstance(var, relax.DataflowVar) and self.uses[var] == 1:
            value = self.made.get(var)
            if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
                return
            chain.append(var)
            if value.op.name == "relax.nn.conv2d":
                source = self._source(value)
                if source is not None:
                    self.sources[var] = source
                    self.inside |= set(chain)
                return
            if not is_elementwise(value.op.name):
                return
            others = [a for a in value.args if isinstance(a, tvm.ir.Var) and _is_tensor(a)]
            constants = [a for a in value.args if a not in others and _is_tensor(a)]
            if len(others) != 1 or not all(constant_array(a) is not None for a in constants):
                return
            (var,) = others

    def _source(self, call: relax.Call) -> Expr | None:
        """The data of a convolution that is better channels first."""
        data, weight = call.args
        if not isinstance(weight, tvm.ir.GenericConst) or not _is_tensor(data):
            return None
        if str(call.ty.dtype) != "float32" or not _is_head(call):
            return None
        before = self.made.get(data)
        if before is not None and order_of(before) == _TO_LAST:
            return before.args[0]
        return data if _inputs(call) == 1 else None


def _is_head(call: relax.Call) -> bool:
    """Whether few channels go in, and sums are short."""
    attrs = call.attrs
    if (attrs.data_layout, attrs.kernel_layout) != ("NHWC", "OHWI"):
        return False
    outputs, height, width, inputs = (int(dim) for dim in call.args[1].ty.shape.values)
    stride, across = int(attrs.strides[1]), call.ty.shape.values[2]
    if isinstance(across, tvm.tirx.IntImm) and int(across) < NARROWEST:
        return False
    if _inputs(call) > INPUTS or not 0 < height * width * inputs <= LONGEST:
        return False
    if outputs == int(attrs.groups) and width <= NARROW:
        return False
    return stride == 1 or outputs >= OUTPUTS * stride


def _inputs(call: relax.Call) -> int:
    """Input channels of a convolution with OHWI weights."""
    return int(call.args[1].ty.shape.values[3]) * int(call.attrs.groups)


def _is_tensor(value: Expr) -> bool:
    return isinstance(value.ty, relax.TensorType)


def _first(dims: Sequence[Any]) -> list[Any]:
    return [dims[axis] for axis in _TO_FIRST]


@relax.expr_functor.mutator
class _Keeper(relax.PyExprMutator):
    def __init__(self, found: _Found) -> None:
        super().__init__()
        self.found = found
        self.kept: dict[tvm.ir.Var, tvm.ir.Var] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        var, value = binding.var, binding.value
        if var in self.found.inside:
            call = (
                self._convolution(var, value) if var in self.found.sources else self._after(value)
            )
            dims = _first(var.ty.shape.values)
            # Inference may find another form for a dim than the one that RDP wrote.
            relax.expr._update_type(call, relax.TensorType(dims, var.ty.dtype))
            self.kept[var] = self.builder_.emit(call, var.name)
        elif order_of(value) == _TO_FIRST and value.args[0] in self.kept:
            super().visit_var_binding_(relax.VarBinding(var, self.kept[value.args[0]]))
        else:
            super().visit_var_binding_(binding)

    def _convolution(self, var: tvm.ir.Var, call: relax.Call) -> relax.Call:
        source, attrs = self.found.sources[var], call.attrs
        data = self.visit_expr(source)
        if source.same_as(call.args[0]):  # one channel
            dims = relax.ShapeExpr(_first(source.ty.shape.values))
            data = self.builder_.emit(R.reshape(data, dims))
        return R.nn.conv2d(
            data,
            call.args[1],
            strides=attrs.strides,
            padding=attrs.padding,
            dilation=attrs.dilation,
            groups=attrs.groups,
            data_layout="NCHW",
            kernel_layout="OHWI",
        )

    def _after(self, call: relax.Call) -> relax.Call:
        return relax.Call(call.op, list(map(self._operand, call.args)), call.attrs, call.ty_args)

    def _operand(self, operand: Expr) -> Expr:
        if operand in self.kept:
            return self.kept[operand]
        array = constant_array(operand)
        if array is None:
            return self.visit_expr(operand)
        wide = array.reshape((1,) * (4 - array.ndim) + array.shape)
        return relax.const(wide.transpose(_TO_FIRST), str(operand.ty.dtype))
