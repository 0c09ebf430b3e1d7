"""The small languages of the command line's options: dims, bounds, shapes, files, targets."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def target(text: str) -> dict[str, Any]:
    """``{"kind": "llvm", "mcpu": "znver4"}``, or its kind alone -> the dict that Target takes."""
    if text.isidentifier():
        return {"kind": text}
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a target: expected an object such as {{"kind": "llvm"}}'
        )
    return fields


def bound(text: str) -> tuple[str, tuple[int, int]]:
    """``seq=1:512`` -> ("seq", (1, 512)); both ends are included."""
    name, _, ends = text.rpartition("=")
    low, _, high = ends.partition(":")
    if not name or not low.isdecimal() or not high.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not DIM=LO:HI, such as seq=1:512")
    if int(low) > int(high):
        raise argparse.ArgumentTypeError(f"{text!r}: the lower end exceeds the upper")
    return name, (int(low), int(high))


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """``x=1x3x48x320`` -> ("x", (1, 3, 48, 320)); ``x=`` is a scalar."""
    name, equals, dims = text.rpartition("=")
    sizes = dims.split("x") if dims else []
    if not name or not equals or not all(size.isdecimal() for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=1x3x48x320")
    return name, tuple(map(int, sizes))


def array_file(text: str) -> tuple[str, Path]:
    """``x=folder/x.npy`` -> ("x", Path("folder/x.npy")); the name ends at the first ``=``."""
    name, equals, path = text.partition("=")
    if not name or not equals or not path:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE.npy")
    return name, Path(path)


def count(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seed(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def unique(pairs: list[tuple[str, Any]], option: str, parser: argparse.ArgumentParser) -> dict:
    """The pairs of an option that may be repeated, once for each name."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            parser.error(f"argument {option}: {name!r} is given twice")
        found[name] = value
    return found
