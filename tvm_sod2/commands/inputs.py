"""Arrays for a run: read from files, or random of a given shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tvm_sod2.errors import InputError
from tvm_sod2.signature import Given, Signature, Value


@dataclass(frozen=True)
class Request:
    """What the command line asks each input to be: a file, a shape, or neither."""

    files: Mapping[str, Path]
    shapes: Mapping[str, tuple[int, ...]]
    seed: int

    def arrays(self, signature: Signature) -> dict[str, Given]:
        """What each input is given that was asked for or whose dims leave no choice.

        A sequence is the arrays of a .npz file in their order there; an optional that was not asked
        for holds nothing.

        Raises InputError naming the input: not one of the model's, asked for twice, without a
        shape, a file that is not an array. Their agreement is checked by ``Signature.bind``.
        """
        for name in [*self.files, *self.shapes]:
            signature.input(name)
            if name in self.files and name in self.shapes:
                raise InputError(f"input {name!r} is given both as a file and as a shape")
        random = np.random.default_rng(self.seed)
        return {value.name: self._array(value, random) for value in signature.inputs}

    def _array(self, value: Value, random: np.random.Generator) -> Given:
        if value.name in self.files:
            read = _read_all if value.is_sequence else _read
            return read(value.name, self.files[value.name])
        shape = self.shapes.get(value.name)
        if value.is_optional and shape is None:
            return None
        if value.is_sequence:
            raise InputError(
                f"input {value.name!r} needs --input {value.name}=FILE.npz with its tensors in "
                f"order; expected {value}"
            )
        if shape is None:
            if value.dims is None or not all(isinstance(dim, int) for dim in value.dims):
                raise InputError(
                    f"input {value.name!r} needs --input {value.name}=FILE.npy or --shape "
                    f"{value.name}=...; expected {value}"
                )
            shape = tuple(int(dim) for dim in value.dims)
        return _random(value, shape, random)


def _read(name: str, path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"input {name!r}: there is no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"input {name!r}: {path} is not a .npy file: {error}") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"input {name!r}: {path} holds several arrays, expected one (.npy)")
    return np.ascontiguousarray(array).reshape(array.shape)  # the former makes scalars 1-d


def _read_all(name: str, path: Path) -> Given:
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.lib.npyio.NpzFile):
            return [archive[key] for key in archive.files]
    except FileNotFoundError:
        raise InputError(f"input {name!r}: there is no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"input {name!r}: {path} is not a .npz file: {error}") from error
    raise InputError(f"input {name!r}: {path} holds one array, expected several (.npz)")


def _random(value: Value, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Normal floats; zeros and ones for the rest, which are valid as an index into most things."""
    try:
        dtype = np.dtype(value.dtype)
        if dtype.kind == "f":
            return np.asarray(random.standard_normal(shape)).astype(dtype)
        return np.asarray(random.integers(0, 2, shape)).astype(dtype)
    except TypeError as error:
        raise InputError(f"input {value.name!r}: no random values of type {value.dtype}") from error
    except (MemoryError, ValueError) as error:
        dims = "x".join(map(str, shape))
        raise InputError(f"input {value.name!r}: an array of {dims} is too large") from error
