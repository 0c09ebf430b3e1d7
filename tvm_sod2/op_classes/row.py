"""The form of a row: dynamism class, mapping type, transfer functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

import numpy as np
import tvm

from tvm_sod2.op_classes.expressions import Entry
from tvm_sod2.op_classes.fact import Fact
from tvm_sod2.op_classes.symbolic import Arithmetic


class Dynamism(Enum):
    """What an operator's output depends on (SoD2's four classes)."""

    ISDO = "input shape determines output"
    ISDOS = "input shape determines output shape"
    ISVDOS = "input shape and value determine output shape"
    EDO = "execution determines output"


class Mapping(Enum):
    """How an operator's output elements come from its input's (DNNFusion's mapping types)."""

    ONE_TO_ONE = "One-to-One"
    ONE_TO_MANY = "One-to-Many"
    MANY_TO_MANY = "Many-to-Many"
    REORGANIZE = "Reorganize"
    SHUFFLE = "Shuffle"


class Agreement(NamedTuple):
    """A dim that the operator forces to a value: argument, axis, the dim and what it must equal.

    unless: it is enough that one of these is 1, for the dim then broadcasts.
    """

    argument: int
    axis: int
    dim: Entry
    expected: Entry
    unless: tuple[Entry, ...] = ()


Values: TypeAlias = "np.ndarray | tuple[np.ndarray | None, ...] | None"
"""Entries of a result; a tuple where the result is one, field by field."""

Shape: TypeAlias = "list[Entry] | tuple[list[Entry] | None, ...] | None"
"""Dims of a result, None being nac; a tuple where the result is one, field by field."""

ValueTransfer = Callable[[tvm.ir.Call, list[Fact], Arithmetic], Values]
DimsTransfer = Callable[[tvm.ir.Call, list[Fact], Arithmetic], Shape]
Agreements = Callable[[tvm.ir.Call, list[Fact], Arithmetic], list[Agreement]]
Refusal = Callable[[tvm.ir.Call, list[Fact], Arithmetic], "str | None"]


@dataclass(frozen=True)
class Row:
    """What the compiler knows about one Relax operator.

    shape_inputs: the arguments whose *values* give the output's shape (ISVDOS).
    dims: forward transfer for the shape where Relax's own inference gives up; None: Relax's does.
    Transfers see the call with its type as Relax infers it from the facts of the arguments.
    value: forward transfer for the entries; None: they are not tracked through this operator.
    agree: dims of the arguments that this operator forces to be equal.
    refuse: why Relax's own inference is wrong about a call and what would help, None where it is
    right.
    filled: axes of the result that cannot be empty, as a window has to fit at least once.
    reads: how often a kernel reads each element of the first operand, on average, for it may be
    computed as it is read. None: it may not.
    """

    dynamism: Dynamism
    mapping: Mapping
    shape_inputs: tuple[int, ...] = ()
    dims: DimsTransfer | None = None
    value: ValueTransfer | None = None
    agree: Agreements | None = None
    refuse: Refusal | None = None
    filled: Callable[[tvm.ir.Call], list[int]] | None = None
    reads: Callable[[tvm.ir.Call], float] | None = None

    @classmethod
    def unlisted(cls) -> Row:
        """For an operator without a row: fused with nothing, its shape is Relax's own inference."""
        return cls(Dynamism.ISDOS, Mapping.MANY_TO_MANY)

    def demoted(self, facts: list[Fact]) -> Dynamism:
        """The class once the shape-giving inputs are known: ISVDOS then behaves as ISDOS."""
        if self.dynamism is not Dynamism.ISVDOS:
            return self.dynamism
        if all(i >= len(facts) or facts[i].known for i in self.shape_inputs):
            return Dynamism.ISDOS
        return Dynamism.ISVDOS
