"""Masks in picture files: the numbers of their pixels, as they stand in the file, or their colours.

A picture is read for what it shows, a mask for what was written: indices of a palette stay indices, grey of 1, 2 and 4 bits
keeps its numbers (0 and 1, not 0 and 255). Where the label table names colours, a palette is looked up and grey is a colour.
The transparent colour of a palette or a grey value (PNG tRNS) is how to show it and changes no number; an alpha channel
that is not opaque everywhere would leave pixels without a statement, and is refused.

JPEG changes numbers, so a mask in it is refused unless its table names a threshold between two values.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.sample import Finding
from schemas.case import ArrayHeader
from schemas.label_table import LabelTable
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import Flat
from transforms.read import bmp, exif, jpeg, png, raster, tiff
from transforms.read.header import ReadHeader
from transforms.rejected import Rejected

FORMAT = "mask"
"""Of headers that describe a mask in a picture file."""

SLICES = "mask-slices"
"""Of headers that describe masks in picture files, one for each slice of a volume: axes `zyx`, the volume's affine."""


def header(
    prefix: bytes, more: Callable[[], bytes], *, name: str, file_bytes: int, limits: Limits, table: LabelTable
) -> ReadHeader:
    """The header of a mask, its axes `yx` for numbers or `yxc` where the table names colours.

    Args:
        prefix: its first `raster.HEADER_PREFIX_BYTES`, or all.
        more: gives the whole file, where the prefix does not do.
        name: of the label.
        file_bytes: size of the file.
        limits: what an array may cost.
        table: the label's.

    Raises:
        Rejected: UNSUPPORTED, JPEG without a threshold; else as `raster.header`.
    """
    whole = len(prefix) >= file_bytes
    if not whole and file_bytes > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"a file of {file_bytes} bytes, the recipe's limits allow {limits.max_bytes}")
    found = raster.parsed(prefix, whole=whole, mask=True) or raster.parsed(more(), whole=True, mask=True)
    assert found is not None
    format, read, channels, bits = found
    if format == "jpeg" and table.threshold is None:
        raise Rejected(
            Reason.UNSUPPORTED,
            "a mask in JPEG, whose compression changes the numbers of pixels: take PNG or TIFF, or, where it holds two "
            "values, give its label table a threshold: between them, for example 128",
        )
    raster.check_pixels((read.rows, read.columns, *((channels,) if channels > 1 else ())), bits // 8, limits)
    rows, columns = exif.turned_shape(read.rows, read.columns, read.orientation)
    record = raster.flat_header(
        name=name,
        format=FORMAT,
        axes="yxc" if table.colours else "yx",
        shape=(rows, columns, 3) if table.colours else (rows, columns),
        dtype=f"uint{bits}",
        file_bytes=file_bytes,
    )
    findings: tuple[Finding, ...] = ()
    if read.orientation != 1:
        detail = f"turned upright, as its orientation tag {read.orientation} says"
        findings = (Finding("orientation", name, detail),)
    return ReadHeader(record, findings, orientation=read.orientation)


def of_slice(header: ArrayHeader, table: LabelTable) -> ArrayHeader:
    """The header of one of the masks of a volume's slices."""
    _, rows, columns = header.shape
    return dataclasses.replace(
        header,
        format=FORMAT,
        axes="yxc" if table.colours else "yx",
        shape=(rows, columns, 3) if table.colours else (rows, columns),
    )


def read(data: bytes, header: ArrayHeader, limits: Limits) -> Flat:
    """A mask turned upright: (y, x) numbers, or (y, x, RGB) of a file in colour, or of any where its header asks for colours.

    Raises:
        Rejected: UNSUPPORTED, transparent pixels; SOURCE_CHANGED, another size than the inventory saw; else as the
            format's decoder.
    """
    found = raster.parsed(data, whole=True, mask=True)
    assert found is not None
    _, parsed, channels, bits = found
    raster.check_pixels((parsed.rows, parsed.columns, channels), bits // 8, limits)
    array = _opaque(_decoded(data, parsed, colours=header.axes == "yxc"))
    array = exif.turned(array, parsed.orientation)
    if array.shape[:2] != header.shape[:2]:
        raise Rejected(
            Reason.SOURCE_CHANGED, f"the inventory saw {header.shape[:2]} pixels (y, x), now {array.shape[:2]}"
        )
    return Flat(array, "yx" if array.ndim == 2 else "yxc", top=(1 << bits) - 1)


def _decoded(data: bytes, found: Any, *, colours: bool) -> npt.NDArray[Any]:
    if isinstance(found, png.PngHeader):
        array = png.numbers(data, found, palette=colours)
    elif isinstance(found, jpeg.JpegHeader):
        array = jpeg.decode(data, found)
    elif isinstance(found, bmp.BmpHeader):
        array = bmp.decode(data, found) if colours else bmp.numbers(data, found)
    else:
        assert isinstance(found, tiff.TiffHeader)
        if found.palette and colours:
            raise Rejected(Reason.UNSUPPORTED, "the colours of a TIFF palette; map its numbers with values: instead")
        array = tiff.decode(data, found)
    if colours and array.ndim == 2:
        array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
    return array


def _opaque(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.ndim == 2 or array.shape[2] not in (2, 4):
        return array
    if not (array[:, :, -1] == np.iinfo(array.dtype).max).all():
        raise Rejected(Reason.UNSUPPORTED, "a mask with transparent pixels: nothing says what they mean")
    rest = array[:, :, :-1]
    return np.ascontiguousarray(rest[:, :, 0] if rest.shape[2] == 1 else rest)
