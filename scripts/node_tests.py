"""Runs the node tests of the onnx package through the whole pipeline and counts what passes.

    python scripts/node_tests.py [--symbolic] [--core] [--only REGEX] [--part I/N] [--retry]

Only cases that ONNX Runtime passes count. Cases of one operator set are built together, several in
one module, by two processes; a module that fails is halved until the case at fault is alone. Every
verdict is appended to the state file as a line of JSON, so that an interrupted run goes on where it
stopped; `--retry` runs again what had failed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from node_test_cases import (
    Case,
    all_cases,
    merged,
    mismatch,
    passed_by_onnx_runtime,
    symbolic,
)

GROUP = 24
SECONDS_PER_CASE = 60
START_SECONDS = 600


def _run(cases: list[Case]) -> dict[str, list[str]]:
    """Build the cases as one module and run it: name -> [verdict, reason]. Raises on failure."""
    import tvm
    from tvm import relax

    import tvm_sod2

    model = cases[0].model if len(cases) == 1 else merged(cases)
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model))
    run = relax.VirtualMachine(executable, tvm.cpu())["main"]
    result = run(*(_given(value) for case in cases for value in case.inputs))
    count = sum(len(case.outputs) for case in cases)
    outputs = [result] if count == 1 else list(result)
    verdicts = {}
    for case in cases:
        mine, outputs = outputs[: len(case.outputs)], outputs[len(case.outputs) :]
        reason = mismatch(case, [_taken(value) for value in mine])
        verdicts[case.name] = ["wrong" if reason else "passed", reason]
    return verdicts


def _given(value: Any) -> Any:
    import tvm

    return (
        [_given(item) for item in value] if isinstance(value, list) else tvm.runtime.tensor(value)
    )


def _taken(value: Any) -> Any:
    return value.numpy() if hasattr(value, "numpy") else [_taken(item) for item in value]


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    if len(lines) > 1 and "cannot be imported" in lines[0]:
        text = lines[0]
    return f"{type(error).__name__}: {text}"[:300]


def _worker(pipe: Connection, make_symbolic: bool) -> None:
    os.environ["TVM_NUM_THREADS"] = "1"  # there is a process for each core
    warnings.simplefilter("ignore")
    cases = all_cases()
    from tvm_sod2 import from_onnx
    from tvm_sod2.errors import Sod2Error

    pipe.send("ready")
    while True:
        group = [cases[name] for name in pipe.recv()]
        if make_symbolic:
            group = [symbolic(case) for case in group]
        verdicts: dict[str, list[str]] = {}
        for case in group:
            try:
                from_onnx(case.model)
            except Exception as error:
                kind = "refused" if isinstance(error, Sod2Error) else "failed"
                verdicts[case.name] = [kind, _reason(error)]
        group = [case for case in group if case.name not in verdicts]
        try:
            verdicts |= _run(group) if group else {}
        except Sod2Error as error:
            verdicts |= {case.name: ["refused at build", _reason(error)] for case in group}
        except Exception as error:
            verdicts |= {case.name: ["failed", _reason(error)] for case in group}
        pipe.send(verdicts)


class _Manager(threading.Thread):
    """Feeds one process with groups; starts it anew when it dies or takes too long."""

    def __init__(self, groups: list[list[str]], state: Path, make_symbolic: bool) -> None:
        super().__init__()
        self.groups, self.state, self.symbolic = groups, state, make_symbolic
        self.process: Any = None

    def run(self) -> None:
        while True:
            try:
                group = self.groups.pop()
            except IndexError:
                break
            verdicts = self._ask(group)
            if len(group) > 1 and any(kind not in _FINAL for kind, _ in verdicts.values()):
                verdicts = {name: found for name, found in verdicts.items() if found[0] in _FINAL}
                left = [name for name in group if name not in verdicts]
                half = (len(left) + 1) // 2
                self.groups += [part for part in (left[:half], left[half:]) if part]
            _write(self.state, verdicts)
        if self.process is not None:
            self.process.kill()

    def _ask(self, group: list[str]) -> dict[str, list[str]]:
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            arguments = (theirs, self.symbolic)
            self.process = context.Process(target=_worker, args=arguments, daemon=True)
            self.process.start()
            theirs.close()
            if not self.pipe.poll(START_SECONDS):
                raise TimeoutError(f"a process did not start within {START_SECONDS} s")
            self.pipe.recv()
        self.pipe.send(group)
        try:
            if self.pipe.poll(SECONDS_PER_CASE + 10 * len(group)):
                answer: dict[str, list[str]] = self.pipe.recv()
                return answer
            verdict = ["failed", "timeout"]
        except EOFError:
            verdict = ["failed", "the process crashed"]
        self.process.kill()
        self.process = None
        return dict.fromkeys(group, verdict)


_FINAL = ("passed", "refused")
_LOCK = threading.Lock()


def _write(state: Path, verdicts: dict[str, list[str]]) -> None:
    with _LOCK, state.open("a") as file:
        for name, verdict in verdicts.items():
            file.write(json.dumps([name, *verdict]) + "\n")


def default_state(mode: str) -> Path:
    """The file of verdicts of a mode, "known" or "symbolic"."""
    return Path(tempfile.gettempdir()) / f"tvm_sod2_node_tests_{mode}.jsonl"


def read_state(state: Path) -> dict[str, list[str]]:
    """The verdicts so far: name -> [verdict, reason]; later lines win."""
    if not state.exists():
        return {}
    lines = map(json.loads, state.read_text().splitlines())
    return {name: [kind, reason] for name, kind, reason in lines}


def _groups(cases: list[Case]) -> Iterator[list[str]]:
    keys = sorted({case.group_key() for case in cases})
    for key in keys:
        names = [case.name for case in cases if case.group_key() == key]
        for start in range(0, len(names), GROUP):
            yield names[start : start + GROUP]


def summary(cases: dict[str, Case], verdicts: dict[str, list[str]]) -> str:
    """A table of counts, then every case that does not pass with its reason."""
    lines = [
        "| cases | passed | refused | wrong or failed | of |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title, chosen in (
        ("core", [name for name, case in cases.items() if case.core]),
        ("all", list(cases)),
    ):
        known = [name for name in chosen if name in verdicts]
        kinds = Counter(verdicts[name][0] for name in known)
        bad = len(known) - kinds["passed"] - kinds["refused"]
        lines.append(f"| {title} | {kinds['passed']} | {kinds['refused']} | {bad} | {len(known)} |")
    lines += ["", "| case | verdict | reason |", "| --- | --- | --- |"]
    for name in sorted(cases):
        kind, reason = verdicts.get(name, ["passed", ""])
        if kind != "passed":
            lines.append(f"| {name} | {kind} | {reason} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--symbolic", action="store_true", help="all dims above 1 are symbols")
    parser.add_argument("--only", default="", help="regular expression on the case's name")
    parser.add_argument("--core", action="store_true", help="only core cases")
    parser.add_argument("--part", default="0/1", help="I/N: every Nth case from number I on")
    parser.add_argument("--state", type=Path, help="file of verdicts; kept between runs")
    parser.add_argument("--retry", action="store_true", help="run again what did not pass")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    folder = Path(tempfile.gettempdir())
    mode = "symbolic" if options.symbolic else "known"
    state = options.state or default_state(mode)
    start = time.perf_counter()
    first, step = map(int, options.part.split("/"))
    cases = {
        name: case
        for name, case in sorted(all_cases().items())
        if re.search(options.only, name) and (case.core or not options.core)
    }
    cases = dict(list(cases.items())[first::step])
    counted = passed_by_onnx_runtime(cases, folder / "tvm_sod2_node_tests_ort.json")
    cases = {name: case for name, case in cases.items() if name in counted}
    print(
        f"{len(cases)} cases that ONNX Runtime passes; {sum(c.core for c in cases.values())} core"
    )
    verdicts = read_state(state)
    if options.retry:
        verdicts = {name: v for name, v in verdicts.items() if v[0] == "passed"}
    groups = list(_groups([case for name, case in cases.items() if name not in verdicts]))[::-1]
    managers = [_Manager(groups, state, options.symbolic) for _ in range(options.processes)]
    for manager in managers:
        manager.start()
    for manager in managers:
        manager.join()
    print(summary(cases, read_state(state)))
    print(f"{time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
