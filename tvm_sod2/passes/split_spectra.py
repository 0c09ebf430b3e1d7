"""Convolutions that are spectra become several over every second sample, with half of the filters.

    y = conv2d(x, w)   ->   e = conv2d(x[0::2], w[kept, 0::2]);  o = conv2d(x[1::2], w[kept, 1::2])
                            y = concat(e + o, flip(e - o))

where filters come in pairs (filter_pairs.py), again for e and o. Taps at either end that are zero
in every filter go. All such convolutions of a signal are one, so that real and imaginary parts
find each other. Runs on channels-last convolutions of one channel along one axis, with constant
filters, an even stride and no padding, and on products of frames by constant matrices.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import tvm
import tvm_ffi
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

_SAMPLES = 2  # the axis of a signal (n, 1, length, 1), and of the taps in filters of that layout


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
        return [
            array.T if array.ndim == 2 else array.reshape(array.shape[0], -1)
            for array in arrays
            if array is not None
        ]


def _find(func: relax.Function) -> dict[tvm.ir.Var, _Spectrum]:
    """What may be split, by the result of each convolution."""
    alike: dict[tuple[object, ...], _Spectrum] = {}
    origin: dict[tvm.ir.Var, tvm.ir.Var] = {}
    blocks = func.body.blocks if isinstance(func.body, relax.SeqExpr) else []
    for number, binding in ((i, binding) for i, b in enumerate(blocks) for binding in b.bindings):
        value = binding.value
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
            continue
        if value.op.name == "relax.reshape":
            origin[binding.var] = origin.get(value.args[0], value.args[0])
        elif value.op.name in _FORMS and _FORMS[value.op.name](value):
            data, filters = value.args
            signal, shape = origin.get(data, data), tvm_ffi.StructuralKey(data.ty.shape)
            taps = filters.ty.shape.values[0 if filters.ty.ndim == 2 else _SAMPLES]
            key = number, signal, shape, int(taps), _stride(value)
            alike.setdefault(key, _Spectrum({})).calls[binding.var] = value
    large = [s for s in alike.values() if sum(w.size for w in s.filters) >= _LEAST]
    return {var: spectrum for spectrum in large for var in spectrum.calls}


def _filters_signals(call: relax.Call) -> bool:
    attrs, weights = call.attrs, constant_array(call.args[1])
    if (attrs.data_layout, attrs.kernel_layout, attrs.out_layout) != ("NHWC", "OHWI", "NHWC"):
        return False
    if weights is None or weights.dtype != np.float32 or call.args[0].ty.shape is None:
        return False
    plain = not any(attrs.padding) and all(step == 1 for step in attrs.dilation)
    row = weights.shape[1] == weights.shape[3] == 1 and int(attrs.groups) == 1
    return plain and row and int(attrs.strides[0]) == 1


def _filters_frames(call: relax.Call) -> bool:
    weights, frames = constant_array(call.args[1]), call.args[0].ty
    if weights is None or weights.ndim != 2 or weights.dtype != np.float32:
        return False
    return frames.shape is not None and frames.ndim > 1 and str(frames.dtype) == "float32"


_FORMS = {"relax.nn.conv2d": _filters_signals, "relax.matmul": _filters_frames}


def _stride(call: relax.Call) -> int:
    """Samples from one frame to the next; 0 where frames do not overlap."""
    return int(call.attrs.strides[1]) if call.op.name == "relax.nn.conv2d" else 0


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
        if len(filters) > 1 or not _stride(call) or weights.shape[1] > _MOST_LEFT * taps:
            return None
        return [signal.filtered(weights, first, 1)]


@dataclass
class _Signal:
    """A signal (n, 1, length, 1), or frames (..., taps), and what filters of `taps` taps do."""

    builder: relax.BlockBuilder
    data: Expr
    call: relax.Call
    taps: int

    def pairs(
        self, weights: np.ndarray, step: int, starts: frozenset[int] = frozenset()
    ) -> Pairs | None:
        """The pairs among filters of every `step`-th sample, where splitting these pays."""
        odd_stride = _stride(self.call) % (2 * step)
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
            return self.filtered(np.pad(weights, ((0, more), (0, 0))), first, step)
        return self.joined(self.runs(pairs, weights, first, step))

    def runs(self, pairs: Pairs, weights: np.ndarray, first: int, step: int) -> list[Expr]:
        """The spectrum run by run."""
        kept = weights[pairs.kept]
        even = self.spectrum(kept[:, 0::2], first, 2 * step)
        odd = self.spectrum(kept[:, 1::2], first + step, 2 * step)
        return [self._run(even, odd, run) for run in pairs.runs]

    def _run(self, even: Expr, odd: Expr, run: Run) -> Expr:
        low, high = sorted((run.first, run.last))
        channels = even.ty.ndim - 1
        e, o = (
            self.builder.emit(R.strided_slice(x, [channels], [low], [high + 1], [1]))
            for x in (even, odd)
        )
        made = R.add(e, o) if run.sign == 0 else R.subtract(*((e, o) if run.sign > 0 else (o, e)))
        made = self.builder.emit(made)
        return self.builder.emit(R.flip(made, channels)) if run.last < run.first else made

    def joined(self, parts: list[Expr]) -> Expr:
        """Parts of the channels, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return self.builder.emit(R.concat(parts, parts[0].ty.ndim - 1))

    def filtered(self, weights: np.ndarray, first: int, step: int) -> Expr:
        """The spectrum by filters of every `step`-th sample."""
        count, stride = weights.shape[1], _stride(self.call)
        unread = self.taps - 1 - (first + step * (count - 1))
        axis = _SAMPLES if stride else self.data.ty.ndim - 1
        end = self.data.ty.shape.values[axis] - unread
        data = self.builder.emit(
            R.strided_slice(self.data, [axis], [first], [end], [step], assume_inbound=True)
        )
        if not stride:
            return self.builder.emit(R.matmul(data, relax.const(np.ascontiguousarray(weights.T))))
        return self.builder.emit(
            R.nn.conv2d(
                data,
                relax.const(np.ascontiguousarray(weights)[:, None, :, None]),
                strides=[1, stride // step],
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
