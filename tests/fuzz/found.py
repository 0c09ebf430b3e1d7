"""Graphs that fuzzing found to fail, minimised, and the sizes to run them at."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

Sizes = dict[str, int]


@dataclass
class Found:
    """A graph in ONNX's text form. why: what was wrong.

    sizes: of its dims at each run. entries: those of an input, at each run or at all of them, where
    they are not drawn.
    """

    name: str
    why: str
    text: str
    sizes: list[Sizes]
    entries: dict[str, list] = field(default_factory=dict)
    opset: int = 21

    def model(self) -> onnx.ModelProto:
        header = f'<ir_version: 10, opset_import: ["": {self.opset}]>'
        return onnx.parser.parse_model(f"{header} found {self.text}")


FOUND = [
    Found(
        "kernel_behind_a_computed_shape",
        "a kernel's stated type kept the symbols of a Reshape that RDP had found",
        """(int64[k] lengths, float[n,p,m,m] x) => (float[a,b,c] y)
        <int64[1] one = {1}, int64[1] two = {2}, int64[1] all = {-1}> {
            s = Shape(x)  first = Shape<start = 0, end = 1>(x)
            i = Gather(s, one)  j = Gather(s, two)  ij = Mul(i, j)
            wanted = Concat<axis = 0>(first, ij, all)
            r = Reshape(x, wanted)
            y = ReverseSequence<batch_axis = 1, time_axis = 0>(r, lengths)
        }""",
        [{"k": 27, "n": 2, "p": 9, "m": 3}, {"k": 8, "n": 1, "p": 8, "m": 1}],
        {"lengths": [[1, 2] * 13 + [2], [1] * 8]},
    ),
    Found(
        "gather_elements_of_no_entry",
        "TVM's legalisation refuses indices with a dim of 0",
        """(int64[p,0,m] i, float[p,0,m] x) => (float[a,b,c] y) {
            y = GatherElements<axis = 1>(x, i)
        }""",
        [{"p": 2, "m": 3}, {"p": 0, "m": 1}],
    ),
    Found(
        "pooling_with_ceil_mode",
        "a dim with a condition in it is a call, which FuseTIR took for an operator's",
        """(float[m,1,8,n] x) => (float[a,b,c,d] y, float[a,b,c,d] z) {
            p = MaxPool<ceil_mode = 1, kernel_shape = [2, 1], pads = [0, 0, 1, 0],
                        strides = [3, 2]>(x)
            y = Relu(p)
            z = AveragePool<ceil_mode = 1, kernel_shape = [3, 2], strides = [2, 3]>(x)
        }""",
        [{"m": 5, "n": 3}, {"m": 1, "n": 4}, {"m": 2, "n": 17}],
    ),
    Found(
        "range_as_long_as_a_pool_that_rounds_up",
        "the dim was a conditional call, which became a variable that RDP cannot type",
        """(float[n,6,n,m] x) => (float[a,6,b,c] y) <int64 k = {1}> {
            p = AveragePool<ceil_mode = 1, count_include_pad = 1, kernel_shape = [3, 2],
                            pads = [1, 1, 1, 1], strides = [2, 3]>(x)
            y = Trilu<upper = 0>(p, k)
        }""",
        [{"n": 7, "m": 2}, {"n": 1, "m": 1}, {"n": 1, "m": 4}, {"n": 3, "m": 17}],
    ),
    Found(
        "slice_backwards_from_before_the_first",
        "with a negative step a start is clamped to the first entry, not before it",
        """(float[n,m] x, int64[1] s, int64[1] e) => (float[a,m] y, float[a,m] z)
        <int64[1] start = {-2}, int64[1] end = {-8}, int64[1] axis = {0}, int64[1] back = {-1}> {
            y = Slice(x, start, end, axis, back)
            z = Slice(x, s, e, axis, back)
        }""",
        [{"n": 1, "m": 2}, {"n": 5, "m": 3}, {"n": 2, "m": 1}],
        {"s": [[-2]] * 3, "e": [[-8]] * 3},
    ),
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
        "symbol_bound_within_a_fusion_group",
        "a group took in the cast that gives the count of NonZero its name",
        """(bool c, bool[n,n] mask, float[n,n] x, float[n] other) => (float[k] y) {
            y = If(c) <
                then_branch = then () => (float[k] t) {
                    places = NonZero(mask)  rows = Transpose<perm = [1, 0]>(places)
                    kept = GatherND(x, rows)  t = Asinh(kept)
                },
                else_branch = other () => (float[k] e) { e = Identity(other) }
            >
        }""",
        [{"n": 7}, {"n": 1}, {"n": 0}],
        {"c": [True, False, True]},
    ),
    Found(
        "crop_that_pads_by_nothing",
        "a slice of a concat that leaves none of a part divided its tasks among no blocks",
        """(float[m,8] x) => (float[m,5] y) <int64[1] size = {5}> {
            y = CenterCropPad<axes = [-1]>(x, size)
        }""",
        [{"m": 4}, {"m": 1}, {"m": 0}],
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
        "constant_of_no_entry",
        "TVM writes constants of no entry into an executable and cannot read them back",
        """(int64[8,3,1] x) => (float[a,b] y) <int64[1] three = {3}, int64[1] two = {2}> {
            s = Shape<start = 1, end = 2>(x)  i = Div(s, three)
            t = Shape<start = 2>(x)  j = Div(t, two)
            both = Concat<axis = 0>(i, j)
            y = ConstantOfShape(both)
        }""",
        [{}],
    ),
    Found(
        "reshape_of_no_entry",
        "Relax's reshape takes a dim of 0 for 'copy this dim'",
        """(int64[0] i, float[0,n] x) => (int64[2,0] y, float[a,b] z)
        <int64[2] values = {0, 1}, int64 depth = {2}> {
            y = OneHot<axis = 0>(i, depth, values)
            t = Transpose(x)  s = Shape(t)  z = Reshape<allowzero = 1>(x, s)
        }""",
        [{"n": 3}, {"n": 1}],
    ),
    Found(
        "slice_up_to_twice_its_length",
        "RDP knew min(2 * n, n) to be n, and Relax's inference behind it did not",
        """(int64[n,n] x, bool[n,n] mask) => (int64[n,n] y)
        <int64[1] two = {2}, int64[1] zero = {0}, int64[1] rows = {-2}> {
            n = Shape<start = -1>(mask)  twice = Mul(n, two)
            s = Slice(x, zero, twice, rows)
            y = Where(mask, s, x)
        }""",
        [{"n": 3}, {"n": 1}, {"n": 8}],
    ),
    Found(
        "split_into_one",
        "a split at no index is no tuple in Relax",
        "(float[1,n] x) => (float[a,n] y) { y = Split<axis = 0, num_outputs = 1>(x) }",
        [{"n": 3}],
    ),
    Found(
        "range_of_zeros",
        "a scale of 0 for a tensor of zeros, by which nobody can divide",
        "(float[n] x) => (uint8[n] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }",
        [{"n": 2}, {"n": 3}],
        {"x": [[0, 0], [0, -1, 3]]},
    ),
    Found(
        "dim_written_in_another_way_behind_a_convolution",
        "ConvertLayout infers types anew, and one of a result changed: an internal error",
        """(float[m,2,2,m] x, float[m,1,2,k] other) => (float[a,b,c,d] y)
        <float[1,2,5,2] w = {1, 2, 1, 0, -1, 1, 2, 3, 1, 1, 0, -2, 1, 1, 1, 2, 0, 1, -1, 1},
         int64[2] start = {1, 0}, int64[2] end = {11, 2}, int64[2] axes = {3, 2},
         int64[2] step = {1, 2}> {
            c = Conv<pads = [2, 1, 2, 1]>(x, w)  s = Sigmoid(c)
            p = Mul(s, other)  y = Slice(p, start, end, axes, step)
        }""",
        [{"m": 3, "k": 4}, {"m": 15, "k": 16}, {"m": 15, "k": 1}],
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
        "reshape_behind_a_slice_at_run_time",
        "the length of a slice between two run-time ends was not known to be a length",
        """(int64[2] start, float[m,m,m,m] x) => (float[a,b,c,d] y)
        <int64[2] end = {7, 7}, int64[2] axes = {-1, 1}, int64[1] zero = {0}, int64[1] two = {2}> {
            s = Slice(x, start, end, axes)
            dims = Shape(s)  n = Gather(dims, two)
            wanted = Concat<axis = 0>(zero, zero, n, zero)
            y = Reshape(s, wanted)
        }""",
        [{"m": 6}, {"m": 8}, {"m": 3}],
        {"start": [[-8, 5], [-8, 5], [1, -2]]},
    ),
    Found(
        "negative_pads_at_run_time",
        "a run-time pad below 0 became a dim below 0: the process crashed",
        """(float[2,m] x, int64[4] pads) => (float[a,b] y, float[c,d] z) <float one = {1}> {
            y = Pad(x, pads, one)  z = Pad<mode = "edge">(x, pads)
        }""",
        [{"m": 9}, {"m": 1}, {"m": 3}],
        {"pads": [[-1, 1, 0, 3], [0, 0, -1, 2], [1, -2, 0, 0]]},
    ),
    Found(
        "constants_that_give_the_rank",
        "two constants became scalars, each because the other one had the result's rank",
        """(int64[1] x) => (int64[1,1,1] y) <int64[1,1,1] w = {3}, bool[1,1,1] k = {1}> {
            y = Where(k, x, w)
        }""",
        [{}],
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
        "places_in_a_slice_of_no_entry",
        "Relax's reshape took the 0 entries of the flattened tensor for 'copy this dim'",
        """(bool[1,0,m,2] x, float[1,0,m,2] u) => (int64[4,k] y, float[k] z)
        <int64[2] start = {-1, -16}, int64[2] end = {1, -9}, int64[2] axes = {0, -2},
         int64[2] step = {1, 2}> {
            s = Slice(x, start, end, axes, step)  y = NonZero(s)
            t = Slice(u, start, end, axes, step)  z = Unique(t)
        }""",
        [{"m": 2}, {"m": 16}],
    ),
    Found(
        "crop_and_pad_of_three_axes",
        "a divisor that the simplifier found to be 0 where there is no task",
        """(float[p,m,n] x) => (float[2,4,1] y) <int64[3] size = {4, 1, 2}> {
            y = CenterCropPad<axes = [1, -1, 0]>(x, size)
        }""",
        [{"p": 9, "m": 5, "n": 6}, {"p": 0, "m": 0, "n": 1}, {"p": 2, "m": 8, "n": 3}],
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
        "slice_backwards_of_nothing",
        "with a negative step from before the first entry of none there was one",
        """(float[n,m] x, float[m,4] u) => (float[a,m] y, float[m,b] z)
        <int64[1] start = {-3}, int64[1] end = {-6}, int64[1] axis = {0}, int64[1] back = {-1},
         int64[1] late = {-9}, int64[1] last = {1}> {
            y = Slice(x, start, end, axis, back)  z = Slice(u, late, end, last, back)
        }""",
        [{"n": 0, "m": 2}, {"n": 1, "m": 3}, {"n": 4, "m": 1}, {"n": 8, "m": 0}],
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
        "reduction_over_axes_of_the_run",
        "an input's dim was solved for, as a product of dims that only the run binds",
        """(float[p] x, int64[1] a) => (bool[p] y, float[q] z, float[1] u)
        <float[1,3] w = {1, 2, 3}> {
            y = Cast<to = 9>(x)  u = ReduceSum<keepdims = 1>(x, a)  p = MatMul(u, w)  z = Mul(u, p)
        }""",
        [{"p": 4}, {"p": 1}],
        {"a": [[0], [-1]]},
    ),
    Found(
        "parts_joined_before_an_arm",
        "a cast of max(n - 3, 0) + min(3, n) to n ended the process in TVM's CanonicalizeBindings",
        """(bool c, float[n,3,4,n] x) => (float[a,b,4,d] y)
        <int64[1] three = {3}, int64[1] last = {2147483647}, int64[1] zero = {0},
         float half = {0.5}> {
            a = Slice(x, three, last, three)  b = Slice(x, zero, three, three)
            whole = Concat<axis = 3>(a, b)
            y = If(c) <
                then_branch = then () => (float[e,3,4,f] t) { m = Abs(whole)  t = Add(m, half) },
                else_branch = other () => (float[e,3,4,f] o) { o = Abs(b) }
            >
        }""",
        [{"n": 5}, {"n": 1}, {"n": 0}],
        {"c": [True, False, True]},
    ),
    Found(
        "parts_that_make_up_a_whole",
        "RDP knew max(n - 2, 0) + min(2, n) to be n, and Relax's inference behind it did not",
        """(float[4,n,1,q] x, float[4,1,n,1,q] other) => (bool[4,4,n,1,q] y)
        <int64[1] two = {2}, int64[1] last = {2147483647}, int64[1] axis = {-3},
         int64[1] zero = {0}> {
            b = Slice(x, two, last, axis)  a = Slice(x, zero, two, axis)
            c = Concat<axis = -3>(b, a)  y = Less(c, other)
        }""",
        [{"n": 5, "q": 3}, {"n": 1, "q": 8}, {"n": 1, "q": 0}],
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
        "pooling_of_too_small_an_image",
        "a window one entry larger than its input gives an empty result, which was refused",
        """(float[4,q,p] x) => (float[a,b,c] y) {
            y = AveragePool<kernel_shape = [3], pads = [1, 0]>(x)
        }""",
        [{"q": 4, "p": 1}, {"q": 1, "p": 7}],
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
        "defined_operator_in_an_arm",
        "an operator defined by others was unknown in an arm: types were looked up outside only",
        """(bool c, float[n,m] x) => (float[a,b] y) <int64[1] three = {3}> {
            y = If(c) <
                then_branch = then () => (float[n,m] t) { t = Identity(x) },
                else_branch = other () => (float[e,f] o) {
                    p = Neg(x)  o = CenterCropPad<axes = [1]>(p, three)
                }
            >
        }""",
        [{"n": 6, "m": 5}, {"n": 1, "m": 3}, {"n": 7, "m": 1}],
        {"c": [False, True, False]},
        opset=23,
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
        "einsum_of_no_entry",
        "its operands' reshapes read their constant 0 as a dim to copy",
        """(float[0,1] x, float[n,0] u) => (float y, float[n] z) {
            y = Einsum<equation = "ij,ij->">(x, x)  z = Einsum<equation = "ni,ij->n">(u, x)
        }""",
        [{"n": 3}, {"n": 1}],
    ),
    Found(
        "what_is_found_among_no_entry",
        "reshapes read the constant 0 of a tensor without entries as a dim to copy",
        """(int64[0] x, float[3,0] u, float[0,n] v) => (int64[k] y, int64[k] i, int64[2,a] z,
            int64[2,b] w) {
            y, i = Unique(x)  z = NonZero(u)  w = NonZero(v)
        }""",
        [{"n": 3}, {"n": 1}],
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
]
