"""One fused group as we build it and one small graph in ONNX Runtime, timed in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tvm
from onnx import TensorProto, helper, numpy_helper
from tvm import relax, tirx

import tvm_sod2
from tvm_sod2.passes.lower import lower_to_vm
from tvm_sod2.schedules.legalize import LEGALIZE
from tvm_sod2.schedules.schedule import ScheduleKernels
from tvm_sod2.schedules.traits import Traits, host_target

Program = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    ``prepare`` builds both sides and returns them as programs, ours first. ``flops`` counts
    multiplications and additions, a Winograd convolution as the direct one that it replaces.
    """

    family: str
    name: str
    flops: float
    prepare: Callable[[], tuple[Program, Program]]


@dataclass(frozen=True)
class Convolution:
    """A convolution without bias as networks contain it, in ONNX's layout."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the result."""
        height, width = (
            (self.x[2 + i] + self.pads[i] + self.pads[2 + i] - (self.w[2 + i] - 1) * d - 1) // s + 1
            for i, (s, d) in enumerate(zip(self.strides, self.dilations, strict=True))
        )
        return height, width

    @property
    def flops(self) -> float:
        height, width = self.out
        return 2.0 * self.x[0] * height * width * float(np.prod(self.w))

    def __str__(self) -> str:
        o, _, kh, kw = self.w
        kind = "depthwise" if self.groups == self.x[1] > 1 else "conv"
        return f"{kind} {kh}x{kw}/{self.strides[0]} {self.x[1]}->{o} @{self.x[2]}x{self.x[3]}"

    def prepare(self) -> tuple[Program, Program]:
        """Ours takes and gives channels-last tensors, ONNX Runtime channels-first ones."""
        rng = np.random.default_rng(0)
        weight = rng.standard_normal(self.w).astype(np.float32)
        x = rng.standard_normal(self.x).astype(np.float32)

        def conv(data: Any, kernel: Any) -> Any:
            return relax.op.nn.conv2d(
                data,
                kernel,
                strides=self.strides,
                padding=self.pads,
                dilation=self.dilations,
                groups=self.groups,
                data_layout="NHWC",
                kernel_layout="OHWI",
            )

        dims = [tirx.Var(name, "int64") for name in "nhw"]
        last = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        ours = compiled(conv, [[*dims, self.x[1]]], [weight.transpose(0, 2, 3, 1).copy()])
        return ours(last), session([self.node()], [4], [weight])(x)

    def node(self) -> onnx.NodeProto:
        """The convolution as ONNX has it, of x0 and w0."""
        return helper.make_node(
            "Conv",
            ["x0", "w0"],
            ["y"],
            strides=self.strides,
            pads=self.pads,
            dilations=self.dilations,
            group=self.groups,
        )


def compiled(
    compute: Callable[..., Any],
    given: Sequence[Sequence[Any]],
    weights: Sequence[np.ndarray],
) -> Callable[..., Program]:
    """One fused group of inputs of shapes `given`, built once for any size of their symbols.

    Call what comes back with arrays to have a program.
    """
    bb = relax.BlockBuilder()
    inputs = [relax.TensorType(shape, "float32") for shape in given]
    types = [*inputs, *(relax.TensorType(w.shape, "float32") for w in weights)]
    params = [relax.Var(f"p{i}", t) for i, t in enumerate(types)]
    with bb.function("group", params, private=True, attrs={"Primitive": True}):
        with bb.dataflow():
            out = bb.emit_output(compute(*params))
        bb.emit_func_output(out)
    group = bb.get().get_global_var("group")
    taken = [relax.Var(f"x{i}", t) for i, t in enumerate(inputs)]
    with bb.function("main", taken):
        with bb.dataflow():
            out = bb.emit_output(relax.Call(group, [*taken, *map(relax.const, weights)]))
        bb.emit_func_output(out)
    target = host_target()
    passes = [
        relax.transform.LegalizeOps(LEGALIZE),
        relax.transform.FuseTIR(),
        ScheduleKernels(Traits.from_target(target)),
        *lower_to_vm(target),
    ]
    lowered = tvm.transform.Sequential(passes)(bb.get())
    executable = relax.build(lowered, target, relax_pipeline=None)
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    return lambda *arrays: partial(main, *map(tvm.runtime.tensor, arrays))


def model_of(
    nodes: Sequence[onnx.NodeProto], dims: Sequence[Sequence[Any]], weights: Sequence[np.ndarray]
) -> onnx.ModelProto:
    """Nodes from x0, x1, ... of some dims and weights w0, w1, ... to y."""
    inputs = [
        helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, shape)
        for i, shape in enumerate(dims)
    ]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)]
    graph = helper.make_graph(list(nodes), "kernel", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def built(
    nodes: Sequence[onnx.NodeProto],
    dims: Sequence[Sequence[Any]],
    weights: Sequence[np.ndarray] = (),
) -> Callable[..., Program]:
    """Nodes as `model_of` has them, as the whole pipeline builds them."""
    executable = tvm_sod2.build(tvm_sod2.from_onnx(model_of(nodes, dims, weights)))
    main = relax.VirtualMachine(executable, tvm.cpu())["main"]
    return lambda *arrays: partial(main, *map(tvm.runtime.tensor, arrays))


def session(
    nodes: Sequence[onnx.NodeProto], ranks: Sequence[int], weights: Sequence[np.ndarray]
) -> Callable[..., Program]:
    """ONNX Runtime on nodes from x0, x1, ... and weights w0, w1, ... to y, with TVM's threads."""
    model = model_of(nodes, [[None] * rank for rank in ranks], weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = tvm.get_global_func("runtime.NumThreads")()
    run = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    ).run
    return lambda *arrays: partial(run, None, {f"x{i}": a for i, a in enumerate(arrays)})


def measure(case: Case, seconds: float) -> tuple[float, float]:
    """Median seconds of ours and of ONNX Runtime's, run in turn; processor time at one thread."""
    from cores import timed_in_turn

    return timed_in_turn(*case.prepare(), seconds, tvm.get_global_func("runtime.NumThreads")())
