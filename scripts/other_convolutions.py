"""Convolutions other than networks' usual ones, each a whole model with its changes of layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from kernel_timing import Case, Program, built, session
from onnx import helper

_HALF = {"strides": [2, 2]}

# By family: the operator, its input, its weight as ONNX has it, its attributes.
FAMILIES: Mapping[str, list[tuple[str, tuple[int, ...], tuple[int, ...], Mapping[str, Any]]]] = {
    "volumes": [
        ("Conv", (1, 32, 8, 28, 28), (64, 32, 1, 1, 1), {}),
        ("Conv", (1, 16, 16, 28, 28), (32, 16, 3, 3, 3), {"pads": [1] * 6}),
        ("Conv", (1, 64, 8, 14, 14), (64, 64, 3, 3, 3), {"pads": [1] * 6}),
        ("Conv", (1, 32, 8, 28, 28), (32, 1, 3, 3, 3), {"pads": [1] * 6, "group": 32}),
    ],
    "transposed": [
        ("ConvTranspose", (1, 64, 32, 32), (64, 32, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
        ("ConvTranspose", (1, 256, 8, 8), (256, 128, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
        ("ConvTranspose", (1, 64, 32, 32), (64, 32, 3, 3), {"strides": [2, 2], "pads": [1] * 4}),
        ("ConvTranspose", (1, 64, 40, 40), (64, 32, 2, 2), {"strides": [2, 2]}),
        ("ConvTranspose", (1, 128, 200), (128, 64, 16), {"strides": [8], "pads": [4, 4]}),
        ("ConvTranspose", (1, 64, 64, 64), (64, 3, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
        ("ConvTranspose", (1, 32, 64, 64), (32, 1, 4, 4), {"strides": [2, 2], "pads": [1] * 4}),
        (
            "ConvTranspose",
            (1, 21, 16, 16),
            (21, 1, 4, 4),
            {"strides": [2, 2], "pads": [1] * 4, "group": 21},
        ),
    ],
    "heads": [
        ("Conv", (1, 3, 224, 224), (64, 3, 7, 7), {"strides": [2, 2], "pads": [3] * 4}),
        ("Conv", (1, 3, 224, 224), (64, 3, 3, 3), {"pads": [1] * 4}),
        ("Conv", (1, 1, 16000), (512, 1, 10), {"strides": [5]}),
        ("Conv", (1, 1, 16000), (64, 1, 7), {"pads": [3, 3]}),
        ("Conv", (1, 1, 16000), (48, 1, 8), {"strides": [4]}),
        ("Conv", (1, 3, 224, 224), (16, 3, 3, 3), {"strides": [2, 2], "pads": [1] * 4}),
        ("Conv", (1, 3, 112, 112), (12, 3, 3, 3), {"pads": [1] * 4}),
        ("Conv", (1, 3, 224, 224), (96, 3, 4, 4), {"strides": [4, 4]}),
        ("Conv", (1, 3, 224, 224), (768, 3, 16, 16), {"strides": [16, 16]}),
    ],
    "filters": [
        ("Conv", (1, 1, 48000), (1, 1, 41), {"strides": [3], "pads": [20, 20]}),
        ("Conv", (1, 1, 16000), (1, 1, 101), {"pads": [50, 50]}),
        ("Conv", (1, 1, 224, 224), (1, 1, 3, 3), {"pads": [1] * 4}),
        ("Conv", (1, 3, 224, 224), (3, 1, 5, 5), {"pads": [2] * 4, "group": 3}),
    ],
    "to few channels": [
        ("Conv", (1, 64, 56, 56), (1, 64, 3, 3), {"pads": [1] * 4}),
        ("Conv", (1, 64, 56, 56), (3, 64, 3, 3), {"pads": [1] * 4}),
        ("Conv", (1, 32, 56, 56), (2, 32, 1, 1), {}),
    ],
    "strided": [
        ("Conv", (1, 64, 57, 57), (128, 64, 3, 3), {"strides": [2, 2], "pads": [1] * 4}),
        ("Conv", (1, 512, 15, 15), (512, 512, 3, 3), {"strides": [2, 2], "pads": [1] * 4}),
        ("Conv", (1, 256, 28, 28), (512, 256, 1, 1), {"strides": [2, 2]}),
        ("Conv", (1, 96, 56, 56), (192, 96, 2, 2), {"strides": [2, 2]}),
    ],
    "separable": [
        (
            "Conv",
            (1, 144, 56, 56),
            (144, 1, 3, 3),
            {"strides": [2, 2], "pads": [1] * 4, "group": 144},
        ),
        (
            "Conv",
            (1, 240, 28, 28),
            (240, 1, 5, 5),
            {"strides": [2, 2], "pads": [2] * 4, "group": 240},
        ),
        ("Conv", (1, 96, 56, 56), (96, 1, 7, 7), {"pads": [3] * 4, "group": 96}),
        ("Conv", (1, 768, 7, 7), (768, 1, 7, 7), {"pads": [3] * 4, "group": 768}),
        ("Conv", (1, 64, 28, 28), (64, 1, 31, 31), {"pads": [15] * 4, "group": 64}),
        ("Conv", (1, 16, 112, 112), (96, 16, 1, 1), {}),
        ("Conv", (1, 64, 56, 56), (256, 64, 1, 1), {}),
    ],
    "dilated": [
        ("Conv", (1, 64, 28, 28), (64, 64, 3, 3), {"dilations": [2, 2], "pads": [2] * 4}),
        ("Conv", (1, 64, 33, 33), (64, 64, 3, 3), {"dilations": [6, 6], "pads": [6] * 4}),
        ("Conv", (1, 256, 33, 33), (256, 256, 3, 3), {"dilations": [12, 12], "pads": [12] * 4}),
    ],
    "grouped": [
        ("Conv", (1, 64, 28, 28), (64, 2, 3, 3), {"pads": [1] * 4, "group": 32}),
        ("Conv", (1, 128, 28, 28), (128, 4, 3, 3), {"pads": [1] * 4, "group": 32}),
        ("Conv", (1, 256, 14, 14), (256, 8, 3, 3), {"pads": [1] * 4, "group": 32}),
        ("Conv", (1, 64, 28, 28), (128, 1, 3, 3), {"pads": [1] * 4, "group": 64}),
        ("Conv", (1, 32, 28, 28), (128, 1, 3, 3), {"pads": [1] * 4, "group": 32}),
        ("Conv", (1, 32, 28, 28), (96, 1, 3, 3), {"pads": [1] * 4, "group": 32}),
        ("Conv", (1, 512, 14, 14), (512, 16, 3, 3), {"pads": [1] * 4, "group": 32}),
        ("Conv", (1, 240, 28, 28), (60, 80, 1, 1), {"group": 3}),
    ],
    "of rows": [
        ("Conv", (1, 64, 500), (64, 64, 3), {"pads": [1, 1]}),
        ("Conv", (1, 128, 300), (128, 128, 5), {"dilations": [3], "pads": [6, 6]}),
        ("Conv", (1, 256, 300), (256, 1, 31), {"pads": [15, 15], "group": 256}),
        ("Conv", (1, 80, 3000), (512, 80, 3), {"pads": [1, 1]}),
        ("Conv", (1, 80, 200), (512, 80, 31), {"pads": [15, 15]}),
        ("Conv", (1, 768, 200), (768, 48, 128), {"pads": [64, 64], "group": 16}),
    ],
}


def other_convolutions() -> Iterator[Case]:
    """Every case of FAMILIES; multiplications by padding count.

    Convolutions here have as many pixels as their inputs, or a stride's part of them; a transposed
    one multiplies each of its input's by the whole weight.
    """
    for family, found in FAMILIES.items():
        for operator, x, w, attributes in found:
            node = helper.make_node(operator, ["x0", "w0"], ["y"], **attributes)
            pixels = float(np.prod(x[2:]))
            if operator == "Conv":
                pixels /= float(np.prod(attributes.get("strides", 1)))
            more = " ".join(f"{k} {v}" for k, v in attributes.items() if k != "pads")
            sizes = ("x".join(map(str, size)) for size in (w, x[2:]))
            name = f"{operator} {' @'.join(sizes)} {more}".strip()

            def prepare(node: Any = node, x: Any = x, w: Any = w) -> tuple[Program, Program]:
                rng = np.random.default_rng(0)
                weight, data = (rng.standard_normal(size).astype(np.float32) for size in (w, x))
                dims = ["n", x[1], "a", "b", "c"][: len(x)]
                ours = built([node], [dims], [weight])
                return ours(data), session([node], [len(x)], [weight])(data)

            yield Case(family, name, 2 * x[0] * pixels * float(np.prod(w)), prepare)
