"""Ensembles of decision trees (domain ai.onnx.ml): all trees of all rows go down a level at a time.

Leaves are nodes whose branches lead to themselves, so every tree takes as many levels as the
deepest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.frontend.constants import const
from tvm_sod2.frontend.context import Context, Converter
from tvm_sod2.frontend.converters.kernels import emit_te

Attrs = dict[str, Any]
Inputs = list[Any]

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
_MEMBER = len(_MODES)
_SUMS = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC")


@dataclass
class _Forest:
    """Arrays over nodes; ``weights`` (nodes, targets) is zero but at leaves."""

    feature: np.ndarray
    mode: np.ndarray
    split: np.ndarray
    if_true: np.ndarray
    if_false: np.ndarray
    missing: np.ndarray  # whether NaN takes the true branch
    weights: np.ndarray
    roots: np.ndarray

    def depth(self) -> int:
        """Return how many levels lead from a root to the deepest leaf, -1 if some have no end."""
        level, at = 0, np.unique(self.roots)
        while ((self.if_true[at] != at) | (self.if_false[at] != at)).any():
            if level > len(self.feature):
                return -1
            at = np.unique(np.concatenate([self.if_true[at], self.if_false[at]]))
            level += 1
        return level


def _ensemble(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """TreeEnsemble of ai.onnx.ml 5: leaves apart from nodes, sets of members."""
    inner, leaves = len(attrs["nodes_featureids"]), len(attrs["leaf_targetids"])
    modes = np.asarray(attrs["nodes_modes"]).astype("int64").reshape(-1)
    splits = np.asarray(attrs["nodes_splits"])
    own = np.arange(inner, inner + leaves)

    def branch(side: str) -> np.ndarray:
        ids = np.asarray(attrs[f"nodes_{side}nodeids"])
        to_leaf = np.asarray(attrs[f"nodes_{side}leafs"]).astype(bool)
        return np.concatenate([np.where(to_leaf, ids + inner, ids), own])

    weights = np.zeros((inner + leaves, attrs["n_targets"]), splits.dtype)
    weights[own, attrs["leaf_targetids"]] = np.asarray(attrs["leaf_weights"]).reshape(-1)
    none = [0] * leaves
    forest = _Forest(
        np.array([*attrs["nodes_featureids"], *none]),
        np.array([*modes, *none]),
        np.concatenate([splits.reshape(-1), np.zeros(leaves, splits.dtype)]),
        branch("true"),
        branch("false"),
        np.array([*(attrs.get("nodes_missing_value_tracks_true") or [0] * inner), *none]),
        weights,
        np.asarray(attrs["tree_roots"]),
    )
    members = _members(c, modes, np.asarray(attrs.get("membership_values", [])).reshape(-1))
    numbers = attrs.get("aggregate_function", 1), attrs.get("post_transform", 0)
    return _emit(c, inputs[0], forest, members, _SUMS[numbers[0]], numbers[1], None)


def _members(c: Context, modes: np.ndarray, values: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Return the set of each node that asks for membership; NaN ends a set."""
    nodes = np.flatnonzero(modes == _MEMBER)
    ends = np.flatnonzero(np.isnan(values))
    if len(nodes) != len(ends):
        raise c.error(f"{len(nodes)} nodes ask for membership, but {len(ends)} sets are given")
    begins = np.concatenate([[0], ends + 1])[: len(nodes)]
    return [(int(n), values[a:b]) for n, a, b in zip(nodes, begins, ends, strict=True)]


def _regressor(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    """TreeEnsembleRegressor: nodes by tree and number, leaves with any number of targets."""
    keys = zip(attrs["nodes_treeids"], attrs["nodes_nodeids"], strict=True)
    place = {key: i for i, key in enumerate(keys)}
    count = len(place)
    is_leaf = np.array([mode == "LEAF" for mode in attrs["nodes_modes"]])
    unknown = set(attrs["nodes_modes"]) - {"LEAF", *_MODES}
    if unknown:
        raise c.error(f"nodes_modes {sorted(unknown)} are not known")

    def branch(side: str) -> np.ndarray:
        pairs = zip(attrs["nodes_treeids"], attrs[f"nodes_{side}nodeids"], strict=True)
        ids = [place.get(pair, -1) for pair in pairs]
        return np.where(is_leaf, np.arange(count), ids)

    weights = np.zeros((count, attrs["n_targets"]), "float32")
    for tree, node, target, weight in zip(
        *(attrs[f"target_{key}"] for key in ("treeids", "nodeids", "ids", "weights")), strict=True
    ):
        weights[place[tree, node], target] += weight
    first = dict(reversed(list(zip(attrs["nodes_treeids"], range(count), strict=True))))
    forest = _Forest(
        np.asarray(attrs["nodes_featureids"]),
        np.array([0 if mode == "LEAF" else _MODES.index(mode) for mode in attrs["nodes_modes"]]),
        np.asarray(attrs["nodes_values"], "float32"),
        branch("true"),
        branch("false"),
        np.asarray(attrs.get("nodes_missing_value_tracks_true") or [0] * count),
        weights,
        np.array(sorted(first.values())),
    )
    transform = attrs.get("post_transform", "NONE")
    number = _TRANSFORMS.index(transform) if transform in _TRANSFORMS else len(_TRANSFORMS)
    x = inputs[0] if c.dtype(inputs[0]) == "float64" else c.astype(inputs[0], "float32")
    total = attrs.get("aggregate_function", "SUM")
    y = _emit(c, x, forest, [], total, number, attrs.get("base_values"))
    return c.astype(c.emit(y), "float32")


def _emit(
    c: Context,
    x: Expr,
    forest: _Forest,
    members: list[tuple[int, np.ndarray]],
    aggregate: str,
    transform: int,
    base: list[float] | None,
) -> Expr:
    """Emit (rows, targets) of x (rows, features): the sums over trees of their leaves' weights."""
    rows = c.dims(x)[0]
    trees, targets = len(forest.roots), forest.weights.shape[1]
    depth = forest.depth()
    if depth < 0 or (forest.if_true < 0).any() or (forest.if_false < 0).any():
        raise c.error("a branch of its trees leads to no node, or back")
    if transform >= len(_TRANSFORMS):
        raise c.error(f"its post_transform cannot be imported, only {', '.join(_TRANSFORMS)}")
    if aggregate in ("MIN", "MAX") and targets > 1:
        raise c.error(f"aggregate_function {aggregate} over several targets cannot be imported")
    at = c.emit(R.broadcast_to(c.ints([forest.roots]), relax.ShapeExpr([rows, trees])))
    for _ in range(depth):
        at = _level(c, x, at, forest, members)
    found = c.emit(R.take(const(forest.weights.astype(c.dtype(x))), at, 0, mode="clip"))
    reduce = {"MIN": R.min, "MAX": R.max, "AVERAGE": R.mean}.get(aggregate, R.sum)
    y = c.emit(reduce(found, [1], False))
    if base:
        y = c.emit(R.add(y, const(np.asarray(base, c.dtype(x)))))
    return {0: lambda v: v, 1: lambda v: R.nn.softmax(v, 1), 2: R.sigmoid}[transform](y)


def _level(
    c: Context, x: Expr, at: Expr, forest: _Forest, members: list[tuple[int, np.ndarray]]
) -> Expr:
    """Emit the nodes a level below these, (rows, trees) int64."""
    sets = np.full((len(members), max((len(s) for _, s in members), default=0)), np.nan)
    which = np.zeros(len(forest.feature), "int64")
    for i, (node, values) in enumerate(members):
        sets[i, : len(values)] = values
        which[node] = i
    dtype = c.dtype(x)

    def compute(
        data: te.Tensor,
        place: te.Tensor,
        feature: te.Tensor,
        mode: te.Tensor,
        split: te.Tensor,
        if_true: te.Tensor,
        if_false: te.Tensor,
        missing: te.Tensor,
        *of_sets: te.Tensor,
    ) -> te.Tensor:
        def element(row: Any, tree: Any) -> Any:
            node = place(row, tree)
            value, limit = data(row, feature(node)), split(node)
            kinds = (
                value <= limit,
                value < limit,
                value >= limit,
                value > limit,
                tirx.EQ(value, limit),
                # LLVM's comparison is false of NaN, which differs from everything.
                tirx.any(tirx.NE(value, limit), tirx.isnan(value)),
            )
            hit: Any = tirx.const(False, "bool")
            for number, kind in enumerate(kinds):
                hit = tirx.Select(tirx.EQ(mode(node), _i64(number)), kind, hit)
            if of_sets:
                index, entries = of_sets
                inside = [
                    tirx.EQ(value, entries(index(node), _i64(i))) for i in range(sets.shape[1])
                ]
                hit = tirx.Select(tirx.EQ(mode(node), _i64(_MEMBER)), tirx.any(*inside), hit)
            lost = tirx.all(tirx.isnan(value), tirx.NE(missing(node), _i64(0)))
            return tirx.Select(tirx.any(hit, lost), if_true(node), if_false(node))

        return te.compute(place.shape, element, name="level")

    ints = (forest.feature, forest.mode, forest.if_true, forest.if_false, forest.missing)
    feature, mode, if_true, if_false, missing = (c.ints(values) for values in ints)
    split = const(forest.split.astype(dtype))
    more = [c.ints(which), const(sets.astype(dtype))] if members else []
    return emit_te(c, compute, x, at, feature, mode, split, if_true, if_false, missing, *more)


def _i64(number: int) -> Any:
    return tirx.const(number, "int64")


CONVERTERS: dict[str, Converter] = {
    "ai.onnx.ml.TreeEnsemble": _ensemble,
    "ai.onnx.ml.TreeEnsembleRegressor": _regressor,
}
