"""Makes a case small while its verdict stays: fewer outputs, fewer nodes, fewer samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from onnx import helper

from .judge import Verdict
from .peers import read_names
from .values import Case, Value, declared

Judge = Callable[[Case], Verdict]


def minimise(case: Case, wanted: Verdict, judge: Judge) -> Case:
    """The smallest case found greedily whose verdict is like `wanted`."""

    def stays(candidate: Case) -> bool:
        return _alike(judge(candidate), wanted)

    if wanted.sample is not None:
        kept = _with_sample(case, wanted.sample)
        case = kept if stays(kept) else case
    case = _one_output(case, stays)
    changed = True
    while changed:
        changed = False
        for smaller in _smaller(case):
            if stays(smaller):
                case, changed = smaller, True
                break
    return case


def _alike(verdict: Verdict, wanted: Verdict) -> bool:
    return verdict.kind == wanted.kind and signature(verdict) == signature(wanted)


def signature(verdict: Verdict) -> str:
    """The message without the names and numbers that differ between equal findings."""
    if verdict.kind == "wrong":
        return (
            "shape" if ", expected" in verdict.message and "within" not in verdict.message else ""
        )
    text = re.sub(r"'[^']*'|\bd?[a-z]{1,3}_?\d+\w*\b|\d+", "#", verdict.message)
    return re.sub(r"\b[nmpq]\b", "#", text)[:160]


def _with_sample(case: Case, sample: int) -> Case:
    """Only this sample runs; the others still say which sizes may differ."""
    feeds = [feed if i == sample else {} for i, feed in enumerate(case.feeds)]
    return Case(case.model, case.sizes, feeds, case.values, case.alive)


def _one_output(case: Case, stays: Callable[[Case], bool]) -> Case:
    for output in case.model.graph.output:
        candidate = _cut(case, case.model.graph, [output.name], ())
        if stays(candidate):
            return candidate
    return case


def _smaller(case: Case) -> Iterator[Case]:
    graph = case.model.graph
    names = [output.name for output in graph.output]
    if len(names) > 1:
        for name in names:
            yield _cut(case, graph, [n for n in names if n != name], ())
    given = {value.name for value in graph.input}
    # Late cuts first: they take most away.
    for node in reversed(graph.node):
        cut = [name for name in node.output if isinstance(case.values.get(name), Value)]
        if cut and not set(cut) & set(names) and not set(cut) & given:
            yield _cut(case, graph, names, cut)
    if len(names) == 1 and graph.node:
        # A value inside that is already wrong.
        last = graph.node[-1]
        for name in read_names(last):
            value = case.values.get(name)
            if value is not None and name not in given:
                yield _cut(case, graph, [name], ())


def _cut(case: Case, graph: onnx.GraphProto, outputs: list[str], cut: list[str] | tuple) -> Case:
    """The part of the graph that `outputs` need, with the values `cut` as inputs."""
    needed, kept = set(outputs), []
    for node in reversed(graph.node):
        if set(node.output) & needed - set(cut):
            kept.append(node)
            needed |= set(read_names(node))
    made = {name for node in kept for name in node.output} - set(cut)
    inputs = [value for value in graph.input if value.name in needed]
    own = {value.name for value in graph.input}
    cuttable = (case.values[name] for name in cut if name in needed and name not in own)
    fresh = [value for value in cuttable if isinstance(value, Value)]
    inputs += [_input_info(value, case) for value in fresh]
    weights = [w for w in graph.initializer if w.name in needed]
    infos = [declared(case.values[name]) for name in outputs if name in made]
    if not infos:
        return case
    small = helper.make_graph(kept[::-1], graph.name, inputs, infos, weights)
    model = helper.make_model(
        small, opset_imports=case.model.opset_import, ir_version=case.model.ir_version
    )
    for node in small.node:  # a node that gives a value now given itself
        for index, name in enumerate(node.output):
            if name in cut:
                node.output[index] = f"{name}_unused"
    feeds = []
    for sample, old in enumerate(case.feeds):
        arrays = {v.name: case.values[v.name].exact[sample] for v in inputs}
        feeds.append({n: a for n, a in arrays.items() if isinstance(a, np.ndarray)} if old else {})
    return Case(model, case.sizes, feeds, case.values, case.alive)


def _input_info(value: Value, case: Case) -> onnx.ValueInfoProto:
    """Dims that have one size at all samples are that size; equal ones have one name."""
    dims: list[int | str] = []
    names = {
        tuple(s[name] for s, live in zip(case.sizes, case.alive, strict=True) if live): name
        for name in case.sizes[0]
    }
    for sizes in value.dims:
        if len(set(sizes)) == 1:
            dims.append(sizes[0])
        else:
            dims.append(names.get(sizes) or "_".join(("d", *map(str, sizes))))
    dtype = helper.np_dtype_to_tensor_dtype(value.some.dtype)
    return helper.make_tensor_value_info(value.name, dtype, dims)


def reproducer(seed: int, case: Case, verdict: Verdict) -> str:
    """The case as text: ONNX's own form of the graph, the sizes, and the verdict."""
    lines = [f"seed {seed}: {verdict.kind}: {verdict.message}"]
    for sample, feed in enumerate(case.feeds):
        if feed and (verdict.sample is None or verdict.sample == sample):
            shapes = {name: list(array.shape) for name, array in feed.items()}
            small = {n: a.tolist() for n, a in feed.items() if a.size <= 8}
            lines.append(f"sample {sample}: shapes {shapes}; entries {small}")
    lines.append(onnx.printer.to_text(case.model))
    return "\n".join(lines) + "\n"
