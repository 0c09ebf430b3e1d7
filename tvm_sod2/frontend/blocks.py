"""Blocks that an error leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tvm import relax


@contextmanager
def ends_blocks(bb: relax.BlockBuilder) -> Iterator[None]:
    """End what `bb` has open when an error passes: TVM would print a warning as it goes away."""
    try:
        yield
    except Exception:
        while _ended(bb):
            pass
        raise


def _ended(bb: relax.BlockBuilder) -> bool:
    try:
        bb._end_block()
    except Exception:
        return False
    return True
