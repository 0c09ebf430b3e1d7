"""Attention of a BERT-sized layer as one kernel, against ONNX Runtime.

    python scripts/bench_attention.py [--threads 1 2] [--seconds 1] [--heads 12] [--size 64]

The graph is what exporters write: heads split from (1, S, heads * size), scaled scores, softmax,
heads merged. ONNX Runtime runs that graph, and its own fused operator MultiHeadAttention. Under a
causal mask it runs the graph, and ours is also compared with ours without the mask. Each case is
timed in turn with ours, in a process for each number of threads; figures are medians.
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


# Query rows and keys under a causal mask.
CAUSAL = (17, 128, 256, 512, 1000)


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


def causal(heads: int, size: int) -> onnx.ModelProto:
    """The same where no query sees a later key, by a triangle of the lowest number."""
    model = exported(heads, size)
    node, nodes = onnx.helper.make_node, list(model.graph.node)
    at = next(i for i, made in enumerate(nodes) if made.op_type == "Softmax")
    lowest = np.array([np.finfo("float32").min], "float32")
    nodes[at].input[0] = "seen"
    nodes[at:at] = [
        node("Shape", ["scores"], ["lengths"], start=2),
        node("ConstantOfShape", ["lengths"], ["low"], value=onnx.numpy_helper.from_array(lowest)),
        node("Trilu", ["low", "one"], ["mask"], upper=1),
        node("Add", ["scores", "mask"], ["seen"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1), "one"))
    return model


def fused(heads: int, size: int) -> onnx.ModelProto:
    """The operator of ONNX Runtime."""
    make = onnx.helper.make_node
    node = make("MultiHeadAttention", list("qkv"), ["y"], domain="com.microsoft", num_heads=heads)
    return _model([node], heads * size, {})


def inputs(rows: int, keys: int, width: int) -> dict[str, np.ndarray]:
    """Random queries, keys and values."""
    rng = np.random.default_rng(0)
    return {
        name: rng.standard_normal((1, length, width)).astype(np.float32)
        for name, length in zip("qkv", (rows, keys, keys), strict=True)
    }


def measure(seconds: float, heads: int, size: int) -> None:
    """Print a row of the table for each length, on as many threads as TVM has here."""
    import onnxruntime
    import tvm
    from cores import timed_in_turn

    import tvm_sod2
    from tvm_sod2.schedules.peak import fma_peak

    threads = tvm.get_global_func("runtime.NumThreads")()
    peak = fma_peak() * threads
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def ours(model: onnx.ModelProto) -> Callable[..., Any]:
        executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
        return tvm.relax.VirtualMachine(executable, tvm.cpu())["main"]

    def theirs(model: onnx.ModelProto) -> Callable[..., Any]:
        data, providers = model.SerializeToString(), ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(data, options, providers=providers).run

    full, masked = ours(exported(heads, size)), ours(causal(heads, size))
    rivals = [theirs(fused(heads, size)), theirs(exported(heads, size))]
    for rows, keys in LENGTHS:
        arrays = inputs(rows, keys, heads * size)
        run = partial(full, *map(tvm.runtime.tensor, arrays.values()))
        for their in rivals:
            np.testing.assert_allclose(run().numpy(), their(None, arrays)[0], atol=1e-4)
        pairs = [
            timed_in_turn(run, partial(their, None, arrays), seconds, threads) for their in rivals
        ]
        took = pairs[0][0]
        rate = 4.0 * rows * keys * heads * size / took
        ratios = " | ".join(f"{other / own:.2f}" for own, other in pairs)
        print(
            f"| {threads} | {rows} x {keys} | {took * 1e6:.0f} | {rate / 1e9:.0f} | "
            f"{rate / peak:.0%} | {ratios} |",
            flush=True,
        )
    rival = theirs(causal(heads, size))
    for length in CAUSAL:
        arrays = inputs(length, length, heads * size)
        given = list(map(tvm.runtime.tensor, arrays.values()))
        run = partial(masked, *given)
        np.testing.assert_allclose(run().numpy(), rival(None, arrays)[0], atol=1e-4)
        took, other = timed_in_turn(run, partial(rival, None, arrays), seconds, threads)
        unmasked, again = timed_in_turn(partial(full, *given), run, seconds, threads)
        rate = 2.0 * length * (length + 1) * heads * size / took
        print(
            f"| {threads} | {length} causal, {unmasked / again:.2f} x full | "
            f"{took * 1e6:.0f} | {rate / 1e9:.0f} | {rate / peak:.0%} | | {other / took:.2f} |",
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
