"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tvm_sod2.models import ModelFetchError, fetch


@pytest.fixture(scope="session")
def models() -> Callable[[str], Path]:
    """The path of a real model by name, fetched where the cache lacks it; never a silent skip."""

    def path(name: str) -> Path:
        try:
            return fetch(name)
        except ModelFetchError as error:
            pytest.fail(f"this test needs the model {name!r}: {error}", pytrace=False)

    return path
