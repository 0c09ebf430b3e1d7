"""Sequences and optionals at run time: TVM's C++ functions on ``ffi.List``, as pure Relax.

An ``ffi.List`` is never changed once it is made, so values can be shared and calls moved. C++ has
functions that change a list but none that gives a changed copy, so each such step is a private
function. It makes its list of everything that goes in, and only then puts it in order: whoever
follows which memory is reachable from where (the planner of the arena, its checker) sees it so.
Only what a loop does nothing with but append to it is one list from the first turn to the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tvm import relax, tirx
from tvm.ir import PrimType
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.buffers import copied as copied_tensor
from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Dim
from tvm_sod2.frontend.dims import expr
from tvm_sod2.frontend.names import identifier
from tvm_sod2.frontend.sequences import Element, Object, Optional, Sequence, as_object
from tvm_sod2.schedules.places import place_kernel

ANY = relax.AnyType()
_VOID = relax.TupleType([])


def whole(c: Context, value: Object | Expr) -> Expr:
    """The variable that is a sequence, an optional or an optional's tensor, of type ``R.Any``."""
    if isinstance(value, Sequence | Optional) and value.whole is not None:
        return value.whole
    if isinstance(value, Sequence):
        items = [_put(c, item) for item in value.items or ()]
        return c.emit(R.call_pure_packed("ffi.List", *items, ty_args=ANY))
    if not isinstance(value, Optional):
        return _record(c, c.bb.match_cast(_put(c, value), ANY, identifier(c.hint)))
    if value.content is None:
        return c.emit(R.null_value())
    return whole(c, value.content)


def join(c: Context, a: Expr | Object, b: Expr | Object, symbols: set[tirx.Var]) -> Object:
    """What is known of a value that is one or the other, by what these symbols tell."""
    try:
        return as_object(a).join(as_object(b)).within(symbols)
    except ValueError as error:
        raise c.error(str(error)) from None


def length(c: Context, sequence: Sequence) -> Dim:
    """How many tensors are in it."""
    if sequence.items is not None:
        return len(sequence.items)
    size = c.emit(R.call_pure_packed("ffi.ListSize", whole(c, sequence), ty_args=PrimType("int64")))
    return _as_symbol(c, size, "length")


def is_present(c: Context, optional: Optional) -> Dim:
    """1 where an optional holds something, else 0."""
    if optional.present is not None:
        return int(optional.present)
    return 1 - _is_none(c, whole(c, optional))


def awaited(c: Context, value: Expr) -> Expr:
    """A tensor that is there once the value is: a kernel that takes it runs after what made it."""
    if isinstance(value.ty, relax.TensorType):
        return value
    return size_tensor(c, _is_none(c, value))


def place(c: Context, position: Expr, count: Dim, message: str, behind: bool = False) -> Expr:
    """A position given at run time, checked and counted from the front, as an int64 vector of 1."""
    given = c.reshape(c.astype(position, "int64"), [1])
    kernel = c.bb.add_func(place_kernel(f"node {c.label}: {message}", behind), "place")
    vector = relax.TensorType([1], "int64")
    return c.emit(relax.call_tir(kernel, [given, expr(count)], vector))


def taken(c: Context, sequence: Sequence, position: Expr) -> Expr:
    """The tensor at a position given at run time."""
    message = "its position is outside of the sequence; expected -n to n - 1 where n tensors are in"
    at = place(c, position, length(c, sequence), message)
    return tensor_at(
        c, whole(c, sequence), c.symbols_of(at, 1, f"{c.hint}_at")[0], sequence.element
    )


def tensor_at(c: Context, values: Expr, at: Dim, element: Element) -> Expr:
    """The tensor at a place of a list; dims that its element does not tell are fresh symbols."""
    item = c.emit(R.call_pure_packed("ffi.ListGetItem", values, expr(at), ty_args=ANY))
    dims = element.dims
    if dims is None:
        rank = c.result_rank()
        if rank is None:
            raise c.error(
                "the rank of the tensors in its input is not known; declare it where the sequence "
                "comes from, or give the result a shape in the model's value_info"
            )
        dims = (None,) * rank
    known = [
        c.module.symbols.fresh(f"{c.hint}_d{axis}") if dim is None else dim
        for axis, dim in enumerate(dims)
    ]
    ty = relax.TensorType(known, element.dtype)
    return _record(c, c.bb.match_cast(item, ty, identifier(c.hint)))


def held(c: Context, optional: Optional) -> Expr | Sequence:
    """What an optional holds; an error at run time where it holds nothing."""
    if optional.present is False:
        raise c.error("its input is an optional that holds nothing")
    if optional.content is not None:
        return optional.content
    # A list of one, so that what is taken out waits for the check.
    box = c.emit(R.call_pure_packed("ffi.List", whole(c, optional), ty_args=ANY))
    message = "its input holds nothing; ask OptionalHasElement first"
    at = place(c, c.ints([0]), is_present(c, optional), message)
    symbol = c.symbols_of(at, 1, f"{c.hint}_at")[0]
    if isinstance(optional.kind, Element):
        return tensor_at(c, box, symbol, optional.kind)
    item = c.emit(R.call_pure_packed("ffi.ListGetItem", box, symbol, ty_args=ANY))
    return optional.kind.held_by(copied(c.bb, item))


def sequence_in(c: Context, value: Expr | Object) -> Sequence:
    """An input that has to be a sequence."""
    if isinstance(value, Optional) and isinstance(value.kind, Sequence):
        value = held(c, value)
    if not isinstance(value, Sequence):
        raise c.error("its input is not a sequence")
    return value


def copied(bb: relax.BlockBuilder, values: Expr) -> Expr:
    """The list of what is in an ``ffi.List`` or ``ffi.Array``, as a user may give it."""

    def steps(bb: relax.BlockBuilder, old: Expr) -> Expr:
        return _filled(bb, [old], old)

    return _called(bb, "sequence_copied", steps, values)


def appended(c: Context, values: Expr, tensor: Expr) -> Expr:
    """The list with a tensor behind the last one."""

    def steps(bb: relax.BlockBuilder, old: Expr, new: Expr) -> Expr:
        made = _filled(bb, [old, new], old)
        _effect(bb, "ffi.ListAppend", made, new)
        return made

    return _called(c.bb, "sequence_appended", steps, values, _put(c, tensor))


def grown(c: Context, values: Expr, tensor: Expr) -> Expr:
    """The list with a tensor behind the last one: the same list, which nobody else may know."""

    def steps(bb: relax.BlockBuilder, old: Expr, new: Expr) -> Expr:
        _effect(bb, "ffi.ListAppend", old, new)
        # Taken from among both, as it holds the tensor now.
        both = bb.emit(_packed("ffi.List", [old, new], ANY))
        return bb.emit(_packed("ffi.ListGetItem", [both, _index(0)], ANY))

    return _called(c.bb, "sequence_grown", steps, values, _put(c, tensor))


def inserted(c: Context, values: Expr, tensor: Expr, at: Dim) -> Expr:
    """The list with a tensor before place ``at``."""

    def steps(bb: relax.BlockBuilder, old: Expr, new: Expr, where: Expr) -> Expr:
        made = _filled(bb, [old, new], old)
        _effect(bb, "ffi.ListInsert", made, where.ty.values[0], new)
        return made

    where = relax.ShapeExpr([expr(at)])
    return _called(c.bb, "sequence_inserted", steps, values, _put(c, tensor), where)


def erased(c: Context, values: Expr, at: Dim) -> Expr:
    """The list without the tensor at place ``at``."""

    def steps(bb: relax.BlockBuilder, old: Expr, where: Expr) -> Expr:
        made = _filled(bb, [old], old)
        _effect(bb, "ffi.ListErase", made, where.ty.values[0])
        return made

    return _called(c.bb, "sequence_erased", steps, values, relax.ShapeExpr([expr(at)]))


def bound(c: Context, value: Expr | Object, name: str) -> Expr | Object:
    """A result as the ONNX value ``name``, all of it outside of its dataflow block if need be."""
    if isinstance(value, Expr):
        return c.result(value, name)
    if name not in c.module.crossing:
        return value

    def out(part: Expr) -> Expr:
        inside = bool(c.bb.current_block_is_dataflow()) and isinstance(part, relax.DataflowVar)
        return _record(c, c.bb.emit_output(part, identifier(name))) if inside else part

    if isinstance(value, Sequence) and value.items is not None:
        return replace(value, items=tuple(map(out, value.items)))
    if isinstance(value, Optional) and value.content is not None:
        return replace(value, content=bound(c, value.content, name))
    return value if value.whole is None else value.held_by(out(value.whole))


def size_tensor(c: Context, count: Dim) -> Expr:
    """A dim as an int64 scalar."""
    if isinstance(count, int):
        return const(count, "int64")
    return c.reshape(c.emit(R.shape_to_tensor(relax.ShapeExpr([count]))), [])


def _put(c: Context, tensor: Expr) -> Expr:
    """A tensor as an object may hold it: a copy where the next turn may write over it."""
    overwritten = c.module.overwritten and c.constant(tensor) is None
    return copied_tensor(c, tensor) if overwritten else tensor


def _is_none(c: Context, value: Expr) -> tirx.Var:
    """1 where an object is None, else 0."""
    args = (value, c.emit(R.null_value()))
    equal = c.emit(R.call_pure_packed("ffi.RecursiveEq", *args, ty_args=PrimType("bool")))
    return _as_symbol(c, equal, "none")


def _as_symbol(c: Context, number: Expr, name: str) -> tirx.Var:
    """A number that a function returned, as a symbol of what follows."""
    symbol = c.module.symbols.fresh(f"{c.hint}_{name}")
    shape = c.emit(R.call_pure_packed("ffi.Shape", number, ty_args=relax.ShapeType(ndim=1)))
    _record(c, c.bb.match_cast(shape, relax.ShapeType([symbol]), identifier(f"{c.hint}_{name}")))
    return symbol


def _called(
    bb: relax.BlockBuilder, name: str, steps: Callable[..., Expr], *arguments: Expr
) -> Expr:
    """The result of a private function of these steps, which is pure whatever they do inside."""
    inner = relax.BlockBuilder()
    params = [relax.Var(f"p{i}", _parameter_type(a)) for i, a in enumerate(arguments)]
    attrs = {"relax.force_pure": True}
    with inner.function(name, params, attrs, private=True):
        inner.emit_func_output(steps(inner, *params))
    return bb.emit(relax.Call(bb.add_func(inner.get()[name], name), list(arguments)), name)


def _parameter_type(argument: Expr) -> relax.Type:
    """Any object; a place is a shape of one dim, which is a symbol inside."""
    shape = isinstance(argument, relax.ShapeExpr)
    return relax.ShapeType([tirx.Var("place", "int64")]) if shape else ANY


def _filled(bb: relax.BlockBuilder, holds: list[Expr], values: Expr) -> Expr:
    """A list made of all that it will hold, and then holding just these values."""
    made = bb.emit(_packed("ffi.List", holds, ANY))
    _effect(bb, "ffi.ListReplaceSlice", made, _index(0), _index(len(holds)), values)
    return made


def _effect(bb: relax.BlockBuilder, name: str, *arguments: Expr) -> None:
    bb.emit(_packed(name, list(arguments), _VOID))


def _packed(name: str, arguments: list[Expr], ty: relax.Type) -> relax.Call:
    return relax.Call(relax.ExternFunc(name), arguments, None, [ty])


def _index(number: int) -> Expr:
    return tirx.IntImm("int64", number)


def _record(c: Context, var: relax.Var) -> relax.Var:
    c.module.onnx_nodes[var.name] = c.label
    return var
