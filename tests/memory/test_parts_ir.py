"""The IR before and after parts of tensors become views, and what stands in the way of it."""

from __future__ import annotations

import tvm
from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T

from tvm_sod2.memory.part_moves import note_overwrites
from tvm_sod2.memory.parts import ViewParts


@I.ir_module
class Before:
    @T.prim_func(private=True)
    def produce(x: T.Buffer(("n", 16), "float32"), y: T.Buffer(("n", 16), "float32")):
        T.evaluate(0)

    @T.prim_func(private=True)
    def join(
        a: T.Buffer((4, 16), "float32"),
        b: T.Buffer((2, 16), "float32"),
        c: T.Buffer((6, 16), "float32"),
    ):
        T.func_attr({"sod2.join": 0})
        T.evaluate(0)

    @R.function(pure=False)
    def main(x: R.Tensor((4, 16), "float32"), y: R.Tensor((2, 16), "float32")):
        cls = Before
        a = R.builtin.alloc_tensor(R.shape([4, 16]), R.dtype("float32"), 0)
        _ = cls.produce(x, a)
        b = R.builtin.alloc_tensor(R.shape([2, 16]), R.dtype("float32"), 0)
        _1 = cls.produce(y, b)
        c = R.builtin.alloc_tensor(R.shape([6, 16]), R.dtype("float32"), 0)
        _2 = cls.join(a, b, c)
        d = R.builtin.alloc_tensor(R.shape([6, 16]), R.dtype("float32"), 0)
        _3 = cls.produce(c, d)
        return d


@I.ir_module
class After:
    @T.prim_func(private=True)
    def produce(x: T.Buffer(("n", 16), "float32"), y: T.Buffer(("n", 16), "float32")):
        T.evaluate(0)

    @T.prim_func(private=True)
    def join(
        a: T.Buffer((4, 16), "float32"),
        b: T.Buffer((2, 16), "float32"),
        c: T.Buffer((6, 16), "float32"),
    ):
        T.func_attr({"sod2.join": 0})
        T.evaluate(0)

    @R.function(pure=False)
    def main(x: R.Tensor((4, 16), "float32"), y: R.Tensor((2, 16), "float32")):
        cls = After
        c = R.builtin.alloc_tensor(R.shape([6, 16]), R.dtype("float32"), 0)
        a = R.memory.view(c, R.shape([4, 16]), R.dtype("float32"), 0)
        _ = cls.produce(x, a)
        raw = R.memory.view(c, R.shape([2, 16]), R.dtype("float32"), 256)
        b = R.memory.ensure_zero_offset(raw)
        _1 = cls.produce(y, b)
        d = R.builtin.alloc_tensor(R.shape([6, 16]), R.dtype("float32"), 0)
        _3 = cls.produce(c, d)
        return d


def test_before_and_after() -> None:
    tvm.ir.assert_structural_equal(ViewParts()(Before)["main"], After["main"], map_free_vars=True)


def test_what_is_written_over_stays_apart() -> None:
    overwritten = Before.clone()
    gvar = Before.get_global_var("produce")
    overwritten.update_func(gvar, Before["produce"].with_attr("sod2.overwrites", True))
    tvm.ir.assert_structural_equal(ViewParts()(overwritten)["main"], Before["main"])


def test_kernels_called_in_place_are_marked() -> None:
    @I.ir_module
    class InPlace:
        @T.prim_func(private=True)
        def change(x: T.Buffer((4,), "float32")):
            T.evaluate(0)

        @T.prim_func(private=True)
        def make(x: T.Buffer((4,), "float32"), y: T.Buffer((4,), "float32")):
            T.evaluate(0)

        @R.function
        def main(x: R.Tensor((4,), "float32")):
            cls = InPlace
            with R.dataflow():
                y = R.call_tir(cls.make, (x,), R.Tensor((4,), "float32"))
                z = R.call_tir_inplace(cls.change, (y,), [0], R.Tensor((4,), "float32"))
                R.output(z)
            return z

    marked = note_overwrites(InPlace)
    assert "sod2.overwrites" in marked["change"].attrs
    assert "sod2.overwrites" not in (marked["make"].attrs or {})
