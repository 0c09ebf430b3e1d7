"""The plugin entry point: registered whichever package comes first, light, and harmless."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

REGISTERED = "from tvm.relax.pipeline import PIPELINE_MAP; assert 'sod2' in PIPELINE_MAP"
HEAVY = "[m for m in sys.modules if m.startswith('tvm_sod2.') and m != 'tvm_sod2.backend']"


def python(code: str, **env: str) -> str:
    """Run code in a fresh interpreter, warnings being errors on stderr; what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Failed to autoload" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "imports",
    ["import tvm", "import tvm, tvm_sod2", "import tvm_sod2, tvm", "import tvm_sod2.errors, tvm"],
)
def test_registered_whichever_comes_first(imports: str) -> None:
    python(f"{imports}; {REGISTERED}")


def test_importing_the_package_alone_does_not_import_tvm() -> None:
    python("import sys, tvm_sod2; assert 'tvm' not in sys.modules")


def test_import_of_tvm_pulls_in_nothing_heavy() -> None:
    assert python(f"import sys, tvm; print({HEAVY})").strip() == "[]"


def test_costs_under_fifty_milliseconds() -> None:
    code = (
        "import tvm, time; start = time.perf_counter(); import tvm_sod2.backend as b; b.autoload();"
        f" print(time.perf_counter() - start); {REGISTERED}"
    )
    # The first reading of a module may compile its bytecode; that is paid once, at installation.
    seconds = min(float(python(code, TVM_DEVICE_BACKEND_AUTOLOAD="0")) for _ in range(3))
    assert seconds < 0.05


def test_autoload_twice_keeps_the_first() -> None:
    python(
        "import tvm, tvm_sod2.backend as b; from tvm.relax.pipeline import PIPELINE_MAP as m;"
        "first = m['sod2']; b.autoload(); assert m['sod2'] is first"
    )


def test_a_failure_is_a_warning_and_tvm_goes_on() -> None:
    python(
        "import sys, warnings, tvm, tvm_sod2.backend as b\n"
        "sys.modules['tvm.relax.pipeline'] = None\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    b.autoload()\n"
        "assert 'sod2' in str(seen[0].message), seen\n"
        "assert tvm.cpu()\n"
    )


BY_NAME = """
import sys
import numpy as np
import tvm
from tvm import relax

assert "tvm_sod2.pipeline" not in sys.modules
n = tvm.tirx.Var("n", "int64")
x = relax.Var("x", relax.TensorType((n, 5), "float32"))
matrix = np.arange(15, dtype="float32").reshape(5, 3)
bb = relax.BlockBuilder()
with bb.function("main", [x]):
    with bb.dataflow():
        product = bb.emit(relax.op.matmul(x, relax.const(matrix)))
        out = bb.emit_output(relax.op.nn.relu(product))
    bb.emit_func_output(out)
target = TARGET
vm = relax.VirtualMachine(tvm.compile(bb.get(), target, relax_pipeline="sod2"), tvm.cpu())
for rows in (1, 4, 13):
    data = np.random.default_rng(0).standard_normal((rows, 5)).astype("float32")
    found = vm["main"](tvm.runtime.tensor(data)).numpy()
    np.testing.assert_allclose(found, np.maximum(data @ matrix, 0), rtol=1e-5)
"""


@pytest.mark.parametrize("target", ["None", "tvm.target.Target({'kind': 'llvm'})"])
def test_compile_by_name_after_import_of_tvm_alone(target: str) -> None:
    python(BY_NAME.replace("TARGET", target))
