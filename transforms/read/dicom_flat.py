"""DICOM pictures and films: CR, DX, MG, US, XA, RF, NM, visible light, secondary capture. Each instance is one image.

An instance of these kinds is no slice of a volume, whatever else lies in its series. Rules:

- Grey values are the stored ones (PS3.5 8.1.1); MONOCHROME1 is mirrored once, here, so that high is bright in every corpus.
  Signed values are stored shifted by half their range, with the shift in `offset`.
- The VOI window (PS3.3 C.11.2) is recorded as the picture's default normalisation and never burned in.
- Colour becomes RGB: YBR by PS3.3 C.7.6.3.1.2, palettes through their tables, whatever the planar configuration.
- Spacing is PixelSpacing and nothing else. ImagerPixelSpacing is measured at the detector, and NominalScannedPixelSpacing
  on film: they are findings. Ultrasound regions (PS3.3 C.8.5.5) hold for a part of the picture and are not read.
- Frames of a film are kept in the file's order.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from mdfp.sample import Acquisition, Finding
from schemas.case import ArrayHeader
from schemas.policy import BURNED_IN
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.flat import Flat
from transforms.read import dicom, dicom_pixels, isolated, series, values
from transforms.read.assemble import PROJECTIONS
from transforms.read.decoders import dicom_samples
from transforms.read.dicom import Instance, Opened
from transforms.read.header import ReadHeader, check_spacing
from transforms.read.raster import check_pixels, flat_header
from transforms.rejected import Rejected
from transforms.scratch import Bytes

_VOLUMES = (
    uid.BreastTomosynthesisImageStorage,
    uid.VLWholeSlideMicroscopyImageStorage,
    uid.XRay3DAngiographicImageStorage,
)
"""Classes of the modalities below that hold slices or tiles: not taken here."""

_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Root of the secondary capture classes (PS3.4 B.5)."""

_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")


def is_picture(instance: Instance) -> bool:
    """Whether an instance is a picture or a film by what it is, not by how it looks.

    Modalities of projections, light and ultrasound; planar nuclear medicine; and secondary captures that name no place in
    the patient, or are in colour.
    """
    if instance.sop_class_uid in _VOLUMES:
        return False
    if instance.sop_class_uid.startswith(_CAPTURES):
        return instance.samples_per_pixel > 1 or instance.image_position_patient is None
    if instance.modality == "NM":
        return "TOMO" not in instance.image_type and "RECON TOMO" not in instance.image_type
    return instance.modality in PROJECTIONS


def is_alone(instance: Instance) -> bool:
    """Whether a file that a manifest names as a picture is one, as far as its headers go: they may be stripped.

    One that states neither modality nor SOP class nor a place in the patient is no slice of anything.
    """
    stripped = instance.modality == "OT" and not instance.sop_class_uid
    return is_picture(instance) or (stripped and instance.image_position_patient is None)


@dataclass(frozen=True)
class Pictures:
    """Instances of a series, told apart.

    Attributes:
        found: pictures and films, and those of them that cannot be used.
        others: what may be slices.
    """

    found: series.Diagnosis
    others: tuple[Instance, ...]


def pictures(instances: Sequence[Instance], *, name: str) -> Pictures:
    """Take the pictures out of the instances of a series. Pure; the order does not matter.

    Args:
        instances: of one series.
        name: of the image, for header and findings.
    """
    mine = sorted((i for i in instances if is_picture(i)), key=lambda i: i.path)
    volumes, rejects = [], []
    for instance in mine:
        try:
            read = read_header(instance, name=name)
        except Rejected as verdict:
            rejects.append(series.SeriesReject(verdict.reason, verdict.detail, (instance.path,), instance))
            continue
        volumes.append(
            series.SeriesVolume(
                (instance.path,), read.header, read.findings, "regular", _acquisition(instance), instance
            )
        )
    taken = {i.path for i in mine}
    others = tuple(i for i in instances if i.path not in taken)
    return Pictures(series.Diagnosis(tuple(volumes), tuple(rejects)), others)


def read_header(instance: Instance, *, name: str) -> ReadHeader:
    """The header of a picture or film.

    Raises:
        Rejected: UNSUPPORTED, a colour space or number of bits that is not read, a modality LUT; BAD_SPACING; TRUNCATED.
    """
    _check_readable(instance)
    colour = instance.photometric_interpretation in _COLOURS
    findings = []
    spacing = None
    if instance.pixel_spacing is not None:
        between_rows, between_columns = instance.pixel_spacing
        spacing = (between_columns, between_rows)
        check_spacing(spacing)
    elif instance.modality in ("CR", "DX", "MG", "XA", "RF", "PX", "IO"):
        detail = "no PixelSpacing: distances at the detector or on film (ImagerPixelSpacing) are not the patient's"
        findings.append(Finding("spacing_unknown", name, detail))
    if instance.burned_in or instance.sop_class_uid.startswith(_CAPTURES):
        why = "BurnedInAnnotation is YES" if instance.burned_in else "a secondary capture"
        findings.append(Finding(BURNED_IN, name, f"{why}: the picture may hold burned-in names"))
    frames = (instance.number_of_frames,) if instance.number_of_frames > 1 else ()
    record = flat_header(
        name=name,
        format="dicom",
        axes=("t" if frames else "") + ("yxc" if colour else "yx"),
        shape=(*frames, instance.rows, instance.columns, *((3,) if colour else ())),
        dtype=instance.dtype.name,
        file_bytes=instance.file_bytes,
        spacing_xy_mm=spacing,
        scale=1.0 if colour else instance.slope,
        offset=0.0 if colour else instance.intercept,
    )
    return ReadHeader(record, tuple(findings))


def _check_readable(instance: Instance) -> None:
    kind, samples = instance.photometric_interpretation, instance.samples_per_pixel
    wanted = {"PALETTE COLOR": 1}.get(kind, 3 if kind in _COLOURS else 1)
    if kind not in (*_COLOURS, "MONOCHROME1", "MONOCHROME2") or samples != wanted:
        raise Rejected(Reason.UNSUPPORTED, f"{samples} samples per pixel, {kind}")
    if instance.bits_allocated not in (8, 16) or not 1 <= instance.bits_stored <= instance.bits_allocated:
        raise Rejected(
            Reason.UNSUPPORTED, f"{instance.bits_stored} bits in {instance.bits_allocated} a sample; 8 and 16 are read"
        )
    if kind in _COLOURS and kind != "PALETTE COLOR" and instance.bits_allocated != 8:
        raise Rejected(Reason.UNSUPPORTED, f"colour of {instance.bits_allocated} bits a sample; 8 are read")
    if instance.has_modality_lut:
        raise Rejected(Reason.UNSUPPORTED, "a modality LUT instead of RescaleSlope and RescaleIntercept")
    if instance.missing_pixel_bytes:
        raise Rejected(Reason.TRUNCATED, f"the pixels are {instance.missing_pixel_bytes} bytes short")


def _acquisition(i: Instance) -> Acquisition:
    return Acquisition(
        body_part=i.body_part,
        laterality=i.laterality,
        manufacturer=i.manufacturer,
        scanner_model=i.scanner_model,
        kvp=i.kvp,
    )


def read(data: Bytes, header: ArrayHeader, limits: Limits) -> Flat:
    """The picture or film that a header described at inventory.

    Raises:
        Rejected: SOURCE_CHANGED; TRUNCATED, UNREADABLE, UNSUPPORTED; TOO_LARGE.
    """
    opened = dicom.open_instance(data, path="", file_bytes=len(data), alone=True)  # the inventory has judged it
    instance = opened.instance
    seen = read_header(instance, name=header.name).header
    if (seen.shape, seen.axes) != (header.shape, header.axes):
        raise Rejected(Reason.SOURCE_CHANGED, f"the inventory saw {header.shape} pixels, now {seen.shape}")
    check_pixels(seen.shape, instance.dtype.itemsize, limits)
    dataset, stored = _decoded(data, opened, seen.shape)
    told = _extras(dataset)
    if instance.photometric_interpretation in _COLOURS:
        array = _rgb(stored, dataset, instance)
        top = int(np.iinfo(array.dtype).max)
        return Flat(array, header.axes, _spacing(header), top=top, frame_time_ms=told.frame_ms)
    return _grey(stored, instance, told, header)


def _decoded(data: Bytes, opened: Opened, shape: tuple[int, ...]) -> tuple[Dataset, npt.NDArray[Any]]:
    """The data set and its samples, YBR converted to RGB, in the shape of the header (palette indices without colour)."""
    instance, syntax = opened.instance, opened.transfer_syntax
    if opened.pixel_length == 0xFFFFFFFF:
        dicom_pixels.check_fragments(data, opened.pixel_offset)
    stored = (
        isolated.run("transforms.read.decoders:dicom_samples", data)
        if syntax.is_encapsulated
        else dicom_samples(bytes(data))
    )
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
    except (RuntimeError, *values.DAMAGED) as error:
        raise Rejected(Reason.UNREADABLE, f"a damaged DICOM header ({type(error).__name__})") from error
    expected = shape[:-1] if instance.photometric_interpretation == "PALETTE COLOR" else shape
    if stored.shape != expected:
        raise Rejected(Reason.UNREADABLE, f"expected {expected} pixels, the stream holds {stored.shape}")
    return dataset, stored


def _rgb(stored: npt.NDArray[Any], dataset: Dataset, instance: Instance) -> npt.NDArray[Any]:
    if instance.photometric_interpretation != "PALETTE COLOR":
        return np.ascontiguousarray(stored, dtype=np.uint8)
    try:
        colours = apply_color_lut(stored, dataset)
    except (RuntimeError, ValueError, AttributeError, IndexError, TypeError, struct.error) as error:
        raise Rejected(Reason.UNREADABLE, f"the palette cannot be applied ({type(error).__name__})") from error
    if colours.shape[-1] > 3:
        colours = colours[..., :3]  # an alpha palette is for display over another image
    if colours.dtype == np.uint8:
        return np.ascontiguousarray(colours)
    # Entries of 16 bits that hold 8 are written in their high byte, with or without a copy in the low one.
    high, low = colours >> 8, colours & 0xFF
    if not low.any() or np.array_equal(high, low):
        return np.ascontiguousarray(high.astype(np.uint8))
    if not high.any():
        return np.ascontiguousarray(low.astype(np.uint8))
    return np.ascontiguousarray(colours.astype(np.uint16))


def _grey(stored: npt.NDArray[Any], instance: Instance, told: _Extras, header: ArrayHeader) -> Flat:
    signed, bits = instance.pixel_representation == 1, instance.bits_stored
    numbers = dicom_pixels.stored_bits(stored.astype(instance.dtype, copy=False), instance).astype(np.int32)
    done = []
    window = told.window
    scale, offset = instance.slope, instance.intercept
    if instance.photometric_interpretation == "MONOCHROME1":
        # The sum of the lowest and the highest value, as for slices: (0, 2**n - 1) or (-2**(n-1), 2**(n-1) - 1).
        both_ends = -1 if signed else (1 << bits) - 1
        numbers = both_ends - numbers
        if window is not None:
            # The window is said in physical numbers of the file's own numbers.
            mirrored = both_ends * scale + 2 * offset
            window = (mirrored - window[1], mirrored - window[0])
        done.append("MONOCHROME1 mirrored: high is bright")
    if signed:
        shift = 1 << (bits - 1)
        numbers = numbers + shift
        offset -= shift * scale
        done.append(f"signed numbers shifted by {shift}")
    if scale < 0:
        # Order is kept where a negative slope would reverse it again for whoever multiplies.
        top = (1 << bits) - 1
        numbers, offset, scale = top - numbers, offset + top * scale, -scale
        done.append("numbers mirrored, because their slope is negative")
    array = np.ascontiguousarray(numbers.astype(np.uint8 if bits <= 8 else np.uint16))
    return Flat(
        array,
        header.axes,
        _spacing(header),
        scale=scale,
        offset=offset,
        window=window,
        top=(1 << bits) - 1,
        frame_time_ms=told.frame_ms,
        done=tuple(done),
    )


def _spacing(header: ArrayHeader) -> tuple[float, float] | None:
    if header.spacing_xyz_mm is None:
        return None
    x, y = header.spacing_xyz_mm
    return x, y


@dataclass(frozen=True)
class _Extras:
    """What of a header only pictures need.

    Attributes:
        window: lower and upper physical value of the first linear VOI window (PS3.3 C.11.2.1.2), or None.
        frame_ms: time between frames.
    """

    window: tuple[float, float] | None
    frame_ms: float | None


def _extras(dataset: Dataset) -> _Extras:
    centre, width = (_first(dataset, k) for k in ("WindowCenter", "WindowWidth"))
    window = None
    if centre is not None and width is not None and width >= 1:
        # C.11.2.1.2.1: black at and below c - 0.5 - (w - 1) / 2, white above c - 0.5 + (w - 1) / 2.
        half = (width - 1) / 2
        window = (centre - 0.5 - half, centre - 0.5 + half) if half > 0 else None
    frame_ms = _first(dataset, "FrameTime")
    rate = _first(dataset, "CineRate") or _first(dataset, "RecommendedDisplayFrameRate")
    if frame_ms is None and rate:
        frame_ms = 1000.0 / rate
    return _Extras(window, round(frame_ms, 6) if frame_ms and frame_ms > 0 else None)


def _first(dataset: Dataset, keyword: str) -> float | None:
    value = values.raw(dataset, keyword)
    if value is not None and not isinstance(value, (str, bytes, int, float)):
        value = next(iter(value), None)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
