"""Tilted series: upright afterwards, with every intensity where it was in the patient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import geometry
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import dicom, series
from transforms.read.deskew import deskewed, skew_of

ROWS, COLUMNS, SLICES, STEP = 16, 12, 6, 2.5
COSINES = (0.96, 0.28, 0.0, -0.28 * 0.6, 0.96 * 0.6, 0.8)
FILL = -3000


def ramp(points_lps: np.ndarray) -> np.ndarray:
    """An intensity that is linear in the patient's space, which linear interpolation keeps."""
    return points_lps @ np.array([7.0, -11.0, 13.0]) + 200


def tilted(
    slice_bytes: Callable[..., bytes], degrees: float, across: float = 0.0, **fields: Any
) -> list[tuple[str, bytes]]:
    """A stack that leans by so many degrees along the columns, and along the rows by `across` mm a slice."""
    row, column = np.array(COSINES[:3]), np.array(COSINES[3:])
    normal = np.cross(row, column)
    files = []
    for n in range(SLICES):
        place = [5, -8, 30] + n * (STEP * normal + STEP * np.tan(np.radians(degrees)) * column + across * row)
        grid = place + np.arange(COLUMNS)[None, :, None] * 0.7 * row + np.arange(ROWS)[:, None, None] * 0.8 * column
        pixels = np.rint(ramp(grid)).astype(np.int16)
        data = slice_bytes(pixels, position=tuple(place), name=str(n), ImageOrientationPatient=list(COSINES), **fields)
        files.append((f"{n}.dcm", data))
    return files


def read(files: list[tuple[str, bytes]]) -> tuple[series.SeriesVolume, Any]:
    diagnosis = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files])
    assert not diagnosis.rejects
    (found,) = diagnosis.volumes
    return found, series.read(files, found.header, Limits())


@settings(deadline=None, max_examples=20)
@given(st.floats(-35, 35).filter(lambda d: abs(d) > 0.5), st.sampled_from([0.0, 0.3, -0.45]))
def test_what_lay_somewhere_in_the_patient_still_lies_there(slice_bytes: Any, degrees: float, across: float) -> None:
    found, volume = read(tilted(slice_bytes, degrees, across, PixelPaddingValue=FILL))
    assert found.verdict == "tilted"
    assert found.header.shape == volume.array_zyx.shape
    assert geometry.shear_deg(volume.affine_ras) < 1e-4
    assert found.header.spacing_xyz_mm == pytest.approx((0.7, 0.8, STEP), abs=1e-5)
    z, y, x = np.nonzero(volume.array_zyx != FILL)
    points = geometry.apply(volume.affine_ras, np.stack([x, y, z], axis=1).astype(float)) * [-1, -1, 1]
    np.testing.assert_allclose(volume.array_zyx[z, y, x], ramp(points), atol=1.6)  # rounded three times
    # No more of a slice is lost than what lies between the last two pixels of a row and of a column.
    covered = (volume.array_zyx != FILL).sum(axis=(1, 2))
    assert covered.min() >= (ROWS - 1) * (COLUMNS - 1)
    assert covered[0] == ROWS * COLUMNS


def test_the_finding_gives_the_angle_and_the_grid(slice_bytes: Any) -> None:
    found, _ = read(tilted(slice_bytes, 14.0))
    (finding,) = found.findings
    assert finding.code == "tilted"
    assert "leans 14.00° from their normal, 0° expected" in finding.detail
    assert "instead of 12×16" in finding.detail


def test_slices_that_lean_too_far_are_refused(slice_bytes: Any) -> None:
    files = tilted(slice_bytes, 50.0)
    (reject,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).rejects
    assert reject.reason is Reason.TILTED
    assert "leans 50.00° from their normal; up to 45.0° is deskewed" in reject.detail


def test_padding_is_not_blended_into_the_body() -> None:
    plane = np.array([[10, 10, FILL, 10]], np.int16).T
    array = np.stack([plane, plane])
    result = deskewed(array, skew_of(5.0, np.array([[0, 0], [0, 0.4]])), FILL)
    assert set(result.ravel().tolist()) == {10, FILL}


def test_without_padding_what_no_slice_covers_is_the_lowest_value() -> None:
    array = np.arange(5, 25, dtype=np.int16).reshape(2, 2, 5)
    result = deskewed(array, skew_of(5.0, np.array([[0, 0], [2.0, 0]])), None)
    np.testing.assert_array_equal(result[0], [[5, 6, 7, 8, 9, 5, 5], [10, 11, 12, 13, 14, 5, 5]])
    np.testing.assert_array_equal(result[1], [[5, 5, 15, 16, 17, 18, 19], [5, 5, 20, 21, 22, 23, 24]])


def test_a_tilted_series_with_uneven_steps_is_deskewed_and_resampled(slice_bytes: Any) -> None:
    files = tilted(slice_bytes, 10.0, PixelPaddingValue=FILL)
    row, column = np.array(COSINES[:3]), np.array(COSINES[3:])
    lean = STEP * np.cross(row, column) + STEP * np.tan(np.radians(10.0)) * column
    place = [5, -8, 30] + 2.1 * lean  # slice 2 lies a tenth of a step further along
    grid = place + np.arange(COLUMNS)[None, :, None] * 0.7 * row + np.arange(ROWS)[:, None, None] * 0.8 * column
    pixels = np.rint(ramp(grid)).astype(np.int16)
    files[2] = ("2.dcm", slice_bytes(
        pixels, position=tuple(place), name="2", ImageOrientationPatient=list(COSINES), PixelPaddingValue=FILL
    ))  # fmt: skip
    found, volume = read(files)
    assert [f.code for f in found.findings] == ["tilted", "irregular"]
    z, y, x = np.nonzero(volume.array_zyx[:, 4:-4] != FILL)
    points = geometry.apply(volume.affine_ras, np.stack([x, y + 4, z], axis=1).astype(float)) * [-1, -1, 1]
    np.testing.assert_allclose(volume.array_zyx[z, y + 4, x], ramp(points), atol=1.6)
