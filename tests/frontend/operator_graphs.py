"""Small graphs over symbolic dims, in ONNX's text form, and the sizes to run them at."""

from dataclasses import dataclass, field

import onnx

_NM = [{"n": 1, "m": 1}, {"n": 1, "m": 7}, {"n": 13, "m": 17}]
_IMAGE = [{"b": 1, "h": 5, "w": 7}, {"b": 2, "h": 16, "w": 11}, {"b": 1, "h": 33, "w": 8}]


@dataclass
class Graph:
    """A graph in ONNX's text form, and sizes of its dims to run it at."""

    name: str
    text: str
    sizes: list[dict[str, int]] = field(default_factory=lambda: _IMAGE)
    opset: int = 17
    rtol: float = 1e-4

    def model(self) -> onnx.ModelProto:
        header = f'<ir_version: 8, opset_import: ["": {self.opset}]>'
        return onnx.parser.parse_model(f"{header} agraph {self.text}")


GRAPHS = [
    Graph(
        "clip_in_both_forms",
        """(float[n,m] x, float low) => (float[n,m] y, float[n,m] z, float[n,m] q)
        <float one = {1.0}, float three = {3.0}> {
            y = Clip(x, low)  z = Clip(x, low, one)  q = Clip(x, three, one)
        }""",
        _NM,
    ),
    Graph(
        "broadcast_nobody_can_prove",
        """(float[n,m] x, float[p,m] y) => (float[q,m] z, bool[q,m] w) {
            z = Add(x, y)  w = Less(x, y)
        }""",
        [{"n": 1, "m": 3, "p": 5}, {"n": 5, "m": 3, "p": 1}, {"n": 7, "m": 3, "p": 7}],
    ),
    Graph(
        "broadcast_against_a_known_dim",
        "(float[n,m] x) => (float[n,5] y) <float[5] c = {1, 2, 3, 4, 5}> { y = Mul(x, c) }",
        [{"n": 3, "m": 1}, {"n": 3, "m": 5}],
    ),
    Graph(
        "integer_division_and_remainders",
        """(int64[n] x) => (int64[n] q, int64[n] r, int64[n] t) <int64 k = {3}, int64 j = {-3}> {
            q = Div(x, j)  r = Mod(x, j)  t = Mod<fmod = 1>(x, j)
        }""",
        [{"n": 1}, {"n": 31}],
    ),
    Graph(
        "activations",
        """(float[n,m] x) => (float[n,m] a, float[n,m] b, float[n,m] c, float[n,m] d, float[n,m] e,
            float[n,m] f, float[n,m] g, float[n,m] h, float[n,m] i) {
            a = HardSigmoid<alpha = 0.3, beta = 0.4>(x)  b = HardSwish(x)  c = Elu<alpha = 1.5>(x)
            d = Softplus(x)  e = LeakyRelu<alpha = 0.2>(x)  f = Selu(x)  g = Softsign(x)
            h = ThresholdedRelu<alpha = 0.5>(x)  i = Celu<alpha = 2.0>(x)
        }""",
        _NM,
    ),
    Graph(
        "softmax_of_opset_11_flattens",
        """(float[n,m,k] x) => (float[n,m,k] y, float[n,m,k] z) {
            y = Softmax(x)  z = LogSoftmax<axis = 2>(x)
        }""",
        [{"n": 2, "m": 3, "k": 5}, {"n": 1, "m": 1, "k": 7}],
        opset=11,
    ),
    Graph(
        "conv_with_auto_pad_and_stride",
        """(float[b,3,h,w] x, float[4,3,3,2] k, float[4] bias)
        => (float[b,4,i,j] y, float[b,4,i,j] z) {
            y = Conv<auto_pad = "SAME_UPPER", strides = [2, 3]>(x, k, bias)
            z = Conv<auto_pad = "SAME_LOWER", strides = [3, 2]>(x, k)
        }""",
    ),
    Graph(
        "conv_grouped_dilated_and_1d",
        """(float[b,4,h,w] x, float[6,2,3,3] k, float[b,4,w] s, float[2,4,3] t)
        => (float[b,6,i,j] y, float[b,2,l] z) {
            y = Conv<group = 2, dilations = [2, 1], pads = [2, 1, 2, 1]>(x, k)
            z = Conv<pads = [1, 1], strides = [2]>(s, t)
        }""",
    ),
    Graph(
        "conv_transpose",
        """(float[b,4,h,w] x, float[4,2,3,3] k, float[4,3,3,3] q)
        => (float[b,4,i,j] y, float[b,3,l,m] z) {
            y = ConvTranspose<group = 2, strides = [2, 2], output_padding = [1, 1]>(x, k)
            z = ConvTranspose<pads = [1, 0, 1, 0], strides = [1, 2]>(x, q)
        }""",
    ),
    Graph(
        "pooling",
        """(float[b,3,h,w] x) => (float[b,3,i,j] a, float[b,3,i,j] c, float[b,3,i,j] d,
            float[b,3,i,j] e, float[b,3,i,j] f, float[b,3,1,1] g) {
            a = MaxPool<kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1>(x)
            c = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
            d = AveragePool<kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1>(x)
            e = AveragePool<kernel_shape = [3, 3], auto_pad = "SAME_UPPER", strides = [2, 2]>(x)
            f = MaxPool<kernel_shape = [3, 3], auto_pad = "SAME_LOWER", strides = [2, 3]>(x)
            g = GlobalMaxPool(x)
        }""",
    ),
    Graph(
        "resize_by_powers_of_two_and_fractions",
        """(float[b,2,h,w] x) => (float[b,2,i,j] a, float[b,2,i,j] c, float[b,2,i,j] d,
            float[b,2,i,j] e)
        <float[4] two = {1, 1, 2, 2}, float[4] part = {1, 1, 0.6, 1.7}> {
            a = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
                (x, , two)
            c = Resize<mode = "linear">(x, , two)
            d = Resize<mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel">
                (x, , part)
            e = Resize<mode = "nearest">(x, , part)
        }""",
    ),
    Graph(
        "resize_to_sizes_of_another_tensor",
        """(float[b,2,h,w] x, float[b,2,i,j] other) => (float[b,2,i,j] a, float[b,2,i,j] c) {
            size = Shape(other)
            a = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">
                (x, , , size)
            c = Resize<mode = "cubic", cubic_coeff_a = -0.5, exclude_outside = 1>(x, , , size)
        }""",
        [{"b": 1, "h": 5, "w": 7, "i": 9, "j": 4}, {"b": 2, "h": 4, "w": 3, "i": 8, "j": 6}],
    ),
    Graph(
        "upsample_9",
        """(float[b,2,h,w] x) => (float[b,2,i,j] y) <float[4] s = {1, 1, 3, 2}> {
            y = Upsample<mode = "nearest">(x, s)
        }""",
        opset=9,
    ),
    Graph(
        "slices_clamp",
        """(float[n,m] x) => (float[i,j] a, float[i,j] c, float[i,j] d, float[i,j] e, float[i,j] f)
        <int64[2] far = {-100, 1}, int64[2] end = {9223372036854775807, -1}, int64[1] last = {-1},
         int64[1] start = {-9223372036854775808}, int64[1] one = {1}, int64[1] back = {-2},
         int64[1] zero = {0}, int64[1] ten = {10}, int64[1] three = {3}> {
            a = Slice(x, far, end)
            c = Slice(x, last, start, one, back)
            d = Slice(x, zero, ten, zero, three)
            e = Slice(x, ten, zero, one, last)
            f = Slice(x, last, ten, zero)
        }""",
        [*_NM, {"n": 11, "m": 2}],
    ),
    Graph(
        "slices_at_run_time",
        """(float[n,m] x, int64[2] s, int64[2] e) => (float[i,j] a, float[i,j] c)
        <int64[2] axes = {1, 0}, int64[2] steps = {2, -1}> {
            a = Slice(x, s, e)  c = Slice(x, s, e, axes, steps)
        }""",
        [{"n": 5, "m": 9}, {"n": 1, "m": 4}],
    ),
    Graph(
        "splits",
        """(float[n,m] x, int64[2] sizes)
        => (float[n,i] a, float[n,i] c, float[n,i] d, float[j,m] e, float[k,m] f) {
            a, c, d = Split<axis = 1, num_outputs = 3>(x)
            e, f = Split<axis = 0>(x, sizes)
        }""",
        [{"n": 7, "m": 8, "sizes": 7}, {"n": 4, "m": 9, "sizes": 4}],
        opset=18,
    ),
    Graph(
        "reshape_by_shape_arithmetic",
        """(float[n,m,6] x) => (float[i,j,3] a, float[n,k] b, float[m,n,6] c)
        <int64[1] zero = {0}, int64[1] open = {-1}, int64[1] three = {3}, int64[1] one = {1},
         int64[1] two = {2}, int64[3] keep = {0, -1, 3}> {
            a = Reshape(x, keep)
            shape = Shape(x)
            first = Slice(shape, zero, one)
            second = Slice(shape, one, two)
            flat = Concat<axis = 0>(first, open)
            b = Reshape(x, flat)
            turned = Concat<axis = 0>(second, zero, open)
            c = Reshape(x, turned)
        }""",
        [{"n": 5, "m": 5}, {"n": 1, "m": 1}, {"n": 7, "m": 7}],
    ),
    Graph(
        "expand_and_tile",
        """(float[n,1] x, float[k,1] r, int64[3] shape, int64[2] times)
        => (float[a,b,c] y, float[d,e] z, float[f,g] q) {
            y = Expand(x, shape)
            z = Tile(x, times)
            s = Shape(z)
            q = Expand(r, s)
        }""",
        [{"n": 3, "k": 1}, {"n": 3, "k": 6}, {"n": 1, "k": 2}],
    ),
    Graph(
        "ranges_and_fills",
        """(float[n,m] x, int64 stop) => (int64[a] y, float[m,n] z, int64[b] w, float[c] u)
        <int64 zero = {0}, int64 three = {3}, int64 five = {5}, int64 one = {1}, float f0 = {0.5},
         float f1 = {4.0}, float f2 = {0.25}> {
            y = Range(zero, stop, three)
            s = Shape(x)
            r = Gather(s, one)
            q = Gather(s, zero)
            axis = Constant<value_ints = [0]>()
            r1 = Unsqueeze(r, axis)
            q1 = Unsqueeze(q, axis)
            turned = Concat<axis = 0>(r1, q1)
            z = ConstantOfShape<value = float[1] {2.5}>(turned)
            back = Neg(three)
            w = Range(stop, zero, back)
            u = Range(f0, f1, f2)
        }""",
        _NM,
    ),
    Graph(
        "pads",
        """(float[n,m] x, int64[4] p) => (float[a,b] y, float[c,d] z, float[e,f] q, float[g,h] r)
        <int64[4] fixed = {1, 0, 2, -1}, int64[4] one = {1, 1, 1, 2}, float value = {7}> {
            y = Pad(x, fixed, value)
            z = Pad(x, p)
            q = Pad<mode = "reflect">(x, one)
            r = Pad<mode = "edge">(x, p)
        }""",
        [{"n": 3, "m": 4}, {"n": 13, "m": 7}],
    ),
    Graph(
        "gathers",
        """(float[n,m] x, int64[k] i, int64[n,3] j)
        => (float[k,m] y, float[n,3] z, float[m] w, float[n,2] v)
        <int64 last = {-1}, int64[2] ends = {0, -1}> {
            y = Gather(x, i)  z = GatherElements<axis = 1>(x, j)  w = Gather(x, last)
            v = Gather<axis = 1>(x, ends)
        }""",
        [{"n": 3, "m": 4, "k": 5}, {"n": 7, "m": 3, "k": 1}],
    ),
    Graph(
        "reductions",
        """(float[n,m,k] x) => (float[n,1,k] a, float[k] b, float[n,m,k] c, float[n,m] d, float e,
            int64[n,k] f, int64[n,1,k] g, float[n,m,k] h)
        <int64[1] one = {1}, int64 last = {-1}> {
            a = ReduceMean<axes = [1]>(x)
            b = ReduceL2<axes = [0, 1], keepdims = 0>(x)
            c = ReduceSum<noop_with_empty_axes = 1>(x)
            d = ReduceLogSumExp<axes = [-1], keepdims = 0>(x)
            e = ReduceMax<keepdims = 0>(x)
            f = ArgMax<axis = 1, keepdims = 0>(x)
            g = ArgMin<axis = 1, select_last_index = 1>(x)
            h = CumSum<reverse = 1, exclusive = 1>(x, last)
        }""",
        [{"n": 2, "m": 3, "k": 5}, {"n": 1, "m": 1, "k": 1}],
    ),
    Graph(
        "products",
        """(float[n,m] x, float[m,k] y, float[m] v, float[b,1,n,m] q, float[c,m,k] r,
            float[1,n] bias)
        => (float[n,k] a, float[n] d, float[k] e, float[b,c,n,k] f, float[n,n] g) {
            a = MatMul(x, y)  d = MatMul(x, v)  e = MatMul(v, y)  f = MatMul(q, r)
            g = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, x, bias)
        }""",
        [{"n": 3, "m": 4, "k": 5, "b": 2, "c": 3}, {"n": 1, "m": 1, "k": 1, "b": 1, "c": 1}],
    ),
    Graph(
        "normalisations",
        """(float[b,6,h,w] x, float[6] s, float[6] t, float[w] ls) => (float[b,6,h,w] y,
            float[b,6,h,w] z, float[b,6,h,1] mean) {
            y = InstanceNormalization<epsilon = 0.01>(x, s, t)
            z, mean = LayerNormalization(x, ls)
        }""",
    ),
    Graph(
        "einsum_and_moves",
        """(float[b,n,m] x, float[b,m,k] y, float[b,4,h,w] z) => (float[b,n,k] a, float[b,1,i,j] d,
            float[n,m] t) <int64 k = {0}> {
            a = Einsum<equation = "bnm,bmk->bnk">(x, y)
            d = DepthToSpace<blocksize = 2>(z)
            first = Gather(x, k)
            t = Trilu<upper = 0>(first)
        }""",
        [{"b": 2, "n": 3, "m": 5, "k": 4, "h": 3, "w": 2}],
    ),
    Graph(
        "only_the_live_arm_of_an_if",
        """(float[n,m] x, bool flag) => (float[p,m] y, int64[1] count) {
            big = Mul(x, x)
            y, count = If(flag) <
                then_branch = yes () => (float[q,m] yy, int64[1] one) {
                    yy = Concat<axis = 0>(x, big)
                    one = Constant<value_ints = [1]>()
                },
                else_branch = no () => (float[r,m] ny, int64[1] two) {
                    ny = Neg(big)
                    two = Constant<value_ints = [2]>()
                }
            >
        }""",
        _NM,
    ),
]
