"""Single ONNX operators that move, reduce or map data: our build and ONNX Runtime, one thread each.

    python scripts/bench_operators.py [NAME ...]

Every dim above 1 is symbolic at build, unless a converter needs it. The two run in turn, several
rounds; medians in microseconds of processor time and the ratio (above 1: ours is faster). What a
call costs beside its kernels, a few microseconds on both sides, is in it.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TVM_NUM_THREADS", "1")

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tvm
from bench_rules import seconds
from onnx import helper, numpy_helper
from tvm import relax

import tvm_sod2

ROUNDS = 15
IMAGE, SMALL = (1, 64, 112, 112), (8, 32, 28, 28)
MAP = (1, 256, 20, 20)
SEQUENCE = (4, 128, 768)
DOUBLED = np.array([1, 1, 2, 2], np.float32)


@dataclass
class Row:
    """One operator.

    Attributes:
        operator: its ONNX name; `name` tells rows of the same operator apart.
        shapes: of its float32 inputs.
        constants: the inputs after these; None leaves one out.
        attributes: the node's.
        outputs: how many it has.
    """

    name: str
    operator: str
    shapes: Sequence[tuple[int, ...]]
    constants: Sequence[Any] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1

    def model(self) -> onnx.ModelProto:
        """The operator with symbolic dims."""
        names = [f"x{i}" for i in range(len(self.shapes))]
        dims: dict[int, str] = {}
        inputs = [
            helper.make_tensor_value_info(
                name,
                onnx.TensorProto.FLOAT,
                [size if size == 1 else dims.setdefault(size, f"d{size}") for size in shape],
            )
            for name, shape in zip(names, self.shapes, strict=True)
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


def floats(*shape: int) -> np.ndarray:
    """Numbers near 1."""
    return np.random.default_rng(1).uniform(0.5, 1.5, shape).astype(np.float32)


MAPS = (
    *("Exp", "Log", "Erf", "Tanh", "Sigmoid", "Sin", "Cos", "Sqrt", "Reciprocal", "Relu"),
    *("Softplus", "Mish", "Gelu"),
)

ROWS = [
    *(Row(name, name, [SEQUENCE]) for name in MAPS),
    Row("Add, equal shapes", "Add", [SEQUENCE, SEQUENCE]),
    Row("Add, bias of channels", "Add", [IMAGE], [floats(64, 1, 1)]),
    Row("Mul, a gate per channel", "Mul", [IMAGE, (1, 64, 1, 1)]),
    Row("Mul, a factor per row", "Mul", [SEQUENCE, (4, 128, 1)]),
    Row("Max, NaN kept", "Max", [SEQUENCE, SEQUENCE]),
    Row("Clip", "Clip", [SEQUENCE], [np.float32(-1), np.float32(1)]),
    Row("Softmax, last axis", "Softmax", [SEQUENCE], attributes={"axis": -1}),
    Row("Softmax, channels", "Softmax", [IMAGE], attributes={"axis": 1}),
    Row("LogSoftmax", "LogSoftmax", [SEQUENCE], attributes={"axis": -1}),
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
    Row("TopK, 5 of 768", "TopK", [SEQUENCE], [ints(5)], outputs=2),
    Row("TopK, 1 of 80", "TopK", [(2100, 80)], [ints(1)], outputs=2),
    Row("TopK, 300 of 8400", "TopK", [(1, 8400)], [ints(300)], outputs=2),
    Row("TopK, 100 of 86016", "TopK", [(1, 86016)], [ints(100)], outputs=2),
    Row("CumSum, last", "CumSum", [SEQUENCE], [np.int64(2)]),
    Row("CumSum, middle", "CumSum", [SEQUENCE], [np.int64(1)]),
    Row("Transpose, swap last two", "Transpose", [SEQUENCE], attributes={"perm": [0, 2, 1]}),
    Row("Transpose, heads", "Transpose", [(4, 128, 12, 64)], attributes={"perm": [0, 2, 1, 3]}),
    Row("Transpose, channels last", "Transpose", [IMAGE], attributes={"perm": [0, 2, 3, 1]}),
    Row("Concat, channels", "Concat", [IMAGE, IMAGE], attributes={"axis": 1}),
    Row("Concat, last", "Concat", [SEQUENCE, SEQUENCE], attributes={"axis": -1}),
    Row("Split, last", "Split", [SEQUENCE], [ints(256, 512)], {"axis": -1}, 2),
    Row("Slice, rows", "Slice", [SEQUENCE], [ints(8), ints(100), ints(1)]),
    Row("Slice, every second", "Slice", [SEQUENCE], [ints(0), ints(768), ints(2), ints(2)]),
    Row("Gather, rows", "Gather", [(30000, 128)], [np.arange(0, 30000, 60, dtype=np.int64)]),
    Row("Gather, last", "Gather", [SEQUENCE], [ints(*range(0, 768, 3))], {"axis": 2}),
    Row("Pad, height and width", "Pad", [IMAGE], [ints(0, 0, 1, 1, 0, 0, 1, 1)]),
    Row("Pad, reflected", "Pad", [SMALL], [ints(0, 0, 2, 2, 0, 0, 2, 2)], {"mode": "reflect"}),
    Row("Expand", "Expand", [(4, 128, 1)], [ints(4, 128, 768)]),
    Row("Tile", "Tile", [SMALL], [ints(1, 1, 2, 2)]),
    Row("MaxPool 3x3/2", "MaxPool", [IMAGE], (), {"kernel_shape": [3, 3], "strides": [2, 2]}),
    Row("MaxPool 5x5/1", "MaxPool", [IMAGE], (), {"kernel_shape": [5, 5], "pads": [2] * 4}),
    Row("MaxPool 13x13/1", "MaxPool", [MAP], (), {"kernel_shape": [13, 13], "pads": [6] * 4}),
    Row(
        "AveragePool 2x2/2", "AveragePool", [IMAGE], (), {"kernel_shape": [2, 2], "strides": [2, 2]}
    ),
    Row("GlobalAveragePool", "GlobalAveragePool", [IMAGE]),
    Row("Resize, nearest", "Resize", [SMALL], [None, DOUBLED]),
    Row("Resize, linear", "Resize", [SMALL], [None, DOUBLED], {"mode": "linear"}),
]


def measure(row: Row) -> tuple[float, float]:
    """Median seconds of a call: ours, ONNX Runtime's. Both must agree."""
    model = row.model()
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(0.1, 3, shape).astype(np.float32) for shape in row.shapes]
    binding = session.io_binding()
    for i, array in enumerate(arrays):
        binding.bind_cpu_input(f"x{i}", array)
    for i in range(row.outputs):
        binding.bind_output(f"y{i}", "cpu")
    ours = partial(main, *map(tvm.runtime.tensor, arrays))
    theirs = partial(session.run_with_iobinding, binding)
    theirs()
    found = ours()
    results = [found] if row.outputs == 1 else list(found)
    for result, expected in zip(results, binding.copy_outputs_to_cpu(), strict=True):
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-3, atol=1e-4)
    times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def main(wanted: list[str]) -> None:
    """Print one line per operator."""
    print(f"{'operator':32}{'ours':>10}{'ORT':>10}{'ORT/ours':>10}")
    for row in ROWS:
        if wanted and not any(name in row.name for name in wanted):
            continue
        ours, theirs = measure(row)
        print(
            f"{row.name:32}{ours * 1e6:10.1f}{theirs * 1e6:10.1f}{theirs / ours:10.2f}", flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:])
