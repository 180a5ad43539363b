"""Price lists that come with the project: examples to copy and to edit."""

from __future__ import annotations

from pathlib import Path

from schemas import prices
from schemas.prices import Prices

FOLDER = Path(__file__).parent / "prices"

EXAMPLES = FOLDER / "examples.yaml"
"""List prices of a few providers on a stated day."""


def load(path: str | Path | None = None) -> Prices:
    """The price list in a file, or the examples.

    Raises:
        UsageError: the file is missing or wrong.
    """
    return prices.load(EXAMPLES if path is None else path)
