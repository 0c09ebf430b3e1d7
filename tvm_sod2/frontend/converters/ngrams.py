"""TfIdfVectorizer: how often each n-gram of a vocabulary occurs in a row of numbers."""

from __future__ import annotations

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


def _vectorize(c: Context, inputs: Inputs, attrs: Attrs) -> Expr:
    if attrs.get("pool_strings"):
        raise c.error("n-grams of strings (pool_strings) cannot be imported, only pool_int64s")
    x = c.astype(inputs[0], "int64")
    dims, columns = c.dims(x), attrs["ngram_indexes"]
    rows = c.reshape(x, [1, *dims]) if len(dims) == 1 else x
    grams = _vocabulary(c, attrs)
    width = max(columns) + 1
    y = c.emit(R.zeros(relax.ShapeExpr([c.dims(rows)[0], width]), "float32"))
    for length, entries in grams.items():
        # More than a single number may be drawn from between others.
        skips = attrs["max_skip_count"] if length > 1 else 0
        found = _counts(c, rows, np.array(list(entries), "int64"), skips)
        found = _weighted(c, found, attrs, list(entries.values()))
        places = np.array([columns[number] for number in entries.values()], "int64")
        where = R.broadcast_to(c.ints([places]), relax.ShapeExpr(c.dims(found)))
        y = c.emit(R.scatter_elements(y, c.emit(where), found, 1, "add"))
    return c.reshape(y, [width]) if len(dims) == 1 else y


def _vocabulary(c: Context, attrs: Attrs) -> dict[int, dict[tuple[int, ...], int]]:
    """Return by length: n-gram -> its number. Of two that are equal, the last one counts."""
    pool, begins = attrs["pool_int64s"], attrs["ngram_counts"]
    grams: dict[int, dict[tuple[int, ...], int]] = {}
    number = 0
    for length, (begin, end) in enumerate(zip(begins, [*begins[1:], len(pool)], strict=True), 1):
        if not 0 <= begin <= end <= len(pool) or (end - begin) % length:
            raise c.error(f"ngram_counts {begins} does not cut a pool of {len(pool)} numbers")
        wanted = attrs["min_gram_length"] <= length <= attrs["max_gram_length"]
        for start in range(begin, end, length):
            if wanted:
                grams.setdefault(length, {})[tuple(pool[start : start + length])] = number
            number += 1
    if number != len(attrs["ngram_indexes"]):
        raise c.error(f"{number} n-grams, but {len(attrs['ngram_indexes'])} ngram_indexes")
    return grams


def _counts(c: Context, rows: Expr, grams: np.ndarray, skips: int) -> Expr:
    """Return (rows, grams) float32: occurrences with 0 to ``skips`` numbers between neighbours."""
    length = grams.shape[1]

    def compute(x: te.Tensor, wanted: te.Tensor) -> te.Tensor:
        start = te.reduce_axis((0, x.shape[1]), name="start")
        skip = te.reduce_axis((0, skips + 1), name="skip")

        def element(row: Any, gram: Any) -> Any:
            at = [start + i * (tirx.Cast("int64", skip) + 1) for i in range(length)]
            same = [x(row, place) == wanted(gram, i) for i, place in enumerate(at)]
            one, zero = tirx.const(1, "float32"), tirx.const(0, "float32")
            hit = tirx.if_then_else(
                at[-1] < x.shape[1], tirx.Select(tirx.all(*same), one, zero), zero
            )
            return te.sum(hit, axis=[skip, start])

        return te.compute((x.shape[0], wanted.shape[0]), element, name="ngrams")

    return emit_te(c, compute, rows, const(grams))


def _weighted(c: Context, counts: Expr, attrs: Attrs, numbers: list[int]) -> Expr:
    """Return (rows, grams): counts times weights, or weights of what occurs at all (mode IDF)."""
    mode, weights = attrs["mode"], attrs.get("weights")
    if mode not in ("TF", "IDF", "TFIDF"):
        raise c.error(f"mode {mode!r} is not known")
    if mode == "IDF":
        if len(set(attrs["ngram_indexes"])) < len(attrs["ngram_indexes"]):
            raise c.error("n-grams that share a column (ngram_indexes) have no answer in mode IDF")
        counts = c.astype(c.emit(R.greater(counts, const(0.0, "float32"))), "float32")
    if mode == "TF" or not weights:
        return counts
    row = np.array([[weights[number] for number in numbers]], "float32")
    return c.emit(R.multiply(counts, const(row)))


CONVERTERS: dict[str, Converter] = {"TfIdfVectorizer": _vectorize}
