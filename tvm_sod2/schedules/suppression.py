"""Non-maximum suppression: per batch and class, boxes from the best score down."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T
from tvm.tirx import PrimFunc

# Capitals are buffers, as in all of TVM's scripts.
# mypy: ignore-errors

Value = Any


def suppress(dtype: str, centred: bool) -> PrimFunc:
    """The kept boxes as rows (batch, class, box), padded, and how many there are.

    boxes (batch, n, 4), as opposite corners or, ``centred``, as centre and size; scores
    (batch, classes, n) and their order, best first; limit (1,): most boxes per batch and class;
    overlap (1,): the highest admissible intersection over union; threshold (1,): scores must be
    above it.
    """

    def low(B: Any, b: Value, p: Value, axis: int) -> Value:
        if centred:
            return B[b, p, axis] - B[b, p, 2 + axis] / tirx.const(2, dtype)
        return T.min(B[b, p, axis], B[b, p, 2 + axis])

    def high(B: Any, b: Value, p: Value, axis: int) -> Value:
        if centred:
            return B[b, p, axis] + B[b, p, 2 + axis] / tirx.const(2, dtype)
        return T.max(B[b, p, axis], B[b, p, 2 + axis])

    def area(B: Any, b: Value, p: Value) -> Value:
        return (high(B, b, p, 0) - low(B, b, p, 0)) * (high(B, b, p, 1) - low(B, b, p, 1))

    def shared(B: Any, b: Value, p: Value, q: Value) -> Value:
        zero = tirx.const(0, dtype)
        sides = [
            T.max(
                T.min(high(B, b, p, axis), high(B, b, q, axis))
                - T.max(low(B, b, p, axis), low(B, b, q, axis)),
                zero,
            )
            for axis in range(2)
        ]
        return sides[0] * sides[1]

    @T.prim_func(private=True)
    def suppression(
        boxes: T.handle,
        scores: T.handle,
        order: T.handle,
        limit: T.handle,
        overlap: T.handle,
        threshold: T.handle,
        kept: T.handle,
        total: T.handle,
    ):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        batch, classes, n, rows = T.int64(), T.int64(), T.int64(), T.int64()
        B = T.match_buffer(boxes, (batch, n, 4), dtype)
        S = T.match_buffer(scores, (batch, classes, n), dtype)
        P = T.match_buffer(order, (batch, classes, n), "int64")
        L = T.match_buffer(limit, (1,), "int64")
        V = T.match_buffer(overlap, (1,), dtype)
        H = T.match_buffer(threshold, (1,), dtype)
        K = T.match_buffer(kept, (rows, 3), "int64")
        N = T.match_buffer(total, (1,), "int64")
        at = T.alloc_buffer((2,), "int64")
        N[0] = T.int64(0)
        for b, c in T.grid(batch, classes):
            at[0] = N[0]
            for t in T.serial(n):
                # at[1]: whether the box stays.
                at[1] = T.int64(0)
                if N[0] - at[0] < L[0] and S[b, c, P[b, c, t]] > H[0]:
                    at[1] = T.int64(1)
                    for k in T.serial(N[0] - at[0]):
                        if at[1] == 1 and shared(B, b, P[b, c, t], K[at[0] + k, 2]) > V[0] * (
                            area(B, b, P[b, c, t])
                            + area(B, b, K[at[0] + k, 2])
                            - shared(B, b, P[b, c, t], K[at[0] + k, 2])
                        ):
                            at[1] = T.int64(0)
                if at[1] == 1:
                    K[N[0], 0] = b
                    K[N[0], 1] = c
                    K[N[0], 2] = P[b, c, t]
                    N[0] = N[0] + T.int64(1)

    return suppression
