"""Histories are told in a world where nothing but the commit protocol costs time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.simulate import prepared


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with prepared() as folder:
        yield folder
