"""Integer kernels against ONNX Runtime's and against the machine's rate of multiply-adds of bytes.

    python scripts/bench_int8.py [PATTERN] [--threads N] [--seconds 0.5]

Graphs of one quantised operator, with symbolic dims and constant weights, built as any model is:
MatMulInteger and QLinearMatMul at 1 to 384 rows, MatMulInteger of two inputs, QLinearConv at sizes
of mobile networks. Cases are
those whose name contains PATTERN. Both sides run in turn, as cores.py says. Convolutions have
channels last at both ends, which both sides compute in. A result that is not equal to ONNX
Runtime's ends the run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np


def bytes_peak() -> float:
    """Multiply-adds of bytes on registers of one core, times two, a second."""
    import tvm
    from tvm import tirx

    from tvm_sod2.schedules.dot import WORD, Dot
    from tvm_sod2.schedules.kernel import Code, ramp, splat
    from tvm_sod2.schedules.peak import fastest
    from tvm_sod2.schedules.traits import Traits, host_target

    traits = Traits.from_target(host_target())
    lanes, sums, steps = traits.lanes("int32"), 12, 100_000
    dot = Dot("uint8", traits.dot)
    x = tirx.decl_buffer([WORD * lanes], "int8", "x")
    out = tirx.decl_buffer([lanes * sums], "int32", "out")
    code = Code()
    totals = [code.buffer(lanes, f"sum{i}", "int32") for i in range(sums)]
    at = ramp(0, lanes)
    for i, total in enumerate(totals):
        code.store(total, out[ramp(i * lanes, lanes)], at)
    with code.loop(steps, "step") as step:
        word = splat(tirx.Cast("int32", step), lanes)
        for total in totals:
            value = dot.accumulate(total[at], word, x[ramp(0, WORD * lanes)], lanes)
            code.store(total, value, at)
    for i, total in enumerate(totals):
        code.store(out, total[at], ramp(i * lanes, lanes))
    func = tirx.PrimFunc([x, out], code.body()).with_attr({"global_symbol": "main"})
    run = tvm.compile(tvm.IRModule({"main": func}), host_target())["main"]
    data = tvm.runtime.tensor(np.ones(WORD * lanes, np.int8))
    result = tvm.runtime.tensor(np.zeros(lanes * sums, np.int32))
    program = partial(run, data, result)
    return 2 * WORD * lanes * sums * steps / fastest(program, 50)


def prepare(text: str, weights: dict[str, np.ndarray]) -> Callable[..., Any]:
    """Both sides of a graph; call it with the inputs for the two programs, ours first."""
    import onnxruntime
    import tvm
    from onnx import numpy_helper, parser

    import tvm_sod2

    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    for name, value in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    vm = tvm.relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = tvm.get_global_func("runtime.NumThreads")()
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    main = vm["main"]
    names = [value.name for value in model.graph.input]

    def programs(*arrays: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]]:
        feeds = dict(zip(names, arrays, strict=True))
        ours = partial(main, *map(tvm.runtime.tensor, arrays))
        return ours, partial(session.run, None, feeds)

    return programs


def f32(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


Row = tuple[str, float, Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]]


def products() -> Iterator[Row]:
    """Name, operations and programs of each matrix product."""
    rng = np.random.default_rng(0)
    point = np.array(128, "uint8")
    for k, n in ((768, 768), (768, 3072), (3072, 768)):
        weight = rng.integers(-64, 64, (k, n)).astype("int8")
        scales = {"sx": f32(0.02), "sw": f32(0.003), "sy": f32(0.1), "z": point}
        scales["zw"] = np.array(0, "int8")
        for name, text, more in (
            ("MatMulInteger", f"(int32[m,{n}] y) {{ y = MatMulInteger(x, w, z) }}", ("z",)),
            (
                "QLinearMatMul",
                f"(uint8[m,{n}] y) {{ y = QLinearMatMul(x, sx, z, w, sw, zw, sy, z) }}",
                tuple(scales),
            ),
        ):
            graph = f"g (uint8[m,{k}] x) => {text}"
            both = prepare(graph, {"w": weight, **{key: scales[key] for key in more}})
            for m in (1, 7, 64, 384):
                x = rng.integers(0, 256, (m, k)).astype("uint8")
                yield f"{name} {m}x{k}x{n}", 2.0 * m * k * n, partial(both, x)


def run_time_products() -> Iterator[Row]:
    """Name, operations and programs of products of two operands that are inputs."""
    rng = np.random.default_rng(0)
    point = np.array(128, "uint8")
    for kind in ("uint8", "int8"):
        graph = f"""g (uint8[p,m,k] x, {kind}[p,k,n] w) => (int32[p,m,n] y) {{
            y = MatMulInteger(x, w, z)
        }}"""
        both = prepare(graph, {"z": point})
        for p, m, k, n in (
            (1, 64, 64, 64),
            (12, 128, 64, 128),
            (12, 128, 128, 64),
            (1, 384, 768, 768),
        ):
            x = rng.integers(0, 256, (p, m, k)).astype("uint8")
            w = rng.integers(-128, 128, (p, k, n)).astype("int8").view(kind)
            name = f"MatMulInteger, both run-time, {kind} {p}x{m}x{k}x{n}"
            yield name, 2.0 * p * m * k * n, partial(both, x, w)


def convolutions() -> Iterator[Row]:
    """Name, operations and programs of each convolution."""
    rng = np.random.default_rng(0)
    # Inputs, outputs, kernel, stride, groups, image.
    for c, o, k, s, groups, (h, w) in (
        (3, 32, 3, 2, 1, (224, 224)),
        (32, 32, 3, 1, 32, (112, 112)),
        (96, 96, 3, 2, 96, (112, 112)),
        (240, 240, 5, 1, 240, (14, 14)),
        (32, 16, 1, 1, 1, (112, 112)),
        (24, 144, 1, 1, 1, (56, 56)),
        (192, 32, 1, 1, 1, (28, 28)),
        (320, 1280, 1, 1, 1, (7, 7)),
        (64, 64, 3, 1, 1, (56, 56)),
        (128, 128, 3, 1, 1, (28, 28)),
        (128, 256, 3, 2, 1, (28, 28)),
    ):
        pad = k // 2
        graph = f"""g (uint8[n,h,w,{c}] x) => (uint8[n,p,q,{o}] y) {{
            first = Transpose<perm=[0,3,1,2]>(x)
            out = QLinearConv<strides=[{s},{s}],pads=[{pad},{pad},{pad},{pad}],group={groups}>
                (first, sx, z, k, sw, zw, sy, z, b)
            y = Transpose<perm=[0,2,3,1]>(out)
        }}"""
        depth = c // groups
        weights = {
            "k": rng.integers(-64, 64, (o, depth, k, k)).astype("int8"),
            "b": rng.integers(-1000, 1000, o).astype("int32"),
            "sw": f32(rng.uniform(0.5, 1, o) * 0.01 / np.sqrt(depth * k * k)),
            "zw": np.zeros(o, "int8"),
            "z": np.array(128, "uint8"),
            "sx": f32(0.02),
            "sy": f32(0.02),
        }
        x = rng.integers(0, 256, (1, h, w, c)).astype("uint8")
        kind = "depthwise" if groups > 1 else "conv"
        out = (h // s) * (w // s)
        name = f"{kind} {k}x{k}/{s} {c}->{o} @{h}x{w}"
        yield name, 2.0 * out * o * k * k * depth, partial(prepare(graph, weights), x)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each case")
    options = parser.parse_args()
    # Read at its first use by the runtime.
    os.environ["TVM_NUM_THREADS"] = str(options.threads)

    from cores import timed_in_turn

    peak = bytes_peak() * options.threads
    print(f"{options.threads} thread(s), peak {peak / 1e9:.0f} GOP/s")
    print("| kernel | us | GOP/s | peak | ONNX Runtime / ours |\n| --- | --: | --: | --: | --: |")
    for rows in (products, run_time_products, convolutions):
        for name, operations, programs in rows():
            if options.pattern not in name:
                continue
            ours, theirs = programs()
            got, expected = ours().numpy(), theirs()[0]
            if not np.array_equal(got, expected):
                sys.exit(f"{name}: results differ from ONNX Runtime's")
            us, them = timed_in_turn(ours, theirs, options.seconds, options.threads)
            rate = operations / us
            cells = f"{us * 1e6:.4g} | {rate / 1e9:.0f} | {rate / peak:.0%} | {them / us:.2f}"
            print(f"| {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
