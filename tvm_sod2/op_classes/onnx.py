"""The operators of ONNX: dynamism class, mapping type and why, for reports and docs/operators.md.

The compiler itself works on Relax's rows (table.py); an ONNX operator becomes one or several of
those. Classes are SoD2's, by the newest opset; mapping types are DNNFusion's.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm_sod2.op_classes.row import Dynamism, Mapping

_ISDO, _ISDOS, _ISVDOS, _EDO = Dynamism.ISDO, Dynamism.ISDOS, Dynamism.ISVDOS, Dynamism.EDO
_ONE, _EXPAND, _MANY = Mapping.ONE_TO_ONE, Mapping.ONE_TO_MANY, Mapping.MANY_TO_MANY
_REORGANIZE, _SHUFFLE = Mapping.REORGANIZE, Mapping.SHUFFLE


@dataclass(frozen=True)
class OnnxRow:
    """What is said of an ONNX operator.

    shape_inputs: by ONNX's names, the inputs whose values give the output's shape.
    """

    dynamism: Dynamism
    mapping: Mapping
    why: str
    shape_inputs: tuple[str, ...] = ()

    @property
    def demoted(self) -> Dynamism:
        """The class once the shape-giving inputs are constant."""
        return _ISDOS if self.dynamism is _ISVDOS else self.dynamism


def _alike(dynamism: Dynamism, mapping: Mapping, why: str, names: str) -> dict[str, OnnxRow]:
    return {name: OnnxRow(dynamism, mapping, why) for name in names.split()}


def _valued(mapping: Mapping, rows: dict[str, tuple[str, str]]) -> dict[str, OnnxRow]:
    """ISVDOS operators: the shape-giving inputs, and why."""
    return {
        name: OnnxRow(_ISVDOS, mapping, why, tuple(inputs.split()))
        for name, (inputs, why) in rows.items()
    }


def _each(dynamism: Dynamism, mapping: Mapping, rows: dict[str, str]) -> dict[str, OnnxRow]:
    return {name: OnnxRow(dynamism, mapping, why) for name, why in rows.items()}


_AXES = "one entry per kept index; with axes that only the run knows it is ISVDOS"

ONNX_ROWS: dict[str, OnnxRow] = {
    **_alike(
        _ISDOS,
        _ONE,
        "one entry from one entry, in the shape of the input",
        """Abs Acos Acosh Asin Asinh Atan Atanh BitCast BitwiseNot Cast Ceil Celu Cos Cosh Elu Erf
        Exp Floor Gelu HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not
        Optional RandomNormalLike RandomUniformLike Reciprocal RegexFullMatch Relu Round Selu Shrink
        Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu Bernoulli""",
    ),
    **_alike(
        _ISDOS,
        _ONE,
        "one entry from one entry of each input; the shapes broadcast",
        """Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less
        LessOrEqual Max Mean Min Mod Mul Or PRelu Pow StringConcat Sub Sum Where Xor""",
    ),
    **_each(
        _ISDOS,
        _ONE,
        {
            "BatchNormalization": "a scale and a shift per channel",
            "CastLike": "the dtype is that of the second input, the shape that of the first",
            "Clip": "the limits bound entries, not dims",
            "Concat": "each entry comes from one input; the dims along the axis add up",
            "DequantizeLinear": "scale and zero point stand per tensor, per axis or per block",
            "Dropout": "the identity while inferring; the mask has the shape of the data",
            "QuantizeLinear": "scale and zero point stand per tensor, per axis or per block",
            "RotaryEmbedding": "pairs of entries turn within their head",
            "SwiGLU": "a gate and a value of one place each",
            "Trilu": "k moves the diagonal, not the dims",
        },
    ),
    **_valued(
        _ONE,
        {
            "CenterCropPad": ("shape", "the wanted extents are an input"),
            "Pad": ("pads axes", "the widths are added to the dims"),
            "Slice": ("starts ends axes steps", "bounds, clamped to the dims, give the extents"),
            "Split": ("split", "the sizes of the parts are an input"),
            "SplitToSequence": ("split", "how many parts and how large is an input"),
        },
    ),
    **_each(
        _ISDOS,
        _EXPAND,
        {
            "Gather": "the indices' dims stand in place of the axis; their values pick entries",
            "GatherElements": "one entry per index, in the shape of the indices",
            "GatherND": "the last dim of the indices, which decides the rank, is a dim",
            "GridSample": "the grid's dims are the new spatial dims",
            "Constant": "its value is an attribute",
            "RandomNormal": "the shape is an attribute",
            "RandomUniform": "the shape is an attribute",
        },
    ),
    **_valued(
        _EXPAND,
        {
            "AffineGrid": ("size", "the grid covers an image of the size given"),
            "BlackmanWindow": ("size", "its length is an input"),
            "Expand": ("shape", "the wanted shape broadcasts with the input's"),
            "HammingWindow": ("size", "its length is an input"),
            "HannWindow": ("size", "its length is an input"),
            "MelWeightMatrix": ("num_mel_bins dft_length", "bins and spectrum give both dims"),
            "OneHot": ("depth", "the new axis is as long as the depth says"),
            "Range": ("start limit delta", "ceil((limit - start) / delta) entries"),
            "Resize": ("roi scales sizes", "floor(dim * scale), or the sizes themselves"),
            "Tile": ("repeats", "each dim times its repeats"),
            "Upsample": ("scales", "floor(dim * scale)"),
        },
    ),
    **_alike(
        _ISDOS,
        _MANY,
        _AXES,
        """ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
        ReduceSum ReduceSumSquare""",
    ),
    **_alike(
        _ISDOS,
        _MANY,
        "each entry needs many along an axis; the shape stays",
        """CumProd CumSum GroupNormalization Hardmax InstanceNormalization LRN LayerNormalization
        LogSoftmax LpNormalization MeanVarianceNormalization RMSNormalization Softmax""",
    ),
    **_alike(
        _ISDOS,
        _MANY,
        "a window slides over the spatial dims: extents, strides and pads are attributes",
        """AveragePool Conv ConvInteger ConvTranspose DeformConv LpPool MaxPool QLinearConv
        CausalConvWithState""",
    ),
    **_alike(
        _ISDOS,
        _MANY,
        "rows times columns: the shared dim goes, batch dims broadcast",
        "Gemm MatMul MatMulInteger QLinearMatMul",
    ),
    **_alike(
        _ISDOS,
        _MANY,
        "every query meets every key; their lengths are dims",
        "Attention LinearAttention",
    ),
    **_alike(
        _ISDOS,
        _MANY,
        "steps are a dim and sizes those of the weights; sequence lengths only mask",
        "GRU LSTM RNN",
    ),
    **_alike(
        _ISDOS, _MANY, "all spatial dims become 1", "GlobalAveragePool GlobalLpPool GlobalMaxPool"
    ),
    **_alike(_ISDOS, _MANY, "one place per kept index; the axis is an attribute", "ArgMax ArgMin"),
    **_alike(
        _ISDOS,
        _MANY,
        "the shape of the data; indices say where it is written over",
        "Scatter ScatterElements ScatterND TensorScatter",
    ),
    **_each(
        _ISDOS,
        _MANY,
        {
            "Det": "the last two dims become one number",
            "DynamicQuantizeLinear": "scale and zero point come from all entries; the shape stays",
            "Einsum": "labels name dims; those not in the result are summed over",
            "MaxRoiPool": "one pooled window of a fixed size per region",
            "Multinomial": "the number of samples is an attribute",
            "NegativeLogLikelihoodLoss": "a number per target, or one for all",
            "ReverseSequence": "lengths move entries within their sequence; the shape stays",
            "RoiAlign": "one window of a fixed size per region",
            "Scan": "as many turns as a dim says; the body's shapes are those of one slice",
            "SoftmaxCrossEntropyLoss": "a number per target, or one for all",
            "TfIdfVectorizer": "counts over a vocabulary that is an attribute",
        },
    ),
    **_valued(
        _MANY,
        {
            "Col2Im": ("image_shape block_shape", "the image's extents are an input"),
            "DFT": ("dft_length axis", "the length of the transform is an input"),
            "MaxUnpool": ("output_shape", "the extents before the pooling are an input"),
            "STFT": ("frame_step frame_length", "step and length give the frames"),
            "TopK": ("K", "K entries of the axis remain"),
        },
    ),
    **_each(_ISDOS, _REORGANIZE, {"Flatten": "products of the dims before and after the axis"}),
    **_valued(
        _REORGANIZE,
        {
            "Reshape": ("shape", "the wanted shape, 0 copying a dim and -1 taking what is left"),
            "Squeeze": ("axes", "which dims of 1 go; without axes the dims themselves decide"),
            "Unsqueeze": ("axes", "where dims of 1 are put in"),
        },
    ),
    **_each(
        _ISDOS,
        _SHUFFLE,
        {
            "DepthToSpace": "the block size, an attribute, moves channels into the plane",
            "SpaceToDepth": "the block size, an attribute, moves the plane into channels",
            "Transpose": "the order of the dims is an attribute",
        },
    ),
    **_each(
        _ISDO,
        _EXPAND,
        {
            "ConstantOfShape": "its input is a shape, and nothing else enters the result",
            "EyeLike": "ones on a diagonal of the input's shape",
            "Shape": "the dims are the entries",
            "Size": "the product of the dims is the entry",
        },
    ),
    **_each(
        _ISDO,
        _ONE,
        {
            "OptionalHasElement": "whether it holds an element, not what its entries are",
            "SequenceEmpty": "nothing is in it",
            "SequenceLength": "the length of the sequence is the entry",
        },
    ),
    **_each(_ISDOS, _ONE, {"SequenceConstruct": "as many elements as inputs, each as it is"}),
    **_each(
        _EDO,
        _MANY,
        {
            "Compress": "as many entries as the condition has ones",
            "ConcatFromSequence": "what the sequence holds is known when it has been filled",
            "If": "the condition chooses the arm; dims that both arms share are kept",
            "ImageDecoder": "the image's extents are in its bytes",
            "Loop": "trips and the state's shapes are known when it ends; what stays is kept",
            "NonMaxSuppression": "as many boxes as survive",
            "NonZero": "as many columns as entries that are not zero; the rank gives the rows",
            "OptionalGetElement": "the element's shape is not stated by the type of the optional",
            "SequenceAt": "which element is taken, and its shape, is known when it is taken",
            "SequenceErase": "which element goes is a value",
            "SequenceInsert": "where the element goes is a value",
            "SequenceMap": "one turn per element of a sequence",
            "StringNormalizer": "stop words go",
            "StringSplit": "as many parts as the longest string has",
            "Unique": "as many entries as differ",
        },
    ),
}
