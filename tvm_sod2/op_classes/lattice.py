"""The lattice of facts: undef above what is known above nac, and how facts of two paths merge.

Source: SoD2's RDP. Per dim and per entry: undef with x is x, equal with equal stays, anything else
is nac, and one nac dim does not poison the rank. undef, "nothing has come here yet", is a Fact that
is None; nac among entries is None, and in a type, which has no word for it, a stand-in symbol.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax

from tvm_sod2.op_classes.expressions import Entry, terms_in
from tvm_sod2.op_classes.fact import Fact, entries
from tvm_sod2.op_classes.shapes import tensor_type
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.values.common import small_dims

MAX_TERMS = 128
"""The longest expression that is kept, in operations, symbols and constants."""

OrNac = Callable[[Entry], Entry]
"""A dim as a type can hold it: a stand-in symbol for nac, any other dim itself."""


def merge(a: Fact | None, b: Fact | None, arithmetic: Arithmetic, or_nac: OrNac) -> Fact | None:
    """What is known of a value that is the one or the other."""
    if a is None or b is None:
        return b if a is None else a
    if a.fields and len(a.fields) == len(b.fields):
        pairs = zip(a.fields, b.fields, strict=True)
        fields = [merge(x, y, arithmetic, or_nac) for x, y in pairs]
        known = tuple(field for field in fields if field is not None)
        return Fact(relax.TupleType([field.ty for field in known]), fields=known)
    value = merge_values(a.value, b.value, arithmetic)
    return Fact(_merge_types(a.ty, b.ty, arithmetic, or_nac), value)


def merge_entry(a: Entry, b: Entry, arithmetic: Arithmetic) -> Entry:
    """One entry or dim: the same on both paths, or nac."""
    return a if arithmetic.equal(a, b) else None


def merge_values(
    a: np.ndarray | None, b: np.ndarray | None, arithmetic: Arithmetic
) -> np.ndarray | None:
    """Entry by entry; not tracked where one side is not, or where they differ in shape."""
    if a is None or b is None or a.shape != b.shape:
        return None
    pairs = zip(a.flat, b.flat, strict=True)
    return entries([merge_entry(x, y, arithmetic) for x, y in pairs], a.shape)


def _merge_types(
    a: tvm.ir.Type, b: tvm.ir.Type, arithmetic: Arithmetic, or_nac: OrNac
) -> tvm.ir.Type:
    """Per dim; where not even the rank is the same, what Relax finds common to both."""
    left, right = Fact(a).dims, Fact(b).dims
    if left is None or right is None or len(left) != len(right) or not _alike(a, b):
        return relax.analysis.type_lca(a, b)
    pairs = zip(entries(left), entries(right), strict=True)
    dims = [or_nac(merge_entry(x, y, arithmetic)) for x, y in pairs]
    return relax.ShapeType(dims) if isinstance(a, relax.ShapeType) else tensor_type(dims, a)


def _alike(a: tvm.ir.Type, b: tvm.ir.Type) -> bool:
    if isinstance(a, relax.ShapeType):
        return isinstance(b, relax.ShapeType)
    return isinstance(b, relax.TensorType) and a.dtype == b.dtype


def refine(ty: tvm.ir.Type, found: object, or_nac: OrNac) -> tvm.ir.Type:
    """A type as Relax inferred it with the dims that a row's transfer found where it has none.

    found: the result of `Row.dims`; for a tuple, field by field.
    """
    if isinstance(ty, relax.TupleType):
        parts = found if isinstance(found, tuple) else [None] * len(ty.fields)
        pairs = zip(ty.fields, parts, strict=True)
        return relax.TupleType([refine(field, part, or_nac) for field, part in pairs])
    if not lacks_dims(ty) or not isinstance(found, list):
        return ty
    return tensor_type([or_nac(dim) for dim in found], ty)


def lacks_dims(ty: tvm.ir.Type) -> bool:
    """Whether Relax's inference left a tensor, or one of a tuple's, without dims."""
    if isinstance(ty, relax.TupleType):
        return any(lacks_dims(field) for field in ty.fields)
    return isinstance(ty, relax.TensorType) and Fact(ty).dims is None


def with_entries(fact: Fact, found: object) -> Fact:
    """The fact of a call's type with the entries that a row's transfer found, field by field."""
    if fact.fields:
        parts = found if isinstance(found, tuple) else [None] * len(fact.fields)
        pairs = zip(fact.fields, parts, strict=True)
        fields = tuple(with_entries(field, part) for field, part in pairs)
        return Fact(fact.ty, fields=fields)
    tracked = isinstance(fact.ty, relax.ShapeType) or small_dims(fact.ty) is not None
    if not tracked or not isinstance(found, np.ndarray):
        return fact
    return Fact(fact.ty, entries([bounded(e) for e in found.flat], found.shape))


def bounded(entry: Entry) -> Entry:
    """The entry, or nac where its expression is longer than MAX_TERMS.

    Chains of shape arithmetic can grow without end, and past some length a formula helps nobody.
    """
    if not isinstance(entry, tvm.ir.Expr) or isinstance(entry, tvm.ir.Var):
        return entry
    return entry if terms_in(entry, MAX_TERMS) <= MAX_TERMS else None
