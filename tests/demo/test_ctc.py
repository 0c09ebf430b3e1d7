"""Greedy CTC decoding."""

from __future__ import annotations

import numpy as np
import pytest

from tvm_sod2.demo.ctc import alphabet, decode

LETTERS = alphabet("a\nb")  # blank, a, b, space


def scores(*rows: list[int]) -> np.ndarray:
    return np.eye(len(LETTERS), dtype=np.float32)[np.array(rows, dtype=int)]


def test_alphabet_has_blank_first_and_space_last() -> None:
    assert LETTERS == ["", "a", "b", " "]


@pytest.mark.parametrize(
    ("classes", "text"),
    [
        ([1, 1, 2, 2], "ab"),
        ([1, 0, 1], "aa"),
        ([0, 0, 0], ""),
        ([1, 3, 3, 2, 0, 0], "a b"),
        ([0, 2, 2, 0, 2], "bb"),
        ([], ""),
    ],
)
def test_runs_are_one_letter_and_blanks_divide(classes: list[int], text: str) -> None:
    assert decode(scores(classes), LETTERS) == [text]


def test_each_row_of_a_batch_is_decoded_alone() -> None:
    assert decode(scores([1, 2, 0], [2, 2, 2]), LETTERS) == ["ab", "b"]


def test_scores_of_another_alphabet_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[n, steps, 4\]"):
        decode(np.zeros((1, 5, 7), np.float32), LETTERS)
