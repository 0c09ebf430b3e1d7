"""The onnx package's node tests of all operators that have converters."""

from __future__ import annotations

import fnmatch

import pytest
from node_cases import groups, stock_cases, symbolic
from stock import Model

from scripts.node_test_cases import Case, merged, mismatch
from tvm_sod2 import from_onnx
from tvm_sod2.errors import Sod2Error

# Refused on purpose, with the words of the refusal. Nothing else may be refused.
REFUSED = {
    "test_ai_onnx_ml_label_encoder*": "no kernels here",
    "test_cast*": "no kernels here",
    "test_*_string*": "no kernels here",
    "test_*quantizelinear_blocked*": "block_size",
    "test_*quantizelinear_*": "no kernels here",
    "test_top_k_uint64": "cannot sort uint64",
    "test_bitcast_bool*": "the bits of bool",
    "test_maxunpool_export_with_output_shape": "output_shape",
}

# Where symbolic dims leave a rank or the size of a window open.
REFUSED_SYMBOLIC = REFUSED | {
    "test_gathernd*": "last dim of its 'indices'",
}

# ONNX Runtime, the reference here, rounds the size before it scales; the onnx package does not.
OTHER_ANSWER = {
    "test_resize_downsample_scales_cubic_align_corners",
    "test_resize_downsample_scales_linear_align_corners",
}

# TVM's stock lowering answers reductions over no elements with garbage where the zero is not known
# at compile time; kernels of tvm_sod2 are tested for it elsewhere.
STOCK_LOWERING_FAILS = {"test_reduce_max_empty_set*", "test_reduce_*_empty_set*"}

# The stretching of operands in `stock` stops at main; test_loops builds these with tvm_sod2.
BROADCAST_IN_A_LOOP = {"test_loop11", "test_scan9_sum", "test_scan9_multi_state"}

# Many alike; with all dims symbolic, each costs LLVM a good part of a second.
_ALIKE = {
    "test_reduce_*_random",
    "test_reduce_*_keepdims_example",
    "test_reduce_*_keep_dims_example",
}


def _matches(name: str, patterns: object) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _wrong(case: Case) -> str:
    """Return what is wrong with a case that runs alone."""
    try:
        return mismatch(case, Model(from_onnx(case.model))(*case.inputs))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1:]}"


def _failures(group: list[Case]) -> dict[str, str]:
    try:
        results = Model(from_onnx(merged(group)))(*(x for case in group for x in case.inputs))
    except Exception:
        failed = {case.name: _wrong(case) for case in group}
    else:
        failed = {}
        for case in group:
            count = len(case.outputs)
            failed[case.name] = mismatch(case, results[:count])
            results = results[count:]
    return {name: reason for name, reason in failed.items() if reason}


def _refusal(case: Case) -> str:
    try:
        from_onnx(case.model)
    except Sod2Error as error:
        return str(error)
    return ""


@pytest.mark.parametrize("dims", ["known", "symbolic"])
def test_node_tests_of_onnx(dims: str) -> None:
    left_out = OTHER_ANSWER | BROADCAST_IN_A_LOOP
    cases = [case for case in stock_cases() if case.name not in left_out]
    expected = REFUSED
    if dims == "symbolic":
        expected = REFUSED_SYMBOLIC
        left_out |= STOCK_LOWERING_FAILS | _ALIKE
        cases = [symbolic(case) for case in cases if not _matches(case.name, left_out)]
    refusals = {case.name: _refusal(case) for case in cases}
    unexpected = {
        name: words
        for name, words in refusals.items()
        if words
        and not any(fnmatch.fnmatch(name, key) and text in words for key, text in expected.items())
    }
    assert not unexpected
    accepted = [case for case in cases if not refusals[case.name]]
    assert len(accepted) > 700
    failures: dict[str, str] = {}
    for group in groups(accepted, size=60):
        failures |= _failures(group)
    assert not failures
