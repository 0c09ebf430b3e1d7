"""``tvm-sod2 demo``: the text recogniser of PP-OCRv4 on three drawn lines."""

from __future__ import annotations

import importlib.util
import os

from tvm_sod2.errors import Sod2Error

EXTRAS = {"onnxruntime": "onnxruntime", "PIL": "pillow", "rich": "rich"}


def demo() -> int:
    """Run the demo; its exit status is 0 when every line was read as drawn and agrees with ORT.

    Both sides get the threads that TVM_NUM_THREADS names, one where the user has set none. Raises
    Sod2Error when a package of the extra "demo" is missing.
    """
    missing = [name for module, name in EXTRAS.items() if not importlib.util.find_spec(module)]
    if missing:
        raise Sod2Error(
            f"the demo needs {', '.join(missing)}: pip install 'tvm_sod2[demo]' (or '.[demo]')"
        )
    # TVM's thread pool reads it at its first use, which is still to come.
    threads = os.environ.setdefault("TVM_NUM_THREADS", "1")
    if not threads.isdecimal() or int(threads) < 1:
        raise Sod2Error(f"TVM_NUM_THREADS is {threads!r}, expected a whole number of at least 1")
    from tvm_sod2.demo.ocr import main

    return main(int(threads))
