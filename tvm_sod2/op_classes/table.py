"""The rows of all families, and the operators that need none."""

from __future__ import annotations

from tvm_sod2.op_classes.row import Row
from tvm_sod2.op_classes.rows import elementwise, linear, movement, reduce, shape, vision

ROWS: dict[str, Row] = {
    name: row
    for family in (elementwise, linear, movement, reduce, shape, vision)
    for name, row in family.ROWS.items()
}
"""Adding an operator is one line in its family's file."""

_CALLEE = "calls code that is no operator; the call carries the type of its result"
_LOWERED = "a step of lowering that appears only after the analysis"
_TRAINING = "training; what is compiled here is inference"

NO_ROW: dict[str, str] = {
    "relax.builtin.": _LOWERED,
    "relax.memory.": _LOWERED,
    "relax.vm.": _LOWERED,
    "relax.ccl.": "communication between workers; one process is compiled for",
    "relax.dist.": "sharding over workers; one process is compiled for",
    "relax.grad.": _TRAINING,
    "relax.inspect.": "reads the header of a tensor while running; its result is no tensor",
    "relax.call_builtin_with_ctx": _CALLEE,
    "relax.call_dps_packed": _CALLEE,
    "relax.call_inplace_packed": _CALLEE,
    "relax.call_pure_packed": _CALLEE,
    "relax.call_py_func": _CALLEE,
    "relax.call_tir": _CALLEE,
    "relax.call_tir_inplace": _CALLEE,
    "relax.call_tir_with_grad": _CALLEE,
    "relax.make_closure": "closures are functions; the solver follows calls of functions itself",
    "relax.invoke_closure": _CALLEE,
    "relax.invoke_pure_closure": _CALLEE,
    "relax.assert_op": "stops the program or does nothing; it has no result",
    "relax.print": "writes to the terminal; it has no result",
    "relax.null_value": "stands for an argument that is absent; it has no shape",
}
"""Why an operator has no row, by full name or by prefix (ending in a point)."""


def row(name: str) -> Row:
    """The row of a Relax operator, by its full name such as "relax.add"."""
    return ROWS.get(name) or Row.unlisted()


def is_elementwise(name: str) -> bool:
    """Whether an entry of the result comes from the entries at its place, whatever the axes are."""
    return name in elementwise.AXIS_FREE


def is_heavy(name: str) -> bool:
    """Whether an elementwise operator takes many instructions for each element."""
    return name in elementwise.HEAVY


def why_no_row(name: str) -> str | None:
    """Why an operator has no row; None where it has one, or where nobody knows it."""
    if name in ROWS:
        return None
    return NO_ROW.get(name) or next(
        (why for prefix, why in NO_ROW.items() if prefix.endswith(".") and name.startswith(prefix)),
        None,
    )
