"""Relax's own inference of convolutions and pooling, of all ranks, against their definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tvm.relax import op as R

from tests.op_classes.harness import Env, dims_at, envs, h, j, k, m, n, tensor, typed, w


def _window(
    size: int, kernel: int, stride: int, pad: int, dilation: int = 1, up: bool = False
) -> int:
    """Positions of a window: pads on both sides, rounded down or up."""
    span = size + 2 * pad - dilation * (kernel - 1) - 1
    return (-(-span // stride) if up else span // stride) + 1


def _spread(size: int, kernel: int, stride: int, pad: int, extra: int) -> int:
    """The extent of a transposed convolution."""
    return (size - 1) * stride - 2 * pad + kernel + extra


_SPATIAL = (k, h, w)
Named = tuple[str, Callable[[], Any], Callable[[Env], Any]]

CASES: list[Named] = []
for rank in (1, 2, 3):
    space = _SPATIAL[3 - rank :]
    letters = "khw"[3 - rank :]
    conv = getattr(R.nn, f"conv{rank}d")
    spread = getattr(R.nn, f"conv{rank}d_transpose")
    CASES.append(
        (
            f"conv{rank}d",
            lambda c=conv, s=space, r=rank: c(
                tensor(n, m, *s), tensor(8, j, *[3] * r), strides=2, padding=1, dilation=2
            ),
            lambda e, s=letters: (e["n"], 8, *(_window(e[x], 3, 2, 1, 2) for x in s)),
        )
    )
    CASES.append(
        (
            f"conv{rank}d_transpose",
            lambda c=spread, s=space, r=rank: c(
                tensor(n, m, *s), tensor(j, 5, *[3] * r), strides=2, padding=1, output_padding=1
            ),
            lambda e, s=letters: (e["n"], 5, *(_spread(e[x], 3, 2, 1, 1) for x in s)),
        )
    )
    for kind in ("max", "avg"):
        for up in (False, True):
            pool = getattr(R.nn, f"{kind}_pool{rank}d")
            CASES.append(
                (
                    f"{kind}_pool{rank}d{' rounded up' if up else ''}",
                    lambda p=pool, s=space, r=rank, u=up: p(
                        tensor(n, m, *s), [3] * r, [2] * r, [1] * r, ceil_mode=u
                    ),
                    lambda e, s=letters, u=up: (
                        e["n"],
                        e["m"],
                        *(_window(e[x], 3, 2, 1, up=u) for x in s),
                    ),
                )
            )
    adaptive = getattr(R.nn, f"adaptive_avg_pool{rank}d")
    CASES.append(
        (
            f"adaptive_avg_pool{rank}d",
            lambda p=adaptive, s=space, r=rank: p(tensor(n, m, *s), [3] * r),
            lambda e, r=rank: (e["n"], e["m"], *[3] * r),
        )
    )


@pytest.mark.parametrize(
    ("call", "shape"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_relax_infers_the_shape(call: Callable[[], Any], shape: Callable[[Env], Any]) -> None:
    ty = typed(call()).ty
    for env in envs(6, 5, 17):
        assert dims_at(ty, env) == shape(env), env
