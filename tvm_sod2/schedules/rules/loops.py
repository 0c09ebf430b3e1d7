"""Loop builders over plain TIR: vectors over an extent, forks where the work pays for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx import (
    AllocBuffer,
    BufferLoad,
    BufferStore,
    For,
    ForKind,
    IfThenElse,
    IntImm,
    Stmt,
    Var,
)

from tvm_sod2.schedules import grain
from tvm_sod2.schedules.rules.program import Axis
from tvm_sod2.schedules.traits import Traits

__all__ = [
    "Body",
    "below",
    "bind",
    "ceil_div",
    "cover",
    "decode",
    "each",
    "fork",
    "i64",
    "product",
    "sequence",
    "serial",
    "static",
    "vector",
]

_NARROWEST = 4  # lanes of the shortest vectors of a row shorter than a whole one

Body = Callable[[Expr, int], Stmt]
"""Makes the statement for `width` consecutive elements from a start (width 1: a scalar)."""


def i64(value: int) -> IntImm:
    """An int64 constant."""
    return IntImm("int64", value)


def static(expr: Expr) -> int | None:
    """The value of a constant expression, or None."""
    return int(expr.value) if isinstance(expr, IntImm) else None


def product(factors: Sequence[Expr]) -> Expr:
    """The product of extents, folded where constant."""
    known, result = 1, None
    for factor in factors:
        value = static(factor)
        if value is not None:
            known *= value
        else:
            result = factor if result is None else tirx.Mul(result, factor)
    if result is None or known == 0:
        return i64(known)
    return result if known == 1 else tirx.Mul(result, i64(known))


def ceil_div(extent: Expr, by: int) -> Expr:
    """Rounded-up quotient of a non-negative extent."""
    value = static(extent)
    return (
        i64(-(-value // by)) if value is not None else tirx.FloorDiv(extent + i64(by - 1), i64(by))
    )


def sequence(statements: Sequence[Stmt]) -> Stmt:
    """One statement of several; TIR knows no empty sequence."""
    flat: list[Stmt] = []
    for stmt in statements:
        flat.extend(stmt.seq if isinstance(stmt, tirx.SeqStmt) else [stmt])
    if not flat:
        return tirx.Evaluate(tirx.IntImm("int32", 0))
    return flat[0] if len(flat) == 1 else tirx.SeqStmt(flat)


def bind(statements: list[Stmt], name: str, expr: Expr) -> Expr:
    """Append a binding of `expr` to a fresh variable, unless it is as short as one.

    Through a slot on the stack: TVM's simplifier would put a bound expression wherever its variable
    stands, which took half of a kernel's build time; LLVM removes the slot.
    """
    if isinstance(expr, (IntImm, Var)):
        return expr
    slot = tirx.decl_buffer((1,), "int64", name=f"{name}_slot")
    var = Var(name, "int64")
    statements.append(AllocBuffer(slot))
    statements.append(BufferStore(slot, expr, [i64(0)]))
    statements.append(tirx.Bind(var, BufferLoad(slot, [i64(0)])))
    return var


def serial(extent: Expr, body: Callable[[Var], Stmt], name: str = "i") -> Stmt:
    """A plain loop over [0, extent); nothing where that is empty by construction."""
    if static(extent) == 0:
        return sequence([])
    var = Var(name, "int64")
    return For(var, i64(0), extent, ForKind.SERIAL, body(var))


def each(axes: Sequence[Axis], at: list[Expr], body: Callable[[list[Expr]], Stmt]) -> Stmt:
    """Serial loops over axes, from the coordinates `at` on."""
    if len(at) == len(axes):
        return body(at)
    return serial(axes[len(at)].extent, lambda i: each(axes, [*at, i], body))


def vector(width: int, body: Callable[[Expr], Stmt]) -> Stmt:
    """`body` at lanes 0 to width-1 at once."""
    if width == 1:
        return body(i64(0))
    lane = Var("lane", "int64")
    return For(lane, i64(0), i64(width), ForKind.VECTORIZED, body(lane))


def cover(extent: Expr, lanes: int, body: Body, overlap: bool, copies: int = 1) -> Stmt:
    """Every element of [0, extent) by vectors of `lanes`, `copies` of them in one step.

    With `overlap` the last vector ends at the extent and repeats some elements, which is right
    wherever a statement does not read what it writes. Otherwise, and below one vector, the rest is
    done in narrower vectors (constant extent) or one by one.
    """
    size = static(extent)
    if size is None:
        return _cover_symbolic(extent, lanes, body, overlap, copies)
    statements: list[Stmt] = []
    at = 0
    for width in (lanes * copies, lanes):
        whole, start = (size - at) // width, i64(at)
        if whole == 1:
            statements.append(body(start, width))
        elif whole:
            statements.append(_steps(i64(whole), start, width, body))
        at += whole * width
        if copies == 1:
            break
    if at < size and size > lanes and overlap:
        statements.append(_again(body(i64(size - lanes), lanes)))
        at = size
    width = lanes
    while at < size:
        while width > size - at:
            width //= 2
        statements.append(body(i64(at), width))
        at += width
    return sequence(statements)


def _steps(count: Expr, start: Expr, width: int, body: Body) -> Stmt:
    """`count` vectors side by side from `start` on."""
    first = static(start) == 0
    return serial(
        count, lambda j: body(j * i64(width) if first else start + j * i64(width), width), "j"
    )


def _cover_symbolic(extent: Expr, lanes: int, body: Body, overlap: bool, copies: int) -> Stmt:
    step = lanes * copies
    if step == 1:
        return _steps(extent, i64(0), 1, body)
    whole = tirx.FloorDiv(extent, i64(step))
    main = _steps(whole, i64(0), step, body)
    if not overlap:
        singles = tirx.FloorDiv(tirx.FloorMod(extent, i64(step)), i64(lanes))
        vectors = [] if copies == 1 else [_steps(singles, whole * i64(step), lanes, body)]
        rest = tirx.FloorMod(extent, i64(lanes))
        return sequence([main, *vectors, serial(rest, lambda i: body(extent - rest + i, 1))])
    if copies == 1:
        last = IfThenElse(
            tirx.FloorMod(extent, i64(lanes)) > i64(0),
            _again(body(extent - i64(lanes), lanes)),
            None,
        )
    else:
        left = ceil_div(tirx.FloorMod(extent, i64(step)), lanes)
        final = extent - i64(lanes)
        last = serial(
            left,
            lambda j: _again(body(tirx.Min(whole * i64(step) + j * i64(lanes), final), lanes)),
            "j",
        )
    return IfThenElse(
        extent >= i64(lanes), sequence([main, last]), below(extent, lanes, body, overlap)
    )


def below(extent: Expr, lanes: int, body: Body, overlap: bool = True) -> Stmt:
    """Every element of [0, extent), which is less than `lanes`: two vectors that may overlap.

    Of half the lanes, of a quarter and so on; up to three elements one by one.
    """
    width = lanes // 2
    if not overlap or width < _NARROWEST:
        return serial(tirx.Min(extent, i64(lanes - 1)), lambda i: body(i, 1))
    both = sequence([body(i64(0), width), _again(body(extent - i64(width), width))])
    return IfThenElse(extent >= i64(width), both, below(extent, width, body))


def _again(vector: Stmt) -> Stmt:
    """A vector some of whose elements are there already. Marked so that TVM's StorageRewrite does
    not put the result over an operand that it takes to be read for the last time."""
    return tirx.AttrStmt(i64(0), "extern_scope", i64(0), vector)


def decode(index: Expr, extents: Sequence[Expr]) -> list[Expr]:
    """The row-major coordinates of a non-negative flat index."""
    coordinates: list[Expr] = []
    for extent in reversed(extents[1:]):
        if static(extent) == 1:
            coordinates.append(i64(0))
            continue
        # No simplifier may find a division by 0 where it finds that there is no index.
        divisor = extent if isinstance(extent, Var | IntImm) else tirx.Max(extent, i64(1))
        coordinates.append(tirx.truncmod(index, divisor))
        index = tirx.truncdiv(index, divisor)
    coordinates.append(index)
    return coordinates[::-1] if extents else []


def fork(traits: Traits, tasks: Expr, work: Expr, body: Callable[[Expr], Stmt]) -> Stmt:
    """`body` for each task, on several threads where the whole work is worth a fork."""
    if static(tasks) == 0:
        return sequence([])
    if static(tasks) == 1:
        return body(i64(0))
    alone = static(work)
    if traits.cores == 1 or (alone is not None and alone < grain.GRAIN):
        return serial(tasks, body, "task")
    var = Var("task", "int64")
    return grain.tasks(var, tasks, work, body(var))
