"""What the compiler knows about each operator: one declarative row per Relax operator.

`row(name)` gives the row; a row says how the operator's output depends on its inputs (dynamism
class), how its elements map (mapping type), and how facts pass through it (transfer functions).
"""

from tvm_sod2.op_classes.fact import Fact, fact_of_type
from tvm_sod2.op_classes.row import Agreement, Dynamism, Mapping, Row
from tvm_sod2.op_classes.symbolic import Arithmetic
from tvm_sod2.op_classes.table import ROWS, is_elementwise, is_heavy, row

__all__ = [
    "ROWS",
    "Agreement",
    "Arithmetic",
    "Dynamism",
    "Fact",
    "Mapping",
    "Row",
    "fact_of_type",
    "is_elementwise",
    "is_heavy",
    "row",
]
