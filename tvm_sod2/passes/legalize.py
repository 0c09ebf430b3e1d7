"""Turn the fused groups into kernels: one schedulable TIR function per group."""

from __future__ import annotations

import tvm
from tvm import relax

from tvm_sod2.passes.fuse import bind_scalars


def legalize_passes() -> list[tvm.transform.Pass]:
    """TVM's LegalizeOps with our anchors, then TVM's FuseTIR; reshapes in main stay views."""
    from tvm_sod2.schedules.legalize import LEGALIZE

    return [
        relax.transform.LegalizeOps(LEGALIZE, skip_ops=["relax.reshape"]),
        relax.transform.FuseTIR(),
        bind_scalars,
        # It reads blocks, so it runs while kernels still have them.
        relax.transform.RewriteDataflowReshape(),
    ]
