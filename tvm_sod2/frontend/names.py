"""Names of Relax variables and symbolic dims, derived from the names in the model."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping

from tvm import relax, tirx

from tvm_sod2.passes.names import NODES, VALUES

# Prefixes of TVMScript, and the functions of expressions over dims: a name would hide them there.
_RESERVED = {"R", "T", "I", "min", "max"}


def identifier(name: str) -> str:
    """Return ``name`` as an ASCII identifier: other characters become "_"."""
    clean = re.sub(r"[^0-9A-Za-z_]", "_", name)
    if not clean or clean[0].isdigit():
        clean = "v" + clean
    return clean + "_" if keyword.iskeyword(clean) or clean in _RESERVED else clean


class Symbols:
    """Makes the int64 symbols of one module; no two have the same name."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._params: dict[str, tirx.Var] = {}

    def fresh(self, hint: str) -> tirx.Var:
        """Return a new symbol named after ``hint``."""
        name = base = identifier(hint)
        count = 0
        while name in self._used:
            count += 1
            name = f"{base}_{count}"
        self._used.add(name)
        return tirx.Var(name, "int64")

    def named(self, dim_param: str) -> tirx.Var:
        """Return the one symbol that stands for ``dim_param`` in the whole model."""
        if dim_param not in self._params:
            self._params[dim_param] = self.fresh(dim_param)
        return self._params[dim_param]


def with_names(
    func: relax.Function, values: Mapping[str, str], nodes: Mapping[str, str]
) -> relax.Function:
    """The function with the ONNX names of what is bound in it, as attributes for messages."""
    bound = {var.name for var in relax.analysis.bound_vars(func)}
    own = [
        {name: what for name, what in known.items() if name in bound} for known in (values, nodes)
    ]
    return func.with_attrs({VALUES: own[0], NODES: own[1]})
