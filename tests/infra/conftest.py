"""The checkout's infrastructure files, as the tests here read them."""

from __future__ import annotations

from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(scope="session")
def infra(checkout) -> Path:
    return checkout / "infra"
