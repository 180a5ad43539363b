"""Planted faults and oddities are what they claim to be."""

from __future__ import annotations

import gzip
import struct
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from examples.phantom import ct_dicom, manifests
from examples.phantom.scale import SCALES
from schemas import patterns
from schemas.reasons import Reason


def fault(truth, reason, name=""):
    (found,) = [f for f in truth.faults if f.reason == reason and name in f.name]
    return found


def finding(truth, kind):
    return next(f for f in truth.findings if f.kind == kind)


def instances(folder, case):
    return [pydicom.dcmread(folder / case.source / p) for p in case.image_paths]


def test_every_fault_has_its_reason_and_names_its_files(small):
    root, truth = small
    assert truth.reasons() == {
        "missing_slices": 1, "localizer": 2, "corrupt_gzip": 1, "label_grid": 1, "unmapped_label": 1, "bad_spacing": 1
    }  # fmt: skip
    assert {c.reason for c in truth.cases if c.reason} == set(truth.reasons()) - {"localizer"}
    for planted in (*truth.faults, *truth.findings):
        assert planted.paths
        assert all((root / planted.source / p).is_file() for p in planted.paths)
    for case in truth.cases:
        assert all((root / case.source / p).is_file() for p in (*case.image_paths, *case.label_paths))


def test_the_corrupt_gzip_begins_well_and_ends_too_early(small):
    root, truth = small
    planted = fault(truth, Reason.CORRUPT_GZIP)
    content = (root / planted.source / planted.paths[0]).read_bytes()
    begun = zlib.decompressobj(31)
    header = begun.decompress(content, 348)
    assert struct.unpack_from("<i", header)[0] == 348
    with pytest.raises(EOFError):
        gzip.decompress(content)


def test_the_label_on_another_grid_covers_the_same_place(small):
    root, truth = small
    planted = fault(truth, Reason.LABEL_GRID)
    case = truth.case(planted.source, planted.name)
    image = nibabel.load(root / case.source / case.image_paths[0])
    label = nibabel.load(root / case.source / planted.paths[0])
    assert image.shape != label.shape
    assert np.allclose(image.header.get_zooms()[2], label.header.get_zooms()[2])
    extents = [np.array(v.shape) * v.header.get_zooms() for v in (image, label)]
    assert np.allclose(extents[0], extents[1], atol=1.5)


def test_the_unmapped_value_is_in_no_table(small):
    root, truth = small
    planted = fault(truth, Reason.UNMAPPED_LABEL)
    values = set(np.unique(nibabel.load(root / planted.source / planted.paths[0]).dataobj))
    assert values - set(manifests.load(planted.source).labels["labels"].values) == {99}


def test_the_zero_spacing_is_the_only_position_there_is(small):
    root, truth = small
    planted = fault(truth, Reason.BAD_SPACING)
    header = gzip.decompress((root / planted.source / planted.paths[0]).read_bytes())[:348]
    assert struct.unpack_from("<4f", header, 76)[3] == 0.0
    assert struct.unpack_from("<2h", header, 252) == (1, 0)


def test_the_series_with_a_gap_lacks_one_slice_in_the_middle(small):
    _, truth = small
    planted = fault(truth, Reason.MISSING_SLICES)
    case = truth.case(planted.source, planted.name)
    z = sorted(float(ds.ImagePositionPatient[2]) for ds in instances(small[0], case))
    steps = np.diff(z)
    assert len(z) == case.shape_xyz[2] - 1
    assert np.sum(~np.isclose(steps, case.spacing_xyz_mm[2])) == 1
    assert steps.max() == pytest.approx(2 * case.spacing_xyz_mm[2])
    assert len(z) // 4 < int(steps.argmax()) < 3 * len(z) // 4


def test_slices_sent_twice_are_a_copy_and_a_new_instance_with_equal_pixels(small):
    root, truth = small
    planted = finding(truth, "duplicates")
    case = truth.case(planted.source, planted.name)
    again, copy = (pydicom.dcmread(root / case.source / p) for p in planted.paths)
    by_position = {float(ds.ImagePositionPatient[2]): ds for ds in instances(root, case)}
    for ds in (again, copy):
        assert ds.PixelData == by_position[float(ds.ImagePositionPatient[2])].PixelData
    assert copy.SOPInstanceUID == by_position[float(copy.ImagePositionPatient[2])].SOPInstanceUID
    assert again.SOPInstanceUID not in {ds.SOPInstanceUID for ds in by_position.values()}


def test_a_scout_lies_among_the_slices_of_one_series_and_is_another_by_itself(small):
    root, truth = small
    planted = finding(truth, "left_out")
    inside = pydicom.dcmread(root / planted.source / planted.paths[0])
    case = truth.case(planted.source, planted.name)
    assert {ds.SeriesInstanceUID for ds in instances(root, case)} == {inside.SeriesInstanceUID}
    beside_fault = fault(truth, Reason.LOCALIZER, "SE01")
    beside = pydicom.dcmread(root / beside_fault.source / beside_fault.paths[0])
    patient = beside_fault.name.partition("_")[0]
    volume = instances(root, truth.case(beside_fault.source, f"{patient}_SE02"))
    assert beside.SeriesInstanceUID not in {ds.SeriesInstanceUID for ds in volume}
    assert beside.StudyInstanceUID == volume[0].StudyInstanceUID
    for scout in (inside, beside):
        assert "LOCALIZER" in scout.ImageType
        assert [float(v) for v in scout.ImageOrientationPatient] == [1, 0, 0, 0, 0, -1]


def test_padding_is_marked_and_lies_outside_the_body(small):
    root, truth = small
    planted = finding(truth, "padding")
    ds = pydicom.dcmread(root / planted.source / planted.paths[0])
    assert ds.PixelPaddingValue == -2000
    padded = ds.pixel_array == -2000
    assert 0 < padded.mean() < 0.3
    assert padded[0, 0]
    assert not padded[ds.Rows // 2, ds.Columns // 2]


def test_the_duplicate_has_equal_pixels_once_turned_and_another_spacing(small):
    root, truth = small
    ((first, second),) = truth.duplicates
    images = []
    for source, name in (first, second):
        case = truth.case(source, name)
        images.append(nibabel.load(root / source / case.image_paths[0]))
    a, b = images
    assert nibabel.aff2axcodes(a.affine) != nibabel.aff2axcodes(b.affine)
    assert (a.get_data_dtype(), b.get_data_dtype()) == (np.int16, np.float32)
    a, b = (nibabel.as_closest_canonical(i) for i in images)
    assert np.array_equal(np.asarray(a.dataobj), np.asarray(b.dataobj))
    assert not np.allclose(a.header.get_zooms(), b.header.get_zooms())


@pytest.mark.parametrize("patient", ["s0001", "d0201", "d0202", "d0203", "d0204"])
def test_gdcm_reads_the_series_as_it_was_scanned(small, patient):
    root, truth = small
    case = truth.case("phantom-ct-dicom", f"{patient}_SE02")
    folder = (root / case.source / case.image_paths[0]).parent
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    image = reader.Execute()
    (scan,) = [s for s in ct_dicom.scans(4) if s.patient == patient]
    _, grid, hu = ct_dicom.take(scan, SCALES["small"])
    read = sitk.GetArrayFromImage(image)
    padded = read == -2000 - 1024
    assert padded.any() == (scan.oddity == "padding")
    head_first = case.orientation.endswith("I")
    # GDCM orders slices along the normal, which points to the head; the grid of that series counts from the head down.
    assert np.array_equal(read[~padded], (hu[::-1] if head_first else hu)[~padded])
    assert image.GetSpacing() == pytest.approx(case.spacing_xyz_mm)
    last = (0, 0, case.shape_xyz[2] - 1) if head_first else (0, 0, 0)
    first_lps = np.array(grid.position_of(last)) * [-1, -1, 1]
    assert image.GetOrigin() == pytest.approx(tuple(first_lps), abs=1e-6)
    label = sitk.ReadImage(str(root / case.source / case.label_paths[0]))
    assert label.TransformIndexToPhysicalPoint(last) == pytest.approx(image.GetOrigin(), abs=1e-6)


def test_file_names_do_not_give_the_order_of_slices(small):
    _, truth = small
    case = truth.case("phantom-ct-dicom", "s0001_SE02")
    assert list(case.image_paths) != sorted(case.image_paths)


def test_private_words_stand_in_headers(small):
    root, truth = small
    content = (root / "phantom-ct-dicom" / truth.cases[0].image_paths[0]).read_bytes()
    assert all(word.encode() in content for word in truth.private_words)


def test_patterns_of_the_manifests_match_the_files(small):
    _, truth = small
    for case in truth.cases:
        layout = manifests.load(case.source).layout
        if layout.kind == "msd":
            assert all(p.startswith(f"{layout.folder}/") for p in case.image_paths)
            continue
        image, labels = {
            "dicom": lambda one: (one.path, [f.path for f in one.labels]),
            "paired": lambda one: (one.images[0].path, [f.path for f in one.labels]),
            "per-structure": lambda one: (one.image.path, [one.structures]),
        }[layout.kind](layout)
        assert all(patterns.match(image, p) for p in case.image_paths)
        assert all(any(patterns.match(pattern, p) for pattern in labels) for p in case.label_paths)


def test_every_file_of_the_decathlon_has_a_macos_twin_that_is_no_nifti(small):
    root, _ = small
    for path in (root / "phantom-ct-msd").rglob("*.nii.gz"):
        if not path.name.startswith("._"):
            assert (path.parent / f"._{path.name}").read_bytes()[:4] == bytes.fromhex("00051607")
