"""Attention of a BERT-sized layer as one kernel, against ONNX Runtime.

    python scripts/bench_attention.py [--threads 1 2] [--seconds 1] [--heads 12] [--size 64]

The graph is what exporters write: heads split from (1, S, heads * size), scaled scores, softmax,
heads merged. ONNX Runtime runs that graph, and its own fused operator MultiHeadAttention. Each
case is timed in turn with ours, in a process for each number of threads; figures are medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import onnx

# Query rows and keys: a layer over a whole text, and a few new words after many.
LENGTHS = ((1, 1), (17, 17), (128, 128), (512, 512), (1000, 1000), (1, 1000), (4, 1000))


def _model(nodes: list[Any], width: int, constants: dict[str, Any]) -> onnx.ModelProto:
    helper = onnx.helper
    inputs = [
        helper.make_tensor_value_info(name, 1, [1, "s" if name == "q" else "t", width])
        for name in "qkv"
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        inputs,
        [helper.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=9)


def exported(heads: int, size: int) -> onnx.ModelProto:
    """Attention in plain operators."""
    node = onnx.helper.make_node
    nodes = []
    for name in "qkv":
        order = [0, 2, 3, 1] if name == "k" else [0, 2, 1, 3]
        nodes.append(node("Reshape", [name, "split"], [f"{name}_split"]))
        nodes.append(node("Transpose", [f"{name}_split"], [f"{name}_heads"], perm=order))
    nodes += [
        node("MatMul", ["q_heads", "k_heads"], ["product"]),
        node("Mul", ["product", "scale"], ["scores"]),
        node("Softmax", ["scores"], ["weights"], axis=-1),
        node("MatMul", ["weights", "v_heads"], ["by_head"]),
        node("Transpose", ["by_head"], ["merging"], perm=[0, 2, 1, 3]),
        node("Reshape", ["merging", "merged"], ["y"]),
    ]
    constants = {
        "split": np.array([0, -1, heads, size]),
        "merged": np.array([0, -1, heads * size]),
        "scale": np.float32(size**-0.5),
    }
    return _model(nodes, heads * size, constants)


def fused(heads: int, size: int) -> onnx.ModelProto:
    """The operator of ONNX Runtime."""
    make = onnx.helper.make_node
    node = make("MultiHeadAttention", list("qkv"), ["y"], domain="com.microsoft", num_heads=heads)
    return _model([node], heads * size, {})


def measure(seconds: float, heads: int, size: int) -> None:
    """Print a row of the table for each length, on as many threads as TVM has here."""
    import onnxruntime
    import tvm

    import tvm_sod2
    from tvm_sod2.demo.timing import side_by_side
    from tvm_sod2.schedules.peak import fma_peak

    threads = tvm.get_global_func("runtime.NumThreads")()
    peak = fma_peak() * threads
    executable = tvm_sod2.build(tvm_sod2.from_onnx(exported(heads, size)))
    ours = tvm.relax.VirtualMachine(executable, tvm.cpu())["main"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    theirs: list[Callable[..., Any]] = [
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        ).run
        for model in (fused(heads, size), exported(heads, size))
    ]
    rng = np.random.default_rng(0)
    for rows, keys in LENGTHS:
        arrays = {
            name: rng.standard_normal((1, length, heads * size)).astype(np.float32)
            for name, length in zip("qkv", (rows, keys, keys), strict=True)
        }
        run = partial(ours, *map(tvm.runtime.tensor, arrays.values()))
        for their in theirs:
            np.testing.assert_allclose(run().numpy(), their(None, arrays)[0], atol=1e-4)
        pairs = [side_by_side(run, partial(their, None, arrays), seconds) for their in theirs]
        took = pairs[0][0]
        rate = 4.0 * rows * keys * heads * size / took
        ratios = " | ".join(f"{other / own:.2f}" for own, other in pairs)
        print(
            f"| {threads} | {rows} x {keys} | {took * 1e6:.0f} | {rate / 1e9:.0f} | "
            f"{rate / peak:.0%} | {ratios} |",
            flush=True,
        )


def main() -> None:
    """Measure in a process for each number of threads."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each case and rival")
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure(options.seconds, options.heads, options.size)
        return
    print("| threads | rows x keys | us | GFLOP/s | peak | MultiHeadAttention | plain graph |")
    print("| --: " * 7 + "|", flush=True)
    for threads in options.threads:
        environment = {**os.environ, "TVM_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--here", "--seconds", str(options.seconds)]
        command += ["--heads", str(options.heads), "--size", str(options.size)]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
