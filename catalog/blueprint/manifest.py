"""Manifests of the tree, each read once."""

from __future__ import annotations

from functools import cache

from catalog import origins, sources
from schemas.source import DicomLayout, MsdLayout, NnunetLayout, PerStructureLayout, Source
from schemas.table_layout import FoldersLayout


@cache
def manifest(source_id: str) -> Source:
    """The manifest of this id, with its origins in force; see `catalog.sources.load`."""
    return origins.in_force(sources.load(source_id))


def modalities(source: Source) -> tuple[str, ...]:
    """Modalities of the images that a manifest reads, sorted; none: whatever its DICOM files have."""
    layout = source.layout
    if isinstance(layout, DicomLayout):
        return tuple(sorted(layout.modalities))
    if isinstance(layout, (MsdLayout, NnunetLayout)):
        return tuple(sorted({c.modality for c in layout.channels}))
    if isinstance(layout, PerStructureLayout):
        return tuple(sorted({i.modality for i in (layout.image, *layout.more_images)}))
    if isinstance(layout, FoldersLayout):
        return (layout.image.modality,)
    return tuple(sorted({i.modality for i in layout.images}))
