"""Convolutions, pooling, resizing: operators over spatial axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..drawing import RejectedError
from ..growth import Growth
from ..values import Value
from .row import Row


def _image(g: Growth, least: int = 1, most: int = 3) -> Value:
    """A batch of one to three spatial axes with a known count of channels: old or new."""
    old = [
        v
        for v in g.visible
        if v.dtype == "float32" and v.rank in range(least + 2, most + 3) and v.fixed(1)
    ]
    if old and g.flip(0.75):
        return g.one_of(old)
    spatial = g.one_of([n for n in (1, 2, 2, 2, 3) if least <= n <= most])
    dims = g.draw_dims(2 + spatial)
    dims[1] = g.one_of([1, 2, 3, 4, 6, 8])
    return g.draw_input("float32", dims)


def _window(g: Growth, image: Value, dilations: bool = True) -> dict[str, Any]:
    spatial = image.rank - 2
    kernel = [g.one_of([1, 1, 2, 3, 3, 5]) for _ in range(spatial)]
    drawn: dict[str, Any] = {"kernel_shape": kernel}
    if g.flip(0.4):
        drawn["strides"] = [g.one_of([1, 2, 3]) for _ in range(spatial)]
    if dilations and g.flip(0.25):
        drawn["dilations"] = [g.one_of([1, 2]) for _ in range(spatial)]
    if g.flip(0.2):
        drawn["auto_pad"] = g.one_of(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif g.flip(0.8):
        pads = [g.integer(0, size // 2) for size in kernel]
        drawn["pads"] = [*pads, *(pads if g.flip(0.6) else [g.integer(0, k // 2) for k in kernel])]
    return drawn


def _conv(g: Growth) -> None:
    image = _image(g)
    channels = image.fixed(1) or 1
    window = _window(g, image)
    groups = g.one_of([n for n in (1, 1, 1, 2, 3, channels) if channels % n == 0])
    wide = groups * g.one_of([1, 2, 3, 8])
    weight = g.const(g.draw("float32", [wide, channels // groups, *window["kernel_shape"]]))
    rest = [g.const(g.draw("float32", [wide]))] if g.flip() else []
    result = g.op("Conv", image, weight, *rest, group=groups, **window)
    if g.flip(0.4):
        g.op(g.one_of(["Relu", "Sigmoid", "HardSwish"]), result)


def _conv_transpose(g: Growth) -> None:
    image = _image(g, 1, 2)
    channels = image.fixed(1) or 1
    window = _window(g, image)
    if g.flip(0.3):
        window["output_padding"] = [s - 1 for s in window.get("strides", [1] * (image.rank - 2))]
    groups = g.one_of([n for n in (1, 1, 2, channels) if channels % n == 0])
    wide = g.one_of([1, 2, 3])
    weight = g.const(g.draw("float32", [channels, wide, *window["kernel_shape"]]))
    rest = [g.const(g.draw("float32", [wide * groups]))] if g.flip() else []
    g.op("ConvTranspose", image, weight, *rest, group=groups, **window)


def _pool(g: Growth, op_type: str) -> None:
    image = _image(g)
    window = _window(g, image, op_type != "LpPool" or g.opset >= 18)
    if window.get("auto_pad", "").startswith("SAME"):
        window.pop("dilations", None)  # ONNX Runtime pads as if there were none.
    if op_type != "LpPool" and "auto_pad" not in window and g.flip(0.3):
        window["ceil_mode"] = 1
    if op_type == "AveragePool":
        window["count_include_pad"] = g.integer(0, 1)
        if g.opset < 19:
            window.pop("dilations", None)
    if op_type == "LpPool":
        window["p"] = g.one_of([1, 2])
    if not _fits(image, window):
        raise RejectedError  # ONNX Runtime then rounds the negative count of positions to zero.
    g.ops(op_type, 2 if op_type == "MaxPool" and g.flip(0.15) else 1, image, **window)


def _fits(image: Value, window: dict[str, Any]) -> bool:
    """Whether ONNX Runtime pools as the standard says: the window lacks one entry at most."""
    spatial = image.rank - 2
    pads = window.get("pads", [0] * (2 * spatial))
    strides = window.get("strides", [1] * spatial)
    for i, (size, step) in enumerate(zip(window["kernel_shape"], strides, strict=True)):
        extent = (size - 1) * window.get("dilations", [1] * spatial)[i] + 1
        if step > extent and window.get("auto_pad", "").startswith("SAME"):
            return False  # ONNX Runtime takes a negative pad and begins behind the first entry.
        missing = extent - image.smallest(2 + i) - pads[i] - pads[spatial + i]
        if missing > 0 and (step > 1 or missing > 1):
            return False
    return True


def _global(g: Growth, op_type: str) -> None:
    g.op(op_type, _image(g))


def _blocks(g: Growth) -> None:
    image = _image(g, 2, 2)
    if g.flip():
        g.op("SpaceToDepth", image, blocksize=g.integer(1, 3))
        return
    size = g.one_of([n for n in (1, 2) if (image.fixed(1) or 1) % (n * n) == 0])
    g.op("DepthToSpace", image, blocksize=size, mode=g.one_of(["DCR", "CRD"]))


def _cuts(image: Value, scales: list[float]) -> bool:
    """Whether a scaled size is no whole number at some sample."""
    return any(size * s % 1 for s, sizes in zip(scales, image.dims, strict=True) for size in sizes)


def _resize(g: Growth) -> None:
    image = _image(g, 1, 2)
    spatial = image.rank - 2
    mode = g.one_of(["nearest", "linear", "cubic"] if spatial == 2 else ["nearest", "linear"])
    transform = g.one_of(
        ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]
        [: 5 if g.opset >= 19 else 4]
    )  # fmt: skip
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transform}
    if mode == "nearest":
        attributes["nearest_mode"] = g.one_of(
            ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        )
    if g.flip(0.6):
        scales = [1.0, 1.0, *(g.one_of([0.5, 1.0, 1.5, 2.0, 3.0]) for _ in range(spatial))]
        if mode == "nearest" and transform == "half_pixel_symmetric" and _cuts(image, scales):
            raise RejectedError  # The last bit of the offset decides which entry is nearest.
        given = g.const(scales, "float32")
        if g.flip(0.2):
            arrays = [None if a is None else np.array(scales, "float32") for a in image.exact]
            given = g.given(arrays, [image.rank])
        g.op("Resize", image, None, given, **attributes)
        return
    wanted = [g.integer(1, 9) for _ in range(spatial)]
    sizes = [None if a is None else np.array([*a.shape[:2], *wanted]) for a in image.exact]
    if image.fixed(0) and g.flip():
        g.op("Resize", image, None, None, g.const([*image.some.shape[:2], *wanted]), **attributes)
    else:
        g.op("Resize", image, None, None, g.given(sizes, [image.rank]), **attributes)


def _grid_sample(g: Growth) -> None:
    image = _image(g, 2, 2)
    height, width = g.integer(1, 5), g.integer(1, 5)
    grids = [
        None if a is None else g.rng.uniform(-1.1, 1.1, [a.shape[0], height, width, 2])
        for a in image.exact
    ]
    given = g.given([None if a is None else a.astype("float32") for a in grids])
    bilinear = "linear" if g.opset >= 20 else "bilinear"
    g.op(
        "GridSample",
        image,
        given,
        mode=bilinear,
        padding_mode=g.one_of(["zeros", "border"]),
        align_corners=g.integer(0, 1),
    )


ROWS = [
    Row("Conv", _conv, 3),
    Row("ConvTranspose", _conv_transpose, 0.8),
    Row("MaxPool", lambda g: _pool(g, "MaxPool"), 1),
    Row("AveragePool", lambda g: _pool(g, "AveragePool"), 1),
    Row("LpPool", lambda g: _pool(g, "LpPool"), 0.3),
    Row("GlobalAveragePool", lambda g: _global(g, "GlobalAveragePool"), 0.5),
    Row("GlobalMaxPool", lambda g: _global(g, "GlobalMaxPool"), 0.3),
    Row("SpaceToDepth", _blocks, 0.6),
    Row("Resize", _resize, 1),
    Row("GridSample", _grid_sample, 0.3),
]
