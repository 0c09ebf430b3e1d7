"""What a recurrent kernel is made for: the kind of cell, its activations and its options."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from tvm import tirx

from tvm_sod2.schedules import math
from tvm_sod2.schedules.kernel import f32

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}

Value = Any  # a float32 TIR expression


@dataclass(frozen=True)
class Activation:
    """An activation by ONNX's name, with its two constants."""

    name: str
    alpha: float
    beta: float

    def __call__(self, x: Value) -> Value:
        return ACTIVATIONS[self.name](x, f32(self.alpha), f32(self.beta))


@dataclass(frozen=True)
class Cell:
    """What a recurrent kernel is made for.

    reverse: for each direction, whether it walks backwards. activations: for each direction, those
    of ONNX's f, g and h. clip: bound of what enters an activation. lengths: whether each row has
    its own number of steps. sequence: whether the states of all steps are wanted. from_zero:
    whether the first state is known to be zero, so that the first step reads no weights. rounds:
    whether states are rounded to bytes before their product (LSTM only), see `recurrent_bytes`.
    """

    kind: str
    hidden: int
    reverse: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    clip: float | None = None
    linear_before_reset: bool = False
    input_forget: bool = False
    peepholes: bool = False
    lengths: bool = False
    sequence: bool = True
    from_zero: bool = False
    rounds: bool = False

    @property
    def gates(self) -> int:
        return GATES[self.kind]

    @property
    def phases(self) -> tuple[tuple[int, ...], ...]:
        """Gates whose products are computed together: the same state enters them.

        What enters GRU's candidate is the state after the reset, which takes all of that gate.
        """
        if self.kind == "GRU" and not self.linear_before_reset:
            return (0, 1), (2,)
        return (tuple(range(self.gates)),)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Cell:
        fields = json.loads(text)
        activations = tuple(
            tuple(Activation(**activation) for activation in direction)
            for direction in fields.pop("activations")
        )
        return Cell(**fields | {"activations": activations, "reverse": tuple(fields["reverse"])})

    @property
    def scratch(self) -> int:
        """Floats of scratch for each row and direction: two states, what GRU keeps aside, and the
        rounded state."""
        return self.hidden * (4 if self.kind == "GRU" else 2 + self.rounds)


def _softplus(x: Value, _alpha: Value, _beta: Value) -> Value:
    # log(1 + e^x) with the exponent kept negative.
    size = tirx.max(x, f32(0.0) - x)
    return tirx.max(x, f32(0.0)) + math.log(f32(1.0) + math.exp(f32(0.0) - size))


ACTIVATIONS: dict[str, Callable[[Value, Value, Value], Value]] = {
    "Affine": lambda x, a, b: a * x + b,
    "Elu": lambda x, a, b: tirx.Select(x >= f32(0.0), x, a * (math.exp(x) - f32(1.0))),
    "HardSigmoid": lambda x, a, b: tirx.max(tirx.min(a * x + b, f32(1.0)), f32(0.0)),
    "LeakyRelu": lambda x, a, b: tirx.Select(x >= f32(0.0), x, a * x),
    "Relu": lambda x, a, b: tirx.max(x, f32(0.0)),
    "ScaledTanh": lambda x, a, b: a * math.tanh(b * x),
    "Sigmoid": lambda x, a, b: math.sigmoid(x),
    "Softplus": _softplus,
    "Softsign": lambda x, a, b: x / (f32(1.0) + tirx.max(x, f32(0.0) - x)),
    "Tanh": lambda x, a, b: math.tanh(x),
    "ThresholdedRelu": lambda x, a, b: tirx.Select(x > a, x, f32(0.0)),
}
