"""SEG: every encoding of what highdicom writes, and real files, on the grid of the image."""

from __future__ import annotations

import io
import os
import random
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.drawn_objects import Scan, rtstruct, seg, written
from transforms.read import dicom, drawing, series
from transforms.read import seg as reader
from transforms.read.segment import Code, ImageGrid
from transforms.rejected import Rejected

hd = pytest.importorskip("highdicom", reason="writes the objects; pip install -e '.[dev]'")

LIMITS = Limits()
ENCAPSULATED = [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless]
LARGE = Scan(shape_zyx=(4, 37, 34), row=(0.8, 0.6, 0.0), column=(-0.6, 0.8, 0.0))
"""JPEG 2000 encoders want 32 pixels."""
OBLIQUE = Scan(row=(0.8, 0.6, 0.0), column=(-0.6, 0.8, 0.0))


def grid_of(scan: Scan) -> ImageGrid:
    return ImageGrid(geometry.lps_to_ras(scan.affine_lps), scan.shape_zyx)


def blobs(scan: Scan, segments: int, seed: int = 3) -> np.ndarray:
    """Masks that overlap, some slices of each empty."""
    rng = np.random.default_rng(seed)
    masks = rng.random((*scan.shape_zyx, segments)) < 0.4
    for s in range(segments):
        masks[s % 3, ..., s] = False
    return masks.astype(np.uint8)


def of_highdicom(ds) -> tuple[ImageGrid, np.ndarray]:
    """Grid and voxels (z, y, x, segment) as highdicom reads them; it stacks slices its own way."""
    volume = hd.seg.Segmentation.from_dataset(ds).get_volume(rescale_fractional=False)
    affine_lps = volume.affine[:, [2, 1, 0, 3]]  # its columns are for slice, row and column
    array = volume.array if volume.array.ndim == 4 else volume.array[..., None]
    return ImageGrid(geometry.lps_to_ras(affine_lps), array.shape[:3]), array


def masks_in(data: bytes, scan: Scan, count: int) -> np.ndarray:
    found = reader.open_seg(data, LIMITS)
    return np.stack([reader.segment_mask(found, n + 1, grid_of(scan)) for n in range(count)], axis=-1)


@pytest.mark.parametrize("scan", [Scan(), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian])
def test_overlapping_sparse_binary_frames_of_odd_bits_are_what_highdicom_wrote(scan, syntax):
    """9 × 11 = 99 bits a frame: all but the first begin within a byte."""
    masks = blobs(scan, 3)
    ds = seg(scan, masks, ["a", "b", "c"], syntax=syntax)
    assert ds.NumberOfFrames < 18
    np.testing.assert_array_equal(masks_in(written(ds), scan, 3), masks)
    grid, wanted = of_highdicom(ds)
    found = reader.open_seg(written(ds), LIMITS)
    for n in range(3):
        np.testing.assert_array_equal(reader.segment_mask(found, n + 1, grid), wanted[..., n])


def test_the_order_of_frames_and_indices_plays_no_part():
    masks = blobs(Scan(), 2)
    ds = seg(Scan(), masks, ["a", "b"])
    size, bits = 99, np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")
    order = list(range(ds.NumberOfFrames))
    random.Random(1).shuffle(order)
    groups = [ds.PerFrameFunctionalGroupsSequence[n] for n in order]
    for group in groups:
        del group.FrameContentSequence
    del ds.DimensionIndexSequence
    ds.PerFrameFunctionalGroupsSequence = groups
    packed = np.packbits(np.concatenate([bits[n * size : (n + 1) * size] for n in order]), bitorder="little")
    ds.PixelData = packed.tobytes() + b"\0" * (len(packed) % 2)
    np.testing.assert_array_equal(masks_in(written(ds), Scan(), 2), masks)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, *ENCAPSULATED], ids=lambda s: s.name)
def test_fractional_is_foreground_from_one_half_on(syntax):
    z, y, x = np.indices(LARGE.shape_zyx)
    fractions = np.stack([(x + y + z) % 101 / 100, (2 * x + z) % 101 / 100], axis=-1)
    ds = seg(
        LARGE, fractions, ["a", "b"], kind="FRACTIONAL", syntax=syntax, max_fractional_value=100,
        fractional_type="PROBABILITY",
    )  # fmt: skip
    np.testing.assert_array_equal(masks_in(written(ds), LARGE, 2), fractions >= 0.5)


def test_binary_in_jpeg_2000_is_the_same_as_packed():
    masks = np.stack([disc(LARGE, 9), disc(LARGE, 14)], axis=-1)
    ds = seg(LARGE, masks, ["a", "b"], syntax=uid.JPEG2000Lossless)
    np.testing.assert_array_equal(masks_in(written(ds), LARGE, 2), masks)


def disc(scan, radius):
    z, y, x = np.indices(scan.shape_zyx)
    return ((x - 15) ** 2 + (y - 17) ** 2 + z < radius**2).astype(np.uint8)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, *ENCAPSULATED], ids=lambda s: s.name)
def test_a_label_map_is_its_numbers(syntax):
    scan = LARGE
    numbers = disc(scan, 14) + disc(scan, 9) + disc(scan, 5)
    numbers[2] = 0
    ds = seg(scan, numbers, ["a", "b", "c"], kind="LABELMAP", syntax=syntax)
    found = reader.open_seg(written(ds), LIMITS)
    assert found.kind == "LABELMAP"
    np.testing.assert_array_equal(reader.label_map(found, grid_of(scan)), numbers)


def test_the_background_of_a_label_map_is_what_it_says():
    """Numbers that do not start at 1, 0 a segment, the padding value background (Supplement 243)."""
    numbers = np.random.default_rng(7).integers(0, 3, Scan().shape_zyx).astype(np.uint8)
    numbers[4] = 0
    ds = seg(Scan(), numbers, ["a", "b"], kind="LABELMAP", omit_empty_frames=True)
    assert [s.number for s in reader.open_seg(written(ds), LIMITS).segments] == [1, 2]  # without highdicom's background
    ds.PixelPaddingValue = 2
    ds.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "10200004"
    found = reader.open_seg(written(ds), LIMITS)
    assert ([s.number for s in found.segments], found.background) == ([0, 1], (2,))
    wanted = numbers.copy()
    wanted[4] = 2  # its frame was left out
    np.testing.assert_array_equal(reader.label_map(found, grid_of(Scan())), wanted)
    del ds.PixelPaddingValue
    with pytest.raises(Rejected, match="no value is background"):
        reader.open_seg(written(ds), LIMITS)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_frames_deflated_one_by_one_are_the_same(kind):
    """Deflated Image Frame Compression: each frame packed from a byte of its own, and deflated alone (PS3.5 8.2.16)."""
    masks = disc(LARGE, 14)
    ds = seg(LARGE, masks[..., None] if kind == "BINARY" else masks, ["a"], kind=kind, omit_empty_frames=False)
    size = 37 * 34
    if kind == "BINARY":
        bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")[: 4 * size].reshape(4, size)
        frames = [np.packbits(b, bitorder="little").tobytes() for b in bits]
    else:
        frames = [ds.PixelData[n * size : (n + 1) * size] for n in range(4)]
    deflated = []
    for frame in frames:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        deflated.append(deflater.compress(frame) + deflater.flush())
    found = reader.open_seg(framewise(ds, deflated), LIMITS)
    mask = (
        reader.segment_mask(found, 1, grid_of(LARGE)) if kind == "BINARY" else reader.label_map(found, grid_of(LARGE))
    )
    np.testing.assert_array_equal(mask, masks)
    with pytest.raises(Rejected, match="unreadable"):
        list(reader.open_seg(framewise(ds, [d[: len(d) // 2] for d in deflated]), LIMITS).stored([0]))


def framewise(ds, frames) -> bytes:
    """A file of deflated frames; pydicom does not write such, so it is told that they are JPEG 2000."""
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    return written(ds).replace(uid.JPEG2000Lossless.encode(), b"1.2.840.10008.1.2.8.1\0", 1)


def test_a_deflated_data_set_is_the_same_and_must_be_whole():
    masks = blobs(Scan(), 2)
    ds = seg(Scan(), masks, ["a", "b"])
    ds.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    data = written(ds)
    np.testing.assert_array_equal(masks_in(data, Scan(), 2), masks)
    with pytest.raises(Rejected, match=r"truncated|unreadable"):
        reader.open_seg(data[: len(data) // 2], LIMITS)


def test_a_data_set_that_inflates_beyond_the_limit_is_refused(monkeypatch):
    ds = seg(Scan(), blobs(Scan(), 2), ["a", "b"])
    ds.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    monkeypatch.setattr("transforms.read.segment.MAX_INFLATED_BYTES", 1000)
    with pytest.raises(Rejected, match="too_large"):
        reader.open_seg(written(ds), LIMITS)


@pytest.mark.parametrize(
    ("keyword", "value"), [("NumberOfFrames", 2**31 - 1), ("Rows", 65535), ("SegmentSequence", None)]
)
def test_a_header_that_announces_too_much_takes_no_memory(keyword, value):
    masks = disc(LARGE, 14)
    ds = seg(LARGE, masks, ["a"], kind="LABELMAP", syntax=uid.RLELossless)
    if keyword == "SegmentSequence":
        value = [ds.SegmentSequence[1]] * 10_001
    setattr(ds, keyword, value)
    if keyword == "Rows":
        ds.Columns = 65535
    with pytest.raises(Rejected, match=r"too_large|label_grid"):
        reader.open_seg(written(ds), Limits(max_bytes=1 << 24))


def test_the_header_tells_what_was_drawn_by_whom_and_on_what():
    ds = seg(Scan(), blobs(Scan(), 2), ["Liver", "Lesion 1"], algorithm="AUTOMATIC")
    data = written(ds)
    found = drawing.describe(data, path="a/b.dcm", file_bytes=len(data))
    assert (found.format, found.series_instance_uid, found.patient_id) == ("seg", "1.2.3.4", "P1")
    assert (found.frame_of_reference_uid, found.sop_instance_uid) == ("1.2.3.7", ds.SOPInstanceUID)
    assert found.instance_uid.startswith("1.2.3.4.")
    assert [(s.number, s.name, s.algorithm) for s in found.segments] == [
        (1, "Liver", "AUTOMATIC"), (2, "Lesion 1", "AUTOMATIC")
    ]  # fmt: skip
    assert found.segments[0].property_type == Code("SCT", "10200004")
    assert "Roe" not in repr(found)


def test_images_of_another_study_are_referenced_elsewhere():
    ds = seg(Scan(), blobs(Scan(), 1), ["a"])
    study = pydicom.Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = "1.2.3.1", ds.ReferencedSeriesSequence
    del ds.ReferencedSeriesSequence
    ds.StudiesContainingOtherReferencedInstancesSequence = [study]
    data = written(ds)
    assert drawing.describe(data, path="", file_bytes=len(data)).series_instance_uid == "1.2.3.4"


def test_the_header_needs_neither_frames_nor_pixels():
    data = written(seg(Scan(), blobs(Scan(), 3), ["a", "b", "c"]))
    needed = next(n for n in range(0, len(data), 64) if _describes(data[:n], len(data)))
    assert needed < len(data) / 2
    assert drawing.describe(data[:needed], path="", file_bytes=len(data)) == drawing.describe(
        data, path="", file_bytes=len(data)
    )


def _describes(data, size):
    try:
        return drawing.describe(data, path="", file_bytes=size) is not None
    except dicom.HeaderCutError:
        return False


def test_an_image_is_no_drawing():
    data = written(Scan().slices()[0])
    assert drawing.describe(data, path="", file_bytes=len(data)) is None
    assert drawing.describe(b"no DICOM", path="", file_bytes=8) is None


def test_frames_along_another_axis_lie_where_they_say():
    """Coronal frames over the voxels of axial slices; rows run against the image's z."""
    scan = Scan()
    _, ny, nx = scan.shape_zyx
    nz = scan.shape_zyx[0]
    masks = blobs(scan, 1)[..., 0]
    ds = seg(scan, masks[..., None], ["a"])
    shared, template = ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    shared.PixelMeasuresSequence[0].PixelSpacing = [scan.spacing_xyz[2], scan.spacing_xyz[0]]
    groups, bits = [], []
    for y in range(ny):
        group = pydicom.Dataset.from_json(template.to_json())
        position = geometry.apply(scan.affine_lps, (0, y, nz - 1))
        group.PlanePositionSequence[0].ImagePositionPatient = [round(float(v), 6) for v in position]
        groups.append(group)
        bits.append(masks[::-1, y, :])
    ds.PerFrameFunctionalGroupsSequence, ds.NumberOfFrames, ds.Rows, ds.Columns = groups, ny, nz, nx
    packed = np.packbits(np.stack(bits).ravel(), bitorder="little").tobytes()
    ds.PixelData = packed + b"\0" * (len(packed) % 2)
    np.testing.assert_array_equal(masks_in(written(ds), scan, 1)[..., 0], masks)


def broken(change) -> bytes:
    ds = seg(Scan(), blobs(Scan(), 2), ["a", "b"])
    change(ds)
    return written(ds)


def move(ds, by):
    for group in ds.PerFrameFunctionalGroupsSequence:
        x, y, z = group.PlanePositionSequence[0].ImagePositionPatient
        group.PlanePositionSequence[0].ImagePositionPatient = [x + by[0], y + by[1], z + by[2]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda ds: move(ds, (0.35, 0, 0)), Reason.LABEL_GRID),
        (lambda ds: move(ds, (0.7, 0, 0)), Reason.LABEL_GRID),
        (lambda ds: move(ds, (0, 0, 1.25)), Reason.LABEL_GRID),
        (lambda ds: move(ds, (0, 0, 250)), Reason.LABEL_GRID),
        (lambda ds: setattr(ds, "PixelData", ds.PixelData[:40]), Reason.TRUNCATED),
        (lambda ds: setattr(ds, "NumberOfFrames", 5), Reason.UNREADABLE),
        (lambda ds: setattr(ds, "NumberOfFrames", 2**31 - 1), Reason.TOO_LARGE),
        (lambda ds: setattr(ds, "SegmentationType", "GREY"), Reason.UNSUPPORTED),
        (lambda ds: setattr(ds, "BitsAllocated", 16), Reason.UNREADABLE),
        (lambda ds: setattr(ds.SegmentSequence[1], "SegmentNumber", 1), Reason.UNREADABLE),
        (lambda ds: setattr(ds.SegmentSequence[1], "SegmentNumber", 7), Reason.UNREADABLE),
        (lambda ds: delattr(ds.PerFrameFunctionalGroupsSequence[3], "PlanePositionSequence"), Reason.NO_GEOMETRY),
        (lambda ds: delattr(ds, "PixelData"), Reason.UNREADABLE),
    ],
)  # fmt: skip
def test_a_broken_object_is_refused_with_its_reason(change, reason):
    with pytest.raises(Rejected) as fault:
        masks_in(broken(change), Scan(), 2)
    assert fault.value.reason == reason


@pytest.mark.parametrize("by", [(0.06, 0, 0), (0, -0.08, 0.2)])
def test_rounded_positions_within_a_tenth_of_a_voxel_are_the_images(by):
    masks = blobs(Scan(), 1)
    ds = seg(Scan(), masks, ["a"])
    move(ds, by)
    np.testing.assert_array_equal(masks_in(written(ds), Scan(), 1), masks)


def test_two_label_maps_at_one_place_that_differ_are_refused():
    numbers = np.ones(Scan().shape_zyx, np.uint8)
    numbers[1] = 2
    ds = seg(Scan(), numbers, ["a", "b"], kind="LABELMAP")
    for group in ds.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = list(Scan().origin_lps)
    with pytest.raises(Rejected, match="conflicting_slices"):
        reader.label_map(reader.open_seg(written(ds), LIMITS), grid_of(Scan()))


def test_an_object_without_a_series_is_an_orphan():
    for made in (seg(Scan(), blobs(Scan(), 1), ["a"]), rtstruct(Scan(), [("a", [])])):
        for keyword in ("ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence"):
            if keyword in made:
                delattr(made, keyword)
        data = written(made)
        with pytest.raises(Rejected, match="orphan_label"):
            drawing.describe(data, path="", file_bytes=len(data))


TESTDATA = os.environ.get("MDFP_TESTDATA")
real = pytest.mark.skipif(not TESTDATA, reason="MDFP_TESTDATA does not name the shared test data")


def real_header(folder: Path):
    files = sorted(f for f in folder.iterdir() if f.is_file())
    read = [dicom.read_instance(f.read_bytes(), path=f.name, file_bytes=f.stat().st_size) for f in files]
    (volume,) = series.diagnose(read).volumes
    return volume.header


@real
def test_the_liver_of_dcmqi_has_its_107098_voxels_and_equals_the_nrrd():
    import SimpleITK as sitk  # noqa: N813 (its usual name)

    root = Path(str(TESTDATA))
    header = real_header(root / "dicom/dcmqi-liver/99000/CT")
    data = (root / "dicom/dcmqi-liver/99000/SEG/liver.dcm").read_bytes()
    grid = ImageGrid(np.array(header.affine_ras).reshape(4, 4), header.shape)
    mask = reader.segment_mask(reader.open_seg(data, LIMITS), 1, grid)
    assert mask.sum() == 107098
    image = sitk.ReadImage(str(root / "nrrd/dcmqi-liver/liver_seg.nrrd"))
    np.testing.assert_array_equal(mask, sitk.GetArrayFromImage(image) != 0)
    np.testing.assert_allclose(np.array(image.GetOrigin()) * (-1, -1, 1), grid.affine_ras[:3, 3], atol=1e-3)


@real
@pytest.mark.parametrize("name", ["seg_image_ct_binary_overlap.dcm", "seg_image_ct_true_fractional.dcm"])
def test_files_of_highdicom_hold_what_highdicom_reads(name):
    data = (Path(str(TESTDATA)) / "dicom/highdicom/SEG" / name).read_bytes()
    ds = pydicom.dcmread(io.BytesIO(data))
    grid, wanted = of_highdicom(ds)
    if ds.SegmentationType == "FRACTIONAL":
        wanted = wanted * 2.0 >= ds.MaximumFractionalValue
    found = reader.open_seg(data, LIMITS)
    for n, segment in enumerate(found.segments):
        mask = reader.segment_mask(found, segment.number, grid)
        assert mask.any()
        np.testing.assert_array_equal(mask, wanted[..., n] != 0)
