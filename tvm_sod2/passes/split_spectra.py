"""Convolutions that are spectra become several over every second sample, with half of the filters.

    y = conv2d(x, w)   ->   e = conv2d(x[0::2], w[kept, 0::2]);  o = conv2d(x[1::2], w[kept, 1::2])
                            y = concat(e + o, flip(e - o))

where filters come in pairs (filter_pairs.py), again for e and o. Taps at either end that are zero
in every filter go. All such convolutions of a signal are one, so that real and imaginary parts
find each other. Runs on channels-last convolutions of one channel along one axis, with constant
filters, an even stride and no padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import tvm
from tvm import relax
from tvm.relax import Expr
from tvm.relax import op as R

from tvm_sod2.passes.filter_pairs import Pairs, Run, find_pairs
from tvm_sod2.passes.fold_constants import constant_array
from tvm_sod2.passes.mutate import map_functions

_LEAST = 80_000
"""Weights of a spectrum below which further kernels cost more than they save."""

_LEAST_PART = 16_000
"""The same of what is split again."""

_TOGETHER = 16
"""Taps and filters of a spectrum and its parts are a multiple of this where there is room."""

_MOST_LEFT = 0.9
"""Of the taps; where more stay, leaving out those at the ends does not pay for a copy."""

_AXIS, _CHANNELS = 2, 3  # of the signal (n, 1, length, 1), of the spectra (n, 1, frames, filters)


@tvm.transform.module_pass(opt_level=0, name="SplitSpectra")
def split_spectra(mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
    """Apply the rule above to every Relax function."""
    return map_functions(mod, _rewritten)


def _rewritten(func: relax.Function) -> relax.Function:
    spectra = _find(func)
    return _Splitter(spectra).visit_expr(func) if spectra else func


@dataclass
class _Spectrum:
    """Convolutions of one signal, alike but for their filters; `calls` by their results."""

    calls: dict[tvm.ir.Var, relax.Call]

    @property
    def filters(self) -> list[np.ndarray]:
        """Those of each convolution: (count, taps)."""
        arrays = [constant_array(call.args[1]) for call in self.calls.values()]
        return [array.reshape(array.shape[0], -1) for array in arrays if array is not None]


def _find(func: relax.Function) -> dict[tvm.ir.Var, _Spectrum]:
    """What may be split, by the result of each convolution."""
    alike: dict[tuple[int, tvm.ir.Var, int, int], _Spectrum] = {}
    origin: dict[tvm.ir.Var, tvm.ir.Var] = {}
    blocks = func.body.blocks if isinstance(func.body, relax.SeqExpr) else []
    for number, binding in ((i, binding) for i, b in enumerate(blocks) for binding in b.bindings):
        value = binding.value
        name = getattr(getattr(value, "op", None), "name", "")
        if name == "relax.reshape":
            origin[binding.var] = origin.get(value.args[0], value.args[0])
        elif name == "relax.nn.conv2d" and _is_spectrum(value):
            signal = origin.get(value.args[0], value.args[0])
            taps = int(value.args[1].ty.shape.values[_AXIS])
            key = number, signal, taps, int(value.attrs.strides[1])
            alike.setdefault(key, _Spectrum({})).calls[binding.var] = value
    large = [s for s in alike.values() if sum(w.size for w in s.filters) >= _LEAST]
    return {var: spectrum for spectrum in large for var in spectrum.calls}


def _is_spectrum(call: relax.Call) -> bool:
    attrs, weights = call.attrs, constant_array(call.args[1])
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NHWC", "OHWI", "NHWC"):
        return False
    if weights is None or weights.dtype != np.float32 or call.args[0].ty.shape is None:
        return False
    plain = not any(attrs.padding) and all(step == 1 for step in attrs.dilation)
    row = weights.shape[1] == weights.shape[3] == 1 and int(attrs.groups) == 1
    return plain and row and int(attrs.strides[0]) == 1


@relax.expr_functor.mutator
class _Splitter(relax.PyExprMutator):
    def __init__(self, spectra: dict[tvm.ir.Var, _Spectrum]) -> None:
        super().__init__()
        self.spectra = spectra
        self.results: dict[tvm.ir.Var, Expr] = {}

    def visit_var_binding_(self, binding: relax.VarBinding) -> None:
        spectrum = self.spectra.get(binding.var)
        if spectrum is not None and binding.var not in self.results:
            parts = self._parts(spectrum)
            if parts is None:
                self.spectra = {v: s for v, s in self.spectra.items() if s is not spectrum}
            else:
                self.results |= zip(spectrum.calls, parts, strict=True)
        value = self.results.get(binding.var, binding.value)
        super().visit_var_binding_(relax.VarBinding(binding.var, value))

    def _parts(self, spectrum: _Spectrum) -> list[Expr] | None:
        """The results of the convolutions, or None where nothing is gained."""
        filters = spectrum.filters
        weights = np.concatenate(filters)
        if not weights.any():
            return None
        first, behind = _used(weights)
        taps = weights.shape[1]
        weights = weights[:, first:behind]
        ends = [int(end) for end in np.cumsum([len(array) for array in filters])]
        call = next(iter(spectrum.calls.values()))
        signal = _Signal(self.builder_, self.visit_expr(call.args[0]), call, taps)
        pairs = signal.pairs(weights, 1, frozenset(ends))
        if pairs is not None:
            runs = signal.runs(pairs, weights, first, 1)
            counts = np.cumsum([run.count for run in pairs.runs])
            cuts = [0, *(int(np.searchsorted(counts, end)) + 1 for end in ends)]
            return [signal.joined(runs[a:b]) for a, b in pairwise(cuts)]
        if len(filters) > 1 or weights.shape[1] > _MOST_LEFT * taps:
            return None
        return [signal.convolved(weights, first, 1)]


@dataclass
class _Signal:
    """A signal (n, 1, length, 1) and what a convolution of `taps` taps makes of it."""

    builder: relax.BlockBuilder
    data: Expr
    call: relax.Call
    taps: int

    def pairs(
        self, weights: np.ndarray, step: int, starts: frozenset[int] = frozenset()
    ) -> Pairs | None:
        """The pairs among filters of every `step`-th sample, where splitting these pays."""
        odd_stride = int(self.call.attrs.strides[1]) % (2 * step)
        if odd_stride or weights.size < _LEAST_PART or weights.shape[1] < 2:
            return None
        return find_pairs(weights, starts)

    def spectrum(self, weights: np.ndarray, first: int, step: int) -> Expr:
        """The sums over the taps at `first`, `first + step` ..., a channel for each filter.

        Behind them there may be others, so that parts of nearly one size have one kernel.
        """
        pairs = self.pairs(weights, step)
        if pairs is None:
            more = -len(weights) % _TOGETHER
            return self.convolved(np.pad(weights, ((0, more), (0, 0))), first, step)
        return self.joined(self.runs(pairs, weights, first, step))

    def runs(self, pairs: Pairs, weights: np.ndarray, first: int, step: int) -> list[Expr]:
        """The spectrum run by run."""
        kept = weights[pairs.kept]
        even = self.spectrum(kept[:, 0::2], first, 2 * step)
        odd = self.spectrum(kept[:, 1::2], first + step, 2 * step)
        return [self._run(even, odd, run) for run in pairs.runs]

    def _run(self, even: Expr, odd: Expr, run: Run) -> Expr:
        low, high = sorted((run.first, run.last))
        e, o = (
            self.builder.emit(R.strided_slice(x, [_CHANNELS], [low], [high + 1], [1]))
            for x in (even, odd)
        )
        made = R.add(e, o) if run.sign == 0 else R.subtract(*((e, o) if run.sign > 0 else (o, e)))
        made = self.builder.emit(made)
        return self.builder.emit(R.flip(made, _CHANNELS)) if run.last < run.first else made

    def joined(self, parts: list[Expr]) -> Expr:
        """Parts of the channels, one after the other."""
        return parts[0] if len(parts) == 1 else self.builder.emit(R.concat(parts, _CHANNELS))

    def convolved(self, weights: np.ndarray, first: int, step: int) -> Expr:
        """The spectrum as one convolution of every `step`-th sample."""
        count = weights.shape[1]
        unread = self.taps - 1 - (first + step * (count - 1))
        end = self.data.ty.shape.values[_AXIS] - unread
        data = self.builder.emit(
            R.strided_slice(self.data, [_AXIS], [first], [end], [step], assume_inbound=True)
        )
        attrs = self.call.attrs
        return self.builder.emit(
            R.nn.conv2d(
                data,
                relax.const(np.ascontiguousarray(weights)[:, None, :, None]),
                strides=[1, int(attrs.strides[1]) // step],
                data_layout="NHWC",
                kernel_layout="OHWI",
            )
        )


def _used(weights: np.ndarray) -> tuple[int, int]:
    """The first and the end of the taps that count, and of as many more as round their number."""
    taps = weights.shape[1]
    used = np.flatnonzero(weights.any(axis=0))
    first, behind = int(used[0]), int(used[-1]) + 1
    behind = min(behind + (first - behind) % _TOGETHER, taps)
    return max(first - (first - behind) % _TOGETHER, 0), behind
