"""Random graphs of fixed seeds agree with ONNX Runtime; scripts/fuzz.py runs thousands."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from scripts.fuzzing.judge import RIGHT, Verdict
from scripts.fuzzing.random_graph import random_case
from scripts.fuzzing.workers import Worker

FIRST, COUNT, JOBS = 100_032, 40, 2


def _judged(seeds: range) -> dict[int, Verdict]:
    worker = Worker()
    try:
        return {seed: worker.seed(seed, False).verdict for seed in seeds}
    finally:
        worker.close()


def test_random_graphs_agree_with_onnx_runtime() -> None:
    shares = [range(FIRST + job, FIRST + COUNT, JOBS) for job in range(JOBS)]
    with ThreadPoolExecutor(JOBS) as pool:
        parts = list(pool.map(_judged, shares))
    verdicts = {seed: verdict for part in parts for seed, verdict in part.items()}
    assert len(verdicts) == COUNT
    assert {s: v for s, v in verdicts.items() if v.kind != RIGHT} == {}


def test_a_seed_means_one_graph() -> None:
    first, again = random_case(7), random_case(7)
    assert first.model == again.model
    assert first.sizes == again.sizes
    assert random_case(8).model != first.model
