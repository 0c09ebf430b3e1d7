"""Gives every PrimFunc its kernel: emitters first, then schedule rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import GenericConst, GlobalVar, IRModule
from tvm.relax.expr_functor import PyExprMutator, mutator

from tvm_sod2.errors import BuildError
from tvm_sod2.schedules.channels_first import emit_channels_first
from tvm_sod2.schedules.conv2d import emit_conv2d
from tvm_sod2.schedules.conv_transpose import emit_conv2d_transpose
from tvm_sod2.schedules.conv_transpose_phases import emit_phases
from tvm_sod2.schedules.depthwise import emit_depthwise
from tvm_sod2.schedules.epilogue import Group, read_group
from tvm_sod2.schedules.gemm import emit_matmul, emit_pointwise
from tvm_sod2.schedules.int8_conv import emit_int8_conv2d
from tvm_sod2.schedules.int8_depthwise import emit_int8_depthwise
from tvm_sod2.schedules.int8_depthwise_words import emit_int8_depthwise_words
from tvm_sod2.schedules.int8_gemm import emit_int8_matmul, emit_int8_pointwise
from tvm_sod2.schedules.int8_runtime_gemm import emit_int8_runtime_matmul
from tvm_sod2.schedules.joins import joins
from tvm_sod2.schedules.kernel import Kernel, Pack, Refusal
from tvm_sod2.schedules.recurrent import CELL, emit_recurrent
from tvm_sod2.schedules.requantise import requantise_in_bits
from tvm_sod2.schedules.rounding import round_natively
from tvm_sod2.schedules.rules import RULES
from tvm_sod2.schedules.runtime_gemm import emit_runtime_matmul
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.vectorise_math import vectorise_math
from tvm_sod2.schedules.winograd import emit_winograd
from tvm_sod2.schedules.winograd_choice import LIMIT, winograd_limit
from tvm_sod2.schedules.work import WORK, work_of

Emitter = Callable[[Group, Traits], Kernel | Refusal]

# The emitters of each kind of anchor, best first.
EMITTERS: dict[str, tuple[Emitter, ...]] = {
    "matmul": (emit_matmul, emit_runtime_matmul),
    "conv2d_transpose": (emit_conv2d_transpose, emit_phases),
    "conv2d": (emit_channels_first, emit_depthwise, emit_pointwise, emit_winograd, emit_conv2d),
    "integer_matmul": (emit_int8_matmul, emit_int8_runtime_matmul),
    "integer_conv2d": (
        emit_int8_depthwise_words,
        emit_int8_depthwise,
        emit_int8_pointwise,
        emit_int8_conv2d,
    ),
}

# The attribute that says which kernel a PrimFunc got, and why no better one.
CHOICE = "sod2.kernel"


@tvm.transform.module_pass(opt_level=0, name="ScheduleKernels")
class ScheduleKernels:
    """Replace each unscheduled PrimFunc by a kernel for `traits` and pack constant weights.

    Equal PrimFuncs become one. Afterwards every PrimFunc carries `tirx.is_scheduled`, in
    "sod2.kernel" the kernel chosen with the reasons why those before it did not apply, and in
    "sod2.work" what it has to do.

    Raises:
        BuildError: no emitter and no rule applies to a PrimFunc.
    """

    def __init__(self, traits: Traits) -> None:
        self.traits = traits

    def transform_module(self, mod: IRModule, _context: tvm.transform.PassContext) -> IRModule:
        funcs = {
            var: func
            for var, func in mod.functions_items()
            if isinstance(func, tirx.PrimFunc)
            and (_has(func, CELL) or not _has(func, "tirx.is_scheduled"))
        }
        limit = winograd_limit(mod)
        funcs = {var: func.with_attr(LIMIT, limit) for var, func in funcs.items()}
        constants = constant_arguments(mod)
        kernels: dict[GlobalVar, Kernel] = {}
        renamed: dict[GlobalVar, GlobalVar] = {}
        known: dict[int, list[GlobalVar]] = defaultdict(list)
        for var, func in funcs.items():
            fixed = constants.get(var, frozenset())
            alike = known[tvm_ffi.structural_hash(func)]
            twin = next(
                (
                    v
                    for v in alike
                    if constants.get(v, frozenset()) == fixed
                    and tvm_ffi.structural_equal(funcs[v], func)
                ),
                None,
            )
            if twin is not None and not _has(func, "global_symbol"):
                renamed[var] = twin
                continue
            alike.append(var)
            kernels[var] = choose(var.name_hint, func, fixed, self.traits)
        return _rewrite(mod, kernels, renamed)


def choose(name: str, func: tirx.PrimFunc, constants: frozenset[int], traits: Traits) -> Kernel:
    """The first emitter or rule that applies; `constants` are positions of constant parameters."""
    refused: list[str] = []
    if _has(func, CELL):
        kernel: Kernel | None = emit_recurrent(func, constants, traits)
    else:
        kernel = _emit(func, constants, traits, refused) or _schedule(func, traits)
    if kernel is None:
        raise BuildError(
            f"no kernel for {name}: no schedule rule applies"
            + "".join(f"; {reason}" for reason in refused)
        )
    choice = "; ".join([kernel.name, *refused])
    notes = {CHOICE: choice, WORK: work_of(func), "tirx.is_scheduled": True, **joins(func)}
    done = vectorise_math(requantise_in_bits(kernel.func)).with_attr(notes)
    return Kernel(done, kernel.name, kernel.pack)


def _emit(
    func: tirx.PrimFunc, constants: frozenset[int], traits: Traits, refused: list[str]
) -> Kernel | None:
    group = read_group(round_natively(func, traits), constants)
    if isinstance(group, Refusal):
        refused.append(f"not emitted: {group.reason}")
        return None
    for emit in EMITTERS.get(group.kind, ()):
        kernel = emit(group, traits)
        if isinstance(kernel, Kernel):
            return kernel
        refused.append(f"not {emit.__name__.removeprefix('emit_')}: {kernel.reason}")
    return None


def _schedule(func: tirx.PrimFunc, traits: Traits) -> Kernel | None:
    for rule in RULES:
        scheduled = rule(func, traits)
        if scheduled is not None:
            return Kernel(scheduled, f"rule {getattr(rule, '__name__', type(rule).__name__)}")
    return None


def constant_arguments(mod: IRModule) -> dict[GlobalVar, frozenset[int]]:
    """For each PrimFunc, the positions that are constants in every call.

    Only `call_tir` is looked into: with any other use of a PrimFunc, nothing counts as constant.
    """
    found: dict[GlobalVar, frozenset[int]] = {}

    def visit(call: Any) -> None:
        if not isinstance(call, relax.Call):
            return
        callee = _callee(call)
        here: frozenset[int] = frozenset()
        if callee is not None:
            args = enumerate(call.args[1].fields)
            here = frozenset(i for i, arg in args if isinstance(arg, GenericConst))
        for var in call.args:
            if isinstance(var, GlobalVar):
                found[var] = found.get(var, here) & here

    for func in mod.functions.values():
        if isinstance(func, relax.Function):
            relax.analysis.post_order_visit(func, visit)
    return found


def _callee(call: Any) -> GlobalVar | None:
    """The PrimFunc of a `call_tir` with its arguments in a tuple."""
    if not isinstance(call, relax.Call) or getattr(call.op, "name", "") != "relax.call_tir":
        return None
    return call.args[0] if isinstance(call.args[1], relax.Tuple) else None


def _has(func: Any, attr: str) -> bool:
    return func.attrs is not None and attr in func.attrs


def _rewrite(
    mod: IRModule, kernels: Mapping[GlobalVar, Kernel], renamed: Mapping[GlobalVar, GlobalVar]
) -> IRModule:
    """Put the kernels in, drop the duplicates and pack the constants that calls pass.

    Kernels with packed parameters get a new GlobalVar, since a GlobalVar carries its type.
    """
    kept = {v: f for v, f in mod.functions_items() if v not in kernels and v not in renamed}
    targets: dict[GlobalVar, tuple[GlobalVar, Mapping[int, Pack]]] = {}
    for var, kernel in kernels.items():
        new = var
        if kernel.pack:
            new = GlobalVar(var.name_hint)
            relax.expr._update_type(new, kernel.func.ty)
        kept[new] = kernel.func
        targets[var] = new, kernel.pack
    for var, twin in renamed.items():
        targets[var] = targets[twin]
    rewritten = IRModule(kept, attrs=mod.attrs, global_infos=mod.global_infos)
    calls = _Calls(rewritten, targets)
    for var, func in mod.functions_items():
        if isinstance(func, relax.Function):
            rewritten.update_func(var, calls.visit_expr(func))
    return rewritten


@mutator
class _Calls(PyExprMutator):
    """Redirects whatever uses a PrimFunc to what replaced it."""

    def __init__(
        self, mod: IRModule, targets: Mapping[GlobalVar, tuple[GlobalVar, Mapping[int, Pack]]]
    ) -> None:
        super().__init__(mod)
        self.targets = targets

    def visit_global_var_(self, var: GlobalVar) -> GlobalVar:
        return self.targets[var][0] if var in self.targets else var

    def visit_call_(self, call: Any) -> Any:
        callee = _callee(call)
        if callee not in self.targets:
            return super().visit_call_(call)
        target, pack = self.targets[callee]
        args = [
            relax.const(pack[i](arg.value.numpy())) if i in pack else self.visit_expr(arg)
            for i, arg in enumerate(call.args[1].fields)
        ]
        return relax.Call(
            call.op,
            [target, relax.Tuple(args), *call.args[2:]],
            attrs=call.attrs,
            ty_args=call.ty_args,
        )
