"""Agreement with dcm2niix on every ordinary kind of series that `tests.scanned_series` writes; where we differ, by how much
and why.

dcm2niix is Debian's build, v1.0.20220720: without JPEG-LS, HTJ2K and deflated data sets.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset

from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.scanned_series import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    SAGITTAL,
    Encode,
    Plane,
    enhanced,
    mosaic,
    slices,
    voxels,
    written,
)
from tests.transforms.read.test_dcm2niix import assert_equal, convert, ours
from transforms.read import dicom, series
from transforms.read.temporal import read_temporal

pytestmark = pytest.mark.skipif(
    shutil.which("dcm2niix") is None, reason="dcm2niix is not installed: infra/ci/install.sh"
)

PLANES = {"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL, "oblique": OBLIQUE}
SHUFFLED = (3, 0, 5, 4, 1, 2)
Make = Callable[[], list[Dataset]]


def plain(z: int) -> tuple[float, float]:
    return 1, 0


def compressed(encode: Callable[..., bytes], **options: Any) -> Encode:
    return lambda a: encode(np.ascontiguousarray(a), **options)


def lossless_jpeg(predictor: int) -> Encode:
    return lambda a: imagecodecs.jpeg8_encode(
        np.ascontiguousarray(a), lossless=True, predictor=predictor, bitspersample=8 * a.itemsize
    )


JPEG2000 = compressed(imagecodecs.jpeg2k_encode, codecformat="j2k", reversible=True)
LITTLE = uid.ExplicitVRLittleEndian


def kinds() -> dict[str, tuple[Make, uid.UID, Encode | None]]:
    """Ordinary series by name: instances, transfer syntax, encoder."""
    made: dict[str, tuple[Make, uid.UID, Encode | None]] = {}

    def add(name: str, make: Make, syntax: uid.UID = LITTLE, encode: Encode | None = None) -> None:
        made[name] = (make, syntax, encode)

    for name, cosines in PLANES.items():
        add(f"CT {name}", lambda c=cosines: slices(voxels(), Plane(c)))
        add(f"MR {name}", lambda c=cosines: slices(voxels(), Plane(c), modality="MR", rescale=plain))
        add(f"mosaic {name}", lambda c=cosines: [mosaic(voxels((6, 16, 20)), Plane(c))])
    add("numbers against the normal", lambda: slices(voxels(), per_slice=lambda z: {"InstanceNumber": 20 - z}))
    add("columns upwards", lambda: slices(voxels(), Plane((1, 0, 0, 0, -1, 0))))
    add("anisotropic", lambda: slices(voxels(), Plane(AXIAL, (0.4, 1.9, 7.3))))
    add("slices closer than thick", lambda: slices(voxels(), per_slice=lambda z: {"SliceThickness": 5}))
    add("slices further than thick", lambda: slices(voxels(), per_slice=lambda z: {"SliceThickness": 1}))
    for bits, signed in ((8, False), (12, False), (16, False), (16, True)):
        add(
            f"{bits} bits{' signed' * signed}",
            lambda b=bits, s=signed: slices(voxels(bits=b, signed=s), bits_stored=b, rescale=plain),
        )
    add("slope and intercept", lambda: slices(voxels(), rescale=lambda z: (0.25, -17.5)))
    add("MR slope and intercept", lambda: slices(voxels(), modality="MR", rescale=lambda z: (2.5, 3)))
    add("PET of one slope", lambda: slices(voxels(), modality="PT", rescale=lambda z: (0.5, 0)))
    add("PET, a slope for each slice", lambda: slices(voxels(), modality="PT", rescale=lambda z: (0.25 * (z + 1), 0)))
    for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless):
        add(syntax.name, lambda: slices(voxels(bits=16, signed=True), rescale=plain), syntax)
    for bits in (8, 16):
        for name, syntax, encode in (
            ("JPEG lossless SV1", uid.JPEGLosslessSV1, lossless_jpeg(1)),
            ("JPEG lossless, predictor 4", uid.JPEGLossless, lossless_jpeg(4)),
            ("JPEG 2000", uid.JPEG2000Lossless, JPEG2000),
        ):
            add(f"{name}, {bits} bits", lambda b=bits: slices(voxels(bits=b), rescale=plain), syntax, encode)
    add("JPEG 2000 signed", lambda: slices(voxels(bits=16, signed=True), rescale=plain), uid.JPEG2000Lossless, JPEG2000)
    for modality in ("CT", "MR", "PT"):
        add(f"Enhanced {modality}", lambda m=modality: [enhanced(voxels(), modality=m)])
        add(
            f"Enhanced {modality}, oblique, frames in disorder",
            lambda m=modality: [enhanced(voxels(), Plane(OBLIQUE), modality=m, order=SHUFFLED)],
        )
        offset = 0 if modality == "PT" else 3
        add(
            f"Enhanced {modality}, slope",
            lambda m=modality, o=offset: [enhanced(voxels(), modality=m, rescale=lambda z: (0.5, o))],
        )
    return made


KINDS = kinds()


def put(folder: Path, made: Sequence[Dataset], syntax: uid.UID = LITTLE, encode: Encode | None = None) -> Path:
    folder.mkdir()
    for number, ds in enumerate(made):
        (folder / f"{number:03}.dcm").write_bytes(written(ds, syntax, encode))
    return folder


def both(tmp_path: Path, made: Sequence[Dataset], **more: Any) -> tuple[list[Any], list[nib.Nifti1Image]]:
    """What we make of instances, and what dcm2niix makes."""
    folder = put(tmp_path / "series", made, **more)
    return ours(folder), convert(folder, tmp_path / "out")


def physical(volume: Any) -> np.ndarray:
    """(x, y, z) of a canonical volume."""
    return (volume.array_zyx * volume.scale + volume.offset).transpose(2, 1, 0)


def theirs(image: nib.Nifti1Image) -> np.ndarray:
    return np.asarray(nib.as_closest_canonical(image).dataobj)


@pytest.mark.parametrize("name", KINDS)
def test_an_ordinary_series_is_read_alike(tmp_path, name):
    make, syntax, encode = KINDS[name]
    (volume,), (image,) = both(tmp_path, make(), syntax=syntax, encode=encode)
    assert_equal(volume, image)


def test_a_slope_that_is_no_binary_fraction_differs_by_its_rounding_in_nifti(tmp_path):
    (volume,), (image,) = both(tmp_path, slices(voxels(), rescale=lambda z: (0.3, -17.3)))
    np.testing.assert_allclose(physical(volume), theirs(image), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    ("syntax", "encode"),
    [
        (uid.DeflatedExplicitVRLittleEndian, None),
        (uid.JPEGLSLossless, compressed(imagecodecs.jpegls_encode)),
        (uid.HTJ2KLossless, compressed(imagecodecs.htj2k_encode, reversible=True)),
    ],
    ids=["deflated", "JPEG-LS", "HTJ2K"],
)
def test_what_their_build_cannot_decode_we_read_as_they_read_it_uncompressed(tmp_path, syntax, encode):
    made = slices(voxels(bits=16), rescale=plain)
    (volume,), images = both(tmp_path, copy.deepcopy(made), syntax=syntax, encode=encode)
    assert images == []
    (image,) = convert(put(tmp_path / "native", made), tmp_path / "native-out")
    assert_equal(volume, image)


def test_an_enhanced_object_in_rle_is_read_as_uncompressed(tmp_path):
    """dcm2niix warns of several fragments, and its voxels are others."""
    (volume,), (wrong,) = both(tmp_path, [enhanced(voxels())], syntax=uid.RLELossless)
    (image,) = convert(put(tmp_path / "native", [enhanced(voxels())]), tmp_path / "native-out")
    assert_equal(volume, image)
    assert not np.array_equal(theirs(wrong), theirs(image))


@pytest.mark.parametrize("bits", [8, 12])
def test_signed_numbers_of_fewer_than_16_bits_are_signed(tmp_path, bits):
    """dcm2niix takes them for unsigned; PS3.5 8.1.1 says two's complement within BitsStored, and so does pydicom."""
    stored = voxels(bits=bits, signed=True)
    made = slices(stored, bits_stored=bits, rescale=plain)
    (volume,), (image,) = both(tmp_path, made)
    np.testing.assert_array_equal(np.sort(physical(volume).ravel()), np.sort(stored.ravel()))
    assert physical(volume).min() < 0 <= theirs(image).min()
    np.testing.assert_array_equal(np.mod(physical(volume), 2**bits), theirs(image))


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_each_frame_of_an_enhanced_object_has_its_own_slope(tmp_path, modality):
    """dcm2niix takes one for all frames; PS3.3 C.7.6.16.2.9 is a macro of each frame."""

    def rescale(z: int) -> tuple[float, float]:
        return 0.5 * (z + 1), 0

    (volume,), (image,) = both(tmp_path, [enhanced(voxels(), modality=modality, rescale=rescale)])
    slopes = np.array([rescale(z)[0] for z in range(6)])
    stored = theirs(image) / slopes[-1]  # theirs is the last one's
    np.testing.assert_allclose(physical(volume), stored * slopes, rtol=1e-12)


def test_a_slice_that_is_there_twice_is_dropped(tmp_path):
    """dcm2niix keeps it, and its volume has a slice too many at a place of its own."""
    made = slices(voxels())
    again = copy.deepcopy(made[2])
    again.SOPInstanceUID, again.InstanceNumber = "1.2.3.4.99", 99
    (volume,), (image,) = both(tmp_path, [*made, again])
    assert (volume.array_zyx.shape[0], image.shape[2]) == (6, 7)
    (alone,) = convert(put(tmp_path / "once", made), tmp_path / "once-out")
    assert_equal(volume, alone)


def verdicts(folder: Path) -> list[Reason]:
    files = [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]
    return [
        r.reason for r in series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).rejects
    ]


def test_a_gap_is_refused(tmp_path):
    """dcm2niix puts the slices behind it where they do not lie."""
    made = [ds for z, ds in enumerate(slices(voxels((8, 34, 36)))) if z != 4]
    volumes, (image,) = both(tmp_path, made)
    assert volumes == []
    assert verdicts(tmp_path / "series") == [Reason.MISSING_SLICES]
    assert image.shape[2] == 7


def test_a_slice_out_of_place_is_resampled(tmp_path):
    """dcm2niix stores it as if it lay in its place; the others are alike."""
    made = slices(
        voxels(), per_slice=lambda z: {"ImagePositionPatient": [-31.5, 12.25, -103 + 2.5 * z + 0.3 * (z == 3)]}
    )
    (volume,), (image,) = both(tmp_path, made)
    kept = [0, 1, 2, 4, 5]
    np.testing.assert_array_equal(physical(volume)[..., kept], theirs(image)[..., kept])
    assert not np.array_equal(physical(volume)[..., 3], theirs(image)[..., 3])


@pytest.mark.parametrize("degrees", [12.0, 20.0, -12.0, -20.0])
def test_a_tilted_ct_is_deskewed_onto_the_same_grid(tmp_path, degrees):
    """dcm2niix writes it as it is and upright; ours is the upright one.

    Where the gantry leans one way, intensities are alike. Where it leans the other way those of dcm2niix lie a part of a
    row beside where they were in the patient; ours do not.
    """
    shift = np.tan(np.radians(degrees)) * 2.5
    # Of row j and slice z, along which intensities are linear: interpolation changes nothing.
    stored = (np.arange(34)[None, :, None] * 50 + np.arange(6)[:, None, None] * 3 + np.zeros((1, 1, 36))).astype(
        np.int16
    )

    def place(z: int) -> dict[str, Any]:
        return {"ImagePositionPatient": [-31.5, 12.25 + shift * z, -103 + 2.5 * z], "GantryDetectorTilt": degrees}

    (volume,), images = both(tmp_path, slices(stored, per_slice=place))
    assert len(images) == 2
    (upright,) = (nib.as_closest_canonical(i) for i in images if i.shape[1] > 34)
    np.testing.assert_allclose(volume.affine_ras, upright.affine, atol=0.01)
    assert volume.array_zyx.shape[::-1] == upright.shape
    mine, other = physical(volume)[5], np.asarray(upright.dataobj)[5].astype(float)
    y, z = np.mgrid[: mine.shape[0], : mine.shape[1]]
    place_y = -(volume.affine_ras[1, 1] * y + volume.affine_ras[1, 3])  # LPS
    row = (place_y - 12.25 - shift * z) / 1.25
    within = (row > 0) & (row < 33)
    np.testing.assert_allclose(mine[within], (50 * row + 3 * z - 1024)[within], atol=1)
    beside = ((other - mine) / 50)[(row > 2) & (row < 31)]
    assert np.ptp(beside) < 0.05
    assert np.abs(beside).max() < (0.02 if degrees < 0 else 1)


def test_a_series_over_time_is_read_alike(tmp_path):
    stored = voxels((8, 34, 36))
    moments = [
        ds
        for t, part in enumerate((stored[:4], stored[4:]))
        for ds in slices(
            part, modality="MR", rescale=plain,
            per_slice=lambda z, t=t: {"AcquisitionNumber": t + 1, "InstanceNumber": 4 * t + z + 1,
                                      "SOPInstanceUID": f"1.2.3.4.{t}.{z}", "AcquisitionTime": f"1010{10 + t}"},
        )
    ]  # fmt: skip
    folder = put(tmp_path / "series", moments)
    (image,) = convert(folder, tmp_path / "out")
    found = read_temporal([(p.name, p.read_bytes()) for p in sorted(folder.iterdir())], Limits())
    other = nib.as_closest_canonical(image)
    # LPS (t, z, y, x) to RAS (x, y, z, t): x and y change their direction.
    np.testing.assert_array_equal(found.array_tzyx[:, :, ::-1, ::-1].transpose(3, 2, 1, 0), np.asarray(other.dataobj))


def test_a_mosaic_with_a_header_of_version_1_is_read_as_with_one_of_version_2(tmp_path):
    """dcm2niix reads version 2 only and writes the montage as one slice."""
    stored = voxels((6, 16, 20))
    (volume,), (montage,) = both(tmp_path, [mosaic(stored, Plane(OBLIQUE), version=1)])
    assert montage.shape == (60, 48, 1)
    (image,) = convert(put(tmp_path / "second", [mosaic(stored, Plane(OBLIQUE))]), tmp_path / "second-out")
    assert_equal(volume, image)
