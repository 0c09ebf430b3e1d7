"""The inner loops of kernels for other machines: whole vectors, fused, and none on the stack."""

import pytest
from assembly import MACHINES, Machine, assembly, count, inner_loops, of_function
from kernel_cases import Case, dims, random, tensor
from tvm import relax, tirx

from tvm_sod2.schedules.attention import attention_kernel
from tvm_sod2.schedules.attention_spec import Attention, Axis, View
from tvm_sod2.schedules.recurrent import emit_recurrent, recurrent_kernel
from tvm_sod2.schedules.recurrent_cell import Activation, Cell
from tvm_sod2.schedules.traits import Traits
from tvm_sod2.schedules.vectorise_math import vectorise_math

op = relax.op

LAYOUTS = {"data_layout": "NHWC", "kernel_layout": "OHWI"}
n, h, w, m, k = dims("n h w m k")

# Each with the accumulators of its largest tile, where a machine has `full` for two vectors.
TILES = {
    "gemm": (
        Case(
            lambda x, w, b: op.nn.gelu(op.add(op.matmul(x, w), b)),
            [tensor(m, 200)],
            [random(200, 64), random(64)],
        ),
        lambda full: full,
    ),
    "run-time product": (
        Case(lambda x, y: op.matmul(x, y), [tensor(m, k), tensor(k, n)]),
        lambda full: 12,
    ),
    "strided": (
        Case(
            lambda x, w: op.nn.relu(op.nn.conv2d(x, w, strides=2, padding=1, **LAYOUTS)),
            [tensor(n, h, w, 48)],
            [random(64, 3, 3, 48)],
        ),
        lambda full: full,
    ),
    "pointwise": (
        Case(
            lambda x, w: op.nn.conv2d(x, w, **LAYOUTS),
            [tensor(n, h, w, 130)],
            [random(64, 1, 1, 130)],
        ),
        lambda full: full,
    ),
    "winograd": (
        Case(
            lambda x, w: op.nn.conv2d(x, w, padding=1, **LAYOUTS),
            [tensor(n, h, w, 40)],
            [random(32, 3, 3, 40)],
        ),
        lambda full: full,
    ),
    "transposed": (
        Case(
            lambda x, w: op.nn.conv2d_transpose(
                x, w, strides=(2, 2), padding=(1, 1), data_layout="NHWC"
            ),
            [tensor(n, h, w, 40)],
            [random(40, 64, 4, 4)],
        ),
        lambda full: full,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TILES)
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_full_tile_stays_in_registers(machine: Machine, name: str) -> None:
    """One step of the reduction: a product for each accumulator, a load or a broadcast for each
    vector and row, and few instructions more."""
    case, tile = TILES[name]
    accumulators = tile(machine.accumulators)
    loops = inner_loops(assembly(case, machine))
    steps = [loop for loop in loops if count(machine.product, loop) == accumulators]
    assert steps
    assert not any(count(machine.spill, loop) for loop in steps)
    # Without FMA a product is a copy, a multiplication and an addition.
    each = 4.5 if machine.cpu == "nehalem" else 2
    assert min(len(loop.split("\n")) for loop in steps) <= each * accumulators + 4


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_depthwise_taps(machine: Machine) -> None:
    """Four pixels and two vectors: at least one kernel row of three taps, in registers."""
    case = Case(
        lambda x, w: op.nn.conv2d(x, w, padding=1, groups=64, **LAYOUTS),
        [tensor(n, h, w, 64)],
        [random(64, 3, 3, 1)],
    )
    loops = inner_loops(assembly(case, machine))
    rows = [loop for loop in loops if count(machine.product, loop) >= 24]
    assert rows
    # LLVM unrolls kernel rows and loads weights early; with 16 registers and no FMA some wait.
    assert all(8 * count(machine.spill, loop) <= count(machine.product, loop) for loop in rows)


# What is computed, and how many products a vector takes.
MATH = {
    "exp": (lambda x: op.exp(x), 6),
    "erf": (lambda x: op.erf(x), 12),
    "softmax": (lambda x: op.nn.softmax(x, axis=-1), 4),
    "sigmoid": (lambda x: op.sigmoid(x), 6),
}


@pytest.mark.parametrize("name", MATH)
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_functions_are_polynomials_of_whole_vectors(machine: Machine, name: str) -> None:
    compute, products = MATH[name]
    text = assembly(Case(compute, [tensor(m, k)]), machine)
    loops = [loop for loop in inner_loops(text) if count(machine.product, loop) >= products]
    assert loops
    assert not any(count(r"\b(?:callq?|blr?)\s", loop) for loop in loops)
    assert not any(f"{function}f" in text for function in ("exp", "erf", "tanh"))


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_recurrent_step(machine: Machine) -> None:
    acts = tuple(Activation(name, 0.0, 0.0) for name in ("Sigmoid", "Tanh", "Tanh"))
    cell = Cell("LSTM", 64, (False,), (acts,))
    traits = Traits.from_target(machine.target)
    kernel = emit_recurrent(recurrent_kernel(cell), frozenset({1}), traits)
    loops = inner_loops(of_function(vectorise_math(kernel.func), machine))
    # Four gates of two rows, of six, or of two rows at two places.
    sums = [loop for loop in loops if count(machine.product, loop) in (8, 16, 24)]
    assert sums
    assert not any(count(machine.spill, loop) for loop in sums)


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_products_of_attention(machine: Machine) -> None:
    sizes = dims("b h s t")
    shapes = [(*sizes[:3], 64), (*sizes[:2], sizes[3], 64), (*sizes[:2], sizes[3], 64)]
    views = [
        View(tirx.decl_buffer(shape, "float32", name, layout=None), tuple(map(Axis, range(4))))
        for shape, name in zip([*shapes, shapes[0]], "qkvy", strict=True)
    ]
    params = tuple(view.buffer for view in views)
    attention = Attention(params, tuple(sizes[:2]), sizes[2], sizes[3], 64, 64, *views, 0.125, ())
    func = attention_kernel(attention, Traits.from_target(machine.target))
    loops = inner_loops(of_function(vectorise_math(func), machine))
    products = {loop: count(machine.product, loop) for loop in loops}
    assert max(products.values()) >= machine.accumulators
    for loop, number in products.items():
        # A single query row's dot products are unrolled over its whole depth.
        if number >= machine.accumulators:
            assert 16 * count(machine.spill, loop) <= max(number - machine.accumulators, 0)
