"""RDP beside Relax's own inference: what is found, what is refused."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.errors import ShapeError
from tvm_sod2.memory.text import to_python
from tvm_sod2.passes.bounds import with_bounds
from tvm_sod2.passes.facts import FunctionFacts
from tvm_sod2.passes.fold_shapes import CONSTRAINTS, fold_shapes
from tvm_sod2.passes.name_unknown import name_unknown_dims
from tvm_sod2.passes.rdp import propagate


def facts_of(mod: tvm.IRModule) -> dict[str, object]:
    found = propagate(name_unknown_dims(mod)["main"])
    return {var.name: fact for var, fact in found.facts.items()}


def dims(fact) -> list[str] | None:
    return None if fact.dims is None else [to_python(dim) for dim in fact.dims]


def found_in(mod: tvm.IRModule) -> FunctionFacts:
    return propagate(name_unknown_dims(mod)["main"])


@I.ir_module
class ReshapeByArithmetic:
    @R.function
    def main(x: R.Tensor(("n", "m"), "float32")):
        n, m, s0, s1 = T.int64(), T.int64(), T.int64(), T.int64()
        with R.dataflow():
            shape = R.shape_to_tensor(R.shape_of(x))
            first = R.strided_slice(shape, axes=[0], begin=[0], end=[1])
            count = R.prod(shape, axis=[0], keepdims=True)
            rest = R.divide(count, first)
            wanted = R.tensor_to_shape(R.concat([rest, first], axis=0))
            bound = R.match_cast(wanted, R.Shape([s0, s1]))
            y = R.reshape(x, bound)
            z = R.nn.relu(y)
            R.output(z)
        return z


def test_shape_arithmetic_is_followed_through_tensors() -> None:
    assert dims(facts_of(ReshapeByArithmetic)["z"]) == ["m", "n"]


def test_shape_arithmetic_is_gone_afterwards() -> None:
    @I.ir_module
    class Expected:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                y = R.reshape(x, R.shape([m, n]))
                z = R.nn.relu(y)
                R.output(z)
            return z

    folded = fold_shapes(name_unknown_dims(ReshapeByArithmetic))
    relax.analysis.well_formed(folded)
    names = [b.value.op.name for b in _bindings(folded) if isinstance(b.value, relax.Call)]
    assert names == ["relax.reshape", "relax.nn.relu"]
    assert str(folded["main"].ret_ty) == str(Expected["main"].ret_ty)


def test_relax_alone_keeps_only_the_rank() -> None:
    relax_alone = relax.transform.Normalize()(ReshapeByArithmetic)
    by_name = {b.var.name: b.var.ty for b in _bindings(relax_alone)}
    assert by_name["wanted"].values is None


def test_if_arms_merge_per_dim() -> None:
    @I.ir_module
    class Arms:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), c: R.Tensor((), "bool")):
            n, m = T.int64(), T.int64()
            if c:
                a = R.concat([x, x], axis=0)
                y = a
            else:
                b = R.nn.relu(x)
                y = b
            z = R.nn.relu(y)
            return z

    assert Arms["main"].ret_ty.shape is None  # Relax's own inference: rank only
    found = found_in(Arms)
    fact = next(f for v, f in found.facts.items() if v.name == "z")
    assert to_python(fact.dims[1]) == "m"
    (symbol,) = found.origins
    assert found.origins[symbol] == "y"


def test_an_unknown_dim_beside_a_known_one_is_the_known_one() -> None:
    @I.ir_module
    class Broadcast:
        @R.function
        def main(x: R.Tensor(("n", 8), "float32"), y: R.Tensor(("n", "k"), "float32")):
            n, k = T.int64(), T.int64()
            with R.dataflow():
                z = R.add(x, y)
                R.output(z)
            return z

    assert Broadcast["main"].ret_ty.shape is None
    found = found_in(Broadcast)
    fact = next(f for v, f in found.facts.items() if v.name == "z")
    assert dims(fact) == ["n", "8"]
    assert [c.message for c in found.constraints] == ["z: dim 1 of y is k, expected 8 or 1"]


def test_what_only_the_run_knows_names_its_operator() -> None:
    @I.ir_module
    class Data:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            with R.dataflow():
                found = R.nonzero(x)
                z = R.astype(found, "float32")
                R.output(z)
            return z

    found = found_in(Data)
    fact = next(f for v, f in found.facts.items() if v.name == "z")
    assert to_python(fact.dims[0]) == "2"
    assert list(found.origins.values()) == ["found"]


def test_a_contradiction_is_refused_with_the_operator() -> None:
    @I.ir_module(check_well_formed=False)
    class Contradiction:
        @R.function
        def main(x: R.Tensor(("n", 4), "float32")):
            n = T.int64()
            with R.dataflow():
                shape = R.shape_to_tensor(R.shape_of(x))
                bound = R.match_cast(R.tensor_to_shape(shape), R.Shape([n, 5]))
                z = R.reshape(x, bound)
                R.output(z)
            return z

    with pytest.raises(ShapeError, match="expected 5"):
        found_in(Contradiction)


def test_one_equality_makes_what_follows_from_it_superfluous() -> None:
    @I.ir_module
    class Implied:
        @R.function
        def main(x: R.Tensor(("n", "h", 8), "float32"), y: R.Tensor(("n", 1, 8), "float32")):
            n, h = T.int64(), T.int64()
            with R.dataflow():
                a = R.concat([x, y], axis=2)
                z = R.reshape(a, R.shape([n, 16]))
                R.output(z)
            return z

    found = found_in(Implied)
    assert [c.message for c in found.constraints] == ["a: dim 1 of x is h, expected 1"]
    folded = fold_shapes(name_unknown_dims(Implied))
    assert len(folded["main"].attrs[CONSTRAINTS]) == 1


def test_bounds_serve_the_proofs() -> None:
    @I.ir_module(check_well_formed=False)
    class Wide:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            n, s = T.int64(), T.int64()
            with R.dataflow():
                size = R.shape_to_tensor(R.shape_of(x))
                least = R.maximum(size, R.const([4], "int64"))
                bound = R.match_cast(R.tensor_to_shape(least), R.Shape([s]))
                z = R.broadcast_to(R.const(0.0, "float32"), bound)
                R.output(z)
            return z

    assert dims(facts_of(Wide)["z"]) == ["max(n, 4)"]
    assert dims(facts_of(with_bounds(Wide, {"n": (4, 9)}))["z"]) == ["n"]


def test_the_analysis_leaves_the_function_alone() -> None:
    before = ReshapeByArithmetic.script()
    propagate(ReshapeByArithmetic["main"])
    assert ReshapeByArithmetic.script() == before


def _bindings(mod: tvm.IRModule) -> list[relax.Binding]:
    return [b for block in mod["main"].body.blocks for b in block.bindings]


def test_an_expression_that_grows_without_end_becomes_a_symbol_again() -> None:
    builder = relax.BlockBuilder()
    n, m = tirx.Var("n", "int64"), tirx.Var("m", "int64")
    x = relax.Var("x", relax.TensorType((n, m), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            size = builder.emit(R.shape_to_tensor(builder.emit(R.shape_of(x))))
            for step in range(40):
                turned = builder.emit(R.take(size, R.const([1, 0], "int64"), axis=0))
                product = builder.emit(R.multiply(size, turned))
                size = builder.emit(R.floor_mod(product, R.const([997, 991 + step], "int64")))
            symbols = [tirx.Var(name, "int64") for name in ("a", "b")]
            shape = builder.emit(R.tensor_to_shape(size))
            bound = builder.match_cast(shape, relax.ShapeType(symbols))
            y = builder.emit_output(R.zeros(bound, "float32"))
        builder.emit_func_output(y)
    found = propagate(builder.get()["main"])
    assert set(found.origins) == set(symbols)
