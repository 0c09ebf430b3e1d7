"""Loop and Scan, alone, nested and with If, against ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tvm
from loop_graphs import check, compiled, feed, graph, op
from node_cases import all_cases, symbolic
from onnx import TensorProto, helper

from scripts.node_test_cases import mismatch
from tvm_sod2 import analyze, build, from_onnx
from tvm_sod2.errors import ImportModelError

RUNNING_SUM = graph(
    [op("t = Add(s, x)"), op("go = Identity(c)"), op("sq = Mul(t, t)")],
    "i:i: c:b: s:f",
    "go:b: t:f sq:f",
)


def test_trips_and_collected_values() -> None:
    main = graph(
        [op("last, all = Loop(m, c, s0)", body=RUNNING_SUM)],
        "m:i: c:b: x:f:n,3 s0:f:n,3",
        "last:f all:f",
    )
    feeds = [feed(m=np.int64(m), c=True, x=(4, 3), s0=(4, 3)) for m in (1, 2, 7, 100)]
    check(main, *feeds)
    ours, _ = compiled(main)
    for none in (feed(m=np.int64(0), c=True, x=(4, 3), s0=(4, 3)),
                 feed(m=np.int64(9), c=False, x=(4, 3), s0=(4, 3))):  # fmt: skip
        last, collected = ours(none)
        np.testing.assert_array_equal(last, none["s0"])
        assert collected.shape == (0, 4, 3)


def test_a_captured_tensor_of_a_computed_dim() -> None:
    """Its dim is one more than the run finds, and nothing else tells the turns how much that is."""
    body = graph(
        [op("go = Identity(c)"), op("sum = ReduceSum(more)", keepdims=0), op("t = Add(s, sum)")],
        "i:i: c:b: s:f:n",
        "go:b: t:f:n",
    )
    main = graph(
        [
            op("places = NonZero(x)"),
            op("first = Gather(places, zero)", axis=0),
            op("found = Cast(first)", to=TensorProto.FLOAT),
            op("more = Concat(found, one)", axis=0),
            op("last = Loop(m, , x)", body=body),
        ],
        "m:i: x:f:n",
        "last:f",
        zero=0,
        one=[1.0],
    )
    check(main, *(feed(m=np.int64(m), x=(k,)) for m, k in ((0, 3), (1, 1), (5, 7))))


def test_large_states_that_change_places() -> None:
    """Large state is overwritten in place: no result may be a view of what is overwritten."""
    body = graph(
        [
            op("p = Identity(b)"),
            op("q = Mul(a, one)"),
            op("r = Add(c3, a)"),
            op("go = Identity(c)"),
            op("seen = Identity(a)"),
            op("flat = Reshape(b, shape)"),
        ],
        "i:i: c:b: a:f b:f c3:f",
        "go:b: p:f q:f r:f seen:f flat:f",
        one=1.0,
        shape=[-1],
    )
    main = graph(
        [op("a, b, c, all, flats = Loop(m, , a0, b0, c0)", body=body)],
        "m:i: a0:f:n,k b0:f:n,k c0:f:n,k",
        "a:f b:f c:f all:f flats:f",
    )
    shape = (3, 5)
    feeds = [feed(m=np.int64(m), a0=shape, b0=shape, c0=shape) for m in (1, 2, 5, 8)]
    for given in feeds:
        given["b0"] = given["b0"] + 1
    check(main, *feeds)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account")
@pytest.mark.parametrize("more", [[], ["sequence"]])
def test_a_thousand_trips_hold_three_copies_of_the_state(more: list[str]) -> None:
    """10 MB of state; the test's own copies are the input's and the result's."""
    command = [sys.executable, str(Path(__file__).with_name("loop_state.py")), *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < (3 + 2) * 10e6 + 5e6


def test_a_million_trips() -> None:
    body = graph(
        [op("t = Add(s, one)"), op("go = Identity(c)")], "i:i: c:b: s:i:", "go:b: t:i:", one=1
    )
    main = graph([op("last = Loop(m, , s0)", body=body)], "m:i: s0:i:", "last:i:")
    ours, _ = compiled(main)
    start = time.process_time()
    (last,) = ours(feed(m=np.int64(1_000_000), s0=np.int64(5)))
    assert last == 1_000_005
    assert time.process_time() - start < 30


def test_state_that_grows() -> None:
    body = graph(
        [op("t = Concat(s, x)", axis=0), op("go = Identity(c)")], "i:i: c:b: s:f", "go:b: t:f"
    )
    main = graph([op("last = Loop(m, , x)", body=body)], "m:i: x:f:n,2", "last:f")
    check(main, *(feed(m=np.int64(m), x=(n, 2)) for m, n in ((0, 3), (1, 2), (5, 1), (9, 4))))


def test_ends_by_its_condition() -> None:
    body = graph(
        [
            op("t = Mul(s, two)"),
            op("size = ReduceMax(t)", keepdims=0),
            op("go = Less(size, bound)"),
            op("n1 = Add(n, one)"),
        ],
        "i:i: c:b: s:f n:i:",
        "go:b: t:f n1:i: size:f:",
        two=2.0,
        one=1,
    )
    main = graph(
        [op("last, count, sizes = Loop(, , s0, zero)", body=body)],
        "s0:f:n bound:f:",
        "last:f count:i: sizes:f",
        zero=0,
    )
    for bound in (0.0, 10.0, 1e6):
        check(main, {"s0": np.ones(3, "float32"), "bound": np.asarray(bound, "float32")})


def test_loops_in_loops_with_captured_values() -> None:
    inner = graph(
        [
            op("a = Mul(x, s)"),
            op("f = Cast(j)", to=TensorProto.FLOAT),
            op("f2 = Cast(i)", to=TensorProto.FLOAT),
            op("b = Add(a, f)"),
            op("t = Add(b, f2)"),
            op("go = Identity(d)"),
        ],
        "j:i: d:b: s:f",
        "go:b: t:f",
    )
    outer = graph(
        [
            op("u = Loop(i, , r)", body=inner),
            op("go2 = Identity(c)"),
            op("mean = ReduceMean(u)", keepdims=0),
        ],
        "i:i: c:b: r:f",
        "go2:b: u:f mean:f:",
    )
    main = graph(
        [op("x = Sigmoid(y)"), op("last, means = Loop(m, , y)", body=outer)],
        "m:i: y:f:n",
        "last:f means:f",
    )
    check(main, *(feed(m=np.int64(m), y=(n,)) for m, n in ((1, 3), (4, 2), (6, 5))))


def test_if_in_a_loop_and_loop_in_an_if() -> None:
    grow = graph([op("t1 = Concat(s, x)", axis=0)], "", "t1:f")
    keep = graph([op("t2 = Relu(s)")], "", "t2:f")
    body = graph(
        [
            op("r = Mod(i, two)"),
            op("even = Equal(r, zero)"),
            op("t = If(even)", then_branch=grow, else_branch=keep),
            op("go = Identity(c)"),
        ],
        "i:i: c:b: s:f",
        "go:b: t:f",
        two=2,
        zero=0,
    )
    looped = graph([op("p = Loop(m, , x)", body=body)], "", "p:f")
    plain = graph([op("q = Exp(x)")], "", "q:f")
    main = graph(
        [op("y = If(c0)", then_branch=looped, else_branch=plain)], "c0:b: m:i: x:f:n", "y:f"
    )
    check(main, *(feed(c0=c, m=np.int64(m), x=(n,)) for c, m, n in
                  ((True, 5, 3), (False, 5, 3), (True, 0, 2), (True, 1, 4))))  # fmt: skip


SCAN_BODY = graph([op("t = Add(s, x)"), op("y = Mul(t, z)")], "s:f:k x:f:k z:f:k", "t:f:k y:f:k")


@pytest.mark.parametrize(
    "attrs",
    [
        {},
        {"scan_input_directions": [1, 0], "scan_output_directions": [1]},
        {"scan_input_axes": [0, 1], "scan_output_axes": [1]},
        {"scan_input_axes": [-2, -1], "scan_output_axes": [-1], "scan_input_directions": [0, 1]},
    ],
)
def test_scan(attrs: dict[str, list[int]]) -> None:
    along = attrs.get("scan_input_axes", [0, 0])
    dims = ["n,k" if axis in (0, -2) else "k,n" for axis in along]
    main = graph(
        [op("last, ys = Scan(s0, x, z)", body=SCAN_BODY, num_scan_inputs=2, **attrs)],
        f"s0:f:k x:f:{dims[0]} z:f:{dims[1]}",
        "last:f ys:f",
    )
    shape = {"n,k": lambda n, k: (n, k), "k,n": lambda n, k: (k, n)}
    check(main, *(feed(s0=(k,), x=shape[dims[0]](n, k), z=shape[dims[1]](n, k))
                  for n, k in ((1, 3), (6, 2), (17, 5))))  # fmt: skip


@pytest.mark.parametrize("name", ["test_loop11", "test_scan9_sum", "test_scan9_multi_state"])
def test_node_tests_of_onnx(name: str) -> None:
    case = symbolic(next(case for case in all_cases() if case.name == name))
    vm = tvm.relax.VirtualMachine(build(from_onnx(case.model)), tvm.cpu())
    results = vm["main"](*map(tvm.runtime.tensor, map(np.asarray, case.inputs)))
    assert not mismatch(case, [value.numpy() for value in results])


def test_dead_arms_do_not_run() -> None:
    """The arm that is not taken would be a loop of 2**40 trips."""
    body = graph(
        [op("t = Add(s, one)"), op("go = Identity(c)")], "i:i: c:b: s:f:", "go:b: t:f:", one=1.0
    )
    slow = graph([op("a = Loop(huge, , x)", body=body)], "", "a:f:", huge=2**40)
    fast = graph([op("b = Neg(x)")], "", "b:f:")
    main = graph([op("y = If(c)", then_branch=slow, else_branch=fast)], "c:b: x:f:", "y:f:")
    ours, _ = compiled(main)
    (y,) = ours({"c": np.asarray(False), "x": np.asarray(3, "float32")})
    assert y == -3


def test_a_rank_that_grows_is_refused() -> None:
    body = graph(
        [op("t = Unsqueeze(s, zero)"), op("go = Identity(c)")],
        "i:i: c:b: s:f",
        "go:b: t:f",
        zero=[0],
    )
    main = graph([op("last = Loop(m, , x)", body=body)], "m:i: x:f:n", "last:f")
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(ImportModelError, match="of rank 1 before a turn and float32 of rank 2"):
        from_onnx(model)


def test_reports_name_what_a_loop_leaves_open() -> None:
    main = graph(
        [op("last, all = Loop(m, , s0)", body=RUNNING_SUM)],
        "m:i: x:f:n,3 s0:f:n,3",
        "last:f all:f",
    )
    model = helper.make_model(main, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    assert "Loop" in str(analyze(from_onnx(model)))


def test_messages_from_a_body_name_its_nodes() -> None:
    body = graph(
        [op("h = Neg(w)"), op("t = Add(s, h)"), op("go = Identity(c)")],
        "i:i: c:b: s:f:n",
        "go:b: t:f:n",
    )
    main = graph([op("last = Loop(m, , x)", body=body)], "m:i: x:f:n w:f:k", "last:f:n")
    ours, _ = compiled(main)
    given = {"m": np.asarray(2), "x": np.ones(3, "float32")}
    (last,) = ours(given | {"w": np.ones(3, "float32")})
    np.testing.assert_array_equal(last, -np.ones(3))
    with pytest.raises(ValueError, match=r"t \(Add\): dim 0 of h is k, expected"):
        ours(given | {"w": np.ones(4, "float32")})
