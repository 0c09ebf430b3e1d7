"""Builds a case once, runs it at every sample, and says what went wrong."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .values import Case, Held, Value, items, tolerance

RIGHT, WRONG, REFUSED, BACKTRACE, CRASH, TIMEOUT, PEER = (
    "right",
    "wrong",
    "refused",
    "backtrace",
    "crash",
    "timeout",
    "peer",
)

# What only a message of TVM's own machinery has in it.
_INTERNAL = re.compile(r"Stack trace|Check failed|Traceback|File \"|InternalError|heap_data")

# What docs/fuzzing.md lists as refused on purpose at some sizes.
_ON_PURPOSE = re.compile(r"a dim of the new shape is .*, which must not be 0")


@dataclass
class Verdict:
    """kind: one of the words above. message: what was seen. seconds: of CPU, import and build.

    sample: where it happened, None before any run.
    """

    kind: str
    message: str = ""
    seconds: float = 0.0
    sample: int | None = None


def judge(case: Case, phase: Callable[[str], None] = lambda name: None) -> Verdict:
    """The verdict on a case; `phase` is told what comes next, for the case that it crashes."""
    import tvm
    from tvm import relax

    from tvm_sod2 import build, from_onnx

    start = time.process_time()
    seconds = 0.0
    sample = None
    step = "import"
    try:
        phase(step)
        module = from_onnx(case.model)
        step = "build"
        phase(step)
        executable = build(module)
        seconds = time.process_time() - start
        main = relax.VirtualMachine(executable, tvm.cpu())["main"]
        step = "run"
        for sample, feeds in enumerate(case.feeds):
            if len(feeds) < len(case.model.graph.input):
                continue
            phase(f"run {sample}")
            problem = _run(case, sample, main, [tvm.runtime.tensor(feeds[i.name])
                                                for i in case.model.graph.input])  # fmt: skip
            if problem:
                return Verdict(WRONG, problem, seconds, sample)
    except Exception as error:
        return Verdict(_kind(error), f"{step}: {_text(error)}", seconds, sample)
    return Verdict(RIGHT, "", seconds)


def _run(case: Case, sample: int, main: Callable, inputs: list) -> str:
    alive = case.alive[sample]
    try:
        result = main(*inputs)
    except Exception as error:
        if _kind(error) == BACKTRACE or (alive and not _ON_PURPOSE.search(str(error))):
            raise
        return ""  # Refused by the peers, too, or as documented.
    results = [result] if len(case.outputs) == 1 else list(result)
    if not alive:
        return ""
    differences = (_differs(*pair, sample) for pair in zip(case.outputs, results, strict=True))
    return next(filter(None, differences), "")


def _differs(value: Held, mine: Any, sample: int) -> str:
    arrays = [mine.numpy()] if isinstance(value, Value) else [array.numpy() for array in mine]
    expected = list(items(value, sample))
    if len(arrays) != len(expected):
        return f"{value.name} has {len(arrays)} tensors, expected {len(expected)}"
    differences = (
        _difference(*wanted, mine) for wanted, mine in zip(expected, arrays, strict=True)
    )
    return next(filter(None, differences), "")


def _difference(name: str, exact: np.ndarray, noisy: np.ndarray, mine: np.ndarray) -> str:
    if mine.shape != exact.shape or mine.dtype != exact.dtype:
        return f"{name} is {mine.dtype}{mine.shape}, expected {exact.dtype}{exact.shape}"
    limit = tolerance(exact, noisy)
    if exact.dtype.kind != "f":
        bad = mine != exact
    else:
        with np.errstate(all="ignore"):
            close = np.abs(mine.astype("float64") - exact.astype("float64")) <= limit
        bad = ~(close | (mine == exact) | (np.isnan(mine) & np.isnan(exact)))
    if not bad.any():
        return ""
    place = tuple(int(i) for i in np.argwhere(bad)[0])
    return (
        f"{name}{list(place)} is {mine[place]}, expected {exact[place]} within {limit:.1e}; "
        f"{int(bad.sum())} of {bad.size} entries differ"
    )


def _kind(error: Exception) -> str:
    from tvm_sod2.errors import Sod2Error

    if _INTERNAL.search(str(error)):
        return BACKTRACE
    # The check at entry is compiled code: its error is a ValueError.
    return REFUSED if isinstance(error, Sod2Error | ValueError) else BACKTRACE


def _text(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("File ", "Stack trace", "Traceback"))]
    return f"{type(error).__name__}: " + " / ".join([*told[:1], *told[1:][-2:]])[:600]
