"""What is drawn on a series in DICOM: SEG (PS3.3 A.51) by highdicom, and RTSTRUCT (A.19) by hand. Equal input, equal bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.phantom.anatomy import Ellipsoid
from examples.phantom.dicom_file import uid
from examples.phantom.scan import ScanGrid
from mdfp import geometry

_CORNERS = 64
"""Corners of a contour."""

_DATE, _TIME = "20010203", "101112"


def seg(slices: Sequence[bytes], masks: Mapping[str, npt.NDArray[np.uint8]], name: str) -> bytes:
    """A SEG with a binary segment for each mask; needs highdicom.

    Args:
        slices: the series' files, in the order of the masks' first axis.
        masks: structure -> mask (z, y, x).
        name: its UIDs are made from it.
    """
    import highdicom as hd
    from pydicom import dcmread
    from pydicom.sr.codedict import codes

    described = [
        hd.seg.SegmentDescription(
            segment_number=number, segment_label=structure, segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver, algorithm_type="MANUAL",
        )
        for number, structure in enumerate(masks, start=1)
    ]  # fmt: skip
    read = [dcmread(io.BytesIO(content)) for content in slices]
    for instance in read:
        instance.PatientBirthDate = ""  # the phantom's is a day that never was, which highdicom does not copy
    ds = hd.seg.Segmentation(
        source_images=read,
        pixel_array=np.stack(list(masks.values()), axis=-1), segmentation_type="BINARY", segment_descriptions=described,
        series_instance_uid=uid(f"seg series {name}"), series_number=9, sop_instance_uid=uid(f"seg {name}"),
        instance_number=1, manufacturer="Phantom Works", manufacturer_model_name="Ellipsoid 64", software_versions="1",
        device_serial_number="1",
    )  # fmt: skip
    _undated(ds, name)
    return _bytes(ds)


def _undated(ds: Any, name: str) -> None:
    """Times of writing and UIDs drawn at random, in an object and in its sequences, made functions of the name."""
    for element in ds:
        if element.VR == "DA":
            element.value = _DATE
        elif element.VR == "TM":
            element.value = _TIME
        elif element.VR == "DT":
            element.value = _DATE + _TIME
        elif element.VR == "SQ":
            for item in element.value:
                _undated(item, name)
        elif element.keyword == "DimensionOrganizationUID":
            element.value = uid(f"dimensions {name}")


def rtstruct(slices: Sequence[bytes], organs: Mapping[str, Ellipsoid], grid: ScanGrid, name: str) -> bytes:
    """An RTSTRUCT with a ROI for each organ: in each slice a polygon on the ellipse in which the slice cuts it.

    Args:
        slices: the series' files.
        organs: ROI name -> organ.
        grid: of the series, axes along the world's.
        name: its UIDs are made from it.
    """
    from pydicom import dcmread
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ImplicitVRLittleEndian

    first = dcmread(io.BytesIO(slices[0]), stop_before_pixels=True)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.481.3")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(uid(f"rtstruct {name}"))
    ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(uid("writer"))
    ds.Modality, ds.PatientID, ds.PatientName = "RTSTRUCT", first.PatientID, first.PatientName
    ds.StructureSetLabel, ds.StudyInstanceUID = "drawn", first.StudyInstanceUID
    ds.SeriesInstanceUID = uid(f"rtstruct series {name}")
    image, series, study, frame = Dataset(), Dataset(), Dataset(), Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = first.SOPClassUID, first.SOPInstanceUID
    series.SeriesInstanceUID, series.ContourImageSequence = first.SeriesInstanceUID, [image]
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID, frame.RTReferencedStudySequence = first.FrameOfReferenceUID, [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (roi_name, organ) in enumerate(organs.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = number, roi_name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = first.FrameOfReferenceUID
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours(organ, grid):
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{v:.6f}"[:16] for v in points.ravel()]
            drawn.ContourSequence.append(contour)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return _bytes(ds)


def contours(organ: Ellipsoid, grid: ScanGrid) -> Iterator[npt.NDArray[np.float64]]:
    """Corners (n, 3) in mm, LPS, of the organ's outline in each slice that cuts it; the grid's axes lie along the world's."""
    x0, y0, z0 = grid.index_of(organ.centre_ras_mm)
    spacing = geometry.spacing_xyz_mm(grid.affine_ras)
    worlds = [int(np.argmax(np.abs(grid.affine_ras[:3, column]))) for column in range(3)]
    a, b, c = (organ.semi_axes_mm[w] / s for w, s in zip(worlds, spacing, strict=True))
    t = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    for k in range(grid.shape_zyx[0]):
        rest = 1 - ((k - z0) / c) ** 2
        if rest > 0:
            index = np.stack(
                [x0 + a * rest**0.5 * np.cos(t), y0 + b * rest**0.5 * np.sin(t), np.full(_CORNERS, k)], axis=1
            )
            yield geometry.apply(geometry.lps_to_ras(grid.affine_ras), index)


def _bytes(ds: Any) -> bytes:
    from pydicom import dcmwrite

    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()
