"""Images over time from files and series: whole as nibabel reads them, by moment as the volume alone, refused with a reason."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import array, dicom, itk, nifti, over_time, series
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.rejected import Rejected
from transforms.volume import TemporalVolume

AFFINE = np.array([[-1.5, 0.1, 0, 12], [0.1, 1.5, 0, -3], [0, 0, 4.0, 7], [0, 0, 0, 1]])
AFFINE[:3, :2] *= 1.5 / np.sqrt(1.5**2 + 0.1**2)
LIMITS = Limits()
SliceBytes = Callable[..., bytes]
SeriesOf = Callable[..., list[tuple[str, bytes]]]


def file_of(
    voxels: np.ndarray, *, units: tuple[str, str] = ("mm", "sec"), step: float = 2.0, kind: Any = None
) -> bytes:
    image = (kind or nib.Nifti1Image)(voxels, AFFINE)
    image.header.set_xyzt_units(*units)
    if voxels.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    return bytes(image.to_bytes())


def read_file(data: bytes, form: str = "nifti", limits: Limits = LIMITS) -> TemporalVolume:
    prefix = data[: array.PREFIX_BYTES[form]]
    header = over_time.read_header(form, prefix, name="image", file_bytes=len(data), limits=limits).header
    found = read_any(header, [Blob("x", data)], limits)
    assert isinstance(found, TemporalVolume)
    assert found.array_tzyx.shape == header.shape
    return found


def reason_of(data: bytes, form: str = "nifti", limits: Limits = LIMITS) -> Reason:
    with pytest.raises(Rejected) as refused:
        read_file(data, form, limits)
    return refused.value.reason


@given(
    voxels=arrays.arrays(
        st.sampled_from(["u1", "<i2", ">i2", "<u2", "<f4", ">f8"]),
        st.tuples(*[st.integers(2, 4)] * 4),
        elements=st.integers(0, 200),
    ),
    packed=st.booleans(),
    second=st.booleans(),
)
def test_nifti_is_what_nibabel_reads(voxels: np.ndarray, packed: bool, second: bool) -> None:
    data = file_of(voxels, kind=nib.Nifti2Image if second else None)
    found = read_file(gzip.compress(data) if packed else data)
    np.testing.assert_array_equal(found.array_tzyx.T * found.scale + found.offset, voxels)
    np.testing.assert_allclose(found.affine_ras, AFFINE, atol=1e-5)
    for t in range(voxels.shape[3]):
        alone = nifti.read(data, limits=LIMITS, component=t)
        np.testing.assert_array_equal(found.moment(t).array_zyx, alone.array_zyx)
        np.testing.assert_array_equal(found.affine_ras, alone.affine_ras)


@pytest.mark.parametrize(
    ("unit", "step", "expected"),
    [("sec", 2.5, 2500.0), ("msec", 40.0, 40.0), ("usec", 500.0, 0.5), ("unknown", 2.0, None)],
)
def test_the_time_between_time_points_needs_a_unit(unit: str, step: float, expected: float | None) -> None:
    found = read_file(file_of(np.zeros((3, 4, 5, 2), np.int16), units=("mm", unit), step=step))
    assert found.step_ms == pytest.approx(expected)


@given(unit=st.sampled_from(["sec", "msec", "usec"]), step=st.floats(2**-10, 10_000, width=32), second=st.booleans())
def test_the_time_between_time_points_is_that_of_nibabel(unit: str, step: float, second: bool) -> None:
    data = file_of(
        np.zeros((3, 4, 5, 2), np.int16), units=("mm", unit), step=step, kind=nib.Nifti2Image if second else None
    )
    theirs = (nib.Nifti2Image if second else nib.Nifti1Image).from_bytes(data).header
    factor = {"sec": 1000.0, "msec": 1.0, "usec": 0.001}[theirs.get_xyzt_units()[1]]
    assert read_file(data).step_ms == pytest.approx(float(theirs.get_zooms()[3]) * factor, rel=1e-9)


@pytest.mark.parametrize("unit", ["hz", "ppm", "rads"])
def test_a_spectrum_is_no_time(unit: str) -> None:
    assert reason_of(file_of(np.zeros((3, 4, 5, 2), np.int16), units=("mm", unit))) is Reason.NOT_A_VOLUME


def test_several_values_per_voxel_stay_refused() -> None:
    data = file_of(np.zeros((3, 4, 5, 2, 3), np.int16))
    assert over_time.time_points("nifti", data[:4096]) == 1
    with pytest.raises(Rejected) as refused:
        array.read_header("nifti", data[:4096], name="x", file_bytes=len(data), limits=LIMITS)
    assert refused.value.reason is Reason.NOT_A_VOLUME


def test_limits_are_of_all_time_points_together() -> None:
    data = file_of(np.zeros((3, 4, 5, 6), np.int16))
    read_file(data, limits=Limits(max_voxels=360, max_bytes=720))
    for limits in (Limits(max_voxels=359), Limits(max_bytes=719), Limits(max_frames=5), Limits(max_edge=4)):
        assert reason_of(data, limits=limits) is Reason.TOO_LARGE


def test_a_header_that_announces_more_time_points_than_there_are_takes_no_memory() -> None:
    data = bytearray(file_of(np.zeros((3, 4, 5, 6), np.int16)))
    data[40:58] = struct.pack("<8h", 4, 3, 4, 5, 32000, 1, 1, 1) + data[56:58]
    assert reason_of(bytes(data)) is Reason.TRUNCATED
    assert reason_of(gzip.compress(bytes(data))[:200]) in (Reason.EXPANSION, Reason.CORRUPT_GZIP)


def nrrd(
    voxels: np.ndarray, *, kinds: str = "domain domain domain time", encoding: str = "raw", more: str = ""
) -> bytes:
    sizes = " ".join(str(n) for n in voxels.shape)
    header = (
        f"NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: {sizes}\n"
        f"space directions: (1,0,0) (0,1.5,0) (0,0,2) none\nkinds: {kinds}\nendian: little\nencoding: {encoding}\n"
        f"space origin: (1,2,3)\n{more}\n"
    )
    body = voxels.astype("<i2").tobytes(order="F")
    return header.encode() + (gzip.compress(body) if encoding == "gzip" else body)


@pytest.mark.parametrize(
    ("spacing", "unit", "expected"),
    [
        ("2.5", "s", 2500.0), ("40", "ms", 40.0), ("500", "us", 0.5), ("2.5", "", None), ("2.5", "mm", None),
        ("nan", "s", None), ("-1", "s", None), ("0", "s", None), ("x", "s", None),
    ],
)  # fmt: skip
def test_the_time_between_time_points_of_nrrd(spacing: str, unit: str, expected: float | None) -> None:
    more = f'spacings: nan nan nan {spacing}\nunits: "" "" "" "{unit}"\n'
    data = nrrd(np.zeros((3, 4, 5, 2)), more=more)
    assert read_file(data, "itk").step_ms == expected
    detail = over_time.read_header("itk", data, name="x", file_bytes=len(data), limits=LIMITS).findings[-1].detail
    assert detail == f"2 time points along the fourth axis{'' if expected is None else f', {expected:g} ms apart'}"
    assert read_file(nrrd(np.zeros((3, 4, 5, 2)), more=more.partition("units")[0]), "itk").step_ms is None


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_nrrd_with_an_axis_of_time(encoding: str) -> None:
    voxels = np.arange(3 * 4 * 5 * 6).reshape(3, 4, 5, 6)
    data = nrrd(voxels, encoding=encoding)
    found = read_file(data, "itk")
    np.testing.assert_array_equal(found.array_tzyx.T, voxels)
    np.testing.assert_allclose(found.affine_ras[:3], [[-1, 0, 0, -1], [0, -1.5, 0, -2], [0, 0, 2, 3]])
    for t in range(6):
        np.testing.assert_array_equal(itk.read(data, limits=LIMITS, component=t).array_zyx, found.array_tzyx[t])
    with pytest.raises(Rejected) as refused:
        itk.read(data, limits=LIMITS)
    assert refused.value.reason is Reason.TEMPORAL
    with pytest.raises(Rejected, match="expected a time point 6"):
        itk.header(data, name="x", file_bytes=len(data), limits=LIMITS, component=6)
    assert reason_of(data, "itk", Limits(max_bytes=719)) is Reason.TOO_LARGE


def test_nrrd_with_an_axis_of_something_else_stays_refused() -> None:
    assert reason_of(nrrd(np.zeros((3, 4, 5, 6)), kinds="domain domain domain list"), "itk") is Reason.UNSUPPORTED


def diagnosed(files: list[tuple[str, bytes]], temporal: Any) -> series.Diagnosis:
    return series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files], temporal=temporal)


def read_series(files: list[tuple[str, bytes]], found: series.SeriesVolume, limits: Limits = LIMITS) -> Any:
    data = dict(files)
    return read_any(found.header, [Blob(p, data[p]) for p in found.paths], limits)


def dynamic(series_of: SeriesOf, times: int = 3, **fields: Any) -> list[tuple[str, bytes]]:
    """Files of three slices at several times; the pixels tell both."""
    files = []
    for t in range(times):
        files += series_of(
            [10.0, 12.5, 15.0],
            per_slice=lambda n, t=t: {
                "name": f"{t}{n}",
                "TriggerTime": 50 * t,
                "pixels": (1000 * t + 100 * n + np.arange(12)).reshape(4, 3).astype(np.int16),
            },
            **fields,
        )
    return files


def check_moments(files: list[tuple[str, bytes]], times: int) -> TemporalVolume:
    """A kept series, after each of its moments was found to be the volume that splitting gives."""
    (kept,) = diagnosed(files, "keep").volumes
    assert (kept.header.axes, kept.verdict) == ("tzyx", "temporal")
    assert [f.code for f in kept.findings if f.code == "temporal"] == ["temporal"]
    whole = read_series(files, kept)
    moments = sorted((v for v in diagnosed(files, "split").volumes), key=lambda v: v.moment or (0, 0))
    assert [v.moment for v in moments] == [(0, t) for t in range(times)]
    for t, moment in enumerate(moments):
        alone = read_series(files, moment)
        np.testing.assert_array_equal(alone.array_zyx, whole.array_tzyx[t])
        np.testing.assert_array_equal(alone.affine_ras, whole.affine_ras)
    return whole


def test_a_series_is_one_image_or_one_volume_for_each_time(series_of: SeriesOf) -> None:
    whole = check_moments(dynamic(series_of), 3)
    expected = [[1000 * t + 100 * z + np.arange(12).reshape(4, 3) for z in range(3)] for t in range(3)]
    np.testing.assert_array_equal(whole.array_tzyx, expected)
    assert whole.ordered_by == "TriggerTime"
    paths = [v.paths for v in diagnosed(dynamic(series_of), "split").volumes]
    assert all(len(p) == 3 for p in paths), "classic instances: each case has the files of its moment alone"


def test_every_slice_is_in_one_volume_or_reject(series_of: SeriesOf) -> None:
    files = dynamic(series_of)[:-1]  # the last moment lacks a slice
    kept, split = diagnosed(files, "keep"), diagnosed(files, "split")
    assert not kept.volumes
    assert [r.reason for r in kept.rejects] == [r.reason for r in split.rejects] == [Reason.MISSING_SLICES]
    assert [v.moment for v in split.volumes] == [(0, 0), (0, 1)]
    found = [p for v in split.volumes for p in v.paths] + [p for r in split.rejects for p in r.paths]
    assert sorted(found) == sorted(p for p, _ in files)


def test_two_echoes_over_time_are_two_images(series_of: SeriesOf) -> None:
    first = dynamic(series_of, EchoTime=10)
    second = [
        (f"e{p}", d) for p, d in series_of(
            [10.0, 12.5, 15.0] * 2, EchoTime=20, per_slice=lambda n: {"name": f"e{n}", "TriggerTime": 50 * (n // 3)}
        )
    ]  # fmt: skip
    diagnosis = diagnosed([*first, *second], "keep")
    assert not diagnosis.rejects
    assert sorted(v.header.shape for v in diagnosis.volumes) == [(2, 3, 4, 3), (3, 3, 4, 3)]
    for found in diagnosis.volumes:
        assert read_series([*first, *second], found).array_tzyx.shape == found.header.shape
    split = diagnosed([*first, *second], "split").volumes
    assert sorted(v.moment or (9, 9) for v in split) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_limits_and_changes_between_inventory_and_build(series_of: SeriesOf) -> None:
    files = dynamic(series_of)
    (kept,) = diagnosed(files, "keep").volumes
    for limits, changed, reason in (
        (Limits(max_bytes=200), files, Reason.TOO_LARGE),
        (LIMITS, [f for f in files if "/2" not in f[0]], Reason.SOURCE_CHANGED),
    ):
        with pytest.raises(Rejected) as refused:
            read_any(kept.header, [Blob(p, d) for p, d in changed], limits)
        assert refused.value.reason is reason
