"""Builds PP-OCRv4's text recogniser once and reads lines of every length with it.

Three lines of text are drawn; each is recognised at its own width, and all three as one padded
batch, by this package and by ONNX Runtime in turn.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import tvm
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tvm_sod2 import from_onnx
from tvm_sod2.commands.building import build
from tvm_sod2.demo import ctc, lines
from tvm_sod2.demo.timing import side_by_side
from tvm_sod2.memory import arena_bytes
from tvm_sod2.metadata import read_signature
from tvm_sod2.models import fetch

MODEL = "ch_PP-OCRv4_rec_infer"
TEXTS = ("Hello", "Dynamic shapes", "One build serves every input shape")
TOLERANCE = 1e-3
"""Largest absolute difference allowed between our probabilities and ONNX Runtime's."""


@dataclass(frozen=True)
class Reading:
    """One run of the recogniser: what was drawn and read, and how both sides did."""

    drawn: tuple[str, ...]
    read: tuple[str, ...]
    shape: tuple[int, ...]
    arena: int
    ours: float
    theirs: float
    difference: float

    @property
    def good(self) -> bool:
        """Every line read as drawn, and all probabilities as ONNX Runtime has them."""
        return self.drawn == self.read and self.difference <= TOLERANCE


class Recogniser:
    """The model on both sides, each with the given number of threads."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        executable = build(from_onnx(path), f"building {path.name}")
        vm = tvm.relax.VirtualMachine(executable, tvm.cpu())
        self.signature = read_signature(vm)
        self.main = vm["main"]
        characters = self.session.get_modelmeta().custom_metadata_map["character"]
        self.letters = ctc.alphabet(characters)

    def read(self, drawn: tuple[str, ...], images: np.ndarray) -> Reading:
        """Recognise images [n, 3, 48, width] of the drawn texts, and time both sides on them."""
        name = self.signature.inputs[0].name
        tensor = tvm.runtime.tensor(images)
        feed = {name: images}
        scores = self.main(tensor).numpy()
        expected = self.session.run(None, feed)[0]
        ours, theirs = side_by_side(lambda: self.main(tensor), lambda: self.session.run(None, feed))
        return Reading(
            drawn=drawn,
            read=tuple(ctc.decode(scores, self.letters)),
            shape=images.shape,
            arena=arena_bytes(self.signature.arena_bytes, self.signature.bind(feed)),
            ours=ours,
            theirs=theirs,
            difference=float(np.abs(scores - expected).max()),
        )


def table(readings: list[Reading], threads: int) -> Table:
    """The readings, one row each; narrow enough for a terminal of 80 columns."""
    each = "1 thread" if threads == 1 else f"{threads} threads"
    found = Table(title=f"{MODEL}: one build, {each} each", box=box.SIMPLE_HEAD, pad_edge=False)
    found.add_column("text read", overflow="fold")
    headings = ("input", "arena\nbytes", "tvm_sod2\nms", "ORT\nms", "ORT /\nours", "largest\ndiff.")
    for heading in headings:
        found.add_column(heading, justify="right", no_wrap=True)
    for reading in readings:
        found.add_row(
            "\n".join(map(escape, reading.read)),
            "x".join(map(str, reading.shape)),
            f"{reading.arena:,}",
            f"{reading.ours * 1e3:.2f}",
            f"{reading.theirs * 1e3:.2f}",
            f"{reading.theirs / reading.ours:.2f}",
            f"{reading.difference:.1e}",
            style=None if reading.good else "red",
        )
    return found


def main(threads: int) -> int:
    """The demo at this many threads a side; 0 when all lines were read as drawn and agree with
    ONNX Runtime, 1 otherwise.
    """
    console = Console()
    if not console.is_terminal:  # a file or pipe has no width to respect
        console = Console(width=120)
    path = fetch(MODEL, progress=console.print)
    start = time.perf_counter()
    recogniser = Recogniser(path, threads)
    console.print(f"built {path.name} in {time.perf_counter() - start:.1f} s, for every shape")
    images = [lines.prepare(lines.draw(text)) for text in TEXTS]
    readings = []
    with console.status("recognising"):
        for text, image in zip(TEXTS, images, strict=True):
            readings.append(recogniser.read((text,), image[None]))
        readings.append(recogniser.read(TEXTS, lines.batch(images)))
    console.print(table(readings, threads))
    for reading in readings:
        for drawn, read in zip(reading.drawn, reading.read, strict=True):
            if drawn != read:
                console.print(f"misread: {drawn!r} as {read!r}", style="red", markup=False)
        if not reading.difference <= TOLERANCE:
            said = f"{reading.shape}: differs by {reading.difference:.1e}, allowed {TOLERANCE:g}"
            console.print(said, style="red")
    return 0 if all(reading.good for reading in readings) else 1
