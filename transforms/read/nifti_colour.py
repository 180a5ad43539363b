"""NIfTI in colour: RGB24 (datatype 128) and RGBA32 (2304), of one plane, as pictures.

Rules:

* one plane (x, y or x, y, 1) is a picture `yxc`: rows and columns are the file's y and x in the order of their indices,
  nothing is flipped. A picture has no world, so no orientation reaches its record;
* spacing is that of the sform or qform in x and y where one stands and the unit is stated; else there is none;
* scl_slope and scl_inter do not hold for colour (nifti1.h, "Data scaling") and are not applied;
* an alpha channel that is opaque everywhere is left out, as of other pictures;
* several planes are refused: what is stored of a volume is one number a voxel.
"""

from __future__ import annotations

import math

import numpy as np

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import Flat
from transforms.read import inflate, nifti, nifti_header, raster
from transforms.read.header import ReadHeader, check_affine, check_spacing
from transforms.rejected import Rejected
from transforms.scratch import Bytes

CHANNELS = {128: 3, 2304: 4}
"""Bytes of a voxel by datatype."""

_EXCESS_BYTES = 1 << 20


def is_colour(prefix: Bytes) -> bool:
    """Whether the first bytes of a file, plain or gzip, are those of a NIfTI in colour; False for whatever is no NIfTI."""
    try:
        return _parsed(prefix).datatype in CHANNELS
    except Rejected:
        return False


def header(prefix: bytes, *, name: str, file_bytes: int, limits: Limits) -> ReadHeader:
    """The header of a picture from the first `nifti.HEADER_PREFIX_BYTES` of a file.

    Raises:
        Rejected: UNSUPPORTED, several planes; TEMPORAL, several time points; NOT_A_VOLUME, several values a voxel; TOO_LARGE;
            TRUNCATED; EXPANSION; UNREADABLE; BAD_SPACING, BAD_AFFINE, SHEARED where a form stands.
    """
    h = _parsed(prefix)
    rows, columns = _plane(h, limits)
    if inflate.is_gzip(prefix):
        inflate.check_holds(file_bytes, _content_bytes(h))
    elif not h.pair and file_bytes < _content_bytes(h):
        raise Rejected(Reason.TRUNCATED, f"expected {_content_bytes(h)} bytes of header and voxels, found {file_bytes}")
    record = raster.flat_header(
        name=name,
        format="nifti",
        axes="yxc",
        shape=(rows, columns, CHANNELS[h.datatype]),
        dtype="uint8",
        file_bytes=file_bytes,
        spacing_xy_mm=_spacing(h),
    )
    return ReadHeader(record, ())


def read(data: Bytes, limits: Limits, voxels: Bytes | None = None) -> Flat:
    """The picture of a whole file, plain or gzip, or of a pair.

    Args:
        data: the file, or the header of a pair.
        limits: what an array may cost.
        voxels: the other file of a pair.

    Raises:
        Rejected: as `header`; CORRUPT_GZIP; MISSING_FILE, a pair without the file of its voxels.
    """
    h = _parsed(data)
    rows, columns = _plane(h, limits)
    channels = CHANNELS[h.datatype]
    if h.pair and voxels is None:
        raise Rejected(Reason.MISSING_FILE, nifti.NO_IMG)
    stream = voxels if h.pair and voxels is not None else data
    content: Bytes | inflate.Content = stream
    expected = _content_bytes(h)
    if inflate.is_gzip(stream):
        inflate.check_holds(len(stream), expected)
        content = inflate.gunzip(stream, max_bytes=2 * expected + _EXCESS_BYTES, expected_bytes=expected)
    if len(content) < expected:
        raise Rejected(Reason.TRUNCATED, f"expected {expected} bytes of header and voxels, found {len(content)}")
    pixels = np.frombuffer(content, np.uint8, rows * columns * channels, h.vox_offset)
    array, opaque = raster.without_opaque_alpha(pixels.reshape(rows, columns, channels))
    done = ("an alpha channel that was opaque everywhere left out",) if opaque else ()
    return Flat(np.ascontiguousarray(array), "yxc", _spacing(h), done=done)


def _parsed(prefix: Bytes) -> nifti_header.NiftiHeader:
    start = bytes(prefix[: nifti.HEADER_PREFIX_BYTES])
    plain = not inflate.is_gzip(start)
    return nifti_header.parse_header(start if plain else inflate.gunzip_prefix(start, nifti.HEADER_PREFIX_BYTES))


def _plane(h: nifti_header.NiftiHeader, limits: Limits) -> tuple[int, int]:
    """Rows and columns, after what must hold."""
    shown = "×".join(str(n) for n in h.dim)
    if len(h.dim) < 2 or any(n < 1 for n in h.dim):
        raise Rejected(Reason.NOT_A_VOLUME, f"expected two axes or more of at least one pixel, found {shown}")
    if any(n > 1 for n in h.dim[4:]):
        raise Rejected(Reason.NOT_A_VOLUME, f"expected one value per voxel, found {shown} (x, y, z, t, values)")
    if len(h.dim) > 3 and h.dim[3] > 1:
        raise Rejected(Reason.TEMPORAL, f"{h.dim[3]} time points in one file: {shown} (x, y, z, t)")
    if len(h.dim) > 2 and h.dim[2] > 1:
        kind = "RGB24" if CHANNELS[h.datatype] == 3 else "RGBA32"
        raise Rejected(
            Reason.UNSUPPORTED,
            f"a volume in colour ({kind}, {shown}): a volume is stored with one number a voxel. Take the numbers that the "
            "colours were made of, a NIfTI for each channel, or each plane as a picture",
        )
    if h.vox_offset > nifti.MAX_OFFSET_BYTES:
        raise Rejected(Reason.TOO_LARGE, f"vox_offset is {h.vox_offset}")
    columns, rows = h.dim[:2]
    raster.check_pixels((rows, columns, CHANNELS[h.datatype]), 1, limits)
    return rows, columns


def _content_bytes(h: nifti_header.NiftiHeader) -> int:
    return h.vox_offset + math.prod(h.dim) * CHANNELS[h.datatype]


def _spacing(h: nifti_header.NiftiHeader) -> tuple[float, float] | None:
    """Mm between pixel centres along x and y by the form that places the voxels; None without one, or without a unit."""
    unit = nifti_header.UNIT_MM.get(h.xyzt_units & nifti_header.SPATIAL_UNIT_BITS)
    if not h.xyzt_units & nifti_header.SPATIAL_UNIT_BITS or unit is None or (h.sform_code <= 0 and h.qform_code <= 0):
        return None
    check_spacing(h.pixdim[1:3])
    affine = nifti_header.sform(h) if h.sform_code > 0 else nifti_header.qform(h)
    affine = affine.copy()
    affine[:3] *= unit
    if not affine[:3, 2].any():  # a plane has no third axis to speak of
        return None
    check_affine(affine)
    x, y, _ = geometry.spacing_xyz_mm(affine)
    return x, y
