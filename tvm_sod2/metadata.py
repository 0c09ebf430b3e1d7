"""A library says itself what it takes and gives: passes that compile its signature into it.

:func:`record_signature` notes names and dims as an attribute of ``main``; it runs when a module
arrives, while ONNX's names can still be traced, and again once RDP has found the outputs' dims.
:func:`emit_metadata` runs last and turns the note into a Relax function ``sod2_metadata`` that
returns it as a string, so that a plain TVM runtime can ask the library.
What :func:`record_kernels` notes of the kernels comes out of ``sod2_kernels`` in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import tvm
from tvm import relax, tirx

from tvm_sod2.errors import Sod2Error
from tvm_sod2.memory.text import to_python
from tvm_sod2.signature import OBJECTS_ATTR, TENSOR, Dim, Signature, Value

FUNCTION = "sod2_metadata"
KERNELS = "sod2_kernels"
SIGNATURE_ATTR = "sod2.signature"
ARENA_ATTR = "sod2.arena_bytes"
KERNELS_ATTR = "sod2.kernels"


@tvm.transform.module_pass(opt_level=0, name="RecordSignature")
def record_signature(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Write ``main``'s signature into its attribute "sod2.signature".

    Names of an earlier record stay; dtypes and dims are those of now. A module without ``main``
    is left alone.
    """
    main = _main(mod)
    if main is None:
        return mod
    mod = mod.clone()
    mod["main"] = main.with_attr(SIGNATURE_ATTR, describe(mod).to_json())
    return mod


@tvm.transform.module_pass(opt_level=0, name="RecordKernels")
def record_kernels(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Write what is known of each kernel into ``main``'s attribute "sod2.kernels", as JSON.

    By name: ``kernel``, which emitter or rule made it, and what "sod2.work" says; the kind of a
    kernel without that note is its maker's first word. It runs when all have their schedules.
    """
    main = _main(mod)
    if main is None:
        return mod
    notes = {}
    for gvar, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            attrs = func.attrs or {}
            kernel = str(attrs.get("sod2.kernel", "other")).split(";")[0]
            note = {"kind": kernel.split()[0], "flops": "0", "dims": [], "kernel": kernel}
            notes[gvar.name_hint] = note | json.loads(str(attrs.get("sod2.work", "{}")))
    mod = mod.clone()
    mod["main"] = main.with_attr(KERNELS_ATTR, json.dumps(notes, sort_keys=True))
    return mod


@tvm.transform.module_pass(opt_level=0, name="EmitMetadata")
def emit_metadata(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Add the function ``sod2_metadata``: the recorded signature and the arena planned since.

    It may run at any point after the arena is planned, for it reads only attributes of ``main``;
    a module without a record is left alone. Kernels' notes become ``sod2_kernels``.
    """
    main = _main(mod)
    if main is None or SIGNATURE_ATTR not in (main.attrs or {}):
        return mod
    recorded = Signature.from_json(str(main.attrs[SIGNATURE_ATTR]))
    complete = replace(recorded, arena_bytes=str(main.attrs.get(ARENA_ATTR, "")))
    mod = mod.clone()
    mod[FUNCTION] = _constant(FUNCTION, complete.to_json())
    if KERNELS_ATTR in main.attrs:
        mod[KERNELS] = _constant(KERNELS, str(main.attrs[KERNELS_ATTR]))
    return mod


def _constant(name: str, text: str) -> relax.Function:
    """A function without parameters that returns a string."""
    body = relax.BlockBuilder().normalize(relax.SeqExpr([], tvm.ir.StringImm(text)))
    return relax.Function([], body, relax.AnyType()).with_attr("global_symbol", name)


def describe(mod: tvm.IRModule) -> Signature:
    """The signature of ``main`` as the module stands, with recorded names where there are any."""
    main = _main(mod)
    if main is None:
        raise Sod2Error("the module has no Relax function 'main'")
    return describe_function(main)


def describe_function(func: relax.Function) -> Signature:
    """The same of any function; its parameters' names are those of its inputs without a record."""
    attrs = func.attrs or {}
    params = list(func.params)[: int(attrs.get("num_input", len(func.params)))]
    if SIGNATURE_ATTR in attrs:
        recorded = Signature.from_json(str(attrs[SIGNATURE_ATTR]))
        inputs = [value.name for value in recorded.inputs]
        outputs = [value.name for value in recorded.outputs]
        objects = {v.name: v for v in (*recorded.inputs, *recorded.outputs) if v.kind != TENSOR}
    else:
        noted = Signature.from_json(str(attrs[OBJECTS_ATTR])) if OBJECTS_ATTR in attrs else None
        objects = {v.name: v for v in (*noted.inputs, *noted.outputs)} if noted else {}
        names = {str(k): str(v) for k, v in attrs.get("sod2.onnx_values", {}).items()}
        inputs = [names.get(var.name, var.name) for var in params]
        outputs = _output_names(func, names)
    results = _fields(func.ret_ty)
    return Signature(
        inputs=tuple(_value(n, v.ty, objects) for n, v in zip(inputs, params, strict=False)),
        outputs=tuple(_value(n, ty, objects) for n, ty in zip(outputs, results, strict=True)),
    )


def read_signature(vm: relax.VirtualMachine) -> Signature:
    """Ask a loaded library for its signature; Sod2Error when it was not built by this package."""
    try:
        function = vm[FUNCTION]
    except AttributeError:
        raise Sod2Error(f"not a library built by tvm-sod2: it has no function {FUNCTION}") from None
    return Signature.from_json(str(function()))


def _main(mod: tvm.IRModule) -> relax.Function | None:
    for var, function in mod.functions.items():
        if var.name_hint == "main" and isinstance(function, relax.Function):
            return function
    return None


def _output_names(main: relax.Function, names: dict[str, str]) -> list[str]:
    """Names of what is returned, through the tuple; numbered where a result has none of its own."""
    body = main.body
    bound = {}
    while isinstance(body, relax.SeqExpr):
        bound.update({b.var: b.value for block in body.blocks for b in block.bindings})
        body = body.body
    alias = body
    while isinstance(bound.get(alias), relax.Var):
        alias = bound[alias]
    whole = bound.get(alias, alias)
    fields = list(whole.fields) if isinstance(whole, relax.Tuple) else [body]
    if len(fields) != len(_fields(main.ret_ty)):  # a tuple that a call returned
        fields = _fields(main.ret_ty)
    found: list[str] = []
    for index, field in enumerate(fields):
        hint = field.name if isinstance(field, relax.Var) else f"output_{index}"
        name = names.get(hint, hint)
        found.append(f"output_{index}" if name in found else name)
    return found


def _fields(ty: tvm.ir.Type) -> list[tvm.ir.Type]:
    return list(ty.fields) if isinstance(ty, tvm.ir.TupleType) else [ty]


def _value(name: str, ty: tvm.ir.Type, objects: Mapping[str, Value]) -> Value:
    """objects: what is known of those that are no tensors, of which Relax's type says nothing."""
    if not isinstance(ty, relax.TensorType):
        return objects.get(name) or Value(name, str(ty), None)
    shape = ty.shape
    if isinstance(shape, relax.ShapeExpr):
        return Value(name, str(ty.dtype), tuple(map(_dim, shape.values)))
    unknown = None if ty.ndim < 0 else tuple("?" for _ in range(ty.ndim))
    return Value(name, str(ty.dtype), unknown)


def _dim(expr: tvm.ir.Expr) -> Dim:
    if isinstance(expr, tvm.tirx.IntImm):
        return int(expr)
    try:
        return to_python(expr)
    except TypeError:  # beyond Python's operators; names and constants can still be read
        return str(expr)
