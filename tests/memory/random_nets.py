"""Random networks with symbolic dims, what they compute, and their form before planning."""

from __future__ import annotations

import random

import numpy as np
import tvm
from tvm import relax, tirx

EXPLICIT = tvm.transform.Sequential(
    [
        relax.transform.LegalizeOps(),
        relax.transform.RewriteDataflowReshape(),
        relax.transform.DeadCodeElimination(),
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
    ]
)

Recipe = list[tuple[str, tuple[int, ...]]]


def random_net(seed: int, steps: int = 14) -> tuple[tvm.IRModule, Recipe]:
    """A module on x (n, m) and y (m,), and the steps that compute its results with NumPy.

    Values have the shapes (n, m), (n * m,), (2 * n, m) and (n,); one to three are returned.
    """
    rng = random.Random(seed)
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType([n, m], "float32"))
    y = relax.Var("y", relax.TensorType([m], "float32"))
    operators = {
        "relu": (("nm", "flat", "2nm", "n"), None, lambda a, b: relax.op.nn.relu(a)),
        "tanh": (("nm", "flat", "2nm", "n"), None, lambda a, b: relax.op.tanh(a)),
        "add": (("nm", "flat", "2nm", "n"), None, relax.op.add),
        "row": (("nm", "2nm"), None, lambda a, b: relax.op.multiply(a, y)),
        "flat": (("nm",), "flat", lambda a, b: relax.op.reshape(a, [n * m])),
        "unflat": (("flat",), "nm", lambda a, b: relax.op.reshape(a, [n, m])),
        "concat": (("nm",), "2nm", lambda a, b: relax.op.concat([a, b], 0)),
        "sum": (("nm",), "n", lambda a, b: relax.op.sum(a, 1)),
    }
    values: list[tuple[relax.Expr, str]] = [(x, "nm")]
    recipe: Recipe = []
    builder = relax.BlockBuilder()
    with builder.function("main", [x, y]):
        with builder.dataflow():
            while len(recipe) < steps:
                i = rng.randrange(max(0, len(values) - 5), len(values))
                kind = values[i][1]
                j = rng.choice([j for j, (_, other) in enumerate(values) if other == kind])
                op = rng.choice(sorted(operators))
                accepted, result, emit = operators[op]
                if kind in accepted:
                    value = builder.emit(emit(values[i][0], values[j][0]))
                    values.append((value, result or kind))
                    recipe.append((op, (i, j)))
            outs = rng.sample(range(1, len(values)), rng.randint(1, 3))
            results = [builder.emit_output(values[i][0]) for i in outs]
        builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    recipe.append(("return", tuple(outs)))
    return builder.get(), recipe


def expected(recipe: Recipe, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """What the network of `random_net` computes."""
    operators = {
        "relu": lambda a, b: np.maximum(a, 0),
        "tanh": lambda a, b: np.tanh(a),
        "add": lambda a, b: a + b,
        "row": lambda a, b: a * y,
        "flat": lambda a, b: a.reshape(-1),
        "unflat": lambda a, b: a.reshape(x.shape),
        "concat": lambda a, b: np.concatenate([a, b], 0),
        "sum": lambda a, b: a.sum(1),
    }
    values = [x]
    for op, (i, j) in recipe[:-1]:
        values.append(operators[op](values[i], values[j]))
    return [values[i] for i in recipe[-1][1]]
