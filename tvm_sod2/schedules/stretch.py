"""`broadcast_to` as a TE computation where only the dims can tell which axes it stretches."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, te, tirx


def broadcast_to(bb: relax.BlockBuilder, call: Any) -> Any:
    """relax.broadcast_to: an axis whose dim is 1 is read at index 0, any other at its own index.

    TVM's own legalisation reads every axis at its own index that is not known to be 1.
    """
    source, target = call.args[0].ty.shape, call.ty.shape
    if source is None or target is None:
        return call
    known = tvm.sym.Analyzer()
    zero = tirx.const(0, "int64")
    new = len(target) - len(source)

    def at(index: Any, own: Any, dim: Any) -> Any:
        if known.can_prove_equal(own, dim):
            return index
        return zero if known.can_prove_equal(own, 1) else tirx.Select(own == 1, zero, index)

    def stretched(x: te.Tensor) -> te.Tensor:
        def element(*index: Any) -> Any:
            return x(*map(at, index[new:], x.shape, list(target)[new:]))

        return te.compute(list(target), element, name="broadcast_to")

    return bb.call_te(stretched, call.args[0], primfunc_name_hint="broadcast_to")
