"""Indices that rows share, in tables; operands stretched along dims not known to be 1."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tvm
from rules_cases import Kernel, dims, random, schedule, tensor
from tvm import relax, tirx

import tvm_sod2

op = relax.op
n, h, w, p, q = dims("nhwpq")
INPUTS = [(1, 1, 1), (2, 3, 5), (1, 16, 17), (3, 7, 31), (0, 3, 3)]
OUTPUTS = [(1, 1), (1, 13), (7, 3), (16, 17), (31, 513), (2, 1031)]


def nearest() -> Kernel:
    """Channels first, to the size of a second operand, which is added."""

    def graph(bb, x, like):
        size = relax.ShapeExpr(list(like.ty.shape))
        y = bb.emit(
            op.image.resize2d(
                x,
                size,
                layout="NCHW",
                method="nearest_neighbor",
                coordinate_transformation_mode="asymmetric",
                rounding_method="floor",
            )
        )
        return op.add(y, like)

    return Kernel([tensor(n, 3, h, w), tensor(p, q)], graph)


def positions(size: int, target: int) -> np.ndarray:
    """Where a row of the result reads, in float32 as the operator computes."""
    return np.arange(target, dtype=np.float32) * (np.float32(size) / np.float32(target))


def test_nearest() -> None:
    kernel = nearest()
    assert "table" in schedule(kernel.func).script()
    for count, height, width in INPUTS:
        for target in OUTPUTS:
            x = random(count, 3, height, width)
            rows, columns = (
                np.minimum(np.floor(positions(s, t)).astype(int), s - 1)
                for s, t in zip((height, width), target, strict=True)
            )
            found = kernel(x, np.zeros(target, np.float32))[0]
            np.testing.assert_array_equal(found, x[:, :, rows][:, :, :, columns])


@pytest.mark.parametrize("scales", ["1, 1, 2, 2", "1, 1, 0.6, 1.3"])
@pytest.mark.parametrize("after", ["Relu", "Sigmoid"])
def test_linear(scales: str, after: str) -> None:
    """Four loads of tables an element; what follows may want vectors."""
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        resized (float[n, 3, h, w] x) => (float[n, 3, p, q] z)
        <float[4] scales = {{{scales}}}>
        {{
            y = Resize<mode = "linear">(x, , scales)
            z = {after}(y)
        }}""")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    main = relax.VirtualMachine(tvm_sod2.build(tvm_sod2.from_onnx(model)), tvm.cpu())["main"]
    for count, height, width in [(1, 2, 3), (2, 3, 5), (1, 16, 17), (3, 7, 31), (1, 5, 1031)]:
        x = random(count, 3, height, width)
        (expected,) = session.run(None, {"x": x})
        np.testing.assert_allclose(main(tvm.runtime.tensor(x)).numpy(), expected, atol=1e-3)


@pytest.mark.parametrize("columns", [w, 3])
def test_stretched(columns: object) -> None:
    """Each row twice, each image three times, as Tile says it."""
    shape = [n, 1, h, 1, columns]
    kernel = Kernel([tensor(*shape)], lambda bb, x: op.broadcast_to(x, [n, 3, h, 2, columns]))
    if isinstance(columns, tirx.Var):
        assert "Select" not in schedule(kernel.func).script()
    for count in (0, 1, 2, 5):
        for height in (0, 1, 3):
            for width in (0, 1, 15, 16, 17, 67) if isinstance(columns, tirx.Var) else (3,):
                x = random(count, 1, height, 1, width)
                expected = np.broadcast_to(x, (count, 3, height, 2, width))
                np.testing.assert_array_equal(kernel(x)[0], expected)
