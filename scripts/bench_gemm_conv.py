"""Emitted GEMM and convolution kernels against ONNX Runtime, one thread each, in turn.

    TVM_NUM_THREADS=1 python scripts/bench_gemm_conv.py [pattern]

Prints, for each case whose name contains `pattern`, our GFLOP/s, its fraction of the FMA rate this
machine reaches, both times and their ratio. Medians of interleaved runs. ONNX Runtime is given
channels-first tensors and does its own layout changes.
"""

from __future__ import annotations

import os

os.environ.setdefault("TVM_NUM_THREADS", "1")

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax, tirx

from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.schedules.kernel import Code, f32, ramp, splat
from tvm_sod2.schedules.legalize import LEGALIZE
from tvm_sod2.schedules.schedule import ScheduleKernels
from tvm_sod2.schedules.traits import Traits, host_target

op = relax.op


@dataclass(frozen=True)
class Case:
    """One kernel at one size: what both sides run, and how much work it is."""

    name: str
    flops: float
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


def fma_peak(target: tvm.target.Target) -> float:
    """FLOP/s of independent FMAs on registers, the best of many short runs."""
    traits = Traits.from_target(target)
    lanes, sums, steps = traits.lanes("float32"), 12, 100_000
    x = tirx.decl_buffer([lanes * sums], "float32", "x")
    code = Code()
    totals = [code.buffer(lanes, f"sum{i}") for i in range(sums)]
    at = ramp(0, lanes)
    for i, total in enumerate(totals):
        code.store(total, x[ramp(i * lanes, lanes)], at)
    with code.loop(steps, "step"):
        for total in totals:
            code.store(total, total[at] * splat(f32(0.5), lanes) + splat(f32(0.25), lanes), at)
    for i, total in enumerate(totals):
        code.store(x, total[at], ramp(i * lanes, lanes))
    func = tirx.PrimFunc([x], code.body()).with_attr({"global_symbol": "main"})
    run = tvm.compile(tvm.IRModule({"main": func}), target)["main"]
    data = tvm.runtime.tensor(np.ones(lanes * sums, np.float32))
    return 2 * lanes * sums * steps / min(_timed(lambda: run(data)) for _ in range(50))


def compile_ours(
    compute: Callable[..., Any], x: relax.TensorType, weights: list[np.ndarray]
) -> Callable[[np.ndarray], Callable[[], Any]]:
    """Compile one fused group with constant weights for any size of x."""
    bb = relax.BlockBuilder()
    types = [x, *(relax.TensorType(w.shape, "float32") for w in weights)]
    params = [relax.Var(f"p{i}", t) for i, t in enumerate(types)]
    with bb.function("group", params, private=True, attrs={"Primitive": True}):
        with bb.dataflow():
            out = bb.emit_output(compute(*params))
        bb.emit_func_output(out)
    group = bb.get().get_global_var("group")
    given = relax.Var("x", x)
    with bb.function("main", [given]):
        with bb.dataflow():
            call = relax.Call(group, [given, *(relax.const(w) for w in weights)])
            out = bb.emit_output(call)
        bb.emit_func_output(out)
    target = host_target()
    passes = [
        relax.transform.LegalizeOps(LEGALIZE),
        relax.transform.FuseTIR(),
        ScheduleKernels(Traits.from_target(target)),
        *lower_to_vm(target),
    ]
    lowered = tvm.transform.Sequential(passes)(bb.get())
    executable = relax.build(lowered, target, relax_pipeline=None)
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]

    def bind(data: np.ndarray) -> Callable[[], Any]:
        tensor = tvm.runtime.tensor(data)
        return lambda: main(tensor)

    return bind


def session(node: onnx.NodeProto, rank: int, weight: np.ndarray) -> ort.InferenceSession:
    """ONNX Runtime with one thread on one node of inputs x and w."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [f"d{i}" for i in range(rank)])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", [x], [y], [numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def gemms() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for k, n in ((120, 360), (120, 6625), (512, 512), (768, 3072)):
        weight = rng.standard_normal((k, n)).astype(np.float32)
        m = tirx.Var("m", "int64")
        ours = compile_ours(op.matmul, relax.TensorType((m, k), "float32"), [weight])
        theirs = session(helper.make_node("MatMul", ["x", "w"], ["y"]), 2, weight)
        for rows in (1, 7, 40, 320, 1000):
            x = rng.standard_normal((rows, k)).astype(np.float32)
            yield Case(
                f"gemm {rows}x{k}x{n}",
                2.0 * rows * k * n,
                ours(x),
                partial(theirs.run, None, {"x": x}),
            )


def convolutions() -> Iterator[Case]:
    rng = np.random.default_rng(0)
    # Output channels, kernel, input channels, stride, groups, image.
    for o, k, c, s, groups, (h, w) in (
        (96, 3, 96, 1, 1, (30, 40)),
        (16, 3, 3, 2, 1, (48, 320)),
        (480, 1, 480, 1, 1, (3, 80)),
        (240, 3, 240, 1, 240, (6, 80)),
        (240, 5, 240, 1, 240, (6, 80)),
    ):
        pad = k // 2
        weight = rng.standard_normal((o, c // groups, k, k)).astype(np.float32)

        def conv(x: Any, y: Any, s: int = s, pad: int = pad, groups: int = groups) -> Any:
            layouts = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
            return op.nn.conv2d(x, y, strides=s, padding=pad, groups=groups, **layouts)

        dims = [tirx.Var(name, "int64") for name in "nhw"]
        ours = compile_ours(
            conv, relax.TensorType((*dims, c), "float32"), [weight.transpose(0, 2, 3, 1).copy()]
        )
        node = helper.make_node(
            "Conv", ["x", "w"], ["y"], strides=[s, s], pads=[pad] * 4, group=groups
        )
        theirs = session(node, 4, weight)
        x = rng.standard_normal((1, h, w, c)).astype(np.float32)
        first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        out = (h // s) * (w // s)
        yield Case(
            f"{'depthwise' if groups > 1 else 'conv'} {k}x{k}/{s} {c}->{o} @{h}x{w}",
            2.0 * out * o * k * k * c / groups,
            ours(x),
            partial(theirs.run, None, {"x": first}),
        )


def measure(case: Case, seconds: float = 0.6) -> tuple[float, float]:
    """Median seconds of ours and theirs, run in turn for about `seconds`."""
    case.ours(), case.theirs()
    rounds = int(np.clip(seconds / max(_timed(case.ours) + _timed(case.theirs), 1e-7), 9, 2000))
    times = [(_timed(case.ours), _timed(case.theirs)) for _ in range(rounds)]
    ours, theirs = np.median(np.array(times), axis=0)
    return float(ours), float(theirs)


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    pattern = sys.argv[1] if len(sys.argv) > 1 else ""
    peak = fma_peak(host_target())
    print(f"FMA peak {peak / 1e9:.0f} GFLOP/s, one thread")
    print(f"{'case':34} {'GFLOP/s':>8} {'peak':>6} {'ours us':>9} {'ORT us':>9} {'ORT/ours':>9}")
    for case in (*gemms(), *convolutions()):
        if pattern in case.name:
            ours, theirs = measure(case)
            rate = case.flops / ours
            print(
                f"{case.name:34} {rate / 1e9:8.1f} {rate / peak:6.0%} {ours * 1e6:9.1f}"
                f" {theirs * 1e6:9.1f} {theirs / ours:9.2f}"
            )


if __name__ == "__main__":
    main()
