"""The source manifests that describe the phantom's own data sets; the numbers of its labels are read from them."""

from __future__ import annotations

from pathlib import Path

from examples.phantom.anatomy import GALLBLADDER, ORGANS, TUMOUR
from schemas import source
from schemas.source import Source

FOLDER = Path(__file__).parent.parent / "sources"
"""Where the manifests lie."""

EVERY_STRUCTURE = (*ORGANS, TUMOUR, GALLBLADDER, "kidney")
"""What any of the phantom's sources draws."""


def load(source_id: str) -> Source:
    """One of the manifests."""
    return source.load(FOLDER / f"{source_id}.yaml")


def numbers(described: Source, table: str) -> dict[str, int]:
    """Structure -> number in a label map, of one of the source's tables."""
    return {
        structure: value for value, structure in described.labels[table].values.items() if structure != "background"
    }
