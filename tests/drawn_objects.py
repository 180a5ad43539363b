"""A CT series with what was drawn on it: SEG written by highdicom, RTSTRUCT by pydicom. For tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from mdfp import geometry


@dataclass(frozen=True)
class Scan:
    """Where a CT series lies and whose it is. Sizes differ along every axis, so that a swapped one cannot hide."""

    shape_zyx: tuple[int, int, int] = (6, 9, 11)
    spacing_xyz: tuple[float, float, float] = (0.7, 0.9, 2.5)
    origin_lps: tuple[float, float, float] = (-31.5, 12.25, -103.0)
    row: tuple[float, float, float] = (1.0, 0.0, 0.0)
    column: tuple[float, float, float] = (0.0, 1.0, 0.0)
    series: str = "1.2.3.4"
    frame: str = "1.2.3.7"
    patient: str = "P1"
    study: str = "1.2.3.1"
    level: int = field(default=0)

    @property
    def affine_lps(self) -> np.ndarray:
        affine = np.eye(4)
        normal = np.cross(self.row, self.column)
        for axis, direction in enumerate((self.row, self.column, normal)):
            affine[:3, axis] = np.array(direction) * self.spacing_xyz[axis]
        affine[:3, 3] = self.origin_lps
        return affine

    def slices(self) -> list[Dataset]:
        """One CT instance a slice, in the order of z."""
        return [self._slice(z) for z in range(self.shape_zyx[0])]

    def _slice(self, z: int) -> Dataset:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.MediaStorageSOPClassUID = uid.CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = f"{self.series}.{z + 1}"
        ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = uid.CTImageStorage, f"{self.series}.{z + 1}"
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = self.patient, "Roe^Richard", "19010203", "M"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = self.study, self.series, self.frame
        ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20200131", "101010", "7", "1"
        ds.ReferringPhysicianName, ds.PositionReferenceIndicator = "", ""
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "CT", 2, z + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient = [round(float(v), 6) for v in geometry.apply(self.affine_lps, (0, 0, z))]
        ds.ImageOrientationPatient = [*self.row, *self.column]
        ds.PixelSpacing = [self.spacing_xyz[1], self.spacing_xyz[0]]
        ds.SliceThickness = self.spacing_xyz[2]
        _, ds.Rows, ds.Columns = self.shape_zyx
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        pixels = self.level + z * 100 + np.arange(ds.Rows * ds.Columns).reshape(ds.Rows, ds.Columns)
        ds.PixelData = pixels.astype("<i2").tobytes()
        return ds


def written(ds: Dataset) -> bytes:
    """A data set as a file."""
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def described(number: int, label: str, algorithm: str = "MANUAL") -> Any:
    """A segment description of highdicom."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.Liver,
        algorithm_type=algorithm,
        algorithm_identification=None
        if algorithm == "MANUAL"
        else hd.AlgorithmIdentificationSequence("a", codes.DCM.ArtificialIntelligence, "1"),
    )


def seg(
    scan: Scan,
    masks: np.ndarray,
    names: Sequence[str],
    *,
    kind: str = "BINARY",
    syntax: uid.UID = uid.ExplicitVRLittleEndian,
    algorithm: str = "MANUAL",
    **more: Any,
) -> Dataset:
    """A SEG of masks (z, y, x, segment), or of numbers (z, y, x) for a LABELMAP; empty frames are left out."""
    import highdicom as hd

    return hd.seg.Segmentation(
        source_images=scan.slices(),
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=[described(n, name, algorithm) for n, name in enumerate(names, start=1)],
        series_instance_uid=more.pop("series", hd.UID()),
        series_number=9,
        sop_instance_uid=more.pop("instance", hd.UID()),
        instance_number=1,
        manufacturer="Maker",
        manufacturer_model_name="Model",
        software_versions="1",
        device_serial_number="1",
        transfer_syntax_uid=syntax,
        **more,
    )


Rois = Sequence[tuple[str, Sequence[Any]]]
"""(ROI name, contours), each contour (n, 3) in mm, LPS."""


def rtstruct(scan: Scan, rois: Rois, *, instance: str = "1.2.3.99", **more: Any) -> Dataset:
    """An RTSTRUCT with the contours given, ROIs numbered from 1."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = uid.RTStructureSetStorage
    ds.file_meta.MediaStorageSOPInstanceUID = instance
    ds.file_meta.TransferSyntaxUID = more.pop("syntax", uid.ImplicitVRLittleEndian)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = uid.RTStructureSetStorage, instance, "RTSTRUCT"
    ds.PatientID, ds.PatientName, ds.StructureSetLabel = scan.patient, "Roe^Richard", "Dr Quincy's"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = scan.study, f"{instance}.1"
    image, series, study, frame = Dataset(), Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = uid.CTImageStorage, f"{scan.series}.1"
    series.SeriesInstanceUID, series.ContourImageSequence = scan.series, [image]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", scan.study
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = more.get("frame", scan.frame), [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois, start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, name, more.get("algorithm", "MANUAL")
        roi.ReferencedFrameOfReferenceUID = more.get("frame", scan.frame)
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType = more.get("type", "CLOSED_PLANAR")
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [f"{v:.6f}"[:16] for p in points for v in p]
            drawn.ContourSequence.append(contour)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return ds


def outline(scan: Scan, box_xyxy: Sequence[float], z: float) -> np.ndarray:
    """The corners of a rectangle in one slice, given in voxels, as (4, 3) mm, LPS."""
    x0, y0, x1, y1 = box_xyxy
    return geometry.apply(scan.affine_lps, [(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)])
