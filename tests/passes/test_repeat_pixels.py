"""Nearest-neighbour enlargement by whole factors, channels first, is a copy without coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.relax import op as R

from tvm_sod2.passes.repeat_pixels import repeat_pixels

Size = Any


def resized(height: Any, width: Any, layout: str = "NCHW", **how: str) -> tvm.IRModule:
    """An image (n, 3, h, w) resized to sizes made of h and w."""
    n, h, w = (tirx.Var(name, "int64") for name in "nhw")
    shape = [n, 3, h, w] if layout == "NCHW" else [n, h, w, 3]
    x = relax.Var("x", relax.TensorType(shape, "float32"))
    how = {
        "method": "nearest_neighbor",
        "coordinate_transformation_mode": "asymmetric",
        "rounding_method": "floor",
        **how,
    }
    bb = relax.BlockBuilder()
    with bb.function("main", [x]):
        with bb.dataflow():
            size = relax.ShapeExpr([height(h), width(w)])
            y = bb.emit_output(R.image.resize2d(x, size, layout=layout, **how))
        bb.emit_func_output(y)
    return bb.get()


def operators(mod: tvm.IRModule) -> list[str]:
    bindings = mod["main"].body.blocks[0].bindings
    return [b.value.op.name.removeprefix("relax.") for b in bindings]


def half_pixel(rounding: str) -> dict[str, str]:
    return {"coordinate_transformation_mode": "half_pixel", "rounding_method": rounding}


@pytest.mark.parametrize(
    "how", [{}, half_pixel("round_prefer_floor"), half_pixel("round_prefer_ceil")]
)
def test_pixels_are_repeated(how: dict[str, str]) -> None:
    mod = resized(lambda h: h * 2, lambda w: w * 3, **how)
    rewritten = repeat_pixels(mod)
    assert operators(rewritten) == ["reshape", "broadcast_to", "reshape"]
    tvm.ir.assert_structural_equal(rewritten["main"].ret_ty, mod["main"].ret_ty, True)
    stock, ours = (
        relax.VirtualMachine(tvm.compile(m, target="llvm"), tvm.cpu())["main"]
        for m in (mod, rewritten)
    )
    for shape in [(1, 3, 1, 1), (2, 3, 5, 7)]:
        x = tvm.runtime.tensor(np.random.default_rng(0).random(shape, np.float32))
        np.testing.assert_array_equal(ours(x).numpy(), stock(x).numpy())


@pytest.mark.parametrize(
    "mod",
    [
        resized(lambda h: h * 2, lambda w: w * 2, "NHWC"),
        resized(lambda h: h * 2, lambda w: w * 2, method="linear", rounding_method=""),
        resized(lambda h: h * 2, lambda w: w * 2, **half_pixel("floor")),
        resized(lambda h: h * 2, lambda w: w + 2),
        resized(lambda h: h * 2, lambda w: tirx.IntImm("int64", 8)),
    ],
)
def test_what_stays(mod: tvm.IRModule) -> None:
    assert operators(repeat_pixels(mod)) == ["image.resize2d"]
