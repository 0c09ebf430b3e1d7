"""Products in Einstein's notation against NumPy, at dims around zero, one and tiles."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax, tirx
from tvm.relax import op as R

import tvm_sod2
from tests.passes.rewriting import rng
from tvm_sod2.passes.einsum_products import einsum_products

PRODUCTS = [
    "ij,jk->ik", "ij,jk->ki", "ij,kj->ik", "bij,bjk->bik", "bihd,bjhd->bhij", "bhij,bjhd->bihd",
    "bhid,bhjd->bhij", "bsd,dhe->bshe", "bshe,hed->bsd", "ij,j->i", "i,ij->j", "i,i->", "bi,bi->b",
    "abc,dbc->ad", "bcxd,bcyd->bxcy", "ijk,ij->k", "ijk,jl->il",
]  # fmt: skip
MULTIPLICATIONS = ["i,j->ij", "i,j->ji", "bi,bj->bji", "ij,ij->ij", "ij,j->ij"]
SIZES = [(3, 5, 2, 4, 6), (1, 17, 13, 12, 1), (0, 4, 1, 3, 2), (2, 0, 3, 1, 2)]


def einsum(equation: str, dims: list[list]) -> tvm.IRModule:
    params = [relax.Var(f"x{n}", relax.TensorType(d, "float32")) for n, d in enumerate(dims)]
    bb = relax.BlockBuilder()
    with bb.function("main", params):
        with bb.dataflow():
            y = bb.emit_output(R.einsum(tuple(params), equation))
        bb.emit_func_output(y)
    return bb.get()


def symbolic(equation: str) -> tvm.IRModule:
    terms = equation.partition("->")[0].split(",")
    symbols = {label: tirx.Var(label, "int64") for label in "".join(terms)}
    return einsum(equation, [[symbols[label] for label in term] for term in terms])


def operators(mod: tvm.IRModule) -> list[str]:
    bindings = [b for block in mod["main"].body.blocks for b in block.bindings]
    return [b.value.op.name for b in bindings if isinstance(b.value, relax.Call)]


@pytest.mark.parametrize("equation", PRODUCTS + MULTIPLICATIONS)
def test_two_operands_are_a_product(equation: str) -> None:
    mod = symbolic(equation)
    names = operators(einsum_products(mod))
    assert "relax.einsum" not in names
    assert names.count("relax.matmul") == (equation in PRODUCTS)
    run = relax.VirtualMachine(tvm_sod2.build(mod), tvm.cpu())["main"]
    terms = equation.partition("->")[0].split(",")
    labels = sorted(set("".join(terms)))
    for sizes in SIZES:
        size = dict(zip(labels, sizes, strict=False))
        arrays = [
            rng.normal(size=[size[label] for label in term]).astype("float32") for term in terms
        ]
        expected = np.einsum(equation, *(x.astype("float64") for x in arrays))
        found = run(*map(tvm.runtime.tensor, arrays)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5, err_msg=f"{sizes}")


def test_a_product_needs_no_more_than_transposes() -> None:
    """Batches and rows stay as they are; a result that wants its axes swapped swaps operands."""
    names = operators(einsum_products(symbolic("bihd,bjhd->bhij")))
    assert names == ["relax.permute_dims", "relax.permute_dims", "relax.matmul"]
    names = operators(einsum_products(symbolic("ij,jk->ki")))
    assert names == ["relax.permute_dims", "relax.permute_dims", "relax.matmul"]
    assert operators(einsum_products(symbolic("bsd,de->bse"))) == ["relax.matmul"]


STAYS = {
    "a diagonal": ("ii,ij->j", [[4, 4], [4, 2]]),
    "one operand": ("ij->ji", [[3, 4]]),
    "three operands": ("ij,jk,kl->il", [[2, 3], [3, 4], [4, 5]]),
    "a label that is one here": ("ij,jk->ik", [[2, 1], [5, 3]]),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays(name: str) -> None:
    assert operators(einsum_products(einsum(*STAYS[name]))) == ["relax.einsum"]
