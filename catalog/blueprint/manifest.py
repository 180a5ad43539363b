"""Manifests of the tree, each read once."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from catalog import origins, sources
from schemas import licenses
from schemas.layouts import DicomLayout, MsdLayout, NnunetLayout, PerStructureLayout
from schemas.policy import Risk, risks_of
from schemas.source import Source
from schemas.table_layout import FoldersLayout


@cache
def manifest(source_id: str) -> Source:
    """The manifest of this id, with its origins in force; see `catalog.sources.load`."""
    return origins.in_force(sources.load(source_id))


KINDS = {"XR": ("CR", "DX")}
"""Modality that the catalog names where a row does not say which -> those that it may be."""


def shares(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether modalities have one in common; `XR` is CR or DX."""

    def all_of(codes: Iterable[str]) -> set[str]:
        return {k for c in codes for k in (c, *KINDS.get(c, ()))}

    return bool(all_of(some) & all_of(others))


def is_labelled(source: Source) -> bool:
    """Whether a manifest reads masks, or classes, findings, boxes or points."""
    layout = source.layout
    told = [getattr(layout, name, ()) for name in ("classes", "findings", "boxes", "points", "measurements")]
    return bool(source.annotated() or any(told))


def risks(source: Source) -> frozenset[Risk]:
    """What a manifest's data may hold that names people, by its texts, its modalities and its own word."""
    texts: frozenset[Risk] = frozenset({"text"}) if getattr(source.layout, "texts", ()) else frozenset()
    return texts | set(source.risks) | {r for m in modalities(source) for r in risks_of(m)}


def access(source: Source) -> str | None:
    """`registration` or `agreement`, where a manifest's licence says that whoever wants the files must; else None."""
    grants = source.terms.grants or licenses.table().get(source.terms.license or "")
    return grants.access if grants is not None and grants.access != "open" else None


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
