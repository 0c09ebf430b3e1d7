#!/usr/bin/env python3
"""Differential fuzzing: random ONNX graphs, built once, run at four shapes, against ONNX Runtime.

    python scripts/fuzz.py [--count 2000] [--seed 0] [--jobs 2] [--out FOLDER] [--free]

Prints the operators covered, the verdicts and the slowest build. Each finding is minimised and
written to FOLDER as text, with the model (.onnx) and its inputs (.npz) beside it. docs/fuzzing.md
says what a verdict means. Exit status 1 when there is a finding.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from fuzzing.judge import PEER, RIGHT, Verdict
from fuzzing.minimise import minimise, reproducer, signature
from fuzzing.values import Case, items
from fuzzing.workers import Outcome, Worker

Outcomes = dict[int, Outcome]


class _Hand(threading.Thread):
    """Takes seeds from the common list until it is empty."""

    def __init__(self, seeds: Iterator[int], outcomes: Outcomes, options: argparse.Namespace):
        super().__init__(daemon=True)
        self._seeds, self._outcomes, self._options = seeds, outcomes, options

    def run(self) -> None:
        worker = Worker()
        try:
            for seed in self._seeds:
                outcome = worker.seed(seed, self._options.free)
                self._outcomes[seed] = outcome
                if outcome.verdict.kind not in (RIGHT, PEER):
                    print(
                        f"seed {seed}: {outcome.verdict.kind}: {outcome.verdict.message}",
                        flush=True,
                    )
                    self._write(worker, seed, outcome.verdict)
        finally:
            worker.close()

    def _write(self, worker: Worker, seed: int, verdict: Verdict) -> None:
        case = worker.grow(seed, self._options.free)
        if not self._options.whole:
            case = minimise(case, verdict, worker.case)
        verdict = worker.case(case)
        folder: Path = self._options.out
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}.txt").write_text(reproducer(seed, case, verdict))
        onnx.save(case.model, folder / f"{seed}.onnx")
        np.savez(folder / f"{seed}.npz", allow_pickle=False, **_named(case))


def _named(case: Case) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for sample, feed in enumerate(case.feeds):
        arrays |= {f"{sample}/{name}": array for name, array in feed.items()}
        for value in case.outputs:
            for name, expected, _ in items(value, sample):
                arrays[f"{sample}/expected {name}"] = expected
    return arrays


class _Shared:
    """An iterator that several threads may advance."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers, self._lock = iter(numbers), threading.Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._lock:
            return next(self._numbers)


def _watch(hands: list[_Hand], outcomes: Outcomes, count: int) -> None:
    if not sys.stdout.isatty():
        _log(hands, outcomes, count)
        return
    try:
        from rich.progress import Progress
    except ImportError:
        _log(hands, outcomes, count)
        return
    with Progress() as progress:
        task = progress.add_task("graphs", total=count)
        while any(hand.is_alive() for hand in hands):
            text = f"graphs, {_findings(outcomes)} findings"
            progress.update(task, completed=len(outcomes), description=text)
            time.sleep(0.5)


def _log(hands: list[_Hand], outcomes: Outcomes, count: int) -> None:
    told = 0
    while any(hand.is_alive() for hand in hands):
        if len(outcomes) >= told + 100:
            told = len(outcomes) // 100 * 100
            print(f"{told} of {count} graphs, {_findings(outcomes)} findings", flush=True)
        time.sleep(0.5)


def _findings(outcomes: Outcomes) -> int:
    return sum(o.verdict.kind not in (RIGHT, PEER) for o in list(outcomes.values()))


def summary(outcomes: Outcomes) -> str:
    """The tables: verdicts, causes, operators."""
    verdicts = Counter(outcome.verdict.kind for outcome in outcomes.values())
    operators: Counter[str] = Counter()
    for outcome in outcomes.values():
        operators.update(outcome.operators)
    lines = [f"{len(outcomes)} graphs of {sum(operators.values())} nodes, "
             f"{len(operators)} operators"]  # fmt: skip
    lines += [f"  {count:5} {kind}" for kind, count in verdicts.most_common()]
    causes: dict[str, list[int]] = {}
    for seed, outcome in sorted(outcomes.items()):
        if outcome.verdict.kind not in (RIGHT, PEER):
            key = f"{outcome.verdict.kind} {signature(outcome.verdict)}"
            causes.setdefault(key, []).append(seed)
    for seeds in sorted(causes.values(), key=len, reverse=True):
        first = outcomes[seeds[0]].verdict
        lines.append(f"{len(seeds)} x {first.kind}: {first.message}; seeds {seeds[:8]}")
    if outcomes:
        slow = max(outcomes, key=lambda seed: outcomes[seed].verdict.seconds)
        lines.append(f"slowest build: {outcomes[slow].verdict.seconds:.1f} s, seed {slow}")
    lines.append(", ".join(f"{name} {count}" for name, count in operators.most_common()))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--free", action="store_true", help="dims that broadcast only sometimes")
    parser.add_argument("--whole", action="store_true", help="write findings as they are")
    options = parser.parse_args()
    start = time.perf_counter()
    outcomes: Outcomes = {}
    seeds = _Shared(range(options.seed, options.seed + options.count))
    hands = [_Hand(seeds, outcomes, options) for _ in range(options.jobs)]
    for hand in hands:
        hand.start()
    try:
        _watch(hands, outcomes, options.count)
    except KeyboardInterrupt:
        print("interrupted; so far:")
    print(summary(outcomes))
    print(f"{time.perf_counter() - start:.0f} s")
    bad = any(outcome.verdict.kind not in (RIGHT, PEER) for outcome in outcomes.values())
    return int(bad or len(outcomes) < options.count)


if __name__ == "__main__":
    sys.exit(main())
