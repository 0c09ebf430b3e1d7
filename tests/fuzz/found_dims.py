"""Graphs of which a dim, a rank or a type was not found, or a wrong one."""

from __future__ import annotations

from found import Found

DIMS = [
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
        "pooling_of_too_small_an_image",
        "a window one entry larger than its input gives an empty result, which was refused",
        """(float[4,q,p] x) => (float[a,b,c] y) {
            y = AveragePool<kernel_shape = [3], pads = [1, 0]>(x)
        }""",
        [{"q": 4, "p": 1}, {"q": 1, "p": 7}],
    ),
    Found(
        "defined_operator_in_an_arm",
        "an operator defined by others was unknown in an arm: types were looked up outside only",
        """(bool c, float[n,m] x) => (float[a,b] y) <int64[1] three = {3}, int64[1] end = {4}> {
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
        "shape_from_data_and_a_dim_as_data",
        "FuseTIR renamed the symbols of a shape from data, and not in the cast that states them",
        """(int64[2] sizes, float[8,p,4,1] x) => (float[a,b,c,d] y, float[e] z)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] three = {3},
         int64[1] end = {4}> {
            l, r = Split<axis = 3>(x, sizes)
            s = Shape(r)  p = Gather(s, one)  four = Gather(s, two)
            last = Slice(s, three, end, zero)
            t = Concat<axis = 0>(zero, p, four, last)
            v = Reshape(r, t)  y = Exp(v)  z = Cast<to = 1>(p)
        }""",
        [{"p": 4}, {"p": 2}, {"p": 3}],
        {"sizes": [[0, 1], [0, 1], [1, 0]]},
    ),
    Found(
        "slice_between_a_branch_and_a_convolution",
        "ConvertLayout's cast to a symbol that the old dim is over: FuseTIR did not end",
        """(float[n,3,m,n] x, int64[3] i, bool c) => (float[a,b,d,e] y, float[f,g,h,j] z)
        <float[4] scales = {1, 1, 3, 1}, float[3,1,1,1] w = {1, 2, -1}> {
            big = Resize<mode = "nearest">(x, , scales)
            first, second, third = Split<axis = -2, num_outputs = 3>(big)
            y = If(c) <then_branch = t () => (float[n,3,3,n] p) { p = Gather<axis = 2>(third, i) },
                       else_branch = f () => (float[n,3,m,n] q) { q = Identity(x) }>
            v = Conv<group = 3, strides = [3, 1]>(first, w)  z = HardSwish(v)
        }""",
        [{"n": 7, "m": 3}, {"n": 5, "m": 4}, {"n": 3, "m": 11}],
        {"i": [[-3, 2, -2], [0, -1, 0], [-1, 3, 2]], "c": [False, True, True]},
    ),
]
