"""Inventory of labels that are pictures of a DICOM volume's slices: which picture is of which slice.

The rule `file_names`: the pictures by name go with the instances by name, the first with the first, numbers in names compared
as numbers. A picture's rows and columns are those of its instance's pixels; nothing is flipped, since nothing is turned into
another format before. The names of the instances must run along the slices, one way or the other: where they do not, they tell
no order, and the label is a fault.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from schemas.case import ArrayHeader
from schemas.label_table import LabelTable
from schemas.layouts import LabelFiles
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.layouts.case_files import ArrayFiles, Fault, KnownLabel
from transforms.read import mask, raster
from transforms.read.header import ReadHeader
from transforms.read.series import SeriesVolume
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore

_WHOLE = frozenset({"regular", "mixed"})
"""Verdicts of series whose volume has a plane for each instance, as it lies."""


def sliced_label(
    objects: Sequence[ListedObject],
    found: SeriesVolume,
    role: LabelFiles,
    name: str,
    table: LabelTable,
    store: SourceStore,
    limits: Limits,
) -> tuple[ArrayFiles, Fault | None]:
    """The label that some pictures are, its files in the order of the volume's slices, and what is wrong with it.

    Args:
        objects: the pictures.
        found: the volume.
        role: what the manifest says of the label.
        name: of the label within its case.
        table: the label's.
        store: where the pictures lie.
        limits: what an array may cost.

    Raises:
        OSError: what may pass, from the store.
    """
    named = sorted(objects, key=lambda o: natural(o.path))
    files = ArrayFiles(name, tuple((o, None) for o in named), table=role.table, image=role.image)
    try:
        ordered = _in_slice_order(named, found)
    except Rejected as fault:
        return files, Fault(fault.reason, fault.detail, named[0].path, "label")
    depth = "uint8"
    for o in ordered:
        try:
            depth = max(depth, _checked(o, found, name, table, store, limits).dtype, key=len)
        except Rejected as fault:
            reason = fault.reason if fault.reason == Reason.LABEL_GRID else Reason.LABEL_UNREADABLE
            shown = fault.detail if reason == fault.reason else f"{fault.reason}: {fault.detail}"
            return files, Fault(reason, f"label {name!r}: {shown}", o.path, "label")
    header = dataclasses.replace(
        found.header,
        name=name,
        format=mask.SLICES,
        dtype=depth,
        scale=1.0,
        offset=0.0,
        bytes=sum(o.bytes for o in ordered),
        verdict="regular",
        unit=None,
        part=None,
    )
    known = KnownLabel(ReadHeader(header, ()), table.origin, 1)
    return dataclasses.replace(files, objects=tuple((o, None) for o in ordered), known=known), None


def natural(path: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which names sort as people number them: `img2` before `img10`."""
    parts = re.split(r"(\d+)", path)
    return tuple((1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts)


def _in_slice_order(named: Sequence[ListedObject], found: SeriesVolume) -> list[ListedObject]:
    """The pictures, sorted by name, in the order of the slices of their instances.

    Raises:
        Rejected: LABEL_GRID.
    """
    slices = found.header.shape[0]
    if found.verdict not in _WHOLE or len(found.paths) != slices:
        raise Rejected(
            Reason.LABEL_GRID,
            f"the label has a picture for each slice, and its image's slices are not stored one by one as they lie "
            f"({found.verdict}, {len(found.paths)} objects, {slices} slices)",
        )
    if len(named) != slices:
        raise Rejected(Reason.LABEL_GRID, f"expected a picture for each of {slices} slices, found {len(named)}")
    by_name = sorted(range(slices), key=lambda z: natural(found.paths[z]))
    if by_name not in (list(range(slices)), list(range(slices - 1, -1, -1))):
        raise Rejected(
            Reason.LABEL_GRID,
            "the names of the instances do not run along their slices, so nothing says which picture is of which",
        )
    return list(named) if by_name[0] == 0 else list(reversed(named))


def _checked(
    o: ListedObject, found: SeriesVolume, name: str, table: LabelTable, store: SourceStore, limits: Limits
) -> ArrayHeader:
    prefix = bytes(store.read(o.path, 0, min(raster.HEADER_PREFIX_BYTES, o.bytes), version=o.version))
    read = mask.header(
        prefix,
        lambda: bytes(store.read(o.path, version=o.version)),
        name=name,
        file_bytes=o.bytes,
        limits=limits,
        table=table,
    )
    if read.orientation != 1:
        raise Rejected(
            Reason.LABEL_GRID, f"a picture of a slice with orientation tag {read.orientation}; slices have none"
        )
    if read.header.shape[:2] != found.header.shape[1:]:
        (rows, columns), (_, height, width) = read.header.shape[:2], found.header.shape
        raise Rejected(
            Reason.LABEL_GRID, f"a picture of {columns}×{rows} pixels (x, y), its slice has {width}×{height}"
        )
    return read.header
