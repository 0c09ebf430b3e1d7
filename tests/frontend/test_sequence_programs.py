"""Random programs over sequences, each built once and run at several inputs."""

from __future__ import annotations

import pytest
from sequence_graphs import check
from sequence_programs import given, program


@pytest.mark.parametrize("seed", range(12))
def test_a_random_program(seed: int) -> None:
    check(program(seed), *(given(4 * seed + sample) for sample in range(4)))
