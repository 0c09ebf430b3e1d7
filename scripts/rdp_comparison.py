"""What RDP says of every intermediate value of a model, and what ONNX Runtime computes.

The model runs in ONNX Runtime, its graph optimisations off and every intermediate value exposed as
an output, at random input shapes. RDP's expression for each dim and each tracked entry, and each
condition it says the inputs must meet, is evaluated by Python at these shapes. Any difference, any
value of the graph that RDP's report leaves out, and any condition that refuses an input which ONNX
Runtime takes is a mismatch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from tvm import relax, tirx

import tvm_sod2

Shapes = dict[str, tuple[int, ...]]
Sizes = Sequence[int]

BATCH: Sizes = range(1, 4)
PAGE_SIDE: Sizes = [32 * k - j for k in range(1, 8) for j in range(4)]
"""Sides whose halves of halves meet again in the detectors' upsampling."""
PAGE: dict[str, Sizes | str] = {
    "p2o_DynamicDimension_1": PAGE_SIDE,
    "p2o_DynamicDimension_2": PAGE_SIDE,
}
SAMPLES: Sizes = range(1000, 20000)

SIZES: dict[str, dict[str, Sizes | str]] = {
    "ch_PP-OCRv4_det_infer": PAGE,
    "ch_PP-OCRv3_det_infer": PAGE,
    "ch_PP-OCRv4_rec_infer": {"x_d2": range(33, 81), "p2o_DynamicDimension_1": range(5, 400)},
    "ch_PP-OCRv3_rec_infer": {"p2o_DynamicDimension_1": range(5, 400)},
    "ch_ppocr_mobile_v2.0_cls_infer": {"x_d2": range(33, 81), "x_d3": range(24, 257)},
    "320n": {"height": range(32, 257, 32), "width": range(32, 257, 32)},
    "nemo80": {"N": SAMPLES},
    "nemo80_conv": {"N": SAMPLES},
    "kaldi_conv": {"N": SAMPLES},
    "resample_48_16": {"N": SAMPLES},
    "melspectrogram": {"samples": SAMPLES},
    "silero_vad": {"input_d1": [288, 512, 576], "state_d1": "input_d0"},
    "silero_vad_v5": {"input_d1": [288, 512, 576], "state_d1": "input_d0"},
    "pnet": {"M1": range(12, 120), "M2": range(12, 120)},
}
"""Sizes that a model takes in each dim, where they are not just small batches; or the dim that one
equals."""


def _sampling_rate(rng: np.random.Generator, shapes: Shapes) -> np.ndarray:
    """Silero's arms take windows of their own length; without windows, either rate."""
    window = shapes.get("input", ())
    return np.array((8000 if window[1] < 512 else 16000) if window else rng.choice([8000, 16000]))


Maker = Callable[[np.random.Generator, tuple[int, ...], Shapes], np.ndarray]
DATA: dict[str, Maker] = {
    "bytes": lambda rng, shape, _: rng.integers(0, 257, shape),
    "waveforms_lens": lambda rng, shape, all_: rng.integers(1, all_["waveforms"][1] + 1, shape),
    "sr": lambda rng, _shape, all_: _sampling_rate(rng, all_),
}
"""Inputs that are no plain floats."""


@dataclass
class Tally:
    """What a model's comparison found. dims and entries count each once, checks at every shape."""

    model: str
    intermediates: int = 0
    dims: int = 0
    entries: int = 0
    checks: int = 0
    without: float = 0.0
    """Percent of the dims that are expressions of the input's before RDP has run."""
    mismatches: list[str] = field(default_factory=list)
    unresolved: dict[str, str] = field(default_factory=dict)
    """Per value with an unknown dim, the operator responsible."""
    unresolved_dims: int = 0

    @property
    def coverage(self) -> float:
        """The share of dims, in percent, for which RDP has an expression."""
        return 100.0 * (1 - self.unresolved_dims / max(self.dims, 1))


def check_model(path: Path, rng: np.random.Generator, count: int) -> Tally:
    """Compare RDP and ONNX Runtime on one model at `count` random shapes."""
    mod = tvm_sod2.from_onnx(path)
    report = tvm_sod2.analyze(mod).to_json()
    tally = Tally(path.stem, without=inferred(mod["main"]))
    model = onnx.load(path)
    seen: set[str] = set()
    for _ in range(count):
        sizes = draw_sizes(report["inputs"], SIZES.get(path.stem, {}), rng)
        feed = draw_inputs(report, sizes, rng)
        sizes = bind(report, feed, tally)
        arrays = run_exposed(model, feed)
        survey(report, {name: arrays[name] for name in arrays if name not in seen}, tally)
        seen.update(arrays)
        compare(report, arrays, sizes, tally)
    return tally


def inferred(main: relax.Function) -> float:
    """Percent of a function's dims that Relax's inference alone can say."""
    given = relax.TupleType([parameter.ty for parameter in main.params])
    symbols = set(relax.analysis.tir_vars_in_type(given))
    said = total = 0

    def count(node: Any) -> None:
        nonlocal said, total
        if isinstance(node, relax.Var) and isinstance(node.ty, relax.TensorType):
            total += max(node.ty.ndim, 0)
            for dim in node.ty.shape.values if node.ty.shape is not None else ():
                said += set(tirx.analysis.undefined_vars(dim)) <= symbols

    for block in main.body.blocks:
        for binding in block.bindings:
            count(binding.var)
    return 100.0 * said / max(total, 1)


def run_exposed(model: onnx.ModelProto, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The results of all nodes, and of those in the arm that each If takes."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    while True:
        names = [name for node in model.graph.node for name in node.output if name]
        del model.graph.output[:]
        model.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, names))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        arrays = dict(zip(names, session.run(names, feed), strict=True))
        if not take_arms(model.graph, {**feed, **arrays}):
            return arrays


def take_arms(graph: onnx.GraphProto, arrays: dict[str, np.ndarray]) -> bool:
    """Put in the place of each If the nodes of the arm it takes; whether there was any."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "If":
            nodes.append(node)
            continue
        arms = {attribute.name: attribute.g for attribute in node.attribute}
        arm = arms["then_branch" if arrays[node.input[0]].item() else "else_branch"]
        graph.initializer.extend(arm.initializer)
        nodes += arm.node
        for inner, name in zip(arm.output, node.output, strict=True):
            nodes.append(onnx.helper.make_node("Identity", [inner.name], [name]))
    found = any(node.op_type == "If" for node in graph.node)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    return found


def draw_sizes(
    inputs: dict[str, list[Any]], admitted: dict[str, Sizes | str], rng: np.random.Generator
) -> dict[str, int]:
    """A random size for each symbol of the input dims."""
    symbols = dict.fromkeys(d for dims in inputs.values() for d in dims if isinstance(d, str))
    sizes: dict[str, int] = {}
    ties: dict[str, str] = {}
    for symbol in symbols:
        choice = admitted.get(symbol, BATCH)
        if isinstance(choice, str):
            ties[symbol] = choice
        else:
            sizes[symbol] = int(rng.choice(choice))
    return sizes | {symbol: sizes[other] for symbol, other in ties.items()}


def draw_inputs(
    report: dict[str, Any], sizes: dict[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Random inputs at these sizes."""
    inputs = report["inputs"].items()
    shapes = {name: tuple(sizes.get(d, d) for d in dims) for name, dims in inputs}
    feed = {}
    for name, shape in shapes.items():
        make = DATA.get(name, lambda rng, shape, _: rng.uniform(-1, 1, shape))
        feed[name] = np.asarray(make(rng, shape, shapes), report["values"][name]["dtype"])
    return feed


def bind(report: dict[str, Any], feed: dict[str, np.ndarray], tally: Tally) -> dict[str, int]:
    """The size of each symbol in these inputs; a symbol of two sizes is a mismatch."""
    sizes: dict[str, int] = {}
    for name, dims in report["inputs"].items():
        for axis, (dim, size) in enumerate(zip(dims, feed[name].shape, strict=True)):
            said = sizes.setdefault(dim, size) if isinstance(dim, str) else dim
            if said != size:
                tally.mismatches.append(f"{name}: dim {axis} is {size}, RDP says {dim} = {said}")
    return sizes


def survey(report: dict[str, Any], arrays: dict[str, Any], tally: Tally) -> None:
    """Count what there is to compare, and note what is missing."""
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            continue
        tally.intermediates += 1
        tally.dims += array.ndim
        value = report["values"].get(name)
        if value is None:
            tally.mismatches.append(f"{name}: not in the report")
            continue
        unknown = [axis for axis, dim in enumerate(value["dims"]) if dim is None]
        if unknown:
            tally.unresolved_dims += len(unknown)
            tally.unresolved[name] = value["node"]
        tally.entries += sum(entry is not None for entry in value.get("value") or ())


def compare(
    report: dict[str, Any], arrays: dict[str, Any], sizes: dict[str, int], tally: Tally
) -> None:
    """Evaluate every expression at these sizes and compare it with what was computed."""
    determined = {name: evaluate(text, sizes) for name, text in report["symbols"].items()}
    sizes = {**determined, **sizes}

    def differ(what: str, text: Any, found: Any) -> None:
        if text is None:
            return
        tally.checks += 1
        said = evaluate(text, sizes)
        if said != found:
            at = ", ".join(f"{symbol}={size}" for symbol, size in sizes.items())
            tally.mismatches.append(f"{what} is {found}, RDP says {text} = {said} at {at}")

    for name, array in arrays.items():
        value = report["values"].get(name)
        if value is None or not isinstance(array, np.ndarray):
            continue
        if len(value["dims"]) != array.ndim:
            tally.mismatches.append(f"{name}: rank is {array.ndim}, RDP says {len(value['dims'])}")
            continue
        for axis, (dim, size) in enumerate(zip(value["dims"], array.shape, strict=True)):
            differ(f"{name}: dim {axis}", dim, size)
        entries = value.get("value")
        if entries is None:
            continue
        differ(f"{name}: number of entries", len(entries), array.size)
        for index, (entry, found) in enumerate(zip(entries, array.flat, strict=False)):
            differ(f"{name}: entry {index}", entry, found.item())
    for constraint in report["constraints"]:
        differ(constraint["message"], f"bool({constraint['condition']})", True)


def evaluate(expression: int | str, sizes: dict[str, int]) -> int:
    """An expression of the report at these sizes, by Python itself."""
    if isinstance(expression, int):
        return expression
    scope = {"__builtins__": {}, "min": min, "max": max, "bool": bool}
    return eval(expression, scope, dict(sizes))
