"""Images over time: several volumes of one place, as one array (t, z, y, x) on one grid.

| from | time points are | how far apart |
| --- | --- | --- |
| DICOM | told apart and put in order by an attribute, see `transforms.read.temporal` | by clocks or stated, see `transforms.read.times` |
| NIfTI | volumes along the fourth axis (dim[4]), which by the standard is time | pixdim[4], where xyzt_units names its unit |
| NRRD | along the slowest axis, where it has the kind `time` and no direction | its `spacings`, where `units` names its unit |
| MetaImage | not read: its fourth axis has no meaning | |

A fifth axis holds several values per voxel and stays refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mdfp.sample import Finding
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import array, itk, nifti, nifti_header, temporal
from transforms.read.array import Blob
from transforms.read.header import ReadHeader, check_extent_over_time, over_time
from transforms.rejected import Rejected
from transforms.volume import TemporalVolume

_TIME_UNIT_BITS = 0x38
_STEP_MS = {8: 1000.0, 16: 1.0, 24: 0.001}  # seconds, milliseconds, microseconds (nifti1.h, NIFTI_UNITS_SEC, …)
_NO_TIMES = {32: "Hz", 40: "ppm", 48: "rad/s"}


def time_points(format: str, prefix: bytes) -> int:
    """How many a file of one format (nifti or itk) holds; 1 of a volume.

    Args:
        format: nifti or itk.
        prefix: the first `array.PREFIX_BYTES[format]` of the file.

    Raises:
        Rejected: as the format's header does; NOT_A_VOLUME, the fourth axis is said to be none of time.
    """
    if format == "nifti":
        h = nifti.file_header(prefix)
        return 1 if h.time_points == 1 else _timed(h).time_points
    return itk.time_points(prefix)


def read_header(
    format: str, prefix: bytes, *, name: str, file_bytes: int, limits: Limits, placement: str | None = None
) -> ReadHeader:
    """The header of a file of several time points, axes `tzyx`. Arguments as `array.read_header`.

    Raises:
        Rejected: as `time_points` and the format's header; TOO_LARGE, all time points together.
    """
    count = time_points(format, prefix)
    if format == "nifti":
        read = nifti.header(
            prefix, name=name, file_bytes=file_bytes, limits=limits, component=0, components=count, placement=placement
        )
        apart = _step_ms(nifti.file_header(prefix))
    else:
        read = itk.header(prefix, name=name, file_bytes=file_bytes, limits=limits, over_time=True)
        apart = itk.step_ms(prefix)
    header = over_time(replace(read.header, component=None), count)
    check_extent_over_time(header, limits)
    detail = f"{count} time points along the fourth axis{'' if apart is None else f', {apart:g} ms apart'}"
    return ReadHeader(header, (*read.findings, Finding("temporal", name, detail)))


def read(header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> TemporalVolume:
    """The image over time that a header described at inventory, from its objects.

    Args:
        header: of axes `tzyx`.
        blobs: one file, a header and its detached voxels, or the instances of a series.
        limits: what all time points together may cost.

    Raises:
        Rejected: as the format's reader does; MISSING_FILE, there is no object; SOURCE_CHANGED, another number of time
            points or voxels than the inventory saw.
    """
    if not blobs:
        raise Rejected(Reason.MISSING_FILE, "the array has no file")
    if header.format == "dicom":
        volume = temporal.read_temporal([(b.path, b.content()) for b in blobs], limits, part=header.part)
    elif header.format == "nifti":
        volume = _read_nifti(header, blobs, limits)
    elif header.format == "itk":
        volume = _read_itk(blobs, limits)
    else:
        raise ValueError(f"expected format dicom, nifti or itk, found {header.format!r}")
    if volume.array_tzyx.shape != header.shape:
        raise Rejected(
            Reason.SOURCE_CHANGED,
            f"the inventory saw {header.shape} voxels (t, z, y, x), now {volume.array_tzyx.shape}",
        )
    if header.spacing_override_xyz_mm is None:
        return volume
    return replace(volume, affine_ras=array.respaced(volume.affine_ras, header.spacing_override_xyz_mm))


def _read_nifti(header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> TemporalVolume:
    data, voxels = array.nifti_contents(blobs)
    h = nifti.file_header(bytes(data[: nifti.HEADER_PREFIX_BYTES]))
    stored, first = nifti.read_all(data, limits=limits, voxels=voxels, placement=header.placement)
    return TemporalVolume(
        stored, first.affine_ras, "dim[4]", first.scale, first.offset, first.padding, step_ms=_step_ms(_timed(h))
    )


def _read_itk(blobs: Sequence[Blob], limits: Limits) -> TemporalVolume:
    data, beside = array.itk_contents(blobs)
    stored, affine_ras = itk.read_all(data, beside=beside, limits=limits)
    return TemporalVolume(stored, affine_ras, "kinds", step_ms=itk.step_ms(bytes(data[: itk.HEADER_PREFIX_BYTES])))


def _timed(h: nifti_header.NiftiHeader) -> nifti_header.NiftiHeader:
    unit = h.xyzt_units & _TIME_UNIT_BITS
    if unit in _NO_TIMES:
        shown = "×".join(str(n) for n in h.dim)
        raise Rejected(
            Reason.NOT_A_VOLUME, f"expected a fourth axis of time, found one in {_NO_TIMES[unit]} (xyzt_units): {shown}"
        )
    return h


def _step_ms(h: nifti_header.NiftiHeader) -> float | None:
    """Milliseconds between time points; None where the header gives no unit or no positive number."""
    factor = _STEP_MS.get(h.xyzt_units & _TIME_UNIT_BITS)
    return h.step * factor if factor is not None and math.isfinite(h.step) and h.step > 0 else None
