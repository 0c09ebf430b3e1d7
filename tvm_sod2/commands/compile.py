"""``tvm-sod2 compile``: an ONNX model into a shared library that the stock TVM runtime loads."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tvm_sod2.commands.building import build, resolve_target
from tvm_sod2.errors import Sod2Error


def compile_model(
    model: Path,
    library: Path,
    target: Mapping[str, Any] | None,
    bounds: Mapping[str, tuple[int, int]],
    winograd: int | None = None,
) -> None:
    """Build the model and write the library, whole or not at all.

    Raises Sod2Error before the build where the place to write to is not there.
    """
    if library.suffix not in (".so", ".dylib", ".dll"):
        raise Sod2Error(f"argument -o: {library} must end in .so, for TVM's runtime loads by name")
    if not library.parent.is_dir():
        raise Sod2Error(f"argument -o: there is no folder {library.parent}")
    resolve_target(target)
    from tvm_sod2 import from_onnx

    start = time.perf_counter()
    executable = build(from_onnx(model), f"building {model.name}", target, bounds, winograd)
    partial = library.with_name(f".{os.getpid()}-{library.name}")
    try:
        executable.export_library(str(partial))
        partial.replace(library)
    except (OSError, RuntimeError) as error:
        raise Sod2Error(f"cannot write {library}: {str(error).strip().splitlines()[0]}") from error
    finally:
        partial.unlink(missing_ok=True)
    size = library.stat().st_size / 2**20
    print(f"{library}: {size:.1f} MiB in {time.perf_counter() - start:.1f} s")
