"""PNG, JPEG, TIFF and BMP files as pictures: header from a prefix, checked against limits; then pixels.

A raster file has no patient around it: axes are `yx` or `yxc`, spacing is unknown (a resolution in dots per inch is a
printer's or scanner's, PNG pHYs, JFIF density and TIFF XResolution alike), and there is no affine.

An alpha channel that is opaque everywhere is left out when pixels are read; one that is not stays as the last channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.sample import Finding
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import Flat
from transforms.read import bmp, exif, jpeg, png, tiff
from transforms.read.header import ReadHeader
from transforms.rejected import Rejected

SUFFIXES = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".tif": "tiff", ".tiff": "tiff", ".bmp": "bmp",
}  # fmt: skip
"""Ends of file names and the formats they promise. What a file is, its first bytes decide."""

HEADER_PREFIX_BYTES = 1 << 16
"""Bytes that nearly always hold the header; where they do not (a large EXIF thumbnail, a TIFF directory at the end), the
whole file is read."""


_Found = png.PngHeader | jpeg.JpegHeader | tiff.TiffHeader | bmp.BmpHeader


def format_by_content(prefix: bytes) -> str | None:
    """png, jpeg, tiff or bmp by the first bytes; None for anything else."""
    if prefix.startswith(png.MAGIC):
        return "png"
    if prefix.startswith(bmp.MAGIC):
        return "bmp"
    if prefix.startswith(jpeg.MAGIC):
        return "jpeg"
    return "tiff" if prefix[:4] in (b"II*\0", b"MM\0*") else None


def header(prefix: bytes, more: Callable[[], bytes], *, name: str, file_bytes: int, limits: Limits) -> ReadHeader:
    """The header of a raster file.

    Args:
        prefix: its first `HEADER_PREFIX_BYTES`, or all.
        more: gives the whole file, where the prefix does not do.
        name: of the image.
        file_bytes: size of the file.
        limits: what an array may cost.

    Raises:
        Rejected: UNREADABLE, none of the formats; TOO_LARGE, by its header; else as the format's reader says.
    """
    whole = len(prefix) >= file_bytes
    if not whole and file_bytes > limits.max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"a file of {file_bytes} bytes, the recipe's limits allow {limits.max_bytes}")
    found = parsed(prefix, whole=whole)
    if found is None:
        found = parsed(more(), whole=True)
        assert found is not None
    format, header, channels, bits = found
    check_pixels((header.rows, header.columns, *((channels,) if channels > 1 else ())), bits // 8, limits)
    rows, columns = exif.turned_shape(header.rows, header.columns, header.orientation)
    findings = []
    if header.orientation != 1:
        findings.append(
            Finding("orientation", name, f"turned upright, as its orientation tag {header.orientation} says")
        )
    record = flat_header(
        name=name,
        format=format,
        axes="yxc" if channels > 1 else "yx",
        shape=(rows, columns, *((channels,) if channels > 1 else ())),
        dtype=f"uint{bits}",
        file_bytes=file_bytes,
    )
    return ReadHeader(record, tuple(findings), orientation=header.orientation)


def parsed(data: bytes, *, whole: bool, mask: bool = False) -> tuple[str, _Found, int, int] | None:
    """(format, header, channels, bits); None where more bytes are needed.

    Args:
        data: first bytes of a file.
        whole: they are all of it.
        mask: it is read for its numbers: TIFF of 1 bit and of indices is taken too.

    Raises:
        Rejected: UNREADABLE, none of the formats; else as the format's reader says.
    """
    format = format_by_content(data)
    if format == "png" and (p := png.header(data, whole=whole)):
        return format, p, p.channels, p.bits
    if format == "jpeg" and (j := jpeg.header(data, whole=whole)):
        return format, j, j.components, 8
    if format == "tiff" and (t := tiff.header(data, whole=whole, mask=mask)):
        return format, t, t.channels, t.bits
    if format == "bmp" and (b := bmp.header(data, whole=whole)):
        return format, b, b.channels, 8
    if format is None:
        raise Rejected(
            Reason.UNREADABLE, "expected a PNG, JPEG, TIFF or BMP file by its first bytes, found something else"
        )
    return None


def check_pixels(shape: tuple[int, ...], itemsize: int, limits: Limits) -> None:
    """Refuse a picture or film before memory is taken for it.

    Raises:
        Rejected: TOO_LARGE, with what is announced and what is allowed.
    """
    count = int(np.prod([int(n) for n in shape], dtype=object))
    for what, found, allowed in (
        ("pixels along one axis", max(shape), limits.max_edge),
        ("values", count, limits.max_voxels),
        ("bytes in memory", count * itemsize, limits.max_bytes),
    ):
        if found > allowed:
            shown = "×".join(str(n) for n in shape)
            raise Rejected(
                Reason.TOO_LARGE,
                f"the header announces {shown} (slowest axis first), {found} {what}; the recipe's limits allow {allowed}",
            )


def flat_header(
    *,
    name: str,
    format: str,
    axes: str,
    shape: tuple[int, ...],
    dtype: str,
    file_bytes: int,
    spacing_xy_mm: tuple[float, float] | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
) -> ArrayHeader:
    """The record of a picture or film: no orientation and no affine, and spacing only where the file has one."""
    return ArrayHeader(
        name=name,
        format=format,
        axes=axes,
        shape=shape,
        spacing_xyz_mm=spacing_xy_mm,
        orientation=None,
        affine_ras=None,
        obliquity_deg=None,
        dtype=dtype,
        scale=scale,
        offset=offset,
        frame_of_reference=None,
        verdict="regular",
        bytes=file_bytes,
    )


def read(data: bytes, limits: Limits) -> Flat:
    """The picture of a raster file, turned upright.

    Raises:
        Rejected: as `header` and the format's decoder do.
    """
    found = parsed(data, whole=True)
    assert found is not None
    _, header, channels, bits = found
    check_pixels((header.rows, header.columns, channels), bits // 8, limits)
    stream = None
    if isinstance(header, png.PngHeader):
        array = png.decode(data, header)
    elif isinstance(header, jpeg.JpegHeader):
        stream = jpeg.stripped(data)
        array = jpeg.decode(stream, header)
    elif isinstance(header, bmp.BmpHeader):
        array = bmp.decode(data, header)
    else:
        array = tiff.decode(data, header)
    done = []
    array, opaque = without_opaque_alpha(array)
    if opaque:
        done.append("an alpha channel that was opaque everywhere left out")
    if header.orientation != 1:
        array, stream = exif.turned(array, header.orientation), None
        done.append(f"turned upright (orientation {header.orientation})")
    axes = "yx" if array.ndim == 2 else "yxc"
    return Flat(array, axes, top=(1 << bits) - 1, jpeg=stream, done=tuple(done))


def without_opaque_alpha(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], bool]:
    """A picture without an alpha channel that is opaque everywhere, and whether there was one."""
    if array.ndim == 2 or array.shape[2] not in (2, 4):
        return array, False
    if not (array[:, :, -1] == np.iinfo(array.dtype).max).all():
        return array, False
    colour = array[:, :, :-1]
    return np.ascontiguousarray(colour[:, :, 0] if colour.shape[2] == 1 else colour), True
