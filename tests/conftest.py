"""What all tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tvm_sod2.models import ModelFetchError, fetch

# TVM takes half of the processors, one of two: kernels would never run on several threads.
os.environ.setdefault("TVM_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def models() -> Callable[[str], Path]:
    """The path of a real model by name, fetched where the cache lacks it; never a silent skip."""

    def path(name: str) -> Path:
        try:
            return fetch(name)
        except ModelFetchError as error:
            pytest.fail(f"this test needs the model {name!r}: {error}", pytrace=False)

    return path
