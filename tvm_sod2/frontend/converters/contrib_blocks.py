"""Products with weights of 2, 4 or 8 bits (domain com.microsoft), which are unpacked at import."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.matmul import matmul

Attrs = dict[str, Any]
Inputs = list[Any]


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Return the numbers of `bits` bits in bytes, the lowest first, along the last axis."""
    shifts = np.arange(0, 8, bits, dtype="uint8")
    numbers = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return numbers.reshape(*packed.shape[:-1], -1)


def _matmul_blocks(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """x @ w^T + bias. A row of w is stored in blocks, each with a scale and a zero point.

    (rows, blocks, bytes of a block) packed; scales (rows, blocks); the last block may be padded.
    """
    x, packed, scales, zeros, order, bias = (*inputs, *[None] * 3)[:6]
    if order is not None or attrs.get("weight_prepacked"):
        raise c.error("weights in another order (g_idx, weight_prepacked) cannot be imported")
    bits, size = attrs.get("bits", 4), attrs["block_size"]
    if bits not in (2, 4, 8):
        raise c.error(f"weights of {bits} bits cannot be imported; 2, 4 and 8 are possible")
    rows, columns = attrs["N"], attrs["K"]
    blocks = -(-columns // size)
    numbers = unpacked(c.require_constant(packed, "B").reshape(rows, blocks, -1), bits)
    factors = c.require_constant(scales, "scales").reshape(rows, blocks, 1)
    offsets: np.ndarray | float = float(1 << (bits - 1))
    if zeros is not None:
        stored = c.require_constant(zeros, "zero_points")
        if stored.dtype == np.uint8:
            stored = unpacked(stored.reshape(rows, -1), bits)[:, :blocks]
        offsets = stored.reshape(rows, blocks, 1).astype("float32")
    weights = (numbers.astype("float32") - offsets) * factors.astype("float32")
    weights = weights.reshape(rows, blocks * size)[:, :columns]
    y = matmul(c, x, const(np.ascontiguousarray(weights.T).astype(c.dtype(x))))
    return y if bias is None else c.broadcast(R.add, y, bias)


CONVERTERS: dict[str, Converter] = {"com.microsoft.MatMulNBits": _matmul_blocks}
