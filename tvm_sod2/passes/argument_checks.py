"""Statements that look at an argument of TVM's packed calling convention and name what is wrong.

They read TVM's C ABI: a TVMFFIAny is a type index and a value; behind the header of a tensor lies
its DLTensor, behind that of a list its TVMFFISeqCell.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import tirx
from tvm.ir import Expr, StringImm
from tvm.tirx import Stmt

from tvm_sod2.signature import TENSOR, Value

HANDLE = tvm.ir.PointerType(tvm.ir.PrimType("void"))

# Fields of tvm::tirx::builtin::TVMStructFieldKind.
_SHAPE, _STRIDES, _NDIM, _CODE, _BITS, _LANES, _OFFSET, _DEVICE = 2, 3, 4, 5, 6, 7, 8, 10
_TYPE_INDEX, _UNION_VALUE, _INT64_ELEMENT = 13, 15, 17

_NONE, _TENSORS, _LISTS = (0,), (7, 70), (71, 75)
_KINDS = {  # type indices of the C ABI by what a user calls such a value
    "None": _NONE,
    "a number": (1, 2, 3),
    "a string": (8, 11, 65),
    "an array": _TENSORS,
    "a list": _LISTS,
}
_TENSOR = 70
_OBJECT_HEADER = 24  # bytes
_LIST_DATA, _LIST_SIZE = 3, 4  # in words of 8 bytes, the header's included
_CPU = 1
_RANKS = range(6)
_DTYPES = ("bool", *(f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)))
_DTYPES += ("bfloat16", "float16", "float32", "float64")


def _word(code: int, bits: int) -> int:
    """The fields of a DLDataType with one lane in one number."""
    return code + (bits << 8) + (1 << 16)


_DTYPE_WORDS = {name: _word(d.type_code, d.bits) for name in _DTYPES for d in [tvm.DataType(name)]}
# TVM has no name for kDLComplex.
_DTYPE_WORDS |= {"complex64": _word(5, 64), "complex128": _word(5, 128)}


def argument_checks(arguments: tirx.Var, position: int, value: Value) -> list[Stmt]:
    """What the argument at a position must be: of the kind of `value`, each tensor in it as well.

    A failed check is an error of kind InputError. Dims of a plain tensor are left to TVM, whose
    message has the number that was found.
    """
    given = f"input {value.name!r} is given "
    expected = f"; expected {value}"
    argument = _Any(arguments, _int32(position))
    nothing = _NONE if value.is_optional else ()
    if not value.is_sequence:
        return [
            argument.kinds((*_TENSORS, *nothing), given, expected),
            _if(argument.is_one_of(_TENSORS), argument.tensor(value, f"input {value.name!r}")),
        ]
    place = tirx.Var("place", "int32")
    items = tirx.reinterpret(HANDLE, _field(argument.held, _LIST_DATA, _INT64_ELEMENT, "int64"))
    item = _Any(items, place)
    each = [
        item.kinds(_TENSORS, f"{given}a list that holds ", expected),
        *item.tensor(value, f"a tensor of input {value.name!r}"),
    ]
    size = _field(argument.held, _LIST_SIZE, _INT64_ELEMENT, "int64").astype("int32")
    loop = tirx.For(place, _int32(0), size, tirx.ForKind.SERIAL, tirx.SeqStmt(each))
    return [
        argument.kinds((*_LISTS, *nothing), given, expected),
        _if(argument.is_one_of(_LISTS), [loop]),
    ]


class _Any:
    """A TVMFFIAny, by its index in an array of them."""

    def __init__(self, array: Expr, index: Expr) -> None:
        self.type_index = _field(array, index, _TYPE_INDEX, "int32")
        self.held = _field(array, index, _UNION_VALUE, HANDLE)

    def is_one_of(self, indices: Sequence[int]) -> Expr:
        return tirx.any(*(self.type_index == _int32(index) for index in indices))

    def kinds(self, wanted: Sequence[int], given: str, expected: str) -> Stmt:
        """A refusal for each kind that is not wanted, the last for those without a name."""
        named = {name: kind for name, kind in _KINDS.items() if not set(kind) & set(wanted)}
        refusals = [
            _check(tirx.Not(self.is_one_of(kind)), given, name, expected)
            for name, kind in named.items()
        ]
        other = _check(_FALSE, given, "an object of another kind", expected)
        return _if(tirx.Not(self.is_one_of(wanted)), [*refusals, other])

    def tensor(self, value: Value, what: str) -> list[Stmt]:
        """Checks of a tensor's dtype, rank, device and place in memory."""
        header = tirx.if_then_else(
            self.type_index == _int32(_TENSOR), _int32(_OBJECT_HEADER), _int32(0)
        )
        tensor = tirx.Var("tensor", HANDLE)
        checks = [
            tirx.Bind(tensor, tirx.handle_add_byte_offset(self.held, header)),
            *_dtype(tensor, value.dtype, what),
        ]
        if value.dims is not None:
            checks += [_rank(tensor, value, what), _row_major(tensor, len(value.dims), what)]
        if value.dims is not None and value.kind != TENSOR:
            checks += _dims(tensor, value, what)
        offset = _field(tensor, 0, _OFFSET, "uint64") == tirx.const(0, "uint64")
        device = _field(tensor, 0, _DEVICE, "int32") == _int32(_CPU)
        return [
            *checks,
            _check(offset, what, " begins at an offset of its storage; pass a copy"),
            _check(device, what, " lies on another device, expected the CPU"),
        ]


def _dtype(tensor: Expr, dtype: str, what: str) -> list[Stmt]:
    code, bits, lanes = (
        _field(tensor, 0, field, ty).astype("int32")
        for field, ty in ((_CODE, "uint8"), (_BITS, "uint8"), (_LANES, "uint16"))
    )
    found = tirx.Var("found", "int32")
    expected = f", expected {dtype}"
    refusals = [
        _check(found != _int32(word), what, f" has dtype {name}", expected)
        for name, word in _DTYPE_WORDS.items()
        if name != dtype
    ]
    other = _check(_FALSE, what, " has another dtype", expected)
    known = tvm.DataType(dtype)
    return [
        tirx.Bind(found, code + bits * _int32(1 << 8) + lanes * _int32(1 << 16)),
        _if(found != _int32(_word(known.type_code, known.bits)), [*refusals, other]),
    ]


def _rank(tensor: Expr, value: Value, what: str) -> Stmt:
    rank = len(value.dims or ())
    found = _field(tensor, 0, _NDIM, "int32")
    expected = f", expected rank {rank} ({value})"
    refusals = [
        _check(found != _int32(other), what, f" has rank {other}", expected)
        for other in _RANKS
        if other != rank
    ]
    other = _check(_FALSE, what, " has another rank", expected)
    return _if(found != _int32(rank), [*refusals, other])


def _dims(tensor: Expr, value: Value, what: str) -> list[Stmt]:
    """The dims that are numbers."""
    shape = _field(tensor, 0, _SHAPE, HANDLE)
    return [
        _check(
            _field(shape, axis, _INT64_ELEMENT, "int64") == tirx.const(dim, "int64"),
            f"{what}: dim {axis} is not {dim}; expected {value}",
        )
        for axis, dim in enumerate(value.dims or ())
        if isinstance(dim, int)
    ]


def _row_major(tensor: Expr, rank: int, what: str) -> Stmt:
    """Nothing lies between rows: strides are those of the dims, or no entry or one cannot tell."""
    shape, strides = _field(tensor, 0, _SHAPE, HANDLE), _field(tensor, 0, _STRIDES, HANDLE)
    dims = [_field(shape, axis, _INT64_ELEMENT, "int64") for axis in range(rank)]
    stride: Expr = tirx.const(1, "int64")
    one, conditions = stride, []
    for axis in reversed(range(rank)):
        given = _field(strides, axis, _INT64_ELEMENT, "int64")
        conditions.append(tirx.any(dims[axis] == one, given == stride))
        stride = stride * dims[axis]
    empty = [dim == tirx.const(0, "int64") for dim in dims]
    compact = tirx.any(tirx.all(tirx.const(True, "bool"), *conditions), *empty)
    words = " is not contiguous in row-major order; pass a copy (numpy.ascontiguousarray)"
    return _if(tirx.Not(tirx.isnullptr(strides)), [_check(compact, what, words)])


def _field(struct: Expr, index: Expr | int, field: int, ty: str | tvm.ir.Type) -> Expr:
    return tirx.call_intrin(ty, "tirx.tvm_struct_get", struct, index, field)


def _check(condition: Expr, *parts: str) -> Stmt:
    # TVM 0.27's Python names the first two the other way round than its C++ takes them.
    return tirx.AssertStmt(condition, StringImm("InputError"), list(map(StringImm, parts)))


def _if(condition: Expr, body: list[Stmt]) -> Stmt:
    return tirx.IfThenElse(condition, body[0] if len(body) == 1 else tirx.SeqStmt(body), None)


def _int32(value: int) -> Expr:
    return tirx.const(value, "int32")


_FALSE = tirx.const(False, "bool")
