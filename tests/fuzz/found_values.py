"""Graphs whose kernels did not build or computed another value."""

from __future__ import annotations

from found import Found

VALUES = [
    Found(
        "operand_read_by_a_scatter_and_its_epilogue",
        "TVM's scatters give each operand an offset, and FuseTIR found two buffers for one tensor",
        """(int64[n,m] i, float[n,m] u, float[n,m] x) => (float[n,m] y, float[n,m] z) {
            s = ScatterElements<axis = 0, reduction = "max">(x, i, u)
            y = Add(s, u)
            z = ScatterElements<axis = 1>(x, i, x)
        }""",
        [{"n": 1, "m": 1}],
        {"i": [[[0]]]},
    ),
    Found(
        "convolution_beside_a_loop",
        "TVM's ConvertLayout lost the variable that the loop's result is in",
        """(float[p,6,n,5] image, int64 trips, float[k] x) => (float[a,b,c,d] y, float[e,k] all)
        <float[6,3,1,2] w = {0.5, 1, -1, 2, 3, 4, 5, 1, 2, 0, 0, 1, 1, 2, -1, -2, 0, 3, 1, 1, 1, 2,
         2, 1, 4, 1, 1, 2, 0, 0, 1, -1, 2, 1, 1, 1}, bool go = {1}> {
            y = ConvTranspose<group = 2>(image, w)
            last, all = Loop(trips, go, x) <body = b (int64 i, bool c, float[k] s) => (
                bool more, float[k] next, float[k] kept) {
                    more = Identity(c)  next = Abs(s)  kept = Tanh(s) }>
        }""",
        [{"p": 2, "n": 3, "k": 4}, {"p": 1, "n": 1, "k": 1}],
        {"trips": [3, 1]},
    ),
    Found(
        "range_of_zeros",
        "a scale of 0 for a tensor of zeros, by which nobody can divide",
        "(float[n] x) => (uint8[n] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }",
        [{"n": 2}, {"n": 3}],
        {"x": [[0, 0], [0, -1, 3]]},
    ),
    Found(
        "arc_used_twice_and_behind_a_convolution",
        "a function without a vector form failed in LLVM, and where its result is used twice",
        """(float[n,m] x, float[n,1,h,w] i) => (float[n,m] y, float[n,2,h,w] z)
        <float[2,1,1,1] k = {0.5, -1}, float limit = {0.9}> {
            t = Tanh(x)  u = Mul(t, limit)  a = Atanh(u)  y = LeakyRelu(a)
            c = Conv(i, k)  z = Sinh(c)
        }""",
        [{"n": 2, "m": 17, "h": 3, "w": 5}],
    ),
    Found(
        "two_outputs_and_large_scratch",
        "a kernel of two outputs could not give up its scratch",
        """(float[n,p] x, float[3,2,1,1] v) => (float[a,b,c,d] y, float[e,f,g,h] z)
        <float[1] slope = {0.58}, int64[2] once = {1, 1}> {
            t = PRelu(x, slope)  r = Tile(t, once)  s = Neg(r)  u = Sub(v, s)
            y, z = Split<axis = 1, num_outputs = 2>(u)
        }""",
        [{"n": 4, "p": 5}, {"n": 2, "p": 1}, {"n": 11, "p": 17}],
    ),
    Found(
        "stages_that_repeat_elements",
        "StorageRewrite put a stage over its operand, of which the last vector read parts again",
        """(float[m,n,1] x) => (float[m,n,1] y) <float half = {0.5}> {
            a = Abs(x)  t = Tanh(x)  s = Mul(t, t)  l = Max(a, s)  c = Celu(l)  d = Abs(c)
            e = Add(d, half)  f = Log(e)  g = Tanh(f)  h = Relu(f)  i = Mul(g, h)  y = Sub(i, t)
        }""",
        [{"m": 7, "n": 17}, {"m": 2, "n": 9}, {"m": 3, "n": 7}],
    ),
    Found(
        "arc_of_an_arc",
        "one variable of a formula in several loops, and its value had other names in each",
        """(float[n,8,n] x) => (float[n,8,n] y, float[n,8,n] z) <float limit = {0.9}> {
            t = Tanh(x)  s = Mul(t, limit)  y = Sinh(s)  a = Acos(s)  z = Cosh(a)
        }""",
        [{"n": 7}, {"n": 17}, {"n": 1}],
    ),
    Found(
        "transposed_convolution_of_strides_wider_than_the_kernel",
        "padding to the same size added what was missing; ONNX pads by nothing",
        """(float[n,2,m,5] x) => (float[n,1,a,b] y) <float[2,1,1,3] w = {1, 2, 3, 0.5, -1, 2}> {
            y = ConvTranspose<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)
        }""",
        [{"n": 2, "m": 6}, {"n": 1, "m": 1}],
    ),
    Found(
        "reversal_behind_a_convolution",
        "what follows a convolution of one or three axes kept the number of the axis it reverses",
        """(float[n,1,m] x, float[n,1,2,m,3] v) => (float[n,2,a] y, float[n,1,2,b,3] z,
            float[n,2,c] u)
        <float[2,1,3] w = {1, 2, 0.5, -1, 0.5, 2}, float[1,1,1,2,1] k = {1, -2},
         int64[1] start = {-1}, int64[1] end = {-99}, int64[1] two = {2}, int64[1] three = {3},
         int64[1] back = {-1}> {
            c = Conv(x, w)  y = Slice(c, start, end, two, back)
            d = Conv(v, k)  z = Slice(d, start, end, three, back)
            u = Trilu<upper = 0>(c)
        }""",
        [{"n": 2, "m": 6}, {"n": 1, "m": 3}],
    ),
    Found(
        "quantised_numbers_in_an_arc",
        "TVM's simplifier cast a number to uint8 that only its last bits fit in",
        """(float[q,n,m] x) => (float[n,q,m] y)
        <float s = {0.066}, uint8 z = {14}, float r = {0.05}, uint8 o = {18}> {
            b = QuantizeLinear(x, s, z)  d = DequantizeLinear(b, r, o)
            t = Transpose<perm = [1, 0, 2]>(d)  y = Asinh(t)
        }""",
        [{"q": 2, "n": 3, "m": 5}, {"q": 3, "n": 1, "m": 17}],
    ),
    Found(
        "convolution_read_behind_an_arm",
        "what follows in a later block read the image of a convolution, which only its own has",
        """(bool c, float[n,1,m] x) => (float[n,2,a] y) <float[2,1,3] w = {1, 2, 0.5, -1, 0.5, 2}> {
            k = Conv(x, w)
            i = If(c) <
                then_branch = then () => (float[e,f,g] t) { t = Abs(k) },
                else_branch = other () => (float[e,f,g] o) { o = Neg(x) }
            >
            s = ReduceMax<keepdims = 0>(i)  y = Mul(k, s)
        }""",
        [{"n": 2, "m": 6}, {"n": 1, "m": 3}],
        {"c": [True, False]},
    ),
    Found(
        "comparison_cast_in_a_formula",
        "LLVM's code generator bounds what a let holds, and has none for vectors of bools",
        """(float[n,m] x) => (float[n,m] y, float[n,m] z) {
            e = EyeLike<k = 1>(x)  y = Exp(e)
            o = EyeLike<k = -1>(x)  z = Elu<alpha = 0.3>(o)
        }""",
        [{"n": 5, "m": 17}, {"n": 1, "m": 1}, {"n": 8, "m": 8}],
    ),
    Found(
        "convolution_over_volumes_filter_by_filter",
        "a kernel's first plane took every plane of its operand, where the result has less, too",
        """(float[n,2,m,p,3] x) => (float[n,4,a,b,c] y)
        <float[4,1,2,2,1] w = {1, 2, 0.5, -1, 0.5, 2, -2, 1, 3, 1, -1, 1, 2, 2, 0.25, 1}> {
            y = Conv<group = 2, pads = [0, 1, 1, 0, 0, 1]>(x, w)
        }""",
        [{"n": 7, "m": 8, "p": 6}, {"n": 1, "m": 2, "p": 1}, {"n": 2, "m": 3, "p": 5}],
    ),
    Found(
        "scale_of_dynamic_quantisation",
        "its division was a multiplication by 1 / 255, one ulp off: 127.5 steps rounded to 127",
        """(float[n] x) => (uint8[n] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }""",
        [{"n": 4}],
        {"x": [[-10.1875, 20.8125, 15.5, 1.0]]},
    ),
    Found(
        "convolution_for_each_of_a_sequence",
        "TVM's ConvertLayout dropped the tuple of a loop's state, which holds a sequence",
        """(float[p,1,1] x, int64[1,m,1] s) => (float[a,b,c] y) <float[1,1,1] w = {-1.5}> {
            parts = SplitToSequence<axis = 1, keepdims = 1>(s)
            mapped = SequenceMap(parts) <
                body = each (int64[i,j,k] part) => (float[d,e,f] r) { c = Conv(x, w)  r = Relu(c) }
            >
            y = ConcatFromSequence<axis = 0>(mapped)
        }""",
        [{"p": 3, "m": 7}, {"p": 4, "m": 1}],
    ),
    Found(
        "formula_of_a_resize",
        "tables of what rows repeat were looked for in lets, whose variables were taken for values",
        """(float[p,2,3,p] x, float s, float[p,2,9,q] u) => (float[p,2,9,q] y)
        <float[4] scales = {1, 1, 3, 3}> {
            r = Resize<coordinate_transformation_mode = "asymmetric", mode = "cubic">(x, , scales)
            m = Mean(r, s, u)  t = Sum(u, m, s)  y = Asinh(t)
        }""",
        [{"p": 4, "q": 12}, {"p": 1, "q": 3}, {"p": 5, "q": 15}],
    ),
    Found(
        "borders_around_one_known_element",
        "regions of a row without an outer loop: all but the first were not written",
        """(float[1,1,1,1] x) => (float[2,1,2,5] y) <int64[8] pads = {1, 0, 1, 3, 0, 0, 0, 1}> {
            y = Pad(x, pads)
        }""",
        [{}],
    ),
    Found(
        "slice_that_must_be_1_to_broadcast",
        "Relax refused to stretch a dim that cannot be the common one",
        """(float[3,d,d] x, float[3,2,3] u, float[3,1,3] w) => (float[a,b,c] y)
        <int64[1] three = {3}, int64[1] zero = {0}, int64[1] axis = {-1}> {
            s = Shape<start = 2, end = 3>(u)  e = Div(s, three)
            t = Slice(x, zero, e, axis)  y = Div(t, w)
        }""",
        [{"d": 4}, {"d": 1}, {"d": 3}],
    ),
    Found(
        "test_of_a_sine",
        "TVM's simplifier made 0 of what rounding leaves, where it met the formula again",
        """(float[n] x) => (bool[n] y, bool[n] z, bool[n] w) {
            s = Cos(x)  i = IsNaN(s)  y = Not(i)  t = Sin(x)  z = IsInf(t)
            d = Div(t, x)  w = IsNaN(d)
        }""",
        [{"n": 5}, {"n": 33}],
        {"x": [[0, 1, -3, float("inf"), float("nan")], [0.0, float("-inf"), *range(31)]]},
    ),
]
