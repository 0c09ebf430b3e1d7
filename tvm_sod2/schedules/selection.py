"""The best k of many, in order, without sorting them all. The kernel comes scheduled."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

from tvm_sod2.schedules.grain import FORK, MOVED

# Capitals are buffers, as in all of TVM's scripts.
# mypy: ignore-errors

Value = Any

_BLOCK = 16  # elements compared at once; LLVM makes vectors of it


def select_best(dtype: str, largest: bool) -> PrimFunc:
    """Positions (rows, k) of the k largest or smallest in each row of x (rows, n), in order.

    Of equal elements the first ones. A heap of the best so far with the worst of them on top, which
    most elements do not beat: blocks are compared with it at once. At the end the worst is put
    last, again and again. k is the extent of the result; where it is more than a row has, the
    rest is 0.
    """
    block = T.int64(_BLOCK)

    def better(p: Value, q: Value) -> Value:
        return p > q if largest else p < q

    def worse(X: Any, i: Value, p: Value, q: Value) -> Value:
        """Whether the element at p comes after the one at q; they are never the same."""
        a, b = X[i, p], X[i, q]
        return tirx.Or(better(b, a), tirx.And(tirx.Not(better(a, b)), p > q))

    @T.inline
    def sift(X, P, at, i):
        """Put at[2] where it belongs in the heap of at[1] positions below at[0]."""
        while at[0] * 2 + 1 < at[1]:
            at[3] = at[0] * 2 + 1
            # Two branches: TIR would read beyond the heap to decide both at once.
            if at[3] + 1 < at[1]:  # noqa: SIM102
                if worse(X, i, P[i, at[3] + 1], P[i, at[3]]):
                    at[3] = at[3] + T.int64(1)
            if worse(X, i, P[i, at[3]], at[2]):
                P[i, at[0]] = P[i, at[3]]
                at[0] = at[3]
            else:
                at[1] = T.int64(0)
        P[i, at[0]] = at[2]

    @T.prim_func(private=True)
    def select(x: T.handle, order: T.handle):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        a, n, kept = T.int64(), T.int64(), T.int64()
        X = T.match_buffer(x, (a, n), dtype)
        P = T.match_buffer(order, (a, kept), "int64")
        with T.attr(T.int32(0), FORK, a * (n + kept * 8) * MOVED):
            for i in T.parallel(a):
                at = T.alloc_buffer((4,), "int64")
                worst = T.alloc_buffer((1,), dtype)
                any_better = T.alloc_buffer((1,), "int32")
                for j in T.serial(kept):
                    P[i, j] = T.if_then_else(j < n, j, T.int64(0))
                for j in T.serial(T.min(kept, n) // 2):
                    at[0] = T.min(kept, n) // 2 - 1 - j
                    at[1] = T.min(kept, n)
                    at[2] = P[i, at[0]]
                    sift(X, P, at, i)
                for _any in T.serial(T.min(T.min(kept, n), T.int64(1))):
                    worst[0] = X[i, P[i, 0]]
                    for b in T.serial((n - T.min(kept, n) + block - T.int64(1)) // block):
                        any_better[0] = T.int32(1)
                        if T.And(b * block >= kept * 8, kept + b * block + block <= n):
                            any_better[0] = T.int32(0)
                            for j in T.serial(block):
                                any_better[0] = any_better[0] | T.cast(
                                    better(X[i, kept + b * block + j], worst[0]), "int32"
                                )
                        if any_better[0] != 0:
                            for j in T.serial(T.min(block, n - kept - b * block)):
                                if better(X[i, kept + b * block + j], worst[0]):
                                    at[0] = T.int64(0)
                                    at[1] = kept
                                    at[2] = kept + b * block + j
                                    sift(X, P, at, i)
                                    worst[0] = X[i, P[i, 0]]
                    for j in T.serial(T.min(kept, n) - 1):
                        at[0] = T.int64(0)
                        at[1] = T.min(kept, n) - 1 - j
                        at[2] = P[i, at[1]]
                        P[i, at[1]] = P[i, 0]
                        sift(X, P, at, i)

    return select
