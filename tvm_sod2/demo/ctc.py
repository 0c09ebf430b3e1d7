"""Greedy decoding of Connectionist Temporal Classification (Graves et al., 2006)."""

from __future__ import annotations

import numpy as np


def alphabet(characters: str) -> list[str]:
    """The letter of each class, from the model's metadata: blank first, a space last."""
    return ["", *characters.splitlines(), " "]


def decode(scores: np.ndarray, letters: list[str]) -> list[str]:
    """The text of each row of scores [n, steps, classes]: the best class of each step, runs of one
    class as one letter, class 0 (blank) between letters and nowhere else.
    """
    if scores.ndim != 3 or scores.shape[2] != len(letters):
        raise ValueError(f"scores of shape {scores.shape}, expected [n, steps, {len(letters)}]")
    best = scores.argmax(axis=2)
    starts = np.ones(best.shape, bool)
    starts[:, 1:] = best[:, 1:] != best[:, :-1]
    return [
        "".join(letters[k] for k in row[first]) for row, first in zip(best, starts, strict=True)
    ]
