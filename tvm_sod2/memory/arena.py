"""Write memory plans into the IR: every function gets one arena for its temporaries.

    alloc = R.builtin.alloc_tensor(R.shape([n, 64]), ...)      # before
    cls.kernel(x, alloc)

    slots = R.builtin.alloc_tensor(R.shape([2]), "int64", 0)  # after; once per function
    cls.main_layout(n, slots)                                  # compiled: offsets and size
    layout = R.match_cast(R.tensor_to_shape(slots), R.Shape([total, offset]))
    arena = R.memory.alloc_storage(R.shape([total]), ...)
    ...
    raw = R.memory.alloc_tensor(arena, offset, R.shape([n, 64]), ...)
    alloc = R.memory.ensure_zero_offset(raw)                   # a view: kernels refuse offsets
    cls.kernel(x, alloc)

Symbolic sizes are rounded up to powers of two, also those of tensors outside the arena: TVM's pool
keys on the exact size and never frees, so that a new size for every input would grow the process
without end. What is never written stays untouched, and costs no memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax, tirx

from tvm_sod2.memory.heights import Height
from tvm_sod2.memory.layout_kernel import layout_kernel
from tvm_sod2.memory.lifetimes import ENTRY
from tvm_sod2.memory.plan import Plan, plan
from tvm_sod2.memory.sizes import as_constant
from tvm_sod2.memory.total import Totals

ARENA_BYTES = "sod2.arena_bytes"  # function attribute: `Totals.text`
_ZERO = tirx.IntImm("int64", 0)


@tvm.transform.module_pass(opt_level=0, name="PlanArena")
class PlanArena:
    """Plan and rewrite every Relax function of a module in the form of `CallTIRRewrite`."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        builder = relax.BlockBuilder(mod)
        plans = {
            gvar: plan(func, mod, gvar.name_hint)
            for gvar, func in mod.functions.items()
            if isinstance(func, relax.Function)
        }
        totals = Totals(mod, plans)
        for gvar, planned in plans.items():
            func = _Writer(planned, builder).function(mod[gvar])
            builder.update_func(gvar, func.with_attr(ARENA_BYTES, totals.text(gvar)))
        return builder.get()


@dataclass(frozen=True)
class _Place:
    """`storage` at `offset`, or, where `storage` is None, a storage of its own of `size` bytes."""

    storage: relax.Var | None
    offset: tvm.ir.Expr
    size: tvm.ir.Expr


class _Writer:
    """Rewrites one function along its plan."""

    def __init__(self, planned: Plan, builder: relax.BlockBuilder) -> None:
        self._plan = planned
        self._builder = builder
        self._places: dict[relax.Var, _Place] = {}
        self._points = {var: point for point, var in planned.points.items()}

    def function(self, func: relax.Function) -> relax.Function:
        opening = self._open(ENTRY)
        body = self._sequence(func.body)
        blocks = [relax.BindingBlock(opening), *body.blocks] if opening else body.blocks
        return relax.Function(
            func.params,
            self._builder.normalize(relax.SeqExpr(blocks, body.body)),
            func.ret_ty,
            func.is_pure,
            func.attrs,
            func.span,
        )

    def _sequence(self, body: relax.SeqExpr) -> relax.SeqExpr:
        blocks = []
        for block in body.blocks:
            bindings: list[relax.Binding] = []
            for binding in block.bindings:
                bindings += self._binding(binding)
            blocks.append(relax.BindingBlock(bindings))
        return self._builder.normalize(relax.SeqExpr(blocks, body.body))

    def _binding(self, binding: relax.Binding) -> list[relax.Binding]:
        value = binding.value
        if isinstance(value, relax.If):
            arms = self._sequence(value.true_branch), self._sequence(value.false_branch)
            branch = self._builder.normalize(relax.If(value.cond, *arms, value.span))
            return [relax.VarBinding(binding.var, branch)]
        if binding.var in self._places:
            return self._allocate(binding.var, value, self._places[binding.var])
        if binding.var in self._points:
            return [binding, *self._open(self._points[binding.var])]
        return [binding]

    def _open(self, point: int) -> list[relax.Binding]:
        """Bindings that compute the layout of what is known from `point` on, and its arena."""
        segment = next((s for s in self._plan.segments if s.point == point), None)
        own = [(a, size) for a, size in self._plan.kept if a.point == point and size is not None]
        request = _Request(self._plan)
        if segment is not None:
            request.rounded(segment.height)
            for offset in segment.offsets:
                request.exact(offset)
        for _, size in own:
            request.rounded(frozenset([size]))
        bindings = self._compute(request)
        if segment is not None:
            arena = self._storage(request.rounded(segment.height), "arena")
            bindings.append(arena)
            for tensor, offset in zip(segment.tensors, segment.offsets, strict=True):
                self._places[tensor.var] = _Place(arena.var, request.exact(offset), _ZERO)
        for allocation, size in own:
            place = _Place(None, _ZERO, request.rounded(frozenset([size])))
            self._places[allocation.var] = place
        return bindings

    def _compute(self, request: _Request) -> list[relax.Binding]:
        """Call the layout kernel, if anything depends on dims, and bind its results as symbols."""
        if not request.symbols:
            return []
        kernel, dims, hidden = layout_kernel(
            self._plan.heights, list(request.exact_symbols), list(request.rounded_symbols)
        )
        gvar = self._builder.add_func(kernel, f"{self._plan.name}_layout")
        slots = hidden + len(request.symbols)
        empty = relax.op.builtin.alloc_tensor(relax.ShapeExpr([slots]), "int64", 0)
        out = self._bind("slots", empty)
        call = self._bind("_", relax.Call(gvar, [*dims, out.var]))
        shape = self._bind("slots_shape", relax.op.tensor_to_shape(out.var))
        unnamed = [tirx.Var(f"unused_{i}", "int64") for i in range(hidden)]
        ty = relax.ShapeType([*unnamed, *request.symbols])
        return [out, call, shape, relax.MatchCast(relax.Var("layout", ty), shape.var, ty)]

    def _allocate(self, var: relax.Var, call: relax.Call, place: _Place) -> list[relax.Binding]:
        shape, dtype, device, scope = call.args
        if place.storage is None:
            block = self._storage(place.size, "storage", device, scope)
            tensor = relax.op.memory.alloc_tensor(block.var, _ZERO, shape, dtype, device)
            return [block, relax.VarBinding(var, self._builder.normalize(tensor))]
        tensor = relax.op.memory.alloc_tensor(place.storage, place.offset, shape, dtype, device)
        if place.offset is _ZERO:
            return [relax.VarBinding(var, self._builder.normalize(tensor))]
        raw = self._bind(f"{var.name}_raw", tensor)
        view = relax.op.memory.ensure_zero_offset(raw.var)
        return [raw, relax.VarBinding(var, self._builder.normalize(view))]

    def _storage(
        self,
        size: tvm.ir.Expr,
        name: str,
        device: int | tvm.ir.Expr = 0,
        scope: str | tvm.ir.Expr = "global",
    ) -> relax.VarBinding:
        return self._bind(
            name, relax.op.memory.alloc_storage(relax.ShapeExpr([size]), device, scope, "uint8")
        )

    def _bind(self, name: str, value: relax.Expr) -> relax.VarBinding:
        value = self._builder.normalize(value)
        return relax.VarBinding(relax.Var(name, value.ty), value)


class _Request:
    """The heights that a point needs: constants as they are, the rest each once as a symbol."""

    def __init__(self, planned: Plan) -> None:
        self._plan = planned
        self.exact_symbols: dict[Height, tirx.Var] = {}
        self.rounded_symbols: dict[Height, tirx.Var] = {}

    @property
    def symbols(self) -> list[tirx.Var]:
        """In the order of the layout kernel's slots."""
        return [*self.exact_symbols.values(), *self.rounded_symbols.values()]

    def exact(self, height: Height) -> tvm.ir.Expr:
        return self._value(height, self.exact_symbols, "offset")

    def rounded(self, height: Height) -> tvm.ir.Expr:
        return self._value(height, self.rounded_symbols, "storage")

    def _value(self, height: Height, symbols: dict[Height, tirx.Var], name: str) -> tvm.ir.Expr:
        if not height:
            return _ZERO
        poly = next(iter(height))
        fixed = as_constant(poly) if len(height) == 1 else None
        if fixed is not None:
            return tirx.IntImm("int64", fixed)
        if height not in symbols:
            symbols[height] = tirx.Var(f"{name}_{len(symbols)}", "int64")
        return symbols[height]
