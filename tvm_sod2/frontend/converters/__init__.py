"""The table of converters: ONNX operator name -> function that emits it."""

from __future__ import annotations

from tvm_sod2.frontend.context import Converter
from tvm_sod2.frontend.converters import (
    activation,
    arithmetic,
    contrib,
    contrib_attention,
    contrib_quantised,
    control,
    conv,
    deform,
    fourier,
    gather,
    integer,
    logic,
    loops,
    matmul,
    ml,
    movement,
    ngrams,
    norm,
    optional,
    pad,
    pool,
    quantize,
    recurrent,
    reduce,
    resize,
    sampling,
    scan,
    selection,
    sequence,
    sequence_map,
    sequence_parts,
    shape,
    signal,
    slicing,
    trees,
)
from tvm_sod2.frontend.converters.half import IN_FLOAT32, in_float32

CONVERTERS: dict[str, Converter] = {
    name: in_float32(converter) if name in IN_FLOAT32 else converter
    for family in (
        activation,
        arithmetic,
        contrib,
        contrib_attention,
        contrib_quantised,
        control,
        conv,
        deform,
        fourier,
        gather,
        integer,
        logic,
        loops,
        matmul,
        ml,
        movement,
        ngrams,
        norm,
        optional,
        pad,
        pool,
        quantize,
        recurrent,
        reduce,
        resize,
        sampling,
        scan,
        selection,
        sequence,
        sequence_map,
        sequence_parts,
        shape,
        signal,
        slicing,
        trees,
    )
    for name, converter in family.CONVERTERS.items()
}

__all__ = ["CONVERTERS"]
