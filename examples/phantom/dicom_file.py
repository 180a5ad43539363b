"""One CT slice as a DICOM file (PS3.3 A.3), with the private things that real headers carry. Equal input, equal bytes."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.phantom.scan import ScanGrid
from mdfp import geometry

RESCALE_INTERCEPT = -1024
"""HU of the stored value 0."""

PRIVATE_WORDS = ("Mustermann", "Nowhere General", "Dr Quincy", "19620229")
"""What headers hold of names, places and dates; none of it may reach a corpus."""

_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Series:
    """What the instances of a series have in common.

    Attributes:
        patient: PatientID.
        folder: names the series; its UIDs are made from it.
        description: SeriesDescription.
        manufacturer: Manufacturer.
        slice_gap_factor: SliceThickness over the distance between slices; the two are not the same thing.
    """

    patient: str
    folder: str
    description: str
    manufacturer: str
    slice_gap_factor: float


def uid(name: str) -> str:
    """A UID made from a name, under the root for UUIDs (PS3.5 B.2)."""
    return f"2.25.{int.from_bytes(hashlib.sha256(f'mdfp phantom {name}'.encode()).digest()[:15], 'big')}"


def slice_file(
    series: Series,
    pixels: npt.NDArray[np.int16],
    grid: ScanGrid,
    k: int,
    *,
    instance_number: int,
    padding: int | None = None,
    localizer: bool = False,
    resent: bool = False,
) -> bytes:
    """A DICOM file.

    Args:
        series: what it belongs to.
        pixels: stored values, shape (rows, columns).
        grid: where the voxels of the whole series lie.
        k: which slice of the grid.
        instance_number: InstanceNumber.
        padding: PixelPaddingValue, when there is one.
        localizer: whether it is a scout.
        resent: whether it is the same slice under another SOPInstanceUID.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    sop_instance_uid = uid(f"{series.folder} {instance_number} {resent}")
    spacing_x, spacing_y, spacing_z = geometry.spacing_xyz_mm(grid.affine_ras)
    affine_lps = geometry.lps_to_ras(grid.affine_ras)
    direction = geometry.direction(affine_lps)
    rows, columns = pixels.shape

    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER" if localizer else "AXIAL"]
    ds.SOPClassUID = _CT_IMAGE_STORAGE
    ds.SOPInstanceUID = sop_instance_uid
    ds.StudyDate = "20010203"
    ds.SeriesDate = "20010203"
    ds.AcquisitionDate = "20010203"
    ds.StudyTime = "101112"
    ds.AccessionNumber = "4711"
    ds.Modality = "CT"
    ds.Manufacturer = series.manufacturer
    ds.ManufacturerModelName = "Ellipsoid 64"
    ds.InstitutionName = "Nowhere General"
    ds.ReferringPhysicianName = "Dr Quincy"
    ds.StudyDescription = "ABDOMEN"
    ds.SeriesDescription = "SCOUT" if localizer else series.description
    ds.PatientName = f"Mustermann^{series.patient}"
    ds.PatientID = series.patient
    ds.PatientBirthDate = "19620229"
    ds.PatientSex = "F" if int(series.patient[-1]) % 2 else "M"
    ds.PatientAge = f"{30 + int(series.patient[-2:]):03}Y"
    ds.BodyPartExamined = "ABDOMEN"
    ds.SliceThickness = _decimal(spacing_z * series.slice_gap_factor)
    ds.KVP = "120"
    ds.ConvolutionKernel = "B30f"
    ds.PatientPosition = "HFP" if direction[0, 0] < 0 else "HFS"
    ds.StudyInstanceUID = uid(f"study {series.patient}")
    ds.SeriesInstanceUID = uid(f"series {series.folder}")
    ds.StudyID = "1"
    ds.SeriesNumber = 1 if localizer else 2
    ds.AcquisitionNumber = 1
    ds.InstanceNumber = instance_number
    ds.ImagePositionPatient = [_decimal(v) for v in geometry.apply(affine_lps, (0, 0, k))]
    ds.ImageOrientationPatient = [_decimal(v) for v in (*direction[:, 0], *direction[:, 1])]
    ds.FrameOfReferenceUID = uid(f"frame {series.patient}")
    ds.PositionReferenceIndicator = "XY"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = rows
    ds.Columns = columns
    ds.PixelSpacing = [_decimal(spacing_y), _decimal(spacing_x)]  # between rows first, then between columns
    ds.BitsAllocated = 16
    ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1
    if padding is not None:
        ds.add_new("PixelPaddingValue", "SS", padding)
    ds.RescaleIntercept = str(RESCALE_INTERCEPT)
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    ds.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(_CT_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE_ENDIAN)
    # Named here, because the library would write its own version.
    meta.ImplementationClassUID = UID(uid("writer"))
    meta.ImplementationVersionName = "MDFP_PHANTOM"
    return _encoded(ds, meta)


def _decimal(value: Any) -> str:
    """A DICOM decimal string (at most 16 characters) of a micrometre or better; never minus zero."""
    return f"{round(float(value), 8) + 0.0:.9g}"


def _encoded(ds: Any, meta: Any) -> bytes:
    from pydicom import dcmwrite

    ds.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue()
