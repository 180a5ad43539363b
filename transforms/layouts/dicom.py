"""`dicom`: instances anywhere below the root, which only their headers can group; labels beside them, by path."""

from __future__ import annotations

from collections.abc import Sequence

from mdfp import canonical
from schemas import patterns
from schemas.layouts import DicomLayout
from schemas.source import Source
from transforms.layouts.case_files import Found, HeaderFile
from transforms.layouts.listing import claim, unmatched
from transforms.layouts.registry import Read, register
from transforms.store import ListedObject


@register("dicom")
def dicom(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Objects to read, each with what its path says it belongs to.

    Where `path` has fields (`{case}/CT/**`) all series under equal fields are inventoried together, so that labels find
    their image; a series that lies under two cases is then two series. Where it has none, SeriesInstanceUID groups.
    """
    layout = source.layout
    if not isinstance(layout, DicomLayout):
        raise TypeError(f"expected a dicom layout, found {layout.kind}")
    roles = [layout.path, *(f.path for f in layout.labels), *([layout.marks.path] if layout.marks else [])]
    shared = join_fields(layout)
    matches, rest = claim(listing, roles)
    drawings = layout.segmentations.kinds if layout.segmentations else ()
    headers = []
    for match in matches:
        fields = dict(match.fields)
        group = canonical.dumps([fields[f] for f in shared]).decode() if shared else ""
        if match.role > len(layout.labels):
            headers.append(HeaderFile(match.object, group, match.fields, marks=True))
            continue
        label = match.role - 1 if match.role else None
        headers.append(HeaderFile(match.object, group, match.fields, label, drawings if label is None else ()))
    return Found(headers=tuple(headers), faults=unmatched(rest))


def join_fields(layout: DicomLayout) -> tuple[str, ...]:
    """Fields that instances and labels share, in the order of the instances' pattern."""
    shared = set(patterns.fields(layout.path))
    for label in layout.labels:
        shared &= set(patterns.fields(label.path))
    if layout.marks:
        shared &= set(patterns.fields(layout.marks.path))
    return tuple(f for f in patterns.fields(layout.path) if f in shared)
