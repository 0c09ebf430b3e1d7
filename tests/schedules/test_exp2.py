"""Powers of two over the whole range that softmax asks for."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import tirx

from tvm_sod2.schedules.exp2 import exp2_of_negative
from tvm_sod2.schedules.kernel import Code, i64
from tvm_sod2.schedules.traits import host_target


def test_powers_of_two() -> None:
    n = tirx.Var("n", "int64")
    x, y = (tirx.decl_buffer([n, i64(16)], "float32", name) for name in "xy")
    code = Code()
    with code.loop(n, "i") as i, code.bank(), code.vector(16) as lane:
        code.store(y, exp2_of_negative(code, x[i, lane], 16, lane), i, lane)
    func = tirx.PrimFunc([x, y], code.body()).with_attr("global_symbol", "powers")
    run = tvm.compile(tvm.IRModule({"powers": func}), host_target())["powers"]
    inside = np.linspace(-125, 0, 1 << 16)
    edges = [-np.inf, -3.4e38, -1000.0, -126.0, np.nan, -0.0, 0.0, -1e-30]
    given = np.concatenate([inside, edges, np.zeros(8)]).astype("float32").reshape(-1, 16)
    out = tvm.runtime.tensor(np.zeros_like(given))
    run(tvm.runtime.tensor(given), out)
    exact = np.exp2(given.astype("float64"))
    exact[given < -125] = 0
    np.testing.assert_allclose(out.numpy(), exact, rtol=2.5e-7)
