"""Checks a function's memory from its final IR, knowing nothing of the planner.

The bindings are interpreted at given dims: every storage gets its size, every tensor its range of
bytes, by running the function's own layout kernel. Liveness is computed backwards over variables.
Then, at every binding, no two allocations that are alive may share a byte unless one is a view of
the other, each lies inside its storage, or what it is a view of, at a multiple of 64, and nothing
that is returned shares its storage with anything.

Shares no code with lifetimes, aliases, offsets or the arena rewriting, on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tvm
from tvm import relax, tirx
from tvm_ffi import structural_map

ALIGNMENT = 64


class PlanError(AssertionError):
    """A memory plan that would let kernels overwrite each other's data."""


@dataclass(eq=False)
class _Storage:
    size: int
    tensors: list[_Tensor] = field(default_factory=list)


@dataclass(eq=False)
class _Tensor:
    """Bytes [low, high) of a storage, or a foreign object (storage None).

    whole: what it is a view of, when it is no allocation of its own.
    """

    name: str
    storage: _Storage | None = None
    low: int = 0
    high: int = 0
    whole: _Tensor | None = None

    def views(self, other: _Tensor) -> bool:
        """Whether it is a view of `other`, or of a view of it."""
        return self.whole is not None and (self.whole is other or self.whole.views(other))


Objects = frozenset[_Tensor]


def check_memory(mod: tvm.IRModule, dims: Mapping[str, int], name: str = "main") -> int:
    """Check function `name` of a module in the form that the arena rewriting leaves.

    Parameters
    ----------
    dims : Mapping[str, int]
        A value for each symbol of the function, by name, also of those that are known only
        while it runs. Dims of functions that it calls are not looked at: check them by themselves.

    Returns the bytes of all storages that hold more than one tensor. Errors: `PlanError`.
    """
    checker = _Checker(mod, dims)
    func = mod[name]
    returned = checker.interpret(func)
    checker.check_ranges()
    checker.check_returned(returned)
    checker.check_alive(func.body, frozenset())
    return sum(s.size for s in checker.storages.values() if len(s.tensors) > 1)


class _Checker:
    def __init__(self, mod: tvm.IRModule, dims: Mapping[str, int] | None) -> None:
        self._mod = mod
        self._dims = dims  # None: only who aliases whom matters
        self._symbols: dict[tirx.Var, int] = {}
        self._objects: dict[relax.Var, Objects] = {}
        self._fields: dict[relax.Var, list[Objects]] = {}  # of tuples made by the function
        self._vectors: dict[relax.Var, np.ndarray] = {}  # filled by a kernel of scalars alone
        self._shapes: dict[relax.Var, np.ndarray] = {}
        self._kernels: dict[str, tvm.runtime.Module] = {}
        self.storages: dict[relax.Var, _Storage] = {}
        self.views: list[_Tensor] = []

    def interpret(self, func: relax.Function) -> Objects:
        for param in func.params:
            self._objects[param] = frozenset([_Tensor(param.name)])
        return self._run(func.body)

    def _run(self, body: relax.SeqExpr) -> Objects:
        for block in body.blocks:
            for binding in block.bindings:
                self._objects[binding.var] = self._value(binding)
        return self._of(body.body)

    def _value(self, binding: relax.Binding) -> Objects:
        value = binding.value
        if isinstance(value, relax.If):
            return self._run(value.true_branch) | self._run(value.false_branch)
        if isinstance(binding, relax.MatchCast):
            if value in self._shapes:
                numbers = self._shapes[value]
                self._symbols.update(zip(binding.ty.values, map(int, numbers), strict=True))
            return self._of(value)
        if isinstance(value, relax.Tuple):
            self._fields[binding.var] = [self._of(part) for part in value.fields]
        if isinstance(value, relax.TupleGetItem) and value.tuple_value in self._fields:
            return self._fields[value.tuple_value][value.index]
        if isinstance(value, relax.Call):
            return self._call(binding.var, value)
        return self._of(value)

    def _call(self, var: relax.Var, call: relax.Call) -> Objects:
        name = call.op.name if isinstance(call.op, tvm.ir.Op) else ""
        if name == "relax.memory.alloc_storage":
            self.storages[var] = _Storage(self._number(call.args[0].values[0]))
            return frozenset()
        if name == "relax.memory.alloc_tensor":
            storage = self.storages[call.args[0]]
            low = self._number(call.args[1])
            tensor = _Tensor(var.name, storage, low, low + self._size(call.args[2], call.args[3]))
            storage.tensors.append(tensor)
            return frozenset([tensor])
        if name == "relax.memory.view":
            return frozenset(self._view(var, call, whole) for whole in self._of(call.args[0]))
        if name == "relax.builtin.alloc_tensor":
            return frozenset([_Tensor(var.name)])
        if name == "relax.tensor_to_shape":
            if call.args[0] in self._vectors:
                self._shapes[var] = self._vectors[call.args[0]]
            return frozenset()
        if name == "relax.shape_of":
            return frozenset()
        if isinstance(call.op, tvm.ir.GlobalVar):
            callee = self._mod[call.op]
            if isinstance(callee, tirx.PrimFunc):
                self._run_scalars(callee, call)
                return frozenset()
            if callee.is_pure:
                return self._returned_by(callee, call)
        return self._mixed(var, call)

    def _view(self, var: relax.Var, call: relax.Call, whole: _Tensor) -> _Tensor:
        """Of a foreign object, whose bytes nobody here knows, a view is the object itself."""
        if whole.storage is None:
            return whole
        low = whole.low + self._number(call.args[3])
        high = low + self._size(call.args[1], call.args[2])
        self.views.append(_Tensor(var.name, whole.storage, low, high, whole))
        return self.views[-1]

    def _size(self, shape: relax.Expr, dtype: relax.Expr) -> int:
        element = tvm.DataType(dtype.value)
        size = (element.bits * element.lanes + 7) // 8
        for extent in shape.values:
            size *= self._number(extent)
        return size

    def _mixed(self, var: relax.Var, call: relax.Call) -> Objects:
        """What code of which nothing is known may return: any argument, or a list of them.

        It may also have put any of them into a list that it was given.
        """
        held = self._of(call)
        lists = [self._of(arg) for arg in call.args if isinstance(arg.ty, relax.AnyType)]
        filled = {part for objects in lists for part in objects if part.storage is None}
        for other, objects in self._objects.items():
            if objects & filled:
                self._objects[other] = objects | held
        return held | {_Tensor(var.name)} if isinstance(call.ty, relax.AnyType) else held

    def _run_scalars(self, kernel: tirx.PrimFunc, call: relax.Call) -> None:
        """Run a kernel whose only tensor is the vector it writes: offsets and sizes."""
        *scalars, out = call.args
        if self._dims is None or not all(isinstance(arg.ty, tvm.ir.PrimType) for arg in scalars):
            return
        if not isinstance(out, relax.Var) or str(getattr(out.ty, "dtype", "")) != "int64":
            return
        extents = list(out.ty.shape.values)
        if len(extents) != 1 or not isinstance(extents[0], tirx.IntImm):
            return
        name = call.op.name_hint
        if name not in self._kernels:
            self._kernels[name] = tvm.compile(kernel.with_attr("global_symbol", name))
        vector = tvm.runtime.tensor(np.zeros(int(extents[0].value), "int64"))
        self._kernels[name][name](*(self._number(arg) for arg in scalars), vector)
        self._vectors[out] = vector.numpy()

    def _returned_by(self, callee: relax.Function, call: relax.Call) -> Objects:
        """What a function may return of its arguments, and an object of its own."""
        inner = _Checker(self._mod, None)
        found = inner.interpret(callee)
        pairs = zip(callee.params, call.args, strict=True)
        passed = [self._of(arg) for param, arg in pairs if inner._objects[param] & found]
        return frozenset([_Tensor("result")]).union(*passed)

    def _of(self, expr: relax.Expr) -> Objects:
        known = (self._objects.get(var, frozenset()) for var in relax.analysis.free_vars(expr))
        return frozenset().union(*known)

    def _number(self, expr: tvm.ir.Expr) -> int:
        if self._dims is None:
            return 0

        dims = self._dims

        def known(var: tirx.Var) -> tvm.ir.Expr:
            value = self._symbols.get(var)
            if value is None:
                value = dims[var.name]
            return tirx.IntImm("int64", value)

        constant = structural_map(expr, [(tirx.Var, known)])
        return int(tvm.sym.Analyzer().simplify(constant).value)

    def check_ranges(self) -> None:
        for storage in self.storages.values():
            for tensor in storage.tensors:
                if tensor.low % ALIGNMENT or tensor.low < 0 or tensor.high > storage.size:
                    raise PlanError(
                        f"{tensor.name} has bytes {tensor.low} to {tensor.high} of a storage of "
                        f"{storage.size}, at {self._dims}"
                    )
        for view in self.views:
            whole = view.whole
            if whole is not None and (
                view.low % ALIGNMENT or view.low < whole.low or view.high > whole.high
            ):
                raise PlanError(
                    f"{view.name} views bytes {view.low} to {view.high} of {whole.name}, which has "
                    f"{whole.low} to {whole.high}, at {self._dims}"
                )

    def check_returned(self, returned: Objects) -> None:
        for tensor in returned:
            if tensor.storage is not None and len(tensor.storage.tensors) > 1:
                raise PlanError(f"{tensor.name} is returned and lives in a shared storage")

    def check_alive(
        self, body: relax.SeqExpr, alive_after: frozenset[relax.Var]
    ) -> frozenset[relax.Var]:
        """Check every binding, last to first; returns the variables alive before `body`."""
        alive = alive_after | frozenset(relax.analysis.free_vars(body.body))
        for block in reversed(body.blocks):
            for binding in reversed(block.bindings):
                value = binding.value
                alive -= {binding.var}
                if isinstance(value, relax.If):
                    arms = [
                        self.check_alive(arm, alive)
                        for arm in (value.true_branch, value.false_branch)
                    ]
                    alive = arms[0] | arms[1] | frozenset(relax.analysis.free_vars(value.cond))
                else:
                    alive |= frozenset(relax.analysis.free_vars(value))
                self._check_disjoint({binding.var, *alive}, binding.var.name)
        return alive

    def _check_disjoint(self, alive: Iterable[relax.Var], where: str) -> None:
        objects = frozenset().union(*(self._objects.get(var, frozenset()) for var in alive))
        placed = [t for t in objects if t.storage is not None and t.low < t.high]
        placed.sort(key=lambda t: (id(t.storage), t.low, t.high))
        below: list[_Tensor] = []  # those that reach beyond the start of the next one
        for second in placed:
            below = [t for t in below if t.storage is second.storage and second.low < t.high]
            for first in below:
                if not (first.views(second) or second.views(first)):
                    raise PlanError(
                        f"{first.name} and {second.name} are both alive at {where} and share bytes "
                        f"{second.low} to {first.high}, at {self._dims}"
                    )
            below.append(second)
