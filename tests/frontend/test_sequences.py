"""Sequences and optionals against ONNX Runtime, each model built once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tvm
from sequence_graphs import Feed, check, compiled, floats, index, model

from tvm_sod2 import build, from_onnx
from tvm_sod2.errors import ImportModelError


def test_take_put_and_erase_at_run_time() -> None:
    """Places from either end, in sequences of tensors of unlike shapes."""
    proto = model(
        "(seq(float[n,m]) s, float[k,l] x, int64 i, int64 j, int64 e)"
        " => (float[a,b] y, seq(float[u,v]) put, seq(float[u,v]) last, seq(float[u,v]) left,"
        " seq(float[u,v]) init, int64 count)",
        """
        y = SequenceAt (s, i)
        put = SequenceInsert (s, x, j)
        last = SequenceInsert (s, x)
        left = SequenceErase (s, e)
        init = SequenceErase (s)
        count = SequenceLength (put)
        """,
    )
    shapes = [(2, 3), (1, 1), (0, 4), (5, 7), (3, 0)]
    feeds: list[Feed] = []
    for length in (1, 2, 5):
        values, (x,) = floats(*shapes[:length]), floats((4, 2), seed=1)
        for place in range(-length, length):
            # Where to put may be behind the last one, too.
            put = place if place < 0 else place + 1
            feeds.append(
                {"s": values, "x": x, "i": index(place), "j": index(put), "e": index(place)}
            )
    check(proto, *feeds)


@pytest.mark.parametrize(
    ("node", "length", "place", "message"),
    [
        ("y = SequenceAt (s, p)", 3, 3, "node y (SequenceAt): its position is outside"),
        ("y = SequenceAt (s, p)", 3, -4, "expected -n to n - 1 where n tensors are in"),
        ("y = SequenceAt (s, p)", 0, 0, "node y (SequenceAt): its position is outside"),
        ("y = SequenceAt (s, p)", 0, -1, "node y (SequenceAt): its position is outside"),
        ("q = SequenceErase (s, p) y = SequenceLength (q)", 2, 2, "node q (SequenceErase)"),
        ("q = SequenceErase (s) y = SequenceLength (q)", 0, 0, "node q (SequenceErase)"),
        ("q = SequenceInsert (s, x, p) y = SequenceLength (q)", 2, 3, "node q (SequenceInsert)"),
        ("q = SequenceInsert (s, x, p) y = SequenceLength (q)", 2, -3, "expected -n to n where"),
        (
            "y = ConcatFromSequence <axis = 0> (s)",
            0,
            0,
            "node y (ConcatFromSequence): its input is",
        ),
    ],
)
def test_a_place_outside_is_refused_by_name(
    node: str, length: int, place: int, message: str
) -> None:
    kind = "int64" if "Length" in node else "float[?]"
    call = compiled(model(f"(seq(float[n]) s, float[k] x, int64 p) => ({kind} y)", node))
    with pytest.raises(ValueError, match=re.escape(message)):
        call(floats(*[(2,)] * length), np.zeros(2, "float32"), index(place))


def test_split_and_join_at_run_time() -> None:
    """Even parts whose last is smaller, parts of sizes given, single indices; and back."""
    proto = model(
        "(float[n,m] x, int64 part, int64[k] sizes, int64[2] two)"
        " => (seq(float[a,m]) even, seq(float[b,m]) parts, seq(float[c,m]) pair,"
        " seq(float[n]) columns, seq(float[1,m]) rows, seq(float[d,m]) threes,"
        " float[n,m] joined, float[e,m,f] stacked, float[n,g] back)",
        """
        even = SplitToSequence <axis = 0> (x, part)
        parts = SplitToSequence <axis = -2> (x, sizes)
        pair = SplitToSequence (x, two)
        columns = SplitToSequence <axis = 1, keepdims = 0> (x)
        rows = SplitToSequence (x)
        three = Constant <value_int = 3> ()
        threes = SplitToSequence (x, three)
        joined = ConcatFromSequence <axis = 0> (parts)
        stacked = ConcatFromSequence <axis = -1, new_axis = 1> (rows)
        back = ConcatFromSequence <axis = 1, new_axis = 1> (columns)
        """,
    )
    feeds: list[Feed] = []
    for rows, columns, part, sizes in (
        (7, 3, 3, [2, 0, 5]),
        (1, 1, 9, [1]),
        (64, 2, 64, [1] * 64),
        (6, 5, 1, [6]),
        (17, 4, 5, [16, 1]),
    ):
        (x,) = floats((rows, columns))
        two = np.asarray([rows // 2, rows - rows // 2])
        feeds.append({"x": x, "part": index(part), "sizes": np.asarray(sizes), "two": two})
    check(proto, *feeds)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("int64", index(0), "node s (SplitToSequence): the size of its parts must be above 0"),
        ("int64", index(-2), "node s (SplitToSequence): the size of its parts must be above 0"),
        ("int64[k]", np.asarray([2, 2]), "must be 0 or more and add up to its axis"),
        ("int64[k]", np.asarray([6, -1]), "must be 0 or more and add up to its axis"),
        ("int64[3]", np.asarray([2, 2, 2]), "must be 0 or more and add up to its axis"),
    ],
)
def test_parts_that_do_not_fit_are_refused_by_name(
    kind: str, given: np.ndarray, message: str
) -> None:
    proto = model(
        f"(float[n] x, {kind} given) => (int64 y)",
        "s = SplitToSequence (x, given) y = SequenceLength (s)",
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        compiled(proto)(np.zeros(5, "float32"), given)


def test_what_is_known_at_import_leaves_no_list() -> None:
    """Built, taken, erased and joined at known places: plain tensors, free to fuse."""
    proto = model(
        "(float[n,6] x, float[n,2] z) => (float[n,k] y, int64 count)",
        """
        two = Constant <value_int = 2> ()
        minus = Constant <value_int = -1> ()
        zero = Constant <value_int = 0> ()
        parts = SplitToSequence <axis = 1> (x, two)
        more = SequenceInsert (parts, z, minus)
        less = SequenceErase (more, zero)
        last = SequenceAt (less, minus)
        twice = Add (last, last)
        all = SequenceInsert (less, twice)
        y = ConcatFromSequence <axis = 1> (all)
        count = SequenceLength (all)
        """,
    )
    mod = from_onnx(proto)
    assert "ffi.List" not in mod.script()
    check(proto, *({"x": x, "z": z} for x, z in (floats((n, 6), (n, 2)) for n in (1, 5, 17))))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("i = Constant <value_int = 2> () y = SequenceAt (s, i)", "position 2 is outside of a seq"),
        ("i = Constant <value_int = -3> () y = SequenceAt (s, i)", "expected -2 to 1"),
        ("d = Cast <to = 7> (x) t = SequenceInsert (s, d) y = Identity (x)", "int64 is put into"),
    ],
)
def test_a_known_mistake_is_refused_at_import(body: str, message: str) -> None:
    proto = model("(float[n] x) => (float[n] y)", f"s = SequenceConstruct (x, x) {body}")
    with pytest.raises(ImportModelError, match=message):
        from_onnx(proto)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("seq(string[n])", "input 's' is a tensor of STRING, an element type that has no kernels"),
        ("optional(seq(string[n]))", "input 's' is a tensor of STRING"),
        ("seq(seq(float[n]))", "input 's' is of type sequence_type, which cannot be imported"),
        ("map(int64, float[n])", "input 's' is of type map_type, which cannot be imported here"),
    ],
)
def test_other_types_of_inputs_are_refused_by_name(kind: str, message: str) -> None:
    with pytest.raises(ImportModelError, match=re.escape(message)):
        from_onnx(model(f"({kind} s) => ({kind} t)", "t = Identity (s)"))


def test_a_rank_that_the_users_of_a_tensor_tell() -> None:
    """Of a sequence whose type says no rank, in every operator that takes tensors out."""
    proto = model(
        "(seq(float[]) s, int64 i, float[2,3] w)"
        " => (float[a,b,c] turned, float[d,e] product, float[f,g,h,j] stack, seq(float[]) all)",
        """
        t = SequenceAt (s, i)
        turned = Transpose <perm = [2, 0, 1]> (t)
        flat = SplitToSequence <axis = 0> (w)
        u = SequenceAt (flat, i)
        n = Neg (u)
        product = Gemm <transB = 1> (n, w)
        stack = ConcatFromSequence <axis = 1, new_axis = 1> (s)
        all = SequenceMap <body = each (float[] p) => (float[] q) {
            r = Relu (p)
            q = Transpose <perm = [1, 0, 2]> (r)
        }> (s)
        """,
    )
    feeds: list[Feed] = [
        {"s": floats(*[shape] * 3), "i": index(place), "w": floats((2, 3), seed=1)[0]}
        for shape, place in (((2, 3, 4), 0), ((1, 5, 2), 1), ((3, 0, 1), -1))
    ]
    check(proto, *feeds)


def test_without_a_rank_nothing_is_guessed() -> None:
    body = "t = SequenceAt (s, i) u = Neg (t) y = Shape (u)"
    with pytest.raises(ImportModelError, match="rank of the tensors in its input is not known"):
        from_onnx(model("(seq(float[]) s, int64 i) => (int64[k] y)", body))


ALONE = """
import ctypes, sys
import numpy as np
import tvm_ffi

ctypes.CDLL(sys.argv[1], ctypes.RTLD_GLOBAL)
vm = tvm_ffi.load_module(sys.argv[2])["vm_load_executable"]()
vm["vm_initialization"](1, 0, 2)  # the CPU, its number, the pooled allocator
given = [np.full((n, 2), n, "float32") for n in (1, 2, 3)]
x, *values = [tvm_ffi.from_dlpack(array) for array in given]
place = tvm_ffi.from_dlpack(np.asarray(-1))
more, none, joined = vm["main"](x, values, None, place)
assert [value.shape[0] for value in more] == [2, 1, 3] and none is None
assert np.from_dlpack(joined)[:, 0].tolist() == [2, 2, 1, 3, 3, 3]
assert "tvm" not in sys.modules
"""


def test_a_library_needs_no_python_of_tvm(tmp_path: Path) -> None:
    """Only the C++ runtime and `tvm_ffi`, which calls it."""
    proto = model(
        "(float[n,2] x, seq(float[k,2]) s, optional(float[m]) o, int64 i)"
        " => (seq(float[a,2]) more, optional(float[m]) same, float[t,2] joined)",
        """
        more = SequenceInsert (s, x, i)
        same = Identity (o)
        joined = ConcatFromSequence <axis = 0> (more)
        """,
    )
    build(from_onnx(proto)).export_library(str(tmp_path / "lib.so"))
    runtime = next(Path(tvm.__file__).parent.rglob("libtvm_runtime.*"))
    command = [sys.executable, "-c", ALONE, str(runtime), str(tmp_path / "lib.so")]
    subprocess.run(command, check=True, timeout=120)
