"""NIfTI in colour: one plane is a picture, as nibabel reads it; a volume is refused and says what to do."""

from __future__ import annotations

import gzip
import io

import nibabel
import numpy as np
import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import array, flat, nifti_colour
from transforms.read.array import Blob
from transforms.rejected import Rejected

RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")])
AFFINE = np.array([[-0.5, 0, 0, 3], [0, -0.25, 0, 4], [0, 0, 2, 5], [0, 0, 0, 1]])
RNG = np.random.default_rng(5)


def file(shape, dtype=RGB, *, opaque=False, affine=AFFINE, unit="mm", version=1):
    voxels = RNG.integers(0, 256, (*shape, len(dtype.names))).astype(np.uint8)
    if opaque:
        voxels[..., 3] = 255
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    image = kind(voxels.view(dtype)[..., 0], affine)
    if affine is None:
        image.header.set_sform(None, 0)
        image.header.set_qform(None, 0)
    image.header.set_xyzt_units(unit)
    return image.to_bytes()


def by_nibabel(data):
    """(y, x, c) of the plane, by nibabel."""
    image = nibabel.Nifti1Image.from_bytes(data) if data[:1] == b"\x5c" else nibabel.Nifti2Image.from_bytes(data)
    plane = np.asarray(image.dataobj)
    plane = plane.reshape(plane.shape[:2])
    return np.stack([plane[n] for n in plane.dtype.names], axis=-1).swapaxes(0, 1)


def read(data):
    header = array.read_header("nifti", data[:4096], name="x", file_bytes=len(data), limits=Limits()).header
    return header, flat.read_any(header, [Blob("x.nii", data)], Limits())


@pytest.mark.parametrize("shape", [(9, 6, 1), (9, 6), (9, 6, 1, 1)])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_one_plane_is_the_picture_that_nibabel_reads(shape, version, packed):
    data = file(shape, version=version)
    header, picture = read(gzip.compress(data) if packed else data)
    np.testing.assert_array_equal(picture.array, by_nibabel(data))
    assert (header.axes, header.shape, header.dtype) == ("yxc", (6, 9, 3), "uint8")
    assert (picture.axes, header.affine_ras, header.orientation) == ("yxc", None, None)


def test_alpha_is_kept_unless_it_is_opaque():
    data = file((9, 6, 1), RGBA)
    np.testing.assert_array_equal(read(data)[1].array, by_nibabel(data))
    data = file((9, 6, 1), RGBA, opaque=True)
    _, picture = read(data)
    np.testing.assert_array_equal(picture.array, by_nibabel(data)[..., :3])
    assert "opaque" in picture.done[0]


@pytest.mark.parametrize(
    ("affine", "unit", "spacing"),
    [(AFFINE, "mm", (0.5, 0.25)), (AFFINE, "micron", (5e-4, 2.5e-4)), (AFFINE, "unknown", None), (None, "mm", None)],
)
def test_spacing_is_that_of_a_form_in_a_stated_unit(affine, unit, spacing):
    header, picture = read(file((9, 6, 1), affine=affine, unit=unit))
    assert header.spacing_xyz_mm == (pytest.approx(spacing) if spacing else None)
    assert picture.spacing_xy_mm == header.spacing_xyz_mm


@pytest.mark.parametrize(
    ("shape", "reason", "words"),
    [
        ((9, 6, 4), Reason.UNSUPPORTED, "a NIfTI for each channel, or each plane as a picture"),
        ((9, 6, 1, 5), Reason.TEMPORAL, "5 time points"),
        ((9, 6, 1, 1, 3), Reason.NOT_A_VOLUME, "one value per voxel"),
        ((9,), Reason.NOT_A_VOLUME, "two axes"),
    ],
)
def test_more_than_one_plane_is_refused(shape, reason, words):
    with pytest.raises(Rejected, match=words) as fault:
        read(file(shape))
    assert fault.value.reason == reason


def test_what_is_cut_or_too_large_is_refused():
    data = file((9, 6, 1))
    with pytest.raises(Rejected) as fault:
        read(data[:-1])
    assert fault.value.reason == Reason.TRUNCATED
    with pytest.raises(Rejected) as fault:
        nifti_colour.header(data, name="x", file_bytes=len(data), limits=Limits(max_edge=8))
    assert fault.value.reason == Reason.TOO_LARGE
    whole = gzip.compress(data)
    header, _ = read(whole)
    with pytest.raises(Rejected) as fault:
        flat.read_any(header, [Blob("x.nii.gz", whole[:-9])], Limits())
    assert fault.value.reason in (Reason.CORRUPT_GZIP, Reason.TRUNCATED)


def test_a_pair_needs_its_voxels():
    holder = nibabel.Nifti1Pair.make_file_map({"header": io.BytesIO(), "image": io.BytesIO()})
    voxels = RNG.integers(0, 256, (9, 6, 1, 3)).astype(np.uint8)
    nibabel.Nifti1Pair(voxels.view(RGB)[..., 0], AFFINE).to_file_map(holder)
    head, pixels = holder["header"].fileobj.getvalue(), holder["image"].fileobj.getvalue()
    header = array.read_header("nifti", head, name="x", file_bytes=len(head), limits=Limits()).header
    picture = flat.read_any(header, [Blob("x.hdr", head), Blob("x.img", pixels)], Limits())
    np.testing.assert_array_equal(picture.array, voxels[:, :, 0].swapaxes(0, 1))
    with pytest.raises(Rejected) as fault:
        flat.read_any(header, [Blob("x.hdr", head)], Limits())
    assert fault.value.reason == Reason.MISSING_FILE


def test_numbers_are_no_colour():
    assert not nifti_colour.is_colour(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), AFFINE).to_bytes())
    assert not nifti_colour.is_colour(b"not a NIfTI")
