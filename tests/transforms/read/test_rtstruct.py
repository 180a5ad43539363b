"""RTSTRUCT: contours in patient coordinates become voxels of the image they were drawn on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from mdfp import geometry
from schemas.reasons import Reason
from tests.drawn_objects import Scan, outline, rtstruct, written
from transforms.read import dicom, drawing, series
from transforms.read import rtstruct as reader
from transforms.read.segment import ImageGrid
from transforms.rejected import Rejected

OBLIQUE = Scan(row=(0.8, 0.6, 0.0), column=(-0.6, 0.8, 0.0))
SCANS = pytest.mark.parametrize("scan", [Scan(), OBLIQUE], ids=["straight", "oblique"])


def grid_of(scan: Scan) -> ImageGrid:
    return ImageGrid(geometry.lps_to_ras(scan.affine_lps), scan.shape_zyx)


def mask_in(scan: Scan, contours, **more) -> np.ndarray:
    structures = reader.open_structures(written(rtstruct(scan, [("a", contours)], **more)))
    return reader.roi_mask(structures, 1, grid_of(scan))


@SCANS
def test_regions_and_holes_of_a_slice_are_the_voxels_that_their_corners_say(scan):
    """Corners between voxel centres; two regions in one slice, one with a hole; a slice without any between."""
    boxes = [((0.5, 0.5, 6.5, 7.5), 1), ((1.5, 2.5, 3.5, 4.5), 1), ((7.5, 0.5, 9.5, 3.5), 1), ((2.5, 1.5, 8.5, 5.5), 3)]
    wanted = np.zeros(scan.shape_zyx, np.uint8)
    wanted[1, 1:8, 1:7] = 1
    wanted[1, 3:5, 2:4] = 0
    wanted[1, 1:4, 8:10] = 1
    wanted[3, 2:6, 3:9] = 1
    np.testing.assert_array_equal(mask_in(scan, [outline(scan, b, z) for b, z in boxes]), wanted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-3, 13), st.floats(-3, 11)), min_size=3, max_size=8), st.integers(0, 5))
def test_a_polygon_in_millimetres_is_the_one_in_voxels(points, z):
    """Against a ray cast from each voxel centre in world coordinates; centres within a µm of an edge are left out."""
    scan = OBLIQUE
    corners = geometry.apply(scan.affine_lps, [(x, y, z) for x, y in points])
    found = mask_in(scan, [corners])
    assert not np.delete(found, z, axis=0).any()
    along, down = np.array(scan.row), np.array(scan.column)
    flat = np.round(corners, 6) @ np.stack([along, down], axis=1)
    for (y, x), inside in np.ndenumerate(found[z]):
        px, py = geometry.apply(scan.affine_lps, (x, y, z)) @ np.stack([along, down], axis=1)
        if _distance((px, py), flat) > 1e-3:
            assert inside == _winding_parity((px, py), flat)


def _winding_parity(point, polygon):
    angle = 0.0
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        u, v = a - point, b - point
        angle += np.arctan2(u[0] * v[1] - u[1] * v[0], u @ v)
    return round(angle / (2 * np.pi)) % 2


def _distance(point, polygon):
    nearest = np.inf
    for a, b in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge = b - a
        t = np.clip((point - a) @ edge / max(edge @ edge, 1e-12), 0, 1)
        nearest = min(nearest, np.linalg.norm(a + t * edge - point))
    return nearest


def test_what_leaves_the_slice_is_cut_off_and_what_has_no_area_is_nothing():
    scan = Scan()
    assert mask_in(scan, [outline(scan, (-50, -50, 60, 60), 2)])[2].all()
    assert not mask_in(scan, [outline(scan, (3, 3, 3, 3), 2)[:2], np.zeros((0, 3))]).any()


@pytest.mark.parametrize("z", [1.15, 1.5, -1, 6])
def test_a_contour_beside_the_slices_is_refused(z):
    with pytest.raises(Rejected, match="label_grid"):
        mask_in(Scan(), [outline(Scan(), (1, 1, 5, 5), z)])


def test_a_contour_across_the_slices_is_refused():
    points = outline(Scan(), (1, 1, 5, 5), 2)
    points[0, 2] += 2.5
    with pytest.raises(Rejected, match="label_grid"):
        mask_in(Scan(), [points])


def test_rounded_positions_are_the_slices():
    points = outline(Scan(), (0.5, 0.5, 5.5, 5.5), 2) + np.array([0, 0, 0.01])
    assert mask_in(Scan(), [points])[2].sum() == 25


def test_contours_that_say_they_are_exclusive_are_so():
    points = [outline(Scan(), (0.5, 0.5, 6.5, 6.5), 2), outline(Scan(), (2.5, 2.5, 4.5, 4.5), 2)]
    assert mask_in(Scan(), points, type="CLOSEDPLANAR_XOR").sum() == 36 - 4


def test_more_points_than_allowed_are_refused_before_they_are_numbers(monkeypatch):
    points = [outline(Scan(), (1, 1, 5, 5), z) for z in range(3)]
    monkeypatch.setattr(reader, "MAX_POINTS", 12)
    mask_in(Scan(), points)
    monkeypatch.setattr(reader, "MAX_POINTS", 11)
    with pytest.raises(Rejected, match="too_large"):
        mask_in(Scan(), points)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", ""])
def test_only_closed_contours_hold_voxels(kind):
    with pytest.raises(Rejected, match="unsupported"):
        mask_in(Scan(), [outline(Scan(), (1, 1, 5, 5), 2)], type=kind)


def test_contours_of_rois_that_nobody_asks_for_are_not_read():
    ds = rtstruct(Scan(), [("a", [outline(Scan(), (0.5, 0.5, 5.5, 5.5), 2)]), ("point", [np.zeros((1, 3))])])
    ds.ROIContourSequence[1].ContourSequence[0].ContourGeometricType = "POINT"
    structures = reader.open_structures(written(ds), frozenset({1}))
    assert reader.roi_mask(structures, 1, grid_of(Scan())).sum() == 25


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (["1", "2"], Reason.UNREADABLE),
        (["1", "2", "nan"], Reason.UNREADABLE),
        (["1", "2", "1e300"], Reason.UNREADABLE),
    ],
)
def test_damaged_numbers_are_refused(data, reason):
    ds = rtstruct(Scan(), [("a", [outline(Scan(), (1, 1, 5, 5), 2)])])
    ds.ROIContourSequence[0].ContourSequence[0].ContourData = data
    with pytest.raises(Rejected) as fault:
        reader.open_structures(written(ds))
    assert fault.value.reason == reason


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_a_file_cut_anywhere_in_its_contours_is_refused(syntax):
    ds = rtstruct(Scan(), [("a", [outline(Scan(), (1, 1, 5, 5), z) for z in range(3)])], syntax=syntax)
    ds["ROIContourSequence"].is_undefined_length = syntax == uid.ExplicitVRLittleEndian
    data = written(ds)
    for end in range(len(data) - 500, len(data)):
        with pytest.raises(Rejected, match=r"truncated|unreadable"):
            reader.open_structures(data[:end])


def test_the_header_names_rois_series_and_frame():
    data = written(rtstruct(Scan(), [("GTV", []), ("Body", [])]))
    found = drawing.describe(data, path="x", file_bytes=len(data))
    assert [(s.number, s.name, s.algorithm) for s in found.segments] == [(1, "GTV", "MANUAL"), (2, "Body", "MANUAL")]
    assert (found.format, found.series_instance_uid, found.frame_of_reference_uid) == ("rtstruct", "1.2.3.4", "1.2.3.7")
    assert found.instance_uid == "1.2.3.4.1"
    assert "Roe" not in repr(found)
    assert "Quincy" not in repr(found)


def test_several_series_or_frames_of_reference_are_refused():
    ds = rtstruct(Scan(), [("GTV", []), ("Body", [])])
    ds.StructureSetROISequence[1].ReferencedFrameOfReferenceUID = "1.9.9"
    with pytest.raises(Rejected, match="2 frames of reference"):
        drawing.describe(written(ds), path="", file_bytes=len(written(ds)))


TESTDATA = os.environ.get("MDFP_TESTDATA")
STS = "soft-tissue-sarcoma"


@pytest.mark.skipif(not TESTDATA, reason="MDFP_TESTDATA does not name the shared test data")
@pytest.mark.parametrize(("scan", "voxels"), [("CT", 25693), ("PET", 817), ("MR_T1", 25693)])
def test_the_tumour_of_sts_003_has_exactly_the_voxels_of_its_authors_mask(scan, voxels):
    import nibabel

    root = Path(str(TESTDATA))
    folder = root / "dicom" / STS / "STS_003" / scan
    files = sorted((folder / "image").iterdir())
    read = [dicom.read_instance(f.read_bytes(), path=f.name, file_bytes=f.stat().st_size) for f in files]
    (volume,) = series.diagnose(read).volumes
    grid = ImageGrid(np.array(volume.header.affine_ras).reshape(4, 4), volume.header.shape)
    data = (folder / "mask" / "RS.dcm").read_bytes()
    mask = reader.roi_mask(reader.open_structures(data), 1, grid)
    assert mask.sum() == voxels
    authors = nibabel.load(root / "nifti" / STS / "labelsTr" / f"STS_003_{scan}.nii.gz")
    np.testing.assert_allclose(authors.affine, grid.affine_ras, atol=1e-2)
    np.testing.assert_array_equal(mask, np.asarray(authors.dataobj).transpose(2, 1, 0))
