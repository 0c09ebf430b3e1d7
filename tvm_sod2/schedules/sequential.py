"""Kernels whose loops carry state: scans, sorts, counting, selection. They come scheduled.

Each takes its tensors in a canonical form, so that one function serves every rank: the axis in
question in the middle, (outer, axis, inner). Positions are int64. Scratch is an operand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from tvm_sod2.schedules.grain import FORK, MOVED

# Capitals are buffers, as in all of TVM's scripts.
# mypy: ignore-errors

Value = Any


def scan(
    dtype: str, combine: Callable[[Value, Value], Value], start: float | None, rows: bool = False
) -> PrimFunc:
    """y[j] = combine(y[j - 1], x[j]); with ``start``, y[j] = combine(y[j - 1], x[j - 1]).

    Of `rows` inner is 1: what was combined so far stays in a register.
    """
    shift = 0 if start is None else 1

    def first(value: Value) -> Value:
        return value if start is None else tirx.const(start, dtype)

    @T.prim_func(private=True)
    def scan_axis(x: T.handle, y: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        a, n, c = T.int64(), T.int64(), T.int64()
        X = T.match_buffer(x, (a, n, c), dtype)
        Y = T.match_buffer(y, (a, n, c), dtype)
        with T.attr(T.int32(0), FORK, a * n * c * MOVED):
            for i in T.parallel(a):
                for j, k in T.grid(n, c):
                    if j == 0:
                        Y[i, j, k] = first(X[i, j, k])
                    else:
                        Y[i, j, k] = combine(Y[i, j - 1, k], X[i, j - shift, k])

    @T.prim_func(private=True)
    def scan_rows(x: T.handle, y: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        a, n = T.int64(), T.int64()
        X = T.match_buffer(x, (a, n, T.int64(1)), dtype)
        Y = T.match_buffer(y, (a, n, T.int64(1)), dtype)
        with T.attr(T.int32(0), FORK, a * n * (MOVED * 4)):
            for i in T.parallel(a):
                so_far = T.alloc_buffer((1,), dtype)
                for _any in T.serial(T.min(n, T.int64(1))):
                    so_far[0] = first(X[i, 0, 0])
                    Y[i, 0, 0] = so_far[0]
                for j in T.serial(n - T.min(n, T.int64(1))):
                    so_far[0] = combine(so_far[0], X[i, j + 1 - shift, 0])
                    Y[i, j + 1, 0] = so_far[0]

    return scan_rows if rows else scan_axis


def argsort(dtype: str, index: str, descending: bool) -> PrimFunc:
    """Positions in sorted order along the middle axis: a stable merge sort from the bottom up."""

    def before(p: Value, q: Value) -> Value:
        return p > q if descending else p < q

    @T.prim_func(private=True)
    def argsort_axis(x: T.handle, order: T.handle, scratch: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        a, n, c = T.int64(), T.int64(), T.int64()
        X = T.match_buffer(x, (a, n, c), dtype)
        P = T.match_buffer(order, (a, n, c), index)
        S = T.match_buffer(scratch, (a, n, c), index)
        with T.attr(T.int32(0), FORK, a * n * c * (MOVED * 16)):
            for i in T.parallel(a):
                at = T.alloc_buffer((3,), "int64")
                for k in T.serial(c):
                    for j in T.serial(n):
                        P[i, j, k] = T.cast(j, index)
                    at[0] = T.int64(1)
                    while at[0] < n:
                        for m in T.serial((n + at[0] * 2 - 1) // (at[0] * 2)):
                            at[1] = m * at[0] * 2
                            at[2] = m * at[0] * 2 + at[0]
                            for t in T.serial(T.min(m * at[0] * 2 + at[0] * 2, n) - m * at[0] * 2):
                                if T.if_then_else(
                                    at[2] >= T.min(m * at[0] * 2 + at[0] * 2, n),
                                    T.bool(True),
                                    T.if_then_else(
                                        at[1] >= m * at[0] * 2 + at[0],
                                        T.bool(False),
                                        tirx.Not(
                                            before(
                                                X[i, T.cast(P[i, at[2], k], "int64"), k],
                                                X[i, T.cast(P[i, at[1], k], "int64"), k],
                                            )
                                        ),
                                    ),
                                ):
                                    S[i, m * at[0] * 2 + t, k] = P[i, at[1], k]
                                    at[1] = at[1] + T.int64(1)
                                else:
                                    S[i, m * at[0] * 2 + t, k] = P[i, at[2], k]
                                    at[2] = at[2] + T.int64(1)
                        for j in T.serial(n):
                            P[i, j, k] = S[i, j, k]
                        at[0] = at[0] * T.int64(2)

    return argsort_axis


def _is_set(value: Value, dtype: str) -> Value:
    return value if dtype == "bool" else value != tirx.const(0, dtype)


def count_nonzero(dtype: str) -> PrimFunc:
    """How many of (n,) elements are not zero: int64, shape (1,)."""

    @T.prim_func(private=True)
    def count(x: T.handle, total: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        n = T.int64()
        X = T.match_buffer(x, (n,), dtype)
        C = T.match_buffer(total, (1,), "int64")
        C[0] = T.int64(0)
        for j in T.serial(n):
            if _is_set(X[j], dtype):
                C[0] = C[0] + T.int64(1)

    return count


def fill_nonzero(dtype: str) -> PrimFunc:
    """The positions of the (m,) elements of (n,) that are not zero, in order."""

    @T.prim_func(private=True)
    def fill(x: T.handle, positions: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        n, m = T.int64(), T.int64()
        X = T.match_buffer(x, (n,), dtype)
        P = T.match_buffer(positions, (m,), "int64")
        at = T.alloc_buffer((1,), "int64")
        at[0] = T.int64(0)
        for j in T.serial(n):
            if _is_set(X[j], dtype):
                P[at[0]] = j
                at[0] = at[0] + T.int64(1)

    return fill


def unique(dtype: str, in_order: bool) -> PrimFunc:
    """Which slices x[:, j, :] differ from each other.

    Writes, padded to n entries: the first position of each distinct slice, for each slice the
    number of its like, and counts; then how many there are. Numbered in ascending order of the
    slices (lexicographically), or, unless ``in_order``, of their first positions.
    """
    by_position = 0 if in_order else 1

    @T.prim_func(private=True)
    def unique_slices(
        x: T.handle,
        first: T.handle,
        inverse: T.handle,
        counts: T.handle,
        total: T.handle,
        order: T.handle,
        scratch: T.handle,
    ):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        a, n, c = T.int64(), T.int64(), T.int64()
        X = T.match_buffer(x, (a, n, c), dtype)
        F = T.match_buffer(first, (n,), "int64")
        V = T.match_buffer(inverse, (n,), "int64")
        C = T.match_buffer(counts, (n,), "int64")
        N = T.match_buffer(total, (1,), "int64")
        P = T.match_buffer(order, (n,), "int64")
        S = T.match_buffer(scratch, (n,), "int64")
        at = T.alloc_buffer((4,), "int64")
        for j in T.serial(n):
            P[j] = j
        at[0] = T.int64(1)
        while at[0] < n:
            for m in T.serial((n + at[0] * 2 - 1) // (at[0] * 2)):
                at[1] = m * at[0] * 2
                at[2] = m * at[0] * 2 + at[0]
                for t in T.serial(T.min(m * at[0] * 2 + at[0] * 2, n) - m * at[0] * 2):
                    # at[3]: 1 where the right one is smaller.
                    at[3] = T.int64(0)
                    if at[1] >= m * at[0] * 2 + at[0]:
                        at[3] = T.int64(1)
                    elif at[2] < T.min(m * at[0] * 2 + at[0] * 2, n):
                        for e in T.serial(a * c):
                            if at[3] == 0:
                                if X[e // c, P[at[2]], e % c] < X[e // c, P[at[1]], e % c]:
                                    at[3] = T.int64(1)
                                elif X[e // c, P[at[2]], e % c] > X[e // c, P[at[1]], e % c]:
                                    at[3] = T.int64(-1)
                    if at[3] == 1:
                        S[m * at[0] * 2 + t] = P[at[2]]
                        at[2] = at[2] + T.int64(1)
                    else:
                        S[m * at[0] * 2 + t] = P[at[1]]
                        at[1] = at[1] + T.int64(1)
            for j in T.serial(n):
                P[j] = S[j]
            at[0] = at[0] * T.int64(2)
        at[0] = T.int64(0)  # distinct slices so far
        for j in T.serial(n):
            at[3] = T.int64(0)
            if j == 0:
                at[3] = T.int64(1)
            else:
                for e in T.serial(a * c):
                    if X[e // c, P[j - 1], e % c] != X[e // c, P[j], e % c]:
                        at[3] = T.int64(1)
            if at[3] == 1:
                F[at[0]] = P[j]
                C[at[0]] = T.int64(0)
                at[0] = at[0] + T.int64(1)
            V[P[j]] = at[0] - T.int64(1)
            C[at[0] - 1] = C[at[0] - 1] + T.int64(1)
        N[0] = at[0]
        for _once in T.serial(by_position):
            at[1] = T.int64(0)
            for j in T.serial(n):
                if F[V[j]] == j:
                    S[V[j]] = at[1]
                    at[1] = at[1] + T.int64(1)
            for j in T.serial(n):
                V[j] = S[V[j]]
            for j in T.serial(at[0]):
                P[j] = T.int64(-1)
                C[j] = T.int64(0)
            for j in T.serial(n):
                C[V[j]] = C[V[j]] + T.int64(1)
                if P[V[j]] < 0:
                    P[V[j]] = j
            for j in T.serial(at[0]):
                F[j] = P[j]

    return unique_slices


def determinant(dtype: str) -> PrimFunc:
    """Determinants of (batch, n, n) matrices by elimination with pivots."""

    @T.prim_func(private=True)
    def det(x: T.handle, y: T.handle, scratch: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        a, n = T.int64(), T.int64()
        X = T.match_buffer(x, (a, n, n), dtype)
        Y = T.match_buffer(y, (a,), dtype)
        S = T.match_buffer(scratch, (a, n, n), dtype)
        for i in T.parallel(a):
            best = T.alloc_buffer((1,), "int64")
            swap = T.alloc_buffer((1,), dtype)
            for j, k in T.grid(n, n):
                S[i, j, k] = X[i, j, k]
            Y[i] = tirx.const(1, dtype)
            for p in T.serial(n):
                best[0] = p
                for j in T.serial(n):
                    if j > p and tirx.abs(S[i, j, p]) > tirx.abs(S[i, best[0], p]):
                        best[0] = j
                if best[0] != p:
                    Y[i] = tirx.const(0, dtype) - Y[i]
                    for k in T.serial(n):
                        swap[0] = S[i, p, k]
                        S[i, p, k] = S[i, best[0], k]
                        S[i, best[0], k] = swap[0]
                Y[i] = Y[i] * S[i, p, p]
                if S[i, p, p] != tirx.const(0, dtype):
                    for j in T.serial(n):
                        if j > p:
                            swap[0] = S[i, j, p] / S[i, p, p]
                            for k in T.serial(n):
                                S[i, j, k] = S[i, j, k] - swap[0] * S[i, p, k]

    return det
