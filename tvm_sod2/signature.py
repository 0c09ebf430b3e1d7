"""What a compiled model takes and gives: names, dtypes and dims, kept inside the library as JSON.

The checks here need no TVM: the command line uses them to refuse wrong inputs before it spends
seconds on a build, in words that name the input, the dim and what was expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tvm_sod2.errors import InputError, Sod2Error

Dim = int | str
"""A size, or an expression over the inputs' dims in Python syntax (``"n"``, ``"w // 8 + 1"``).

In an output, a name that no input has stands for a size that only the run decides.
"""

Given = np.ndarray | list[np.ndarray] | None
"""What is given for an input: an array, the tensors of a sequence, or nothing."""

FORMAT = 1

OBJECTS_ATTR = "sod2.objects"
"""Function attribute: the signature of what is no tensor among the inputs and outputs."""

TENSOR, SEQUENCE = "tensor", "sequence"
OPTIONAL, OPTIONAL_SEQUENCE = "optional", "optional sequence"


@dataclass(frozen=True)
class Value:
    """One input or output: its ONNX name, its dtype as NumPy spells it, its dims.

    ``dims`` is None where not even the rank is known. ``kind`` says whether it is such a tensor, a
    sequence of them, or either or None, "optional"; "?" is then a dim that every tensor has its own
    of.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None
    kind: str = TENSOR

    @property
    def is_sequence(self) -> bool:
        return self.kind in (SEQUENCE, OPTIONAL_SEQUENCE)

    @property
    def is_optional(self) -> bool:
        return self.kind in (OPTIONAL, OPTIONAL_SEQUENCE)

    def tensors(self, given: Given) -> list[np.ndarray]:
        """The arrays in what is given; InputError where it is not of this kind."""
        if given is None and self.is_optional:
            return []
        if isinstance(given, list) != self.is_sequence or given is None:
            found = {list: "a list", type(None): "None"}.get(type(given), "an array")
            raise InputError(f"input {self.name!r} is given {found}; expected {self}")
        return given if isinstance(given, list) else [given]

    def check(self, array: np.ndarray) -> None:
        """Check dtype and rank of an array given for it, and its dims where they are numbers."""
        if str(array.dtype) != self.dtype:
            raise InputError(f"input {self.name!r} has dtype {array.dtype}, expected {self.dtype}")
        if self.dims is None:
            return
        if array.ndim != len(self.dims):
            raise InputError(
                f"input {self.name!r} has rank {array.ndim} (shape {array.shape}), "
                f"expected rank {len(self.dims)} ({self})"
            )
        for axis, (dim, size) in enumerate(zip(self.dims, array.shape, strict=True)):
            if isinstance(dim, int) and size != dim:
                raise InputError(f"input {self.name!r}: dim {axis} is {size}, expected {dim}")

    def __str__(self) -> str:
        dims = "of any rank" if self.dims is None else f"[{', '.join(map(str, self.dims))}]"
        kind = "" if self.kind == TENSOR else f"{self.kind} of "
        return f"{self.name}: {kind}{self.dtype} {dims}"


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs in ONNX order, and the arena's size in bytes as an expression of the dims.

    ``arena_bytes`` is "" where a library was built without a plan of its memory.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...] = field(default=())
    arena_bytes: str = ""

    def to_json(self) -> str:
        """A single line, stable for equal signatures."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Signature:
        """The inverse of :meth:`to_json`; raises Sod2Error on a format this version cannot read."""
        try:
            fields = json.loads(text)
            if fields["format"] != FORMAT:
                found = fields["format"]
                raise Sod2Error(f"library of format {found}, this version reads {FORMAT}")
            return Signature(
                inputs=tuple(map(_value, fields["inputs"])),
                outputs=tuple(map(_value, fields["outputs"])),
                arena_bytes=fields["arena_bytes"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise Sod2Error(f"the library's description of itself is damaged: {error!r}") from error

    def input(self, name: str) -> Value:
        """The input of that name, or an InputError that lists those there are."""
        for value in self.inputs:
            if value.name == name:
                return value
        listed = "; ".join(map(str, self.inputs)) or "none"
        raise InputError(f"the model has no input {name!r}; its inputs are {listed}")

    def bind(self, arrays: Mapping[str, Given]) -> dict[str, int]:
        """Check arrays by input name and return the size of every named dim.

        A sequence is given as a list, what an optional does not hold as None. Raises InputError at
        the first input that is missing, unknown, of the wrong dtype or rank, or with a dim that is
        not what the model or an earlier input says.
        """
        for name in arrays:
            self.input(name)
        sizes: dict[str, int] = {}
        origin: dict[str, str] = {}
        for value in self.inputs:
            if value.name not in arrays:
                raise InputError(f"input {value.name!r} is missing; expected {value}")
            for array in value.tensors(arrays[value.name]):
                value.check(array)
                if value.kind == TENSOR and value.dims is not None:
                    _bind_dims(value, array, sizes, origin)
        return sizes


def _bind_dims(
    value: Value, array: np.ndarray, sizes: dict[str, int], origin: dict[str, str]
) -> None:
    """Note the size of each dim that has a name; InputError where it had another one before."""
    for axis, (dim, size) in enumerate(zip(value.dims or (), array.shape, strict=True)):
        if isinstance(dim, int) or not dim.isidentifier():
            continue
        here = f"dim {axis} of input {value.name!r}"
        if sizes.setdefault(dim, size) != size:
            raise InputError(
                f"input {value.name!r}: dim {axis} ({dim}) is {size}, expected {sizes[dim]} as in "
                f"{origin[dim]}"
            )
        origin.setdefault(dim, here)


def _value(fields: dict[str, Any]) -> Value:
    dims = fields["dims"]
    shape = None if dims is None else tuple(dims)
    return Value(fields["name"], fields["dtype"], shape, fields.get("kind", TENSOR))
