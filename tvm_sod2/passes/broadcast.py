"""Broadcasting whose dims nobody can prove equal is decided at run time.

    z: Tensor(ndim=1) = add(x: (n,), y: (m,))
->  d = max(n, m) * min(n, m, 1)                     # n or m: whichever is not 1
    _ = R.match_cast(R.shape([(n - 1) * (m - 1) * (n - m)]), R.Shape([0]))
    z: Tensor((d,)) = add(stretch(x, d), stretch(y, d))

Runs after RDP, which proves most of them. TVM's own legalisation leaves such operators as they are,
and code generation then fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import tvm
from tvm import relax, te, tirx
from tvm.relax import Expr

from tvm_sod2.op_classes import Mapping, row
from tvm_sod2.passes.mutate import rewrite_functions


@tvm.transform.module_pass(opt_level=0, name="DecideBroadcasts")
def decide_broadcasts(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Stretch the operands of elementwise operators and products that Relax gave no shape."""
    return rewrite_functions(mod, _Rewriter(mod))


@relax.expr_functor.mutator
class _Rewriter(relax.PyExprMutator):
    def __init__(self, mod: tvm.IRModule) -> None:
        super().__init__(mod)
        self.analyzer = tvm.sym.Analyzer()

    def visit_call_(self, call: relax.Call) -> Expr:
        call = self.visit_expr_post_order(call)
        found = self.builder_.normalize(call)
        if not isinstance(found, relax.Call) or not _lost(found):
            return call
        shapes = [list(arg.ty.shape) for arg in found.args]
        if found.op.name == "relax.matmul":
            return self._product(found, shapes)
        if found.op.name == "relax.concat" or row(found.op.name).mapping is not Mapping.ONE_TO_ONE:
            return call
        common = self._common(shapes)
        args = [self._stretched(arg, common) for arg in found.args]
        return relax.Call(found.op, args, found.attrs, found.ty_args)

    def _product(self, call: relax.Call, shapes: list[list[Any]]) -> Expr:
        if any(len(shape) < 2 for shape in shapes):
            return call
        common = self._common([shape[:-2] for shape in shapes])
        inner = shapes[0][-1]
        right = call.args[1]
        if not self.analyzer.can_prove_equal(inner, shapes[1][-2]):
            dims = [*shapes[1][:-2], inner, shapes[1][-1]]
            right = self.builder_.match_cast(right, relax.TensorType(dims, right.ty.dtype))
        args = [
            self._stretched(arg, [*common, *arg.ty.shape[-2:]]) for arg in (call.args[0], right)
        ]
        return relax.Call(call.op, args, call.attrs, call.ty_args)

    def _common(self, shapes: Sequence[Sequence[Any]]) -> list[Any]:
        """The dims that the shapes broadcast to, checked where they might contradict."""
        dims = []
        for axis in range(-max(map(len, shapes)), 0):
            column = [shape[axis] for shape in shapes if len(shape) >= -axis]
            dims.append(reduce(self._either, column))
        return dims

    def _either(self, a: Any, b: Any) -> Any:
        if self._is(a, b) or self._is(b, 1):
            return a
        if self._is(a, 1):
            return b
        for known in (a, b):
            if isinstance(known, tirx.IntImm):
                # 1 or the known size: the latter, which is not 1.
                self._check((a - 1) * (b - 1) * (a - b))
                return known
        self._check((a - 1) * (b - 1) * (a - b))
        one = tirx.const(1, "int64")
        return self.analyzer.simplify(tirx.max(a, b) * tirx.min(tirx.min(a, b), one))

    def _is(self, a: Any, b: Any) -> bool:
        return bool(self.analyzer.can_prove_equal(a, b))

    def _check(self, zero: Any) -> None:
        """Let the VM check that an expression of dims is 0."""
        shape = self.builder_.emit(relax.ShapeExpr([self.analyzer.simplify(zero)]))
        self.builder_.match_cast(shape, relax.ShapeType([tirx.const(0, "int64")]))

    def _stretched(self, arg: Expr, dims: list[Any]) -> Expr:
        own = list(arg.ty.shape)
        behind = dims[len(dims) - len(own) :]
        if all(self._is(a, b) or self._is(a, 1) for a, b in zip(own, behind, strict=True)):
            return arg

        def stretch(x: te.Tensor) -> te.Tensor:
            def element(*index: Any) -> Any:
                zero = tirx.const(0, "int64")
                return x(
                    *(
                        i if self._is(size, dim) else tirx.if_then_else(size == 1, zero, i)
                        for i, size, dim in zip(index, own, behind, strict=True)
                    )
                )

            return te.compute(tuple(behind), element, name="stretch")

        return self.builder_.emit(self.builder_.call_te(stretch, arg))


def _lost(call: relax.Call) -> bool:
    """Whether an operator on tensors of known dims has a result of unknown ones."""
    if not isinstance(call.op, tvm.ir.Op) or len(call.args) < 2:
        return False
    if not isinstance(call.ty, relax.TensorType) or call.ty.shape is not None:
        return False
    return all(
        isinstance(arg.ty, relax.TensorType) and isinstance(arg.ty.shape, relax.ShapeExpr)
        for arg in call.args
    )
