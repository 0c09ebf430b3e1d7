"""What is given for an input is refused in words of the model, whatever it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx.parser
import pytest
import tvm
from tvm import relax, tirx
from tvm.script import ir as I
from tvm.script import relax as R
from tvm_ffi import structural_walk

import tvm_sod2
from tvm_sod2.errors import InputError
from tvm_sod2.passes.operands_as_given import operands_as_given

MODEL = """<ir_version: 9, opset_import: ["" : 18]>
graph (float[n,3] x, seq(float[k,3]) s, optional(float[m]) o)
    => (float[t,3] y, optional(float[m]) q)
{
    r = SequenceInsert (s, x)
    q = Identity (o)
    y = ConcatFromSequence <axis = 0> (r)
}"""

X = np.arange(6, dtype="float32").reshape(2, 3)
COPY = "is not contiguous in row-major order; pass a copy"


@pytest.fixture(scope="module")
def machine() -> relax.VirtualMachine:
    mod = tvm_sod2.from_onnx(onnx.parser.parse_model(MODEL))
    return relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"x": None}, r"input 'x' is given None; expected x: float32 \[n, 3\]"),
        ({"x": "weights.npy"}, "input 'x' is given a string; expected x: float32"),
        ({"x": 3}, "input 'x' is given a number"),
        ({"x": [X]}, "input 'x' is given a list"),
        ({"x": {"x": 1}}, "input 'x' is given an object of another kind"),
        ({"x": X.astype("float64")}, "input 'x' has dtype float64, expected float32"),
        ({"x": X.astype("complex64")}, "input 'x' has dtype complex64, expected float32"),
        ({"x": X[0]}, r"input 'x' has rank 1, expected rank 2 \(x: float32 \[n, 3\]\)"),
        ({"x": np.asfortranarray(X)}, f"input 'x' {COPY}"),
        ({"x": np.ones((2, 6), "float32")[:, ::2]}, f"input 'x' {COPY}"),
        ({"x": X[::-1]}, f"input 'x' {COPY}"),
        ({"s": X}, r"input 's' is given an array; expected s: sequence of float32 \[\?, 3\]"),
        ({"s": None}, "input 's' is given None"),
        ({"s": [X, "a"]}, "input 's' is given a list that holds a string"),
        ({"s": [[X]]}, "input 's' is given a list that holds a list"),
        ({"s": [X, X.astype("int8")]}, "a tensor of input 's' has dtype int8, expected float32"),
        ({"s": [X[0]]}, "a tensor of input 's' has rank 1, expected rank 2"),
        ({"s": [X, np.asfortranarray(X)]}, f"a tensor of input 's' {COPY}"),
        ({"s": [np.ones((1, 2), "float32")]}, "a tensor of input 's': dim 1 is not 3; expected s:"),
        ({"o": [X[0]]}, "input 'o' is given a list; expected o: optional of float32"),
        ({"o": X}, "input 'o' has rank 2, expected rank 1"),
        ({"o": X[:, 0]}, f"input 'o' {COPY}"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    machine: relax.VirtualMachine, given: dict[str, Any], message: str
) -> None:
    arguments = {"x": X, "s": [X], "o": None} | given
    with pytest.raises(InputError, match=f"^{message}"):
        machine["main"](*arguments.values())


@pytest.mark.parametrize(
    "given",
    [
        {"s": []},
        {"o": X[0]},
        # NumPy gives strides of 0 where there is no entry, and any along a dim of 1.
        {"x": np.zeros((0, 3), "float32"), "s": [np.zeros((0, 3), "float32"), X]},
        {"x": np.ones((4, 3), "float32")[::4], "s": [X[::2]]},
    ],
)
def test_what_fits_is_taken(machine: relax.VirtualMachine, given: dict[str, Any]) -> None:
    arguments = {"x": X, "s": [X], "o": None} | given
    y, o = machine["main"](*arguments.values())
    np.testing.assert_array_equal(y.numpy(), np.concatenate([*arguments["s"], arguments["x"]]))
    assert o is None if arguments["o"] is None else (o.numpy() == arguments["o"]).all()


def test_kernels_take_arrays_without_entries_as_they_are() -> None:
    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32")):
            y = R.tanh(x)
            return y

        @R.function
        def other(k: R.Tensor(("n",), "int64")):
            y = R.negative(k)
            return y

    machine = relax.VirtualMachine(tvm_sod2.build(Net), tvm.cpu())
    for shape in ((0, 3), (3, 0)):
        assert tuple(machine["main"](np.zeros(shape, "float32")).shape) == shape
    with pytest.raises(InputError, match="input 'k' has dtype int32, expected int64"):
        machine["other"](np.zeros(3, "int32"))


def test_arrays_at_any_address() -> None:
    """NumPy aligns to 16 bytes, and views to no more than an entry."""

    @I.ir_module
    class Net:
        @R.function
        def main(x: R.Tensor(("n", "m"), "float32"), y: R.Tensor(("m", "k"), "float32")):
            z = R.negative(R.nn.relu(x))
            w = R.matmul(x, y)
            return z, w

    machine = relax.VirtualMachine(tvm_sod2.build(Net), tvm.cpu())
    for offset in (4, 16, 32):
        x, y = placed((3, 64), offset), placed((64, 48), offset)
        z, w = machine["main"](x, y)
        np.testing.assert_array_equal(z.numpy(), -np.maximum(x, 0))
        np.testing.assert_allclose(w.numpy(), x @ y, rtol=1e-4, atol=1e-4)


def placed(shape: tuple[int, ...], offset: int) -> np.ndarray:
    """An array whose first entry lies so many bytes behind a multiple of 64."""
    count = int(np.prod(shape))
    memory = np.empty(count * 4 + 128, "uint8")
    start = -memory.ctypes.data % 64 + offset
    array = memory[start : start + count * 4].view("float32").reshape(shape)
    array[...] = np.random.default_rng(count).standard_normal(shape)
    return array


def test_only_checks_of_strides_and_marks_of_alignment_go() -> None:
    """Of everything else that TVM asserts of operands, all stays."""
    x = tirx.decl_buffer([tirx.Var("n", "int64"), 4], "float32", "x")
    func = tirx.PrimFunc([x], tirx.Evaluate(0)).with_attr("global_symbol", "kernel")
    target = tvm.target.Target({"kind": "llvm"})
    bind = tirx.transform.BindTarget(target.with_host(target))
    before = tirx.transform.MakePackedAPI()(bind(tvm.IRModule({"kernel": func})))
    after = operands_as_given(before)["kernel"]
    assert "storage_alignment" in str(before["kernel"]) and "storage_alignment" not in str(after)
    kept, had = words(after), words(before["kernel"])
    assert [text for text in had if text not in kept] == [t for t in had if "compact array" in t]
    assert len(kept) == len(had) - 1 > 0


def words(func: tirx.PrimFunc) -> list[str]:
    found: list[str] = []
    structural_walk(
        func.body,
        (
            tirx.AssertStmt,
            lambda check: found.append("".join(p.value for p in check.message_parts)),
        ),
    )
    return found
