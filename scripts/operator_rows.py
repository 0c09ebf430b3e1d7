"""Single ONNX operators to time: nodes with symbolic dims, constants and inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

IMAGE, SMALL = (1, 64, 112, 112), (8, 32, 28, 28)
MAP, LAST = (1, 256, 20, 20), (1, 16, 14, 14)
SEQUENCE = (4, 128, 768)
DOUBLED = np.array([1, 1, 2, 2], np.float32)


@dataclass
class Row:
    """One operator.

    Attributes:
        operator: its ONNX name; `name` tells rows of the same operator apart.
        shapes: of its inputs.
        constants: the inputs after these; None leaves one out.
        attributes: the node's.
        outputs: how many it has.
        given: inputs by position; the others are float32 numbers from 0.1 to 3.
    """

    name: str
    operator: str
    shapes: Sequence[tuple[int, ...]]
    constants: Sequence[Any] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    given: Mapping[int, np.ndarray] = field(default_factory=dict)

    def inputs(self) -> list[np.ndarray]:
        """What it is run with."""
        rng = np.random.default_rng(0)
        numbers = [rng.uniform(0.1, 3, shape).astype(np.float32) for shape in self.shapes]
        return [self.given.get(i, array) for i, array in enumerate(numbers)]

    def model(self) -> onnx.ModelProto:
        """The operator with symbolic dims."""
        names = [f"x{i}" for i in range(len(self.shapes))]
        dims: dict[int, str] = {}
        inputs = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(array.dtype),
                [size if size == 1 else dims.setdefault(size, f"d{size}") for size in array.shape],
            )
            for name, array in zip(names, self.inputs(), strict=True)
        ]
        given = {f"c{i}": array for i, array in enumerate(self.constants) if array is not None}
        constants = [numpy_helper.from_array(np.asarray(a), name) for name, a in given.items()]
        rest = [f"c{i}" if f"c{i}" in given else "" for i in range(len(self.constants))]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.operator, [*names, *rest], outputs, **self.attributes)
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph([node], "row", inputs, results, constants)
        opset = helper.make_opsetid("", 20)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        return onnx.shape_inference.infer_shapes(model)


def ints(*values: int) -> np.ndarray:
    """An int64 vector."""
    return np.array(values, np.int64)


def places(*shape: int, axis: int, of: int) -> np.ndarray:
    """Indices below `of` that differ along an axis."""
    whole = [of if a == axis else size for a, size in enumerate(shape)]
    order = np.random.default_rng(2).random(whole).argsort(axis)
    return order.take(range(shape[axis]), axis)


def integers(dtype: str, *shape: int) -> np.ndarray:
    """Numbers from 1 to 49."""
    return np.random.default_rng(3).integers(1, 50, shape).astype(dtype)


def floats(*shape: int) -> np.ndarray:
    """Numbers near 1."""
    return np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(np.float32)


MAPS = (
    *("Exp", "Log", "Erf", "Tanh", "Sigmoid", "Sin", "Cos", "Sqrt", "Reciprocal", "Relu"),
    *("Softplus", "Mish", "Gelu", "Atan"),
)

ROWS = [
    *(Row(name, name, [SEQUENCE]) for name in MAPS),
    Row("Add, equal shapes", "Add", [SEQUENCE, SEQUENCE]),
    Row("Add, bias of channels", "Add", [IMAGE], [floats(64, 1, 1)]),
    Row("Mul, a gate per channel", "Mul", [IMAGE, (1, 64, 1, 1)]),
    Row("Mul, a factor per row", "Mul", [SEQUENCE, (4, 128, 1)]),
    Row("Pow, cube", "Pow", [SEQUENCE], [np.float32(3)]),
    Row(
        "Div, int32",
        "Div",
        [SEQUENCE] * 2,
        given=dict.fromkeys((0, 1), integers("int32", *SEQUENCE)),
    ),
    Row("Max, NaN kept", "Max", [SEQUENCE, SEQUENCE]),
    Row("Clip", "Clip", [SEQUENCE], [np.float32(-1), np.float32(1)]),
    Row("Softmax, last axis", "Softmax", [SEQUENCE], attributes={"axis": -1}),
    Row("Softmax, channels", "Softmax", [IMAGE], attributes={"axis": 1}),
    Row("LogSoftmax", "LogSoftmax", [SEQUENCE], attributes={"axis": -1}),
    Row("LogSoftmax of 17", "LogSoftmax", [(20000, 17)], attributes={"axis": -1}),
    Row("LayerNormalization", "LayerNormalization", [SEQUENCE], [floats(768), floats(768)]),
    Row("InstanceNormalization", "InstanceNormalization", [IMAGE], [floats(64), floats(64)]),
    Row("BatchNormalization", "BatchNormalization", [IMAGE], [floats(64)] * 4),
    Row("LpNormalization", "LpNormalization", [SEQUENCE], attributes={"axis": -1, "p": 2}),
    Row("ReduceSum, last", "ReduceSum", [SEQUENCE], [ints(-1)]),
    Row("ReduceSum, first", "ReduceSum", [SEQUENCE], [ints(0)]),
    Row("ReduceSum, middle", "ReduceSum", [SEQUENCE], [ints(1)]),
    Row("ReduceSum, all", "ReduceSum", [SEQUENCE]),
    Row("ReduceMean, height and width", "ReduceMean", [IMAGE], [ints(2, 3)]),
    Row("ReduceMax, last", "ReduceMax", [SEQUENCE], [ints(-1)]),
    Row("ReduceMax, middle", "ReduceMax", [SEQUENCE], [ints(1)]),
    Row("ReduceL2, last", "ReduceL2", [SEQUENCE], [ints(-1)]),
    Row("ReduceLogSumExp, last", "ReduceLogSumExp", [SEQUENCE], [ints(-1)]),
    Row("ArgMax, last", "ArgMax", [SEQUENCE], attributes={"axis": -1}),
    Row("ArgMax, channels", "ArgMax", [IMAGE], attributes={"axis": 1}),
    Row("ArgMin, 5 columns", "ArgMin", [(80000, 5)], attributes={"axis": 1}),
    Row("TopK, middle axis", "TopK", [SEQUENCE], [ints(5)], {"axis": 1}, 2),
    Row("TopK, 5 of 768", "TopK", [SEQUENCE], [ints(5)], outputs=2),
    Row("TopK, 1 of 80", "TopK", [(2100, 80)], [ints(1)], outputs=2),
    Row("TopK, 300 of 8400", "TopK", [(1, 8400)], [ints(300)], outputs=2),
    Row("TopK, 100 of 86016", "TopK", [(1, 86016)], [ints(100)], outputs=2),
    Row("CumSum, last", "CumSum", [SEQUENCE], [np.int64(2)]),
    Row("CumSum, middle", "CumSum", [SEQUENCE], [np.int64(1)]),
    Row("Transpose, swap last two", "Transpose", [SEQUENCE], attributes={"perm": [0, 2, 1]}),
    Row("Transpose, heads", "Transpose", [(4, 128, 12, 64)], attributes={"perm": [0, 2, 1, 3]}),
    Row("Transpose, channels last", "Transpose", [IMAGE], attributes={"perm": [0, 2, 3, 1]}),
    Row(
        "Transpose, bytes", "Transpose", [(509, 1021)], (), {}, 1, {0: integers("uint8", 509, 1021)}
    ),
    Row("Concat, channels", "Concat", [IMAGE, IMAGE], attributes={"axis": 1}),
    Row("Concat, last", "Concat", [SEQUENCE, SEQUENCE], attributes={"axis": -1}),
    Row("Split, last", "Split", [SEQUENCE], [ints(256, 512)], {"axis": -1}, 2),
    Row("Slice, rows", "Slice", [SEQUENCE], [ints(8), ints(100), ints(1)]),
    Row("Slice, every second", "Slice", [SEQUENCE], [ints(0), ints(768), ints(2), ints(2)]),
    Row("Gather, rows", "Gather", [(30000, 128)], [np.arange(0, 30000, 60, dtype=np.int64)]),
    Row("Gather, last", "Gather", [SEQUENCE], [ints(*range(0, 768, 3))], {"axis": 2}),
    Row(
        "ScatterND, rows",
        "ScatterND",
        [(1000, 128), (500, 1), (500, 128)],
        given={1: places(500, 1, axis=0, of=1000)},
    ),
    Row(
        "ScatterElements, first",
        "ScatterElements",
        [(1000, 128), (500, 128), (500, 128)],
        attributes={"axis": 0},
        given={1: places(500, 128, axis=0, of=1000)},
    ),
    Row(
        "ScatterElements, last",
        "ScatterElements",
        [(1000, 128), (1000, 64), (1000, 64)],
        attributes={"axis": 1},
        given={1: places(1000, 64, axis=1, of=128)},
    ),
    Row(
        "GatherElements, last",
        "GatherElements",
        [(1000, 128), (1000, 64)],
        attributes={"axis": 1},
        given={1: places(1000, 64, axis=1, of=128)},
    ),
    Row("Pad, height and width", "Pad", [IMAGE], [ints(0, 0, 1, 1, 0, 0, 1, 1)]),
    Row("Pad, reflected", "Pad", [SMALL], [ints(0, 0, 2, 2, 0, 0, 2, 2)], {"mode": "reflect"}),
    Row("Pad, edge", "Pad", [SMALL], [ints(0, 0, 1, 1, 0, 0, 1, 1)], {"mode": "edge"}),
    Row("Expand", "Expand", [(4, 128, 1)], [ints(4, 128, 768)]),
    Row("Tile", "Tile", [SMALL], [ints(1, 1, 2, 2)]),
    Row("Tile, rows of 17", "Tile", [(20000, 17)], [ints(1, 3)]),
    Row("MaxPool 3x3/1, 14x14", "MaxPool", [LAST], (), {"kernel_shape": [3, 3], "pads": [1] * 4}),
    Row("MaxPool 3x3/2", "MaxPool", [IMAGE], (), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    Row("MaxPool 5x5/1", "MaxPool", [IMAGE], (), {"kernel_shape": [5, 5], "pads": [2] * 4}),
    Row("MaxPool 13x13/1", "MaxPool", [MAP], (), {"kernel_shape": [13, 13], "pads": [6] * 4}),
    Row(
        "AveragePool 2x2/2", "AveragePool", [IMAGE], (), {"kernel_shape": [2, 2], "strides": [2, 2]}
    ),
    Row("GlobalAveragePool", "GlobalAveragePool", [IMAGE]),
    Row("Resize, nearest", "Resize", [SMALL], [None, DOUBLED]),
    Row(
        "Resize, nearest, asymmetric",
        "Resize",
        [SMALL],
        [None, DOUBLED],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    Row(
        "Resize, linear, 17 to 28",
        "Resize",
        [(1, 3, 17, 17)],
        [None, np.array([1, 1, 1.7, 1.7], np.float32)],
        {"mode": "linear"},
    ),
    Row(
        "GridSample",
        "GridSample",
        [(1, 32, 56, 56), (1, 56, 56, 2)],
        given={1: floats(1, 56, 56, 2) * 2 - 2},
    ),
    Row("Resize, linear", "Resize", [SMALL], [None, DOUBLED], {"mode": "linear"}),
]
