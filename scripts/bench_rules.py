"""Time the schedule rules' kernels against TVM's stock lowering and ONNX Runtime, one thread each.

The three run in turn, several rounds; medians in microseconds and ratios (above 1: ours is faster).
Usage: python scripts/bench_rules.py [case ...]
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TVM_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import onnxruntime
import tvm
import tvm_ffi
from onnx import TensorProto, helper
from tvm import relax, tirx

from tvm_sod2.schedules.rules import RULES
from tvm_sod2.schedules.traits import Traits, host_target

Build = Callable[[relax.BlockBuilder, list[relax.Var]], relax.Expr]


@dataclass
class Case:
    """A graph in Relax (channels last) and in ONNX (channels first), with the sizes to time."""

    shapes: list[tuple[str | int, ...]]
    relax: Build
    onnx_shapes: list[list[str | int]]
    nodes: list[onnx.NodeProto]
    initializers: list[onnx.TensorProto]
    sizes: list[dict[str, int]]


def constant(name: str, value: np.ndarray) -> onnx.TensorProto:
    """An ONNX initialiser."""
    return onnx.numpy_helper.from_array(value, name)


def f32(value: float) -> relax.Expr:
    """A float32 scalar."""
    return relax.const(value, "float32")


def cases() -> dict[str, Case]:
    """The shapes are those of PP-OCR recognition and detection."""
    op = relax.op
    node = helper.make_node
    nhwc: tuple[str | int, ...] = ("n", "h", "w", 64)
    nchw: list[str | int] = ["n", 64, "h", "w"]
    image = [{"n": 1, "h": 40, "w": 60}, {"n": 1, "h": 120, "w": 160}]

    def hardswish(bb: relax.BlockBuilder, xs: list[relax.Var]) -> relax.Expr:
        shifted = bb.emit(op.add(xs[0], f32(3.0)))
        gate = bb.emit(op.clip(shifted, 0, 6))
        return op.multiply(bb.emit(op.multiply(xs[0], gate)), f32(1 / 6))

    def gelu(bb: relax.BlockBuilder, xs: list[relax.Var]) -> relax.Expr:
        return op.nn.gelu(xs[0])

    concat_shapes: list[tuple[str | int, ...]] = [("n", "h", "w", c) for c in (96, 24, 24, 24)]
    return {
        "softmax 6625": Case(
            [("rows", 6625)],
            lambda bb, xs: op.nn.softmax(xs[0], axis=-1),
            [["rows", 6625]],
            [node("Softmax", ["x0"], ["y"], axis=-1)],
            [],
            [{"rows": r} for r in (40, 200, 1000)],
        ),
        "layer norm 120": Case(
            [("rows", 120), (120,), (120,)],
            lambda bb, xs: op.nn.layer_norm(xs[0], xs[1], xs[2], [-1]),
            [["rows", 120], [120], [120]],
            [node("LayerNormalization", ["x0", "x1", "x2"], ["y"], axis=-1)],
            [],
            [{"rows": 80}, {"rows": 320}],
        ),
        "hardswish": Case([nhwc], hardswish, [nchw], [node("HardSwish", ["x0"], ["y"])], [], image),
        "gelu": Case([nhwc], gelu, [nchw], [node("Gelu", ["x0"], ["y"])], [], image),
        "to channels last": Case(
            [("n", 64, "h", "w")],
            lambda bb, xs: op.permute_dims(xs[0], [0, 2, 3, 1]),
            [nchw],
            [node("Transpose", ["x0"], ["y"], perm=[0, 2, 3, 1])],
            [],
            image,
        ),
        "to channels first": Case(
            [nhwc],
            lambda bb, xs: op.permute_dims(xs[0], [0, 3, 1, 2]),
            [["n", "h", "w", 64]],
            [node("Transpose", ["x0"], ["y"], perm=[0, 3, 1, 2])],
            [],
            image,
        ),
        "global average pool": Case(
            [("n", "h", "w", 480)],
            lambda bb, xs: op.mean(xs[0], [1, 2], keepdims=True),
            [["n", 480, "h", "w"]],
            [node("GlobalAveragePool", ["x0"], ["y"])],
            [],
            [{"n": 1, "h": 3, "w": 80}, {"n": 1, "h": 30, "w": 40}],
        ),
        "max pool 3x3": Case(
            [nhwc],
            lambda bb, xs: op.nn.max_pool2d(
                xs[0], (3, 3), (2, 2), (1, 1, 1, 1), layout="NHWC", out_layout="NHWC"
            ),
            [nchw],
            [node("MaxPool", ["x0"], ["y"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)],
            [],
            image,
        ),
        "concat channels": Case(
            concat_shapes,
            lambda bb, xs: op.concat(list(xs), 3),
            [["n", c[3], "h", "w"] for c in concat_shapes],
            [node("Concat", ["x0", "x1", "x2", "x3"], ["y"], axis=1)],
            [],
            image,
        ),
        "resize 2x": Case(
            [nhwc],
            lambda bb, xs: op.image.resize2d(
                xs[0],
                relax.ShapeExpr([xs[0].ty.shape[1] * 2, xs[0].ty.shape[2] * 2]),
                layout="NHWC",
                method="nearest_neighbor",
                coordinate_transformation_mode="asymmetric",
                rounding_method="floor",
            ),
            [nchw],
            [
                node(
                    "Resize",
                    ["x0", "", "scales"],
                    ["y"],
                    mode="nearest",
                    coordinate_transformation_mode="asymmetric",
                    nearest_mode="floor",
                )
            ],
            [constant("scales", np.array([1, 1, 2, 2], np.float32))],
            image,
        ),
    }


def prim_func(case: Case) -> tirx.PrimFunc:
    """The case's graph as one fused, unscheduled PrimFunc."""
    dims: dict[str, tirx.Var] = {}

    def dim(size: object) -> object:
        return dims.setdefault(size, tirx.Var(size, "int64")) if isinstance(size, str) else size

    def params() -> list[relax.Var]:
        return [
            relax.Var(f"x{i}", relax.TensorType([dim(d) for d in shape], "float32"))
            for i, shape in enumerate(case.shapes)
        ]

    bb = relax.BlockBuilder()
    xs = params()
    with bb.function("group", xs):
        with bb.dataflow():
            out = bb.emit_output(bb.emit(case.relax(bb, xs)))
        bb.emit_func_output(out)
    group = bb.get()["group"].with_attr("Primitive", True).without_attr("global_symbol")
    bb = relax.BlockBuilder()
    gvar = bb.add_func(group, "fused")
    ys = params()
    with bb.function("main", ys):
        with bb.dataflow():
            out = bb.emit_output(bb.emit(relax.Call(gvar, ys)))
        bb.emit_func_output(out)
    mod = relax.transform.FuseTIR()(relax.transform.LegalizeOps()(bb.get()))
    return mod["fused"].with_attr("global_symbol", "main")


def schedule(func: tirx.PrimFunc, traits: Traits) -> tirx.PrimFunc:
    """The first rule that applies."""
    for rule in RULES:
        found = rule(func, traits)
        if found is not None:
            return found
    raise AssertionError("the last rule always applies")


def seconds(run: Callable[[], object]) -> float:
    """Processor seconds of one call, from enough calls to last about 2 ms."""
    start = time.process_time()
    run()
    once = max(time.process_time() - start, 1e-7)
    repeat = max(1, int(0.002 / once))
    start = time.process_time()
    for _ in range(repeat):
        run()
    return (time.process_time() - start) / repeat


def main(wanted: list[str]) -> None:
    """Print one line per case and size."""
    target = host_target()
    traits = Traits.from_target(target)
    rng = np.random.default_rng(0)
    print(
        f"{'case':22}{'size':28}{'ours':>9}{'stock':>10}{'ORT':>9}{'stock/ours':>12}{'ORT/ours':>10}"
    )
    for name, case in cases().items():
        if wanted and not any(w in name for w in wanted):
            continue
        func = prim_func(case)
        ours = tvm.compile(tvm.IRModule({"main": schedule(func, traits)}), target=target)["main"]
        stock = tvm.compile(tvm.IRModule({"main": func}), target=target)["main"]
        session = onnx_session(case)
        for size in case.sizes:
            arrays = [
                rng.standard_normal([sized(size, d) for d in shape]).astype(np.float32)
                for shape in case.shapes
            ]
            onnx_arrays = [
                np.ascontiguousarray(rng.standard_normal([sized(size, d) for d in shape])).astype(
                    np.float32
                )
                for shape in case.onnx_shapes
            ]
            binding = session.io_binding()
            for i, array in enumerate(onnx_arrays):
                binding.bind_cpu_input(f"x{i}", array)
            binding.bind_output("y", "cpu")
            session.run_with_iobinding(binding)
            elements = int(np.prod(binding.get_outputs()[0].shape()))
            tensors = [tvm.runtime.tensor(a) for a in arrays]
            shape = output_shape(func, size)
            assert int(np.prod(shape)) == elements, (shape, elements)
            out = tvm.runtime.tensor(np.empty(shape, np.float32))
            runs: list[Callable[[], object]] = [
                partial(ours, *tensors, out),
                partial(stock, *tensors, out),
                partial(session.run_with_iobinding, binding),
            ]
            times = [[seconds(run) for run in runs] for _ in range(15)]
            a, b, c = (statistics.median(t[i] for t in times) * 1e6 for i in range(3))
            label = " ".join(f"{k}={v}" for k, v in size.items())
            print(f"{name:22}{label:28}{a:9.1f}{b:10.1f}{c:9.1f}{b / a:12.2f}{c / a:10.2f}")


def sized(size: dict[str, int], dim: str | int) -> int:
    """A dim's size."""
    return size[dim] if isinstance(dim, str) else dim


def onnx_session(case: Case) -> onnxruntime.InferenceSession:
    """The same operator in ONNX Runtime, at one thread."""
    inputs = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape)
        for i, shape in enumerate(case.onnx_shapes)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(case.nodes, "case", inputs, [output], case.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def output_shape(func: tirx.PrimFunc, size: dict[str, int]) -> list[int]:
    """The output's shape at given dims."""
    analyzer = tvm.sym.Analyzer()
    dims = {
        dim.name: tirx.IntImm("int64", size[dim.name])
        for param in func.params
        for dim in param.ty.shape
        if isinstance(dim, tirx.Var)
    }

    def evaluate(expr: tvm.ir.Expr) -> int:
        bound = tvm_ffi.structural_map(expr, [(tirx.Var, lambda v: dims.get(v.name, v))])
        return int(analyzer.simplify(bound))

    return [evaluate(dim) for dim in func.params[-1].ty.shape]


if __name__ == "__main__":
    main(sys.argv[1:])
