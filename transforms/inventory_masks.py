"""Inventory of masks in picture files: their headers, and whether they are of their picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from schemas.case import CaseImage
from schemas.label_table import LabelTable
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import is_flat
from transforms.labels.flat import check_size
from transforms.layouts.case_files import ArrayFiles
from transforms.read import array, mask, raster
from transforms.read.header import ReadHeader
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore


def is_mask(files: ArrayFiles) -> bool:
    """Whether a label lies in picture files, by the names of its files."""
    return array.format_of(files.objects[0][0].path) in set(raster.SUFFIXES.values())


def read_mask(
    o: ListedObject,
    files: ArrayFiles,
    store: SourceStore,
    limits: Limits,
    table: LabelTable,
    image: CaseImage,
    orientation: int,
) -> ReadHeader:
    """The header of one mask of a picture.

    A mask lies on its picture pixel by pixel, so both have one size and are turned by one orientation tag: where only one of
    them has such a tag, nothing says which way the mask was drawn.

    Args:
        o: the mask's file.
        files: the label that it belongs to.
        store: where it lies.
        limits: what an array may cost.
        table: the label's.
        image: its picture.
        orientation: EXIF's, by which the picture is turned.

    Raises:
        Rejected: LABEL_GRID; else as `transforms.read.mask.header` does.
        OSError: what may pass, from the store.
    """
    name = image.header.name
    if not is_flat(image.header.axes) or "t" in image.header.axes:
        raise Rejected(
            Reason.LABEL_GRID,
            f"a mask in a picture file is of a picture; its image {name!r} is a volume or a film (axes "
            f"{image.header.axes}). Pictures of the slices of a DICOM series are labels with slices:",
        )
    prefix = bytes(store.read(o.path, 0, min(raster.HEADER_PREFIX_BYTES, o.bytes), version=o.version))
    read = mask.header(
        prefix,
        lambda: bytes(store.read(o.path, version=o.version)),
        name=files.name,
        file_bytes=o.bytes,
        limits=limits,
        table=table,
    )
    check_size(read.header.shape, image.header.shape, name)
    if read.orientation != orientation:
        raise Rejected(
            Reason.LABEL_GRID,
            f"the picture {name!r} has orientation tag {orientation} and its mask {read.orientation}: nothing says which "
            "way the mask was drawn; give both the same tag, or none",
        )
    return dataclasses.replace(read, findings=())  # what turned the picture is said of the picture


def check_volume_label(files: ArrayFiles, images: Mapping[str, CaseImage]) -> None:
    """Refuse a label in a volume's format whose image is a picture.

    Raises:
        Rejected: LABEL_GRID.
    """
    image = images[files.image or ""]
    if is_flat(image.header.axes):
        raise Rejected(
            Reason.LABEL_GRID,
            f"the label is in a format of volumes and its image {image.header.name!r} is a picture; masks of pictures lie "
            "in PNG, TIFF or BMP",
        )
