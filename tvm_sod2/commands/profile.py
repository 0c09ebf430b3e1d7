"""``tvm-sod2 run --profile``: where the time of a call goes, kernel by kernel.

Each kernel is timed by the VM's instrument. What it has to do is known from the library's function
``sod2_kernels``: the flops of its anchor as an expression of its operands' dims, which are read off
the call. Bytes are those of all its operands.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tvm_sod2.errors import Sod2Error

if TYPE_CHECKING:
    from tvm import relax

REST = "VM, allocation"


@dataclass
class Line:
    """What one kernel, or all of a kind, did in one call of the model."""

    name: str
    kind: str
    made_by: str
    calls: int
    seconds: float
    flops: float
    bytes: float


@dataclass
class _Run:
    """One instrumented call: seconds and the operands' dims and bytes, by kernel."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    operands: dict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(list))


def measure(
    vm: relax.VirtualMachine, call: Callable[[], Any], repeat: int
) -> tuple[list[Line], float]:
    """A line for each kernel, slowest first, and the median seconds of a whole call.

    Kernels' seconds are medians over ``repeat`` instrumented calls and hold the instrument's own
    cost, about a microsecond a call; the whole is measured without. Raises Sod2Error for a library
    that does not describe its kernels.
    """
    notes = read_notes(vm)
    whole = statistics.median(_timed(call) for _ in range(repeat))
    runs = [_instrumented(vm, call, notes) for _ in range(repeat)]
    lines = []
    for name, operands in runs[0].operands.items():
        note = notes[name]
        seconds = statistics.median(run.seconds[name] for run in runs)
        flops = sum(_flops(note, given) for given in operands)
        size = sum(_bytes(given) for given in operands)
        lines.append(
            Line(name, note["kind"], note["kernel"], len(operands), seconds, flops, float(size))
        )
    return sorted(lines, key=lambda line: -line.seconds), whole


def read_notes(vm: relax.VirtualMachine) -> dict[str, dict[str, Any]]:
    """What a library says of its kernels, by name."""
    from tvm_sod2.metadata import KERNELS

    try:
        function = vm[KERNELS]
    except AttributeError:
        raise Sod2Error(f"cannot profile: the library has no function {KERNELS}") from None
    return json.loads(str(function()))


def _instrumented(vm: relax.VirtualMachine, call: Callable[[], Any], notes: Mapping) -> _Run:
    run, started = _Run(), [0.0]

    def instrument(_func: Any, name: str, before: bool, _result: Any, *operands: Any) -> int:
        now = time.perf_counter()
        if name not in notes:
            return 0
        if before:
            run.operands[name].append([_operand(value) for value in operands])
            started[0] = time.perf_counter()
        else:
            run.seconds[name] += now - started[0]
        return 0

    vm.set_instrument(instrument)
    try:
        call()
    finally:
        vm.set_instrument(lambda *_: 0)
    return run


def _operand(value: Any) -> Any:
    """Shape and bytes of a tensor, or a number as it is."""
    if not hasattr(value, "dtype"):
        return value
    shape = tuple(int(size) for size in value.shape)
    count = 1
    for size in shape:
        count *= size
    return shape, count * value.dtype.itemsize


def _bytes(operands: Iterable[Any]) -> int:
    return sum(given[1] for given in operands if isinstance(given, tuple))


def _flops(note: Mapping[str, Any], operands: Sequence[Any]) -> int:
    """The note's expression at the dims of one call."""
    from tvm_sod2.memory.text import compile_size

    sizes: dict[str, int] = {}
    for dims, given in zip(note["dims"], operands, strict=False):  # scratch comes last
        values = given[0] if isinstance(given, tuple) else (given,)
        sizes |= {dim: int(value) for dim, value in zip(dims, values, strict=False)}
    return compile_size(note["flops"])(sizes)


def by_kind(lines: Sequence[Line], whole: float) -> list[Line]:
    """The sums of each kind, slowest first, and what is no kernel's time."""
    kinds: dict[str, Line] = {}
    for line in lines:
        total = kinds.setdefault(line.kind, Line(line.kind, line.kind, "", 0, 0.0, 0.0, 0.0))
        total.calls += line.calls
        total.seconds += line.seconds
        total.flops += line.flops
        total.bytes += line.bytes
    rest = max(whole - sum(line.seconds for line in lines), 0.0)
    found = sorted(kinds.values(), key=lambda line: -line.seconds)
    return [*found, Line(REST, REST, "", 0, rest, 0.0, 0.0)]


def table(lines: Sequence[Line], whole: float, peak: float) -> str:
    """The kernels, then their kinds; ``peak`` in FLOP/s for all threads together."""
    head = f"{'calls':>6} {'ms':>9} {'share':>6} {'GFLOP/s':>8} {'peak':>5} {'GB/s':>6}"
    text = [f"{'kind':24} {head}"]
    text += [f"{line.name:24} {_figures(line, whole, peak)}" for line in by_kind(lines, whole)]
    text += [f"{'total':24} {'':6} {whole * 1e3:9.3f}", "", f"{head}  kernel"]
    text += [f"{_figures(line, whole, peak)}  {line.name} ({line.made_by})" for line in lines]
    text.append(f"peak: {peak / 1e9:.0f} GFLOP/s of fused multiply-adds, measured")
    return "\n".join(text)


def _figures(line: Line, whole: float, peak: float) -> str:
    share = f"{line.seconds / whole:.1%}"
    rate, of_peak, traffic = "", "", ""
    if line.flops and line.seconds:
        rate = f"{line.flops / line.seconds / 1e9:.1f}"
        of_peak = f"{line.flops / line.seconds / peak:.0%}"
    if line.bytes and line.seconds:
        traffic = f"{line.bytes / line.seconds / 1e9:.1f}"
    calls = line.calls or ""
    return f"{calls:>6} {line.seconds * 1e3:9.3f} {share:>6} {rate:>8} {of_peak:>5} {traffic:>6}"


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
