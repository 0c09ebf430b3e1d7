"""Processes that grow and judge graphs, so that a crash is a finding and not the end."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from .judge import CRASH, PEER, TIMEOUT, Verdict
from .values import Case

SECONDS = 180
_LIFE = 150  # cases after which a process is replaced: compiled code is never freed


@dataclass
class Outcome:
    """What a worker says of one seed."""

    verdict: Verdict
    operators: Counter[str] = field(default_factory=Counter)


def _serve(pipe: Connection) -> None:
    os.environ["TVM_NUM_THREADS"] = "1"  # there is a process for each core
    from .judge import judge
    from .random_graph import random_case

    def phase(name: str) -> None:
        pipe.send(("phase", name))

    while True:
        kind, given = pipe.recv()
        if kind == "seed":
            case = random_case(*given)
            nodes = Counter(node.op_type for node in case.model.graph.node)
            pipe.send(("phase", nodes))
            pipe.send(("done", judge(case, phase)))
        elif kind == "grow":
            pipe.send(("done", random_case(*given)))
        else:
            pipe.send(("done", judge(given, phase)))


class Worker:
    """One process at a time, replaced after a crash, a timeout or many cases."""

    def __init__(self) -> None:
        self._process: Any = None
        self._asked = 0

    def seed(self, seed: int, free: bool) -> Outcome:
        """Grow the graph of a seed and judge it."""
        operators: Counter[str] = Counter()
        verdict = self._ask(("seed", (seed, free)), operators.update)
        return Outcome(verdict, operators)

    def case(self, case: Case) -> Verdict:
        """Judge a case."""
        answer: Verdict = self._ask(("case", case))
        return answer

    def grow(self, seed: int, free: bool) -> Case:
        """The case of a seed."""
        answer: Case = self._ask(("grow", (seed, free)))
        return answer

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _ask(self, question: Any, operators: Callable[[Any], None] = lambda found: None) -> Any:
        if self._process is None or self._asked >= _LIFE:
            self._start()
        self._asked += 1
        self._pipe.send(question)
        at = "grow"
        try:
            while self._pipe.poll(SECONDS):
                kind, told = self._pipe.recv()
                if kind == "done":
                    return told
                if isinstance(told, Counter):
                    operators(told)
                else:
                    at = told
            verdict = Verdict(TIMEOUT, f"{at}: no answer in {SECONDS} s")
        except EOFError:
            self._process.join()
            verdict = Verdict(CRASH, f"{at}: the process ended with {self._process.exitcode}")
        self.close()
        if at == "grow":
            verdict.kind = PEER
        return verdict

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._asked = 0
