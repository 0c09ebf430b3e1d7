"""Entry point of TVM's plugin group ``tvm.backends``: makes the pipeline "sod2" known by name.

TVM calls :func:`autoload` at the end of ``import tvm``. This module is a leaf on purpose: it
imports nothing at the top, so that it loads while either package is still half imported, and it
costs ``import tvm`` a millisecond. Everything heavy waits until the pipeline is asked for.
"""

from __future__ import annotations

import warnings
from typing import Any

PIPELINE = "sod2"


def _pipeline() -> Any:
    """The pass that ``relax.get_pipeline("sod2")`` hands to ``tvm.compile``."""
    from tvm_sod2.pipeline import sod2_pipeline

    return sod2_pipeline()


def autoload() -> None:
    """Register the pipeline; a second call, or a failure, leaves TVM as it was.

    TVM without its compiler has no pipelines, and then there is nothing to register.
    """
    try:
        import tvm

        if not tvm._RUNTIME_ONLY:
            from tvm.relax.pipeline import PIPELINE_MAP

            PIPELINE_MAP.setdefault(PIPELINE, _pipeline)
    except Exception as error:  # whatever a future TVM changes must not break `import tvm`
        warnings.warn(f"tvm_sod2: no pipeline {PIPELINE!r}: {error}", stacklevel=2)
