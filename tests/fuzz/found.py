"""How a graph is written that fuzzing found to fail: minimised, with the sizes to run it at."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx

Sizes = dict[str, int]


@dataclass
class Found:
    """A graph in ONNX's text form. why: what was wrong.

    sizes: of its dims at each run. entries: those of an input, at each run or at all of them, where
    they are not drawn.
    """

    name: str
    why: str
    text: str
    sizes: list[Sizes]
    entries: dict[str, list] = field(default_factory=dict)
    opset: int = 21

    def model(self) -> onnx.ModelProto:
        header = f'<ir_version: 10, opset_import: ["": {self.opset}]>'
        return onnx.parser.parse_model(f"{header} found {self.text}")
