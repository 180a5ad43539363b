"""Series as scanners write them: classic, Enhanced and mosaic, of any plane, number type and encoding. For tests.

Stored voxels are (z, y, x): z along the normal of the plane, y down the columns, x along the rows. Places are in mm, LPS.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

Cosines = tuple[float, float, float, float, float, float]
Encode = Callable[[npt.NDArray[Any]], bytes]

AXIAL: Cosines = (1, 0, 0, 0, 1, 0)
CORONAL: Cosines = (1, 0, 0, 0, 0, -1)
SAGITTAL: Cosines = (0, 1, 0, 0, 0, -1)
OBLIQUE: Cosines = (0.96, 0.28, 0, -0.224, 0.768, -0.6)
"""Turned around two axes; products of 3-4-5 triangles, so that rows and columns are at right angles exactly."""

CLASSES = {
    "CT": (uid.CTImageStorage, uid.EnhancedCTImageStorage),
    "MR": (uid.MRImageStorage, uid.EnhancedMRImageStorage),
    "PT": (uid.PositronEmissionTomographyImageStorage, uid.EnhancedPETImageStorage),
}
"""Modality → SOP classes of its slices and of its Enhanced objects."""


@dataclass(frozen=True)
class Plane:
    """Where a volume lies. Spacings differ along every axis, so that a swapped one cannot hide."""

    cosines: Cosines = AXIAL
    spacing_xyz: tuple[float, float, float] = (0.75, 1.25, 2.5)
    origin: tuple[float, float, float] = (-31.5, 12.25, -103.0)

    @property
    def normal(self) -> tuple[float, ...]:
        """Direction of the slices."""
        return tuple(float(v) for v in np.cross(self.cosines[:3], self.cosines[3:]))

    def position(self, z: float) -> list[float]:
        """Centre of the first pixel of slice z."""
        return [round(o + n * self.spacing_xyz[2] * z, 6) for o, n in zip(self.origin, self.normal, strict=True)]


def voxels(shape_zyx: tuple[int, int, int] = (6, 34, 36), *, bits: int = 12, signed: bool = False) -> npt.NDArray[Any]:
    """Stored values (z, y, x) over the whole range of so many bits; no two slices, rows or columns are alike."""
    count = int(np.prod(shape_zyx))
    noise = np.random.default_rng(bits).integers(0, 2 ** (bits - 3), count)
    ramp = np.arange(count) * (2**bits - 1 - 2 ** (bits - 3)) // count
    stored = (ramp + noise).reshape(shape_zyx) - (2 ** (bits - 1) if signed else 0)
    return stored.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def common(modality: str, series: str) -> Dataset:
    """What every instance of a series says."""
    ds = Dataset()
    ds.Modality, ds.Manufacturer, ds.PatientID, ds.PatientName = modality, "Maker", "P1", "Roe^Richard"
    ds.PatientSex, ds.PatientBirthDate, ds.PatientWeight = "O", "19010203", "71"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3.1", series, "1.2.3.7"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200131"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101010"
    ds.StudyID, ds.SeriesNumber, ds.AccessionNumber, ds.ReferringPhysicianName = "1", 2, "", ""
    ds.SeriesDescription = ds.ProtocolName = "made"
    if modality == "PT":
        ds.Units, ds.SUVType, ds.DecayCorrection, ds.CorrectedImage = "GML", "BW", "START", ["DECY", "ATTN"]
    return ds


def _pixels(ds: Dataset, stored: npt.NDArray[Any], bits_stored: int | None) -> None:
    """Grey pixels of one frame (y, x) or several (z, y, x)."""
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = 8 * stored.dtype.itemsize
    ds.BitsStored = bits_stored or ds.BitsAllocated
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(stored.dtype.kind == "i")
    ds.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()
    ds.PixelData += b"\0" * (len(ds.PixelData) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated > 8 else "OB"


def slices(
    stored: npt.NDArray[Any], plane: Plane | None = None, *, modality: str = "CT", bits_stored: int | None = None,
    rescale: Callable[[int], tuple[float, float]] = lambda z: (1, -1024), series: str = "1.2.3.4",
    per_slice: Callable[[int], dict[str, Any]] = lambda z: {},
) -> list[Dataset]:  # fmt: skip
    """One instance for each slice, numbered along the normal.

    Args:
        stored: voxels (z, y, x).
        plane: where they lie.
        modality: CT, MR or PT.
        bits_stored: BitsStored; None: all that are allocated.
        rescale: slope and intercept of slice z.
        series: SeriesInstanceUID.
        per_slice: more attributes of slice z.
    """
    plane = plane or Plane()
    result = []
    for z, array in enumerate(stored):
        ds = common(modality, series)
        ds.SOPClassUID, ds.SOPInstanceUID = CLASSES[modality][0], f"{series}.{z + 1}"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
        ds.InstanceNumber, ds.AcquisitionNumber = z + 1, 1
        ds.ImagePositionPatient, ds.ImageOrientationPatient = plane.position(z), list(plane.cosines)
        x, y, thick = plane.spacing_xyz
        ds.PixelSpacing, ds.SliceThickness = [y, x], thick
        ds.RescaleSlope, ds.RescaleIntercept = rescale(z)
        _pixels(ds, array, bits_stored)
        for keyword, value in per_slice(z).items():
            setattr(ds, keyword, value)
        result.append(ds)
    return result


def item(**fields: Any) -> Dataset:
    """A sequence item."""
    ds = Dataset()
    for keyword, value in fields.items():
        setattr(ds, keyword, value)
    return ds


def enhanced(
    stored: npt.NDArray[Any], plane: Plane | None = None, *, modality: str = "MR", bits_stored: int | None = None,
    rescale: Callable[[int], tuple[float, float]] = lambda z: (1, 0), order: Sequence[int] | None = None,
) -> Dataset:  # fmt: skip
    """One Enhanced object with a frame for each slice, its frames in `order` (default: along the normal)."""
    plane, order = plane or Plane(), order or range(len(stored))
    x, y, thick = plane.spacing_xyz
    ds = common(modality, "1.2.3.5")
    ds.SOPClassUID, ds.SOPInstanceUID, ds.InstanceNumber = CLASSES[modality][1], "1.2.3.5.1", 1
    ds.ImageType, ds.NumberOfFrames = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], len(stored)
    ds.SharedFunctionalGroupsSequence = [
        item(
            PlaneOrientationSequence=[item(ImageOrientationPatient=list(plane.cosines))],
            PixelMeasuresSequence=[item(PixelSpacing=[y, x], SliceThickness=thick, SpacingBetweenSlices=thick)],
        )
    ]
    ds.PerFrameFunctionalGroupsSequence = [
        item(
            FrameContentSequence=[item(StackID="1", InStackPositionNumber=z + 1, DimensionIndexValues=[1, z + 1])],
            PlanePositionSequence=[item(ImagePositionPatient=plane.position(z))],
            PixelValueTransformationSequence=[
                item(RescaleSlope=rescale(z)[0], RescaleIntercept=rescale(z)[1], RescaleType="US")
            ],
        )
        for z in order
    ]
    if modality == "PT":
        _unit(ds, rescale, order)
    _pixels(ds, stored[list(order)], bits_stored)
    return ds


def _unit(ds: Dataset, rescale: Callable[[int], tuple[float, float]], order: Sequence[int]) -> None:
    """Of Enhanced PET: g/ml, by the real-world value mapping of each frame."""
    for z, group in zip(order, ds.PerFrameFunctionalGroupsSequence, strict=True):
        unit = item(CodeValue="g/ml{SUVbw}", CodingSchemeDesignator="UCUM", CodeMeaning="SUVbw")
        slope, intercept = rescale(z)
        mapping = item(
            RealWorldValueSlope=float(slope), RealWorldValueIntercept=float(intercept),
            RealWorldValueFirstValueMapped=0, RealWorldValueLastValueMapped=65535, MeasurementUnitsCodeSequence=[unit],
        )  # fmt: skip
        group.RealWorldValueMappingSequence = [mapping]


def csa_header(
    tags: dict[str, list[str]], *, version: int = 2, items: int = 6, first_items: int = 6, excess: bool = True
) -> bytes:
    """A Siemens CSA header with these tags and one more in front, its items as scanners write them, the last ones empty.

    Args:
        tags: texts by name; one without texts has no items.
        version: 1 has no prefix.
        items: of each tag.
        first_items: of the tag in front.
        excess: of version 1, the lengths of items are greater by the number of items of the first tag.
    """
    parts = [b"SV10\x04\x03\x02\x01"] if version == 2 else []
    parts.append(struct.pack("<II", len(tags) + 1, 77))
    for number, (name, texts) in enumerate({"EchoLinePosition": ["64"][:first_items], **tags}.items()):
        count = (items if texts else 0) if number else first_items
        parts.append(struct.pack("<64si4siii", name.encode(), len(texts), b"FD\0\0", 4, count, 77))
        for text in [*texts, *[""] * (count - len(texts))]:
            data = text.encode() + b"\0" if text else b""
            length = len(data) + (first_items if version == 1 and excess else 0)
            parts.append(struct.pack("<4i", length, length, 77, length) + data + bytes(-len(data) % 4))
    return b"".join(parts)


def mosaic(stored: npt.NDArray[Any], plane: Plane | None = None, *, version: int = 2, moment: int = 0) -> Dataset:
    """One Siemens mosaic of the slices of a volume.

    Args:
        stored: voxels (z, y, x).
        plane: where they lie.
        version: of the CSA header.
        moment: number of the volume in a series over time.
    """
    plane = plane or Plane()
    count, rows, columns = stored.shape
    across = int(np.ceil(np.sqrt(count)))
    tiles = np.zeros((across * across, rows, columns), stored.dtype)
    tiles[:count] = stored
    picture = (
        tiles.reshape(across, across, rows, columns).transpose(0, 2, 1, 3).reshape(across * rows, across * columns)
    )
    (ds,) = slices(picture[None], plane, modality="MR", rescale=lambda z: (1, 0), series="1.2.3.6")
    ds.SOPInstanceUID, ds.InstanceNumber, ds.AcquisitionNumber = f"1.2.3.6.{moment + 1}", moment + 1, moment + 1
    ds.Manufacturer, ds.ImageType = "SIEMENS", ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    ds.SpacingBetweenSlices, ds.MRAcquisitionType = plane.spacing_xyz[2], "2D"
    x, y, _ = plane.spacing_xyz
    outward = np.array(plane.cosines[:3]) * x * columns + np.array(plane.cosines[3:]) * y * rows
    corner = np.array(plane.origin) - outward * (across - 1) / 2
    ds.ImagePositionPatient = [round(float(v), 6) for v in corner]
    normal = [f"{v:.8f}" for v in plane.normal]
    header = csa_header({"NumberOfImagesInMosaic": [str(count)], "SliceNormalVector": normal}, version=version)
    ds.add_new(0x00290010, "LO", "SIEMENS CSA HEADER")
    ds.add_new(0x00291010, "OB", header + bytes(len(header) % 2))
    return ds


def written(ds: Dataset, syntax: uid.UID = uid.ExplicitVRLittleEndian, encode: Encode | None = None) -> bytes:
    """A data set as a file.

    Args:
        ds: from the functions above.
        syntax: transfer syntax.
        encode: makes a stream of one frame (y, x); None: pydicom's own encoder where the syntax has one.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    ds.file_meta = meta
    if syntax.is_encapsulated and encode is None:
        ds.compress(syntax, generate_instance_uid=False)
    elif syntax.is_encapsulated:
        assert encode is not None
        frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
        ds.PixelData = encapsulate([encode(frame) for frame in frames])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        meta.TransferSyntaxUID = syntax
    elif syntax == uid.ExplicitVRBigEndian:
        stored = np.frombuffer(ds.PixelData, f"<u{ds.BitsAllocated // 8}")
        ds.PixelData = stored.astype(stored.dtype.newbyteorder(">")).tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer, ds, enforce_file_format=True, implicit_vr=syntax == uid.ImplicitVRLittleEndian,
        little_endian=syntax != uid.ExplicitVRBigEndian,
    )  # fmt: skip
    return buffer.getvalue()
