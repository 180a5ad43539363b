"""MetaImage and NRRD: the same voxels at the same places as ITK, and a refusal where ITK invents or guesses."""

from __future__ import annotations

import bz2
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its usual name)

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import itk
from transforms.rejected import Rejected

LIMITS = Limits()
SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")


def image(dtype: str = "i2", shape_zyx: tuple[int, ...] = (3, 4, 5)) -> Any:
    array = np.random.default_rng(3).integers(0, 100, shape_zyx).astype(dtype)
    result = sitk.GetImageFromArray(array, isVector=False)
    if len(shape_zyx) == 3:
        result.SetSpacing((0.75, 0.875, 2.5))
        result.SetOrigin((10, -20, 30.5))
        result.SetDirection((-0.96, 0.28, 0, 0.28, 0.96, 0, 0, 0, 1))
    return result


def written(folder: Path, picture: Any, suffix: str, *, compress: bool = False) -> tuple[bytes, dict[str, bytes]]:
    """The header's file as ITK writes it, and the files beside it."""
    path = folder / f"x{suffix}"
    sitk.WriteImage(picture, str(path), compress)
    beside = {p.name: p.read_bytes() for p in folder.iterdir() if p != path}
    return path.read_bytes(), beside


def header_of(data: bytes, limits: Limits = LIMITS) -> Any:
    return itk.header(data, name="ct", file_bytes=len(data), limits=limits).header


def refused(data: bytes) -> Rejected:
    with pytest.raises(Rejected) as of_header:
        header_of(data)
    with pytest.raises(Rejected) as of_read:
        itk.read(data, limits=LIMITS)
    assert of_header.value.reason is of_read.value.reason
    return of_header.value


def affine_of(picture: Any) -> np.ndarray:
    direction = np.array(picture.GetDirection()).reshape(3, 3)
    return geometry.lps_to_ras(geometry.compose(direction, picture.GetSpacing(), picture.GetOrigin()))


def without(data: bytes, key: bytes) -> bytes:
    """The file without the header line that starts with `key`."""
    start = data.index(key)
    return data[:start] + data[data.index(b"\n", start) + 1 :]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_voxels_and_affine_equal_itks(tmp_path: Path, suffix: str, compress: bool, dtype: str) -> None:
    picture = image(dtype)
    data, beside = written(tmp_path, picture, suffix, compress=compress)
    volume = itk.read(data, beside=beside, limits=LIMITS)
    again = sitk.ReadImage(str(tmp_path / f"x{suffix}"))
    assert volume.array_zyx.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.array_zyx, sitk.GetArrayFromImage(again))
    np.testing.assert_allclose(volume.affine_ras, affine_of(again), atol=1e-12)
    header = header_of(data[: itk.HEADER_PREFIX_BYTES])
    assert (header.shape, header.dtype) == ((3, 4, 5), np.dtype(dtype).name)
    assert header.spacing_xyz_mm == pytest.approx([0.75, 0.875, 2.5])


def test_detached_voxels_are_named_by_the_header_and_missing_ones_are_refused(tmp_path: Path) -> None:
    data, beside = written(tmp_path, image(), ".mhd", compress=True)
    assert itk.data_file(data) == "x.zraw"
    assert set(beside) == {"x.zraw"}
    with pytest.raises(Rejected, match="missing_file"):
        itk.read(data, limits=LIMITS)


@pytest.mark.parametrize("name", [b"../x.raw", b"/etc/passwd", b"a\\b.raw", b"LIST", b"s%03d.raw 1 3 1", b".."])
def test_a_header_may_not_name_files_elsewhere(tmp_path: Path, name: bytes) -> None:
    data, _ = written(tmp_path, image(), ".mhd")
    assert refused(data.replace(b"x.raw", name)).reason is Reason.UNSUPPORTED
    data, _ = written(tmp_path, image(), ".nhdr")
    assert refused(data.replace(b"x.raw", name)).reason is Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("suffix", "key"),
    [
        (".mha", b"ElementSpacing"), (".mha", b"Offset"), (".mha", b"TransformMatrix"),
        (".nrrd", b"space directions"), (".nrrd", b"space origin"),
    ],
)  # fmt: skip
def test_spacing_position_and_direction_are_never_invented(tmp_path: Path, suffix: str, key: bytes) -> None:
    data, _ = written(tmp_path, image(), suffix)
    (tmp_path / f"y{suffix}").write_bytes(without(data, key))
    assert sitk.ReadImage(str(tmp_path / f"y{suffix}")).GetSize() == (5, 4, 3)  # ITK makes them up
    assert refused(without(data, key)).reason is Reason.NO_GEOMETRY


def test_a_nrrd_without_patient_space_is_refused(tmp_path: Path) -> None:
    assert refused(without(written(tmp_path, image(), ".nrrd")[0], b"space:")).reason is Reason.NO_GEOMETRY


def test_nrrd_spacings_alone_give_no_place() -> None:
    data = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 2 2\nspacings: 1 1 1\nencoding: raw\n\n" + bytes(8)
    assert refused(data).reason is Reason.NO_GEOMETRY


@pytest.mark.parametrize("space", ["right-anterior-superior", "RAS", "left-anterior-superior", "LAS", "LPS"])
def test_every_patient_space_of_nrrd_agrees_with_itk(tmp_path: Path, space: str) -> None:
    data, _ = written(tmp_path, image(), ".nrrd")
    data = data.replace(b"left-posterior-superior", space.encode())
    (tmp_path / "y.nrrd").write_bytes(data)
    np.testing.assert_allclose(
        itk.read(data, limits=LIMITS).affine_ras, affine_of(sitk.ReadImage(str(tmp_path / "y.nrrd"))), atol=1e-12
    )


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("compress", [False, True])
def test_a_file_cut_short_anywhere_in_its_voxels_is_refused(tmp_path: Path, suffix: str, compress: bool) -> None:
    data, _ = written(tmp_path, image(), suffix, compress=compress)
    for cut in (1, 4, 20):
        with pytest.raises(Rejected) as rejected:
            itk.read(data[:-cut], limits=LIMITS)
        assert rejected.value.reason in (Reason.TRUNCATED, Reason.CORRUPT_GZIP)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_damaged_compressed_voxels_are_refused(tmp_path: Path, suffix: str) -> None:
    data = bytearray(written(tmp_path, image(), suffix, compress=True)[0])
    data[-30] ^= 0xFF
    with pytest.raises(Rejected) as rejected:
        itk.read(bytes(data), limits=LIMITS)
    assert rejected.value.reason is Reason.CORRUPT_GZIP


def test_big_endian_bzip2_and_skipped_bytes_are_read(tmp_path: Path) -> None:
    array = np.arange(60, dtype=">i2").reshape(3, 4, 5)
    head = (
        "NRRD0005\n# a comment\ntype: int16\ndimension: 3\nspace: RAS\nsizes: 5 4 3\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n"
        "space origin: (0,0,0)\nendian: big\nkey:=value: with colon\n"
    )
    for encoding, body in (
        ("encoding: raw\nbyte skip: -1", b"junk" + array.tobytes()),
        ("encoding: raw\nbyte skip: 3", b"abc" + array.tobytes()),
        ("encoding: bzip2", bz2.compress(array.tobytes())),
        ("encoding: gz", gzip.compress(array.tobytes())),
    ):
        data = (head + encoding + "\n\n").encode() + body
        np.testing.assert_array_equal(itk.read(data, limits=LIMITS).array_zyx, array)
    with pytest.raises(Rejected, match="corrupt_gzip"):
        itk.read((head + "encoding: bzip2\n\n").encode() + b"BZh9 no", limits=LIMITS)


def test_vectors_time_and_planes_are_refused_each_for_its_reason(tmp_path: Path) -> None:
    colour = sitk.Compose(image("u1"), image("u1"), image("u1"))
    for suffix in (".mha", ".nrrd"):
        assert refused(written(tmp_path, colour, suffix)[0]).reason is Reason.UNSUPPORTED
    assert refused(written(tmp_path, image("u1", (2, 3, 4, 5)), ".mha")[0]).reason is Reason.TEMPORAL
    assert refused(written(tmp_path, image("u1", (4, 5)), ".mha")[0]).reason is Reason.NOT_A_VOLUME
    assert refused(written(tmp_path, image("u1", (4, 5)), ".nrrd")[0]).reason is Reason.NOT_A_VOLUME


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"ElementSpacing = 0.75", b"ElementSpacing = 0", Reason.BAD_SPACING),
        (b"ElementSpacing = 0.75", b"ElementSpacing = -1", Reason.BAD_SPACING),
        (b"TransformMatrix = -0.9", b"TransformMatrix = -0.8", Reason.SHEARED),
        (b"DimSize = 5 4 3", b"DimSize = 5 4 x", Reason.UNREADABLE),
        (b"DimSize = 5 4 3", b"DimSize = 90000 90000 9", Reason.TOO_LARGE),
        (b"MET_SHORT", b"MET_STRING", Reason.UNSUPPORTED),
        (b"ElementDataFile", b"Nothing", Reason.UNREADABLE),
        (b"BinaryData = True", b"BinaryData = False", Reason.UNSUPPORTED),
    ],
)
def test_wrong_metaimage_headers_are_refused_each_for_its_reason(
    tmp_path: Path, old: bytes, new: bytes, reason: Reason
) -> None:
    data, _ = written(tmp_path, image(), ".mha")
    assert old in data
    assert refused(data.replace(old, new)).reason is reason


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"type: short", b"type: block", Reason.UNSUPPORTED),
        (b"encoding: raw", b"encoding: ascii", Reason.UNSUPPORTED),
        (b"endian: little", b"endian: middle", Reason.UNREADABLE),
        (b"sizes: 5 4 3", b"sizes: 5 4", Reason.UNREADABLE),
        (b"left-posterior-superior", b"scanner-xyz", Reason.NO_GEOMETRY),
        (b"space origin: (10,", b"space origin: (nan,", Reason.BAD_AFFINE),
    ],
)
def test_wrong_nrrd_headers_are_refused_each_for_its_reason(
    tmp_path: Path, old: bytes, new: bytes, reason: Reason
) -> None:
    data, _ = written(tmp_path, image(), ".nrrd")
    assert old in data
    assert refused(data.replace(old, new)).reason is reason


def test_what_is_neither_format_is_unreadable() -> None:
    assert refused(b"hello world").reason is Reason.UNREADABLE
