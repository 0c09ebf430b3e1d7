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

FORMAT = 1


@dataclass(frozen=True)
class Value:
    """One input or output: its ONNX name, its dtype as NumPy spells it, its dims.

    ``dims`` is None where not even the rank is known.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...] | None

    def __str__(self) -> str:
        dims = "of any rank" if self.dims is None else f"[{', '.join(map(str, self.dims))}]"
        return f"{self.name}: {self.dtype} {dims}"


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

    def bind(self, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Check arrays by input name and return the size of every named dim.

        Raises InputError at the first input that is missing, unknown, of the wrong dtype or rank,
        or with a dim that is not what the model or an earlier input says.
        """
        for name in arrays:
            self.input(name)
        sizes: dict[str, int] = {}
        origin: dict[str, str] = {}
        for value in self.inputs:
            if value.name not in arrays:
                raise InputError(f"input {value.name!r} is missing; expected {value}")
            array = arrays[value.name]
            if str(array.dtype) != value.dtype:
                raise InputError(
                    f"input {value.name!r} has dtype {array.dtype}, expected {value.dtype}"
                )
            if value.dims is None:
                continue
            if array.ndim != len(value.dims):
                raise InputError(
                    f"input {value.name!r} has rank {array.ndim} (shape {array.shape}), "
                    f"expected rank {len(value.dims)} ({value})"
                )
            for axis, (dim, size) in enumerate(zip(value.dims, array.shape, strict=True)):
                here = f"input {value.name!r}: dim {axis}"
                if isinstance(dim, int):
                    if size != dim:
                        raise InputError(f"{here} is {size}, expected {dim}")
                elif dim.isidentifier() and sizes.setdefault(dim, size) != size:
                    raise InputError(
                        f"{here} ({dim}) is {size}, expected {sizes[dim]} as in {origin[dim]}"
                    )
                elif dim.isidentifier():
                    origin.setdefault(dim, f"dim {axis} of input {value.name!r}")
        return sizes


def _value(fields: dict[str, Any]) -> Value:
    dims = fields["dims"]
    return Value(fields["name"], fields["dtype"], None if dims is None else tuple(dims))
