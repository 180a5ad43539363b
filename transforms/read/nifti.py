"""NIfTI-1 and NIfTI-2 in one file or two, plain or gzip: voxels as a view of the buffer.

The rules by which headers are read, where the standard leaves a choice, are at the top of `transforms.read.nifti_header`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mdfp.geometry import Affine
from mdfp.sample import Finding
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import inflate
from transforms.read.header import (
    ReadHeader,
    array_header,
    check_extent,
)
from transforms.read.kept_content import KeptContent, once
from transforms.read.nifti_header import NiftiHeader, affine_ras, one_volume, parse_header
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

HEADER_PREFIX_BYTES = 4096
"""Bytes of a file, plain or gzip, that always hold its header."""

NO_IMG = "the header is one of a pair, and there is no .img or .img.gz of its name beside it"
"""What is wrong where the voxels of a pair are missing."""

_EXCESS_BYTES = 1 << 20
"""A gzip stream may hold this much more than twice what its header announces; beyond, it is taken for a bomb."""
MAX_OFFSET_BYTES = 256 << 20


def header(
    prefix: bytes,
    *,
    name: str,
    file_bytes: int,
    limits: Limits,
    component: int | None = None,
    components: int | None = None,
    placement: str | None = None,
) -> ReadHeader:
    """The header's record from the first `HEADER_PREFIX_BYTES` of a file.

    Args:
        prefix: first bytes of the file, plain or gzip.
        name: of the array within its case.
        file_bytes: size of the whole file.
        limits: what an array may cost.
        component: which volume of a file of four axes; see `one_volume`.
        components: how many of them there must be; see `one_volume`.
        placement: which form counts; see `one_volume`.

    Raises:
        Rejected: as `parse_header`, `one_volume`, `NiftiHeader.dtype`, `NiftiHeader.shape_zyx`, `check_extent` and
            `affine_ras` do; TRUNCATED, a plain file is shorter than its header announces; EXPANSION, a gzip stream
            cannot hold it.
    """
    plain = not inflate.is_gzip(prefix)
    whole = file_header(prefix)
    h = one_volume(whole, component, placement, components)
    dtype, shape_zyx = h.dtype, h.shape_zyx
    check_extent(shape_zyx, dtype.itemsize, limits)
    _check_content(whole, limits)
    affine, findings = affine_ras(h, name)
    if whole.sform_code > h.sform_code:
        detail = f"sform_code is {whole.sform_code}; by the source manifest the qform is used"
        findings += (Finding("sform_passed_over", name, detail),)
    _check_offset(whole)
    if not plain:
        inflate.check_holds(file_bytes, _content_bytes(whole))
    elif not whole.pair:
        _check_length(whole, file_bytes)
    scale, offset = h.scaling
    if (scale, offset) == (1.0, 0.0) and h.scl_slope not in (0.0, 1.0) and math.isfinite(h.scl_slope):
        findings += (
            Finding(
                "scaling_ignored",
                name,
                f"scl_slope {h.scl_slope:g} stands with scl_inter {h.scl_inter}: neither is used",
            ),
        )
    record = array_header(
        name=name, format="nifti", shape_zyx=shape_zyx, affine_ras=affine, dtype=dtype,
        scale=scale, offset=offset, file_bytes=file_bytes,
    )  # fmt: skip
    return ReadHeader(replace(record, component=component, placement=placement), findings)


def data_file(name: str) -> tuple[str, ...]:
    """Names that the file with the voxels of a pair may have, by the name of its header; none for other names."""
    return (f"{name[:-4]}.img", f"{name[:-4]}.img.gz") if name.lower().endswith(".hdr") else ()


def read(
    data: Bytes,
    *,
    limits: Limits,
    voxels: Bytes | None = None,
    component: int | None = None,
    placement: str | None = None,
    kept: KeptContent | None = None,
) -> Volume:
    """The volume in a whole file, plain or gzip, or in a pair; of a file of four axes the one that `component` says.

    The array is a view of the buffer: no copy but for big-endian and unaligned voxels. It is read-only where `data`
    is the file itself. Memory: the inflated content, besides `data`.

    Args:
        data: the file, or the header of a pair.
        limits: what an array may cost.
        voxels: the other file of a pair.
        component: see `one_volume`.
        placement: see `one_volume`.
        kept: where the inflated content of the file is kept for those who read another part of it.

    Raises:
        Rejected: as `header` does; CORRUPT_GZIP; TRUNCATED, fewer voxels than the header announces; MISSING_FILE, a pair
            without the file of its voxels.
    """
    whole = file_header(bytes(data[:HEADER_PREFIX_BYTES]))
    h = one_volume(whole, component, placement)
    stored, affine = _stored(data, whole, h, h.shape_zyx, limits, voxels, kept)
    scale, offset = h.scaling
    return Volume(stored, affine, scale, offset)


def read_all(
    data: Bytes, *, limits: Limits, voxels: Bytes | None = None, placement: str | None = None
) -> tuple[npt.NDArray, Volume]:
    """All volumes of a file of four axes: an array (t, z, y, x), and the first of them. Arguments and faults as `read`."""
    whole = file_header(bytes(data[:HEADER_PREFIX_BYTES]))
    h = one_volume(whole, 0, placement)
    stored, affine = _stored(data, whole, h, (whole.dim[3] if len(whole.dim) > 3 else 1, *h.shape_zyx), limits, voxels)
    scale, offset = h.scaling
    return stored, Volume(stored[0], affine, scale, offset)


def file_header(prefix: bytes) -> NiftiHeader:
    """`parse_header` of a file, plain or gzip, from its first `HEADER_PREFIX_BYTES`."""
    return parse_header(inflate.gunzip_prefix(prefix, HEADER_PREFIX_BYTES) if inflate.is_gzip(prefix) else prefix)


def _stored(
    data: Bytes,
    whole: NiftiHeader,
    h: NiftiHeader,
    shape: tuple[int, ...],
    limits: Limits,
    voxels: Bytes | None,
    kept: KeptContent | None = None,
) -> tuple[npt.NDArray, Affine]:
    """Stored values of this shape from where `h` says that they begin, and where they lie."""
    dtype = h.dtype
    check_extent(h.shape_zyx, dtype.itemsize, limits)
    _check_content(whole, limits)
    affine, _ = affine_ras(h, "")
    _check_offset(whole)
    stream = data
    if whole.pair:
        if voxels is None:
            raise Rejected(Reason.MISSING_FILE, NO_IMG)
        stream = voxels
    content: Bytes | inflate.Content = stream
    if inflate.is_gzip(stream):
        expected = _content_bytes(whole)
        inflate.check_holds(len(stream), expected)
        most = 2 * expected + _EXCESS_BYTES
        content = once(kept, lambda: inflate.gunzip(stream, max_bytes=most, expected_bytes=expected))
    _check_length(whole, len(content))
    stored: npt.NDArray = np.frombuffer(content, dtype, count=math.prod(shape), offset=h.vox_offset)
    if not dtype.isnative or not stored.flags.aligned:
        stored = stored.astype(dtype.newbyteorder("="))
    return stored.reshape(shape), affine


def _content_bytes(h: NiftiHeader) -> int:
    """Header (but of a pair) and voxels of all volumes, uncompressed."""
    return h.vox_offset + math.prod(h.dim) * h.dtype.itemsize


def _check_content(h: NiftiHeader, limits: Limits) -> None:
    """Refuse a file of several volumes that together are too large: all are inflated to reach one of them."""
    voxel_bytes = math.prod(h.dim) * h.dtype.itemsize
    if voxel_bytes > limits.max_bytes:
        shown = "×".join(str(n) for n in h.dim)
        raise Rejected(
            Reason.TOO_LARGE,
            f"the header announces {shown}, {voxel_bytes} bytes in memory; the recipe's limits allow {limits.max_bytes}",
        )


def _check_offset(h: NiftiHeader) -> None:
    """What lies before the voxels (extensions) is inflated with them."""
    if h.vox_offset > MAX_OFFSET_BYTES:
        raise Rejected(
            Reason.TOO_LARGE, f"vox_offset is {h.vox_offset}; {MAX_OFFSET_BYTES} bytes before the voxels are allowed"
        )


def _check_length(h: NiftiHeader, found_bytes: int) -> None:
    expected = _content_bytes(h)
    if found_bytes < expected:
        raise Rejected(Reason.TRUNCATED, f"expected {expected} bytes of header and voxels, found {found_bytes}")
