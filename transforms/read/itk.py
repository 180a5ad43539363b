"""The formats of ITK: MetaImage (.mha, .mhd with .raw or .zraw) and NRRD (.nrrd, .nhdr with its data file).

They are read here and not by ITK, which is the second implementation in the tests. ITK 5.4 gives back wrong voxels
without an error when a MetaImage's zlib stream is damaged, does not see a NRRD's gzip cut short in its trailer, takes
1 mm and the origin where a file states no spacing or position, needs files on a disk, and prints to standard output.
"""

from __future__ import annotations

import bz2
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.geometry import Affine
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import inflate, metaimage, nrrd
from transforms.read.header import IF_WANTED, ReadHeader, array_header, check_affine, check_extent, check_spacing
from transforms.read.kept_content import KeptContent, once
from transforms.read.textheader import TextHeader
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

HEADER_PREFIX_BYTES = 1 << 16
"""Bytes of a file that hold its text header, comments and key/value pairs included."""


def parse_header(prefix: bytes) -> TextHeader:
    """The header from the first bytes of a file, by its content.

    Raises:
        Rejected: UNREADABLE, neither MetaImage nor NRRD; else as `metaimage.parse` and `nrrd.parse` do.
    """
    if prefix[:4] == nrrd.MAGIC:
        return nrrd.parse(prefix)
    if metaimage.is_metaimage(prefix):
        return metaimage.parse(prefix)
    raise Rejected(Reason.UNREADABLE, f"expected MetaImage or NRRD, found {prefix[:8].hex() or 'nothing'}")


def data_file(prefix: bytes) -> str | None:
    """Name of the file beside this one that holds the voxels; None where they follow the header.

    Raises:
        Rejected: as `parse_header` does.
    """
    return parse_header(prefix).data_file


def time_points(prefix: bytes) -> int:
    """Volumes of a file; 1 but for NRRD with an axis of time.

    Raises:
        Rejected: as `parse_header` does.
    """
    return parse_header(prefix[:HEADER_PREFIX_BYTES]).time_points


def step_ms(prefix: bytes) -> float | None:
    """Milliseconds between the time points of a file; None where it does not say. Arguments and faults as `time_points`."""
    return parse_header(prefix[:HEADER_PREFIX_BYTES]).step_ms


def header(
    prefix: bytes,
    *,
    name: str,
    file_bytes: int,
    limits: Limits,
    component: int | None = None,
    over_time: bool = False,
) -> ReadHeader:
    """The header's record, of one volume.

    Args:
        prefix: the first `HEADER_PREFIX_BYTES` of the file with the header.
        name: of the array within its case.
        file_bytes: size of all its files.
        limits: what an array may cost.
        component: which volume of a file of several time points.
        over_time: whether such a file is taken whole.

    Raises:
        Rejected: as `parse_header`, `check_extent` and `check_affine` do; TEMPORAL, several time points; TOO_LARGE,
            UNREADABLE, bytes to skip; TRUNCATED, EXPANSION, the voxels that follow the header cannot be in the file.
    """
    h = _checked(prefix, limits)
    if not over_time:
        _check_component(h, component)
    if h.data_file is None:
        _check_room(h, file_bytes)
    record = array_header(
        name=name, format="itk", shape_zyx=h.shape_zyx, affine_ras=h.affine_ras, dtype=h.dtype,
        scale=1.0, offset=0.0, file_bytes=file_bytes,
    )  # fmt: skip
    return ReadHeader(replace(record, component=component), ())


def _check_component(h: TextHeader, component: int | None) -> None:
    if component is None and h.time_points > 1:
        raise Rejected(Reason.TEMPORAL, f"{h.time_points} time points in one file; {IF_WANTED}")
    if component is not None and not 0 <= component < h.time_points:
        raise Rejected(
            Reason.NOT_A_VOLUME, f"expected a time point {component} (from 0), found {h.time_points} in the file"
        )


def _check_room(h: TextHeader, file_bytes: int) -> None:
    """Whether the voxels that follow a header can be in its file: what cannot be is not planned for."""
    voxel_bytes = _voxel_bytes(h)
    stream_bytes = max(0, file_bytes - h.data_offset)
    if h.encoding == "raw" and stream_bytes - max(0, h.skip) < voxel_bytes:
        raise Rejected(
            Reason.TRUNCATED, f"expected {voxel_bytes} bytes of voxels, found {max(0, stream_bytes - max(0, h.skip))}"
        )
    if h.encoding in ("gzip", "zlib"):
        inflate.check_holds(stream_bytes, voxel_bytes)


def _voxel_bytes(h: TextHeader) -> int:
    """Of all volumes of the file."""
    return h.time_points * math.prod(h.shape_zyx) * h.dtype.itemsize


def _checked(prefix: bytes, limits: Limits) -> TextHeader:
    h = parse_header(prefix[:HEADER_PREFIX_BYTES])
    check_extent(h.shape_zyx, h.dtype.itemsize, limits)
    if _voxel_bytes(h) > limits.max_bytes:
        raise Rejected(
            Reason.TOO_LARGE,
            f"the header announces {h.time_points} time points, {_voxel_bytes(h)} bytes in memory; the recipe's limits"
            f" allow {limits.max_bytes}",
        )
    if h.skip < -1 or h.skip > limits.max_bytes:
        raise Rejected(
            Reason.TOO_LARGE if h.skip > 0 else Reason.UNREADABLE,
            f"{h.skip} bytes to skip before the voxels; the recipe's limits allow {limits.max_bytes}",
        )
    if np.all(np.isfinite(h.affine_ras)):
        check_spacing(geometry.spacing_xyz_mm(h.affine_ras))
    check_affine(h.affine_ras)
    return h


def read(
    data: Bytes,
    *,
    beside: Mapping[str, Bytes] | None = None,
    limits: Limits,
    component: int | None = None,
    kept: KeptContent | None = None,
) -> Volume:
    """The volume, or of several time points the one that `component` says.

    Its array is a view of the buffer, but for big-endian or unaligned voxels.

    Args:
        data: the whole file with the header.
        beside: files that lie beside it, by name: the detached voxels.
        limits: what an array may cost.
        component: which time point, from 0.
        kept: where the inflated content of the file is kept for those who read another part of it.

    Raises:
        Rejected: as `header` does; MISSING_FILE, the detached voxels are not there; TRUNCATED; CORRUPT_GZIP;
            EXPANSION, the stream cannot hold what the header announces.
    """
    h = _checked(bytes(data[:HEADER_PREFIX_BYTES]), limits)
    _check_component(h, component)
    return Volume(_stored(data, h, beside, kept)[component or 0], h.affine_ras)


def read_all(
    data: Bytes, *, beside: Mapping[str, Bytes] | None = None, limits: Limits
) -> tuple[npt.NDArray[Any], Affine]:
    """All time points, shape (t, z, y, x), and index (x, y, z) → mm in RAS. Arguments and faults as `read`."""
    h = _checked(bytes(data[:HEADER_PREFIX_BYTES]), limits)
    return _stored(data, h, beside), h.affine_ras


def _stored(
    data: Bytes, h: TextHeader, beside: Mapping[str, Bytes] | None, kept: KeptContent | None = None
) -> npt.NDArray[Any]:
    """Stored values, shape (t, z, y, x)."""
    encoded = data
    if h.data_file is not None:
        if beside is None or h.data_file not in beside:
            raise Rejected(Reason.MISSING_FILE, "the file that the header names for its voxels is not there")
        encoded = beside[h.data_file]
    voxel_bytes = _voxel_bytes(h)
    content = _decode(encoded, h, voxel_bytes, kept)
    start = len(content) - voxel_bytes if h.skip == -1 else h.skip
    if h.encoding == "raw" and h.skip >= 0:
        start += h.data_offset
    if start < 0 or len(content) - start < voxel_bytes:
        raise Rejected(
            Reason.TRUNCATED, f"expected {voxel_bytes} bytes of voxels, found {max(0, len(content) - max(0, start))}"
        )
    stored = np.frombuffer(content, h.dtype, count=voxel_bytes // h.dtype.itemsize, offset=start)
    if not h.dtype.isnative or not stored.flags.aligned:
        stored = stored.astype(h.dtype.newbyteorder("="))
    return stored.reshape(h.time_points, *h.shape_zyx)


def _decode(encoded: Bytes, h: TextHeader, voxel_bytes: int, kept: KeptContent | None) -> Bytes | inflate.Content:
    if h.encoding == "raw":
        return encoded
    stream = encoded[h.data_offset :] if h.data_offset else encoded
    expected = voxel_bytes + max(0, h.skip)
    if h.encoding == "gzip":
        inflate.check_holds(len(stream), expected)
        return once(kept, lambda: inflate.gunzip(stream, max_bytes=expected, expected_bytes=expected))
    if h.encoding == "zlib":
        return inflate.unzlib(stream, expected_bytes=expected)
    try:
        inflater = bz2.BZ2Decompressor()
        content = inflater.decompress(stream, expected)
        if not inflater.eof and inflater.decompress(b"", 1):
            raise OSError(f"more than the announced {expected} bytes")
    except OSError as error:
        raise Rejected(Reason.CORRUPT_GZIP, f"bzip2: {error}") from error
    return content
