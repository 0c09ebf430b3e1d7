"""A kernel's large scratch becomes an operand, so that the arena holds it.

    def k(x: (n,), y: (n,)):                     def k(x: (n,), y: (n,), t: (n * 4,)):
        t = alloc_buffer((n * 4,))       ->          ...
        ...
    y = R.call_tir(k, (x,), out_ty=A)            both = R.call_tir(k, (x,), out_ty=[A, (n * 4,)])
                                                 y = both[0]

Inside a kernel it would come from TVM's thread-local workspace, which no plan knows of and which
stays with the process. Only what a kernel allocates once, before its loops, is lifted, and only
what TVM would not put on the stack; kernels declare such scratch by the attribute ``sod2.scratch``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import tvm
from tvm import relax, tirx
from tvm.ir import GlobalVar, PrimType
from tvm_ffi import structural_map

from tvm_sod2.op_classes.expressions import name_of

SCRATCH = "sod2.scratch"

# TVM's own limit.
_STACK_BYTES = 1024


@tvm.transform.module_pass(opt_level=0, name="LiftScratch")
class LiftScratch:
    """Lift the scratch of every kernel that declares any; runs on `call_tir` form."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        calls = _Calls(mod)
        lifted: dict[GlobalVar, _Lifted] = {}
        for gvar, func in mod.functions.items():
            if isinstance(func, tirx.PrimFunc) and SCRATCH in (func.attrs or {}):
                found = _lift(func)
                if found.scratch and calls.determine(gvar, func, found.scratch):
                    lifted[gvar] = found
        if not lifted:
            return mod
        # A global variable knows its function's parameters: changed ones need a new variable.
        kept = {gvar: func for gvar, func in mod.functions.items() if gvar not in lifted}
        builder = relax.BlockBuilder(
            tvm.IRModule(kept, attrs=mod.attrs, global_infos=mod.global_infos)
        )
        renewed = {
            gvar: builder.add_func(found.func, gvar.name_hint) for gvar, found in lifted.items()
        }
        for gvar, func in mod.functions.items():
            if isinstance(func, relax.Function):
                body = _Rewriter(builder, lifted, renewed, calls).sequence(func.body)
                rewritten = relax.Function(
                    func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span
                )
                builder.update_func(gvar, rewritten)
        return builder.get()


@dataclass(frozen=True)
class _Lifted:
    func: tirx.PrimFunc
    scratch: tuple[tirx.Var, ...]  # buffers, its last parameters


def _lift(func: tirx.PrimFunc) -> _Lifted:
    """`func` with the large allocations at the top of its body as parameters."""
    body = list(func.body.seq) if isinstance(func.body, tirx.SeqStmt) else [func.body]
    scratch = tuple(s.buffer for s in body if isinstance(s, tirx.AllocBuffer) and _large(s))
    kept = [s for s in body if not (isinstance(s, tirx.AllocBuffer) and _large(s))]
    lifted = tirx.PrimFunc(
        [*func.params, *scratch],
        tirx.SeqStmt(kept) if len(kept) != 1 else kept[0],
        func.ret_type,
        func.attrs,
    )
    return _Lifted(lifted.without_attr(SCRATCH), scratch)


def _large(stmt: tirx.AllocBuffer) -> bool:
    """Whether the size is symbolic, or beyond what TVM puts on the stack."""
    extents = list(stmt.buffer.ty.shape)
    if not all(isinstance(extent, tirx.IntImm) for extent in extents):
        return True
    itemsize = tvm.DataType(str(stmt.buffer.ty.dtype)).itemsize
    return prod(int(extent.value) for extent in extents) * itemsize >= _STACK_BYTES


class _Calls:
    """What a kernel's symbols are at each of its calls."""

    def __init__(self, mod: tvm.IRModule) -> None:
        self._sites: dict[GlobalVar, list[relax.Call]] = {}
        self._others: set[GlobalVar] = set()  # kernels called in any way but `call_tir`
        for func in mod.functions.values():
            if isinstance(func, relax.Function):
                relax.analysis.post_order_visit(func, self._visit)

    def _visit(self, expr: relax.Expr) -> None:
        if isinstance(expr, relax.Call):
            if getattr(expr.op, "name", "") == "relax.call_tir":
                self._sites.setdefault(expr.args[0], []).append(expr)
            else:
                callees = (expr.op, *expr.args)
                self._others.update(c for c in callees if isinstance(c, GlobalVar))

    def determine(
        self, gvar: GlobalVar, func: tirx.PrimFunc, scratch: tuple[tirx.Var, ...]
    ) -> bool:
        """Whether every call is a `call_tir` that says how large the scratch is."""
        return gvar not in self._others and all(
            self.types(call, func, scratch) is not None for call in self._sites.get(gvar, [])
        )

    def types(
        self, call: relax.Call, func: tirx.PrimFunc, scratch: tuple[tirx.Var, ...]
    ) -> list[relax.TensorType] | None:
        """Types of the scratch buffers of `func`, in the dims of the caller."""
        actual = [*_fields(call.args[1]), *_outputs(call)]
        meaning: dict[tirx.Var, tvm.ir.Expr] = {}
        for param, value in zip(func.params, actual, strict=False):
            if isinstance(param.ty, PrimType):
                meaning[param] = value
                continue
            ty = value if isinstance(value, relax.TensorType) else value.ty
            if isinstance(ty, relax.TensorType) and isinstance(ty.shape, relax.ShapeExpr):
                pairs = zip(param.ty.shape, ty.shape.values, strict=True)
                meaning |= {f: a for f, a in pairs if isinstance(f, tirx.Var)}
        types = []
        for buffer in scratch:
            extents = list(buffer.ty.shape)
            free = {v for extent in extents for v in tirx.analysis.undefined_vars(extent)}
            if not free <= set(meaning):
                return None
            moved = [structural_map(e, [(tirx.Var, lambda v: meaning.get(v, v))]) for e in extents]
            types.append(relax.TensorType(moved, str(buffer.ty.dtype)))
        return types


def _fields(args: relax.Expr) -> list[relax.Expr]:
    return list(args.fields) if isinstance(args, relax.Tuple) else [args]


def _outputs(call: relax.Call) -> list[relax.TensorType]:
    (ty,) = call.ty_args
    return list(ty.fields) if isinstance(ty, relax.TupleType) else [ty]


class _Rewriter:
    """Gives the calls of lifted kernels their new outputs."""

    def __init__(
        self,
        builder: relax.BlockBuilder,
        lifted: dict[GlobalVar, _Lifted],
        renewed: dict[GlobalVar, GlobalVar],
        calls: _Calls,
    ) -> None:
        self._builder = builder
        self._lifted = lifted
        self._renewed = renewed
        self._calls = calls

    def sequence(self, body: relax.SeqExpr) -> relax.SeqExpr:
        blocks = []
        for block in body.blocks:
            bindings: list[relax.Binding] = []
            dataflow = isinstance(block, relax.DataflowBlock)
            for binding in block.bindings:
                bindings += self._binding(binding, dataflow)
            blocks.append(type(block)(bindings))
        return self._builder.normalize(relax.SeqExpr(blocks, body.body))

    def _binding(self, binding: relax.Binding, dataflow: bool) -> list[relax.Binding]:
        value = binding.value
        if isinstance(value, relax.If):
            arms = self.sequence(value.true_branch), self.sequence(value.false_branch)
            branch = self._builder.normalize(relax.If(value.cond, *arms, value.span))
            return [relax.VarBinding(binding.var, branch)]
        if name_of(value) != "relax.call_tir":
            return [binding]
        found = self._lifted.get(value.args[0])
        if found is None:
            return [binding]
        outputs = _outputs(value)
        scratch = self._calls.types(value, found.func, found.scratch)
        assert scratch is not None, "determined for every call before"
        call = self._builder.normalize(
            relax.call_tir(self._renewed[value.args[0]], value.args[1], [*outputs, *scratch])
        )
        kind = relax.DataflowVar if dataflow else relax.Var
        whole = kind(f"{binding.var.name}_and_scratch", call.ty)
        fields = [
            self._builder.normalize(relax.TupleGetItem(whole, i)) for i in range(len(outputs))
        ]
        bound: list[relax.Binding] = [relax.VarBinding(whole, call)]
        if isinstance(value.ty, relax.TensorType):
            return [*bound, relax.VarBinding(binding.var, fields[0])]
        parts = [kind(f"{binding.var.name}_{i}", field.ty) for i, field in enumerate(fields)]
        bound += map(relax.VarBinding, parts, fields)
        return [*bound, relax.VarBinding(binding.var, self._builder.normalize(relax.Tuple(parts)))]
