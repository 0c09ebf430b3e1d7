"""Operators that force dims to be equal: the call, and what has to be equal as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax
from tvm.relax import op as R

from tests.op_classes.harness import h, j, k, m, n, tensor, w


def int_tensor(*dims: Any, dtype: str = "int64") -> relax.Var:
    return tensor(*dims, dtype=dtype, name="i")


CASES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "add": (lambda: R.add(tensor(n, 8), tensor(n, k)), ["1.1: k == 8"]),
    "add of two names": (lambda: R.add(tensor(n, m), tensor(k, 1)), ["1.0: k == n"]),
    "where": (
        lambda: R.where(tensor(n, dtype="bool"), tensor(k, n), tensor(j, 1)),
        ["2.0: j == k"],
    ),
    "concat": (
        lambda: R.concat([tensor(n, m), tensor(k, j), tensor(2, 4)], 0),
        ["0.1: m == 4", "1.1: j == 4"],
    ),
    "stack": (lambda: R.stack([tensor(n, 3), tensor(k, m)]), ["1.0: k == n", "1.1: m == 3"]),
    "matmul": (
        lambda: R.matmul(tensor(n, m, k), tensor(j, h, 7)),
        ["1.1: h == k", "1.0: j == n"],
    ),
    "matmul by a constant weight": (
        lambda: R.matmul(tensor(n, k), tensor(32, 7)),
        ["0.1: k == 32"],
    ),
    "matmul by a vector": (lambda: R.matmul(tensor(n, k), tensor(j)), ["1.0: j == k"]),
    "einsum": (
        lambda: R.einsum((tensor(n, m, k), tensor(j, h, 4)), "bij,bjk->bik"),
        ["1.0: j == n", "1.1: h == k"],
    ),
    "einsum after an ellipsis": (
        lambda: R.einsum((tensor(n, m, k), tensor(h, 4)), "...ij,jk->...ik"),
        ["1.0: h == k"],
    ),
    "conv2d": (
        lambda: R.nn.conv2d(tensor(n, k, h, w), tensor(8, 3, 3, 3)),
        ["0.1: k == 3"],
    ),
    "conv2d in groups": (
        lambda: R.nn.conv2d(
            tensor(n, h, w, k),
            tensor(8, 3, 3, 1),
            groups=4,
            data_layout="NHWC",
            kernel_layout="OHWI",
        ),
        ["0.3: k == 4"],
    ),
    "conv2d of split channels": (
        lambda: R.nn.conv2d(
            tensor(n, m, h, w, 4),
            tensor(2, k, 3, 3, 4, 4),
            data_layout="NCHW4c",
            kernel_layout="OIHW4i4o",
        ),
        [],
    ),
    "conv1d_transpose": (
        lambda: R.nn.conv1d_transpose(tensor(n, k, w), tensor(6, 8, 3)),
        ["0.1: k == 6"],
    ),
    "layer_norm": (
        lambda: R.nn.layer_norm(tensor(n, m), tensor(64), tensor(k), axes=[-1]),
        ["0.1: m == 64", "0.1: m == k"],
    ),
    "rms_norm": (lambda: R.nn.rms_norm(tensor(n, m), tensor(64), axes=[-1]), ["0.1: m == 64"]),
    "batch_norm": (
        lambda: R.nn.batch_norm(tensor(n, m, h), *[tensor(3)] * 4, axis=1),
        ["0.1: m == 3"] * 4,
    ),
    "group_norm": (
        lambda: R.nn.group_norm(tensor(n, m, h), tensor(4), tensor(4), 2, 1, [2]),
        ["0.1: m == 4"] * 2,
    ),
    "prelu": (lambda: R.nn.prelu(tensor(n, m, h), tensor(4)), ["0.1: m == 4"]),
    "attention": (
        lambda: R.nn.attention(tensor(n, m, 4, 8), tensor(k, j, 4, h), tensor(n, w, 4, 8)),
        ["0.0: n == k", "1.1: j == w", "1.3: h == 8"],
    ),
    "attention with a bias": (
        lambda: R.nn.attention(
            tensor(1, m, 4, 8), tensor(1, j, 4, 8), tensor(1, j, 4, 8), tensor(1, 1, h, w)
        ),
        ["3.2: h == m", "3.3: w == j"],
    ),
    "reshape": (
        lambda: R.reshape(tensor(n, m), (k, 4)),
        ["1.-1: k * 4 == n * m"],
    ),
    "squeeze": (lambda: R.squeeze(tensor(n, m), [0]), ["0.0: n == 1"]),
    "broadcast_to": (lambda: R.broadcast_to(tensor(n, 1), (k, 4)), ["0.0: n == k"]),
    "gather_nd": (lambda: R.gather_nd(tensor(n, m), int_tensor(k, 1), 1), ["1.0: k == n"]),
    "scatter_elements": (
        lambda: R.scatter_elements(tensor(n, m), int_tensor(k, j), tensor(k, 3)),
        ["1.1: j == 3"],
    ),
    "slice_scatter": (
        lambda: R.slice_scatter(tensor(n, m), tensor(k, m), 0, 4, 1, 1),
        ["1.0: k == n"],
    ),
    "reverse_sequence": (
        lambda: R.reverse_sequence(tensor(n, m), int_tensor(k, dtype="int32"), 0, 1),
        ["0.1: m == k"],
    ),
    "grid_sample": (
        lambda: R.image.grid_sample(tensor(n, 3, h, w), tensor(k, 2, m, j)),
        ["1.0: k == n"],
    ),
    "nll_loss": (
        lambda: R.nn.nll_loss(tensor(n, m), int_tensor(k), tensor(4)),
        ["0.0: n == k", "0.1: m == 4"],
    ),
    "cross_entropy": (
        lambda: R.nn.cross_entropy_with_logits(tensor(n, m), tensor(k, m)),
        ["1.0: k == n"],
    ),
    "all_class_non_max_suppression": (
        lambda: R.vision.all_class_non_max_suppression(
            tensor(n, m, 4), tensor(k, 2, j), *[relax.const(x) for x in (3, 0.5, 0.5)]
        ),
        ["1.0: k == n", "1.2: j == m"],
    ),
    "multibox_transform_loc": (
        lambda: R.vision.multibox_transform_loc(tensor(n, 3, m), tensor(n, k), tensor(1, m, 4)),
        ["1.1: k == m * 4"],
    ),
    "attention of packed sequences": (
        lambda: R.nn.attention_var_len(
            tensor(1, n, 4, 8),
            tensor(1, m, 4, 8),
            tensor(1, k, 4, 8),
            seqstart_q=int_tensor(j, dtype="int32"),
            seqstart_k=int_tensor(h, dtype="int32"),
            max_seqlen_q=int_tensor(1, dtype="int32"),
            max_seqlen_k=int_tensor(1, dtype="int32"),
        ),
        ["1.1: m == k", "4.0: h == j"],
    ),
    "quantize": (
        lambda: R.quantize(tensor(n, 8), tensor(8), tensor(8, dtype="int8"), axis=1),
        [],
    ),
}
