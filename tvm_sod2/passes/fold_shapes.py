"""Write RDP's facts into the IR: shape arithmetic and the symbols it bound disappear.

    t: Tensor((2,)) = shape_to_tensor(shape_of(x))         (dead, removed)
    s: Shape([a, b]) = match_cast(tensor_to_shape(t), ...) (dead, removed)
    y: Tensor((a, b)) = reshape(z, s)                  ->  y: Tensor((n, m)) = reshape(z, (n, m))

A symbol that stays fresh afterwards is execution-determined. What the model needs of its input dims
is kept as the function attribute "sod2.constraints", for the check at entry; what it needs of dims
that the run decides, or in an arm of an If alone, is checked where it is needed. A function whose
operands broadcast or not, as only their dims can tell, is written in two versions, see `versions`.
"""

from __future__ import annotations

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from tvm_sod2.memory.text import to_python
from tvm_sod2.op_classes import Agreement, Fact
from tvm_sod2.op_classes.expressions import Entry, as_expr, selected, symbols_of
from tvm_sod2.op_classes.fact import entries
from tvm_sod2.op_classes.shapes import tensor_type
from tvm_sod2.passes.entry import EntryMutator
from tvm_sod2.passes.facts import FunctionFacts, substitute
from tvm_sod2.passes.inline_leaves import inline_leaves
from tvm_sod2.passes.interprocedural import propagate_equal, propagate_module
from tvm_sod2.passes.requirements import is_requirement, require
from tvm_sod2.passes.versions import in_two_versions

CONSTRAINTS = "sod2.constraints"
"""Function attribute: list of [condition over input dims, message]."""


@tvm.transform.module_pass(opt_level=0, name="FoldShapes")
def fold_shapes(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Run RDP on every Relax function and rewrite the function with what it found."""
    found = propagate_module(mod)
    builder = relax.BlockBuilder(mod)
    for gvar, facts in found.items():
        func = mod[gvar]
        folded = _fold(func, facts)
        equal = propagate_equal(func, mod, found) if facts.undecided else None
        if equal is not None:
            versions = _fold(func, equal), folded
            folded = in_two_versions(builder, gvar.name_hint, *versions, equal.assumptions)
        builder.update_func(gvar, folded)
    return inline_leaves(builder.get())


def _fold(func: relax.Function, found: FunctionFacts) -> relax.Function:
    checked = {
        parameter: relax.Var(f"{parameter.name}_checked", found.facts[parameter].ty)
        for parameter in func.params
        if not _same(parameter.ty, found.facts[parameter].ty)
    }
    folded = _Folder(func, found, checked).visit_expr(func)
    if checked:
        folded = _opened(folded, checked)
    if found.constraints:
        noted = [[c.condition, tvm.ir.StringImm(c.message)] for c in found.constraints]
        folded = folded.with_attr(CONSTRAINTS, noted)
    return folded


def _opened(func: relax.Function, checked: dict[tvm.ir.Var, tvm.ir.Var]) -> relax.Function:
    """The function with its parameters cast at entry to the dims that the model forces."""
    casts = [relax.MatchCast(var, parameter, var.ty) for parameter, var in checked.items()]
    blocks = [relax.BindingBlock(casts), *func.body.blocks]
    body = relax.BlockBuilder().normalize(relax.SeqExpr(blocks, func.body.body))
    return relax.Function(func.params, body, func.ret_ty, func.is_pure, func.attrs, func.span)


def _has_no_entry(fact: Fact) -> bool:
    """Whether a tensor is empty whatever the input is: no operator need run, and Relax's reshape
    would take the 0 in its shape for "copy this dim"."""
    return isinstance(fact.ty, relax.TensorType) and 0 in entries(fact.dims or [])


def _same(a: tvm.ir.Type, b: tvm.ir.Type) -> bool:
    """Whether two types of tensors provably state the same dims, whatever the symbols are."""
    if not isinstance(a, relax.TensorType) or not isinstance(b, relax.TensorType):
        return True
    if a.shape is None or b.shape is None:
        return a.shape is None and b.shape is None
    analyzer = tvm.sym.Analyzer()
    return all(map(analyzer.can_prove_equal, a.shape.values, b.shape.values))


@relax.expr_functor.mutator
class _Folder(EntryMutator):
    def __init__(
        self, func: relax.Function, found: FunctionFacts, checked: dict[tvm.ir.Var, tvm.ir.Var]
    ) -> None:
        super().__init__(func)
        self.found = found
        self.checked = checked
        self.bound = set(self.entry)

    def visit_var_(self, op: tvm.ir.Var) -> tvm.ir.Expr:
        return self.checked[op] if op in self.checked else super().visit_var_(op)

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        fact = self.found.facts.get(binding.var)
        value = binding.value
        if isinstance(value, relax.ShapeExpr):
            self._bind(binding.var, self._scalar(value))
            return
        if not isinstance(value, relax.Call) or fact is None:
            super().visit_var_binding_(binding)
            return
        if _has_no_entry(fact):
            self._bind(binding.var, relax.op.zeros(fact.ty.shape, str(fact.ty.dtype)))
            return
        if fact.known:
            value = self._materialised(fact, value)
        agreements = self.found.agreements.get(binding.var)
        if agreements:
            value = self._refined(binding.var, value, agreements)
        if isinstance(value, relax.Call):
            value = self.visit_expr(self._with_scalars(value))
        value = self.builder_.normalize(value)
        # A conditional call in a dim would come back whenever Relax infers the type anew.
        plain = selected(value.ty).same_as(value.ty)
        if (plain and _same(value.ty, fact.ty)) or self._unnamed(fact):
            self._bind(binding.var, value)
        else:
            self._cast(binding.var, self.builder_.emit(value, binding.var.name), fact.ty)

    def _bind(self, var: tvm.ir.Var, value: tvm.ir.Expr) -> None:
        """Bind the value to a variable of its own type: the old one's may name gone symbols."""
        value = self.builder_.normalize(value)
        new = type(var)(var.name, value.ty)
        self.builder_.emit_normalized(relax.VarBinding(new, value))
        self.set_var_remap(var, new)

    def _cast(self, var: tvm.ir.Var, value: tvm.ir.Expr, ty: tvm.ir.Type) -> None:
        new = type(var)(var.name, ty)
        self.builder_.emit_normalized(relax.MatchCast(new, self.builder_.normalize(value), ty))
        self.set_var_remap(var, new)

    def _unnamed(self, fact: Fact) -> bool:
        """Whether a dim of the fact is a stand-in that the function does not define."""
        return any(s in self.found.nacs for dim in fact.dims or () for s in symbols_of(dim))

    def _with_scalars(self, call: relax.Call) -> relax.Call:
        """The call with what was found in place of the symbols in its scalars and stated types."""
        args = [self._scalar(argument) for argument in call.args]
        stated = [self.found.substitute(ty) for ty in call.ty_args]
        return relax.Call(call.op, args, call.attrs, stated)

    def _scalar(self, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._scalar(field) for field in expr.fields])
        if isinstance(expr, relax.ShapeExpr):
            return relax.ShapeExpr([self._found(value) for value in expr.values])
        if isinstance(expr.ty, tvm.ir.PrimType) and not isinstance(expr, tirx.FloatImm):
            return self._found(expr)
        return expr

    def _found(self, expr: tvm.ir.Expr) -> tvm.ir.Expr:
        """The expression over what was found; simplified, for the VM computes no constants."""
        value = self.found.substitute(expr)
        return value if value.same_as(expr) else tvm.sym.Analyzer().simplify(value)

    def visit_match_cast_(self, binding: relax.MatchCast) -> None:
        """A match_cast that states what inference finds by itself is a plain binding."""
        fact = self.found.facts[binding.var]
        wanted = self.found.substitute(binding.ty)
        if isinstance(wanted, relax.TensorType) and fact.dims is not None:
            wanted = fact.ty
        value = self._as_forced(binding, self.builder_.normalize(self.visit_expr(binding.value)))
        if isinstance(value.ty, relax.TensorType) and fact.dims is not None:
            self._require_cast(binding, value.ty, wanted)
        self.bound |= set(relax.analysis.definable_tir_vars_in_type(wanted))
        if isinstance(wanted, relax.ShapeType) and self._settled(binding, value.ty, wanted):
            self._bind(binding.var, relax.ShapeExpr(list(wanted.values)))
        elif tvm_ffi.structural_equal(self.builder_.normalize(value).ty, wanted):
            self._bind(binding.var, value)
        else:
            self._cast(binding.var, value, wanted)

    def _as_forced(self, binding: relax.MatchCast, value: tvm.ir.Expr) -> tvm.ir.Expr:
        """The value once the symbols that a cast binds are seen to be what the model forces."""
        symbols = relax.analysis.definable_tir_vars_in_type(binding.ty)
        forced = [symbol for symbol in symbols if symbol in self.found.forced]
        if not forced:
            return value
        others = {s: v for s, v in self.found.symbols.items() if s not in forced}
        value = self.builder_.match_cast(value, substitute(binding.ty, others))
        for symbol in forced:
            difference = self.arithmetic.subtract(symbol, self._found(symbol))
            require(self.builder_, as_expr(difference), self.found.forced[symbol])
        return value

    def _require_cast(
        self, binding: relax.MatchCast, found: relax.TensorType, wanted: relax.TensorType
    ) -> None:
        """Check the dims that a cast states, other than by binding a symbol."""
        source = binding.value if isinstance(binding.value, tvm.ir.Var) else binding.var
        pairs = zip(entries(Fact(found).dims or []), entries(Fact(wanted).dims or []), strict=False)
        for axis, (dim, expected) in enumerate(pairs):
            if dim is not None and expected is not None:
                self._require(binding.var, axis, self.names.value(source), dim, expected)

    def _require(self, var: tvm.ir.Var, axis: int, name: str, dim: Entry, expected: Entry) -> None:
        """Check where it stands what RDP cannot have had checked at entry: two dims are equal."""
        symbols = set(symbols_of(as_expr(dim)) + symbols_of(as_expr(expected)))
        if not self.arms and symbols <= self.entry:
            return
        if not symbols <= self.bound or self.arithmetic.equal(dim, expected):
            return
        zero = as_expr(self.arithmetic.subtract(dim, expected))
        where = f"{self.names.node(var)}: dim {axis} of {name}"
        texts = to_python(as_expr(dim)), to_python(as_expr(expected))
        require(self.builder_, zero, f"{where} is {texts[0]}, expected {texts[1]}")

    def _settled(self, binding: relax.MatchCast, found: tvm.ir.Type, wanted: tvm.ir.Type) -> bool:
        """Whether a cast of a shape leaves nothing to the run: it gives no symbol its value, and
        what it states is so or has been checked at entry."""
        if is_requirement(self.lookup_binding(self.visit_expr(binding.value))):
            return False
        symbols = relax.analysis.definable_tir_vars_in_type(binding.ty)
        if any(symbol in self.found.origins for symbol in symbols):
            return False
        if found.values is None:
            return True
        unknown = {**self.found.origins, **self.found.nacs}
        pairs = zip(found.values, wanted.values, strict=True)
        return not any(
            s in unknown
            for a, b in pairs
            if not tvm_ffi.structural_equal(a, b)
            for s in symbols_of(a) + symbols_of(b)
        )

    def _materialised(self, fact: Fact, call: relax.Call) -> tvm.ir.Expr:
        """A value whose every entry is known needs no operator: a constant, or R.shape."""
        assert fact.value is not None
        known = list(fact.value.flat)
        if isinstance(fact.ty, relax.ShapeType):
            return relax.ShapeExpr([as_expr(entry) for entry in known])
        dtype = str(fact.ty.dtype)
        if all(isinstance(entry, int) for entry in known):
            data = np.array(known, dtype=dtype).reshape(fact.value.shape)
            return relax.const(data, dtype)
        if dtype != "int64" or fact.value.ndim != 1:
            return call  # Dead where it served a shape; real data otherwise.
        return relax.op.shape_to_tensor(relax.ShapeExpr([as_expr(entry) for entry in known]))

    def _refined(
        self, var: tvm.ir.Var, call: relax.Call, agreements: list[Agreement]
    ) -> relax.Call:
        """The call with its arguments' dims stated to be what the operator needs them to be."""
        in_tuple = len(call.args) == 1 and isinstance(call.args[0], relax.Tuple)
        arguments = list(call.args[0].fields if in_tuple else call.args)
        for index in {agreement.argument for agreement in agreements}:
            argument = self.visit_expr(arguments[index])
            dims = Fact(argument.ty).dims
            if dims is None:
                continue
            for agreement in agreements:
                if agreement.argument == index:
                    name = self.names.argument(call, index)
                    self._require(var, agreement.axis, name, agreement.dim, agreement.expected)
                    dims[agreement.axis] = as_expr(agreement.expected)
            wanted = tensor_type(dims, argument.ty)
            arguments[index] = self.builder_.match_cast(argument, wanted)
        new_args = [relax.Tuple(arguments)] if in_tuple else arguments
        return relax.Call(call.op, new_args, call.attrs, call.ty_args)
