"""Rows at work: what the analysis finds in whole functions that Relax's own inference does not."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2 import analyze
from tvm_sod2.errors import ShapeError
from tvm_sod2.memory.text import compile_size


def _dims(mod: tvm.IRModule, name: str) -> list[int | str | None]:
    dims = analyze(mod).values[name].dims
    assert dims is not None
    return list(dims)


def _at(mod: tvm.IRModule, name: str, **env: int) -> list[int]:
    """The dims of a value at these sizes; how a sum or product is written may differ."""
    return [compile_size(str(dim))(env) for dim in _dims(mod, name)]


_SIZES = [(0, 0), (1, 1), (2, 9), (7, 8), (31, 5)]


def test_sizes_computed_in_floats_become_quotients() -> None:
    """What exporters write for Resize: floor(cast(shape) * scale), and a cast back."""

    @I.ir_module
    class Resize:
        @R.function
        def main(x: R.Tensor(("n", 3, "h", "w"), "float32")):
            n, h, w, a, b = T.int64(), T.int64(), T.int64(), T.int64(), T.int64()
            with R.dataflow():
                shape = R.shape_to_tensor(R.shape_of(x))
                plane = R.strided_slice(shape, axes=[0], begin=[2], end=[4])
                scaled = R.multiply(R.astype(plane, "float32"), R.const([1.5, 0.25], "float32"))
                sizes = R.astype(R.floor(scaled), "int64")
                bound = R.match_cast(R.tensor_to_shape(sizes), R.Shape([a, b]))
                y = R.image.resize2d(x, bound)
                R.output(y)
            return y

    assert _dims(Resize, "y") == ["n", 3, "h * 3 // 2", "w // 4"]


def test_a_halved_and_doubled_dim_is_told_from_the_dim() -> None:
    @I.ir_module
    class Halves:
        @R.function
        def main(x: R.Tensor(("n",), "float32")):
            n, a, b = T.int64(), T.int64(), T.int64()
            with R.dataflow():
                size = R.astype(R.shape_to_tensor(R.shape_of(x)), "float32")
                half = R.divide(size, R.const([2.0], "float32"))
                whole = R.astype(R.multiply(half, R.const([2.0], "float32")), "int64")
                up = R.astype(R.multiply(R.ceil(half), R.const([2.0], "float32")), "int64")
                s = R.match_cast(R.tensor_to_shape(whole), R.Shape([a]))
                t = R.match_cast(R.tensor_to_shape(up), R.Shape([b]))
                y = R.full(R.shape([a]), R.const(0.0, "float32"))
                z = R.full(R.shape([b]), R.const(0.0, "float32"))
                R.output(y, z)
            return (y, z)

    assert _dims(Halves, "y") == ["n"]
    assert _dims(Halves, "z") == ["(n + 1) // 2 * 2"]


def test_entries_pass_through_the_fields_of_a_split() -> None:
    @I.ir_module
    class Split:
        @R.function
        def main(x: R.Tensor(("n", "m", 4), "float32")):
            n, m, a, b = T.int64(), T.int64(), T.int64(), T.int64()
            with R.dataflow():
                parts = R.split(R.shape_to_tensor(R.shape_of(x)), 3, axis=0)
                first, last = parts[0], parts[2]
                s = R.match_cast(R.tensor_to_shape(R.concat([last, first], 0)), R.Shape([a, b]))
                y = R.full(R.shape([a, b]), R.const(0.0, "float32"))
                R.output(y)
            return y

    assert _dims(Split, "y") == [4, "n"]


def test_a_running_product_gives_strides() -> None:
    @I.ir_module
    class Strides:
        @R.function
        def main(x: R.Tensor(("n", "m", 4), "float32")):
            n, m, a, b, c = T.int64(), T.int64(), T.int64(), T.int64(), T.int64()
            with R.dataflow():
                shape = R.flip(R.shape_to_tensor(R.shape_of(x)), axis=0)
                strides = R.cumprod(shape, axis=0)
                s = R.match_cast(R.tensor_to_shape(strides), R.Shape([a, b, c]))
                y = R.full(R.shape([a, b, c]), R.const(0.0, "float32"))
                R.output(y)
            return y

    for n, m in _SIZES:
        assert _at(Strides, "y", n=n, m=m) == [4, 4 * m, 4 * m * n]


def test_a_slice_by_tensors_of_constants_has_known_dims() -> None:
    @I.ir_module
    class Slice:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                y = R.dynamic_strided_slice(
                    x,
                    R.const([1, 0], "int64"),
                    R.const([-1, 8], "int64"),
                    R.const([1, 2], "int64"),
                )
                R.output(y)
            return y

    assert Slice["main"].ret_ty.shape is None
    for n, m in _SIZES:
        assert _at(Slice, "y", n=n, m=m) == [len(range(n)[1:-1]), len(range(m)[0:8:2])]


def test_the_result_of_a_norm_keeps_the_data_dims() -> None:
    @I.ir_module
    class Norm:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), g: R.Tensor((64,), "float32")):
            n, m = T.int64(), T.int64()
            with R.dataflow():
                y = R.nn.layer_norm(x, g, g, axes=[-1])
                R.output(y)
            return y

    assert Norm["main"].ret_ty.shape is None
    report = analyze(Norm)
    assert _dims(Norm, "y")[0] == "n"
    assert report.constraints


def test_batches_of_two_names_broadcast() -> None:
    @I.ir_module
    class Batches:
        @R.function
        def main(x: R.Tensor(("n", 3, 4), "float32"), y: R.Tensor(("k", 4, 5), "float32")):
            n, k = T.int64(), T.int64()
            with R.dataflow():
                z = R.matmul(x, y)
                R.output(z)
            return z

    assert Batches["main"].ret_ty.shape is None
    assert _dims(Batches, "z") == ["(k if n == 1 else n)", 3, 5]


@pytest.mark.parametrize("values", [[0, 0, 0], [1, 0, 2]])
def test_nonzero_of_constants_is_known(values: list[int]) -> None:
    builder = relax.BlockBuilder()
    with builder.function("main", []):
        with builder.dataflow():
            found = builder.emit_output(relax.op.nonzero(relax.const(values, "int64")), "found")
        builder.emit_func_output(found)
    assert _dims(builder.get(), "found") == [1, sum(v != 0 for v in values)]


def test_a_call_that_relax_gets_wrong_is_refused_by_name() -> None:
    builder = relax.BlockBuilder()
    with builder.function("main", []):
        with builder.dataflow():
            found = builder.emit_output(relax.op.arange(10, 0, -2), "falling")
        builder.emit_func_output(found)
    with pytest.raises(ShapeError, match=r"falling: .* flip a rising range"):
        analyze(builder.get())


def test_dims_that_turn_out_to_contradict_each_other_name_the_operator() -> None:
    @I.ir_module(check_well_formed=False)
    class Contradiction:
        @R.function
        def main(x: R.Tensor(("n", 3), "float32"), y: R.Tensor(("n", 4), "float32")):
            n, a, b = T.int64(), T.int64(), T.int64()
            with R.dataflow():
                shape = R.shape_to_tensor(R.shape_of(y))
                bound = R.match_cast(R.tensor_to_shape(shape), R.Shape([a, b]))
                z = R.add(x, R.reshape(y, bound))
                R.output(z)
            return z

    with pytest.raises(ShapeError, match=r"z: dim 1 of .* expected"):
        analyze(Contradiction)
