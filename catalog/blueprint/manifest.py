"""Manifests of the tree, each read once."""

from __future__ import annotations

from functools import cache

from catalog import sources
from schemas.source import Source


@cache
def manifest(source_id: str) -> Source:
    """The manifest of this id; see `catalog.sources.load`."""
    return sources.load(source_id)
