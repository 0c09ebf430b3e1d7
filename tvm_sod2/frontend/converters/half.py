"""Operators that sum or chain steps, on 16-bit floats: computed in float32, rounded once.

Sums of 16-bit products lose a digit every few terms. ONNX Runtime, too, computes such operators in
float32 on a CPU and rounds their results.
"""

from __future__ import annotations

from tvm.relax import Expr

from tvm_sod2.frontend.context import Context, Converter

HALF = ("float16", "bfloat16")

# fmt: off
IN_FLOAT32 = frozenset({
    "AveragePool", "Celu", "Conv", "ConvTranspose", "CumProd", "CumSum", "DFT", "DeformConv",
    "Det", "Einsum", "Elu", "Gelu", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GridSample",
    "HardSwish", "InstanceNormalization", "LRN", "LogSoftmax", "LpNormalization", "LpPool",
    "MatMul", "Mean", "MeanVarianceNormalization", "Mish", "ReduceL1", "ReduceL2",
    "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Resize", "Selu", "Softmax", "Softplus", "Softsign", "Sum", "Swish",
    "com.microsoft.BiasGelu", "com.microsoft.FastGelu", "com.microsoft.FusedMatMul",
    "com.microsoft.Gelu", "com.microsoft.QuickGelu", "com.microsoft.SkipLayerNormalization",
    "com.microsoft.SkipSimplifiedLayerNormalization",
})
# fmt: on
"""Operators whose floats are all of one type."""


def in_float32(converter: Converter) -> Converter:
    """Return the converter with 16-bit inputs widened and its float32 results rounded back."""

    def converted(c: Context, inputs: list, attrs: dict) -> list[Expr]:
        half = next((c.dtype(x) for x in inputs if x is not None and c.dtype(x) in HALF), None)
        if half is None:
            results = converter(c, inputs, attrs)
            return results if isinstance(results, list) else [results]
        wide = [
            c.astype(x, "float32") if x is not None and c.dtype(x) == half else x for x in inputs
        ]
        results = converter(c, wide, attrs)
        named = [c.emit(y) for y in (results if isinstance(results, list) else [results])]
        return [c.astype(y, half) if c.dtype(y) == "float32" else y for y in named]

    return converted
