"""Estimates follow voxels: those read for time, those stored for bytes."""

from __future__ import annotations

import pytest

from schemas.case import ArrayHeader
from schemas.recipe import Geometry
from transforms.estimate import (
    FLAT_RATIO,
    FLAT_SNAPSHOT_BYTES,
    IMAGE_RATIO,
    LABEL_RATIO,
    SNAPSHOT_BYTES,
    ArrayCost,
    estimate,
)


def header(shape=(300, 512, 512), affine=(0.8, 0, 0, 0, 0, 0.8, 0, 0, 0, 0, 1.0, 0, 0, 0, 0, 1), dtype="int16"):
    spacing = (abs(affine[0] + affine[1] + affine[2]), abs(affine[4] + affine[5] + affine[6]), abs(sum(affine[8:11])))
    return ArrayHeader("ct", "nifti", "zyx", shape, spacing, "RAS", affine, 0.0, dtype, 1.0, 0.0, None, "regular", 1)


def test_a_ct_of_300_slices_costs_about_a_second_and_a_few_tens_of_megabytes():
    seconds, stored = estimate(
        [ArrayCost(header(), "CT")], [ArrayCost(header(dtype="uint8"), "CT")], Geometry(spacing_mm=(1.5,) * 3)
    )
    assert 0.5 < seconds < 3
    assert stored == pytest.approx(273 * 273 * 200 * (2 / IMAGE_RATIO + 1 / LABEL_RATIO) + SNAPSHOT_BYTES, rel=0.01)


def test_doubling_the_target_spacing_takes_an_eighth_of_the_bytes():
    fine = estimate([ArrayCost(header(), "CT")], [], Geometry(spacing_mm=(1.0,) * 3))[1]
    coarse = estimate([ArrayCost(header(), "CT")], [], Geometry(spacing_mm=(2.0,) * 3))[1]
    assert (fine - SNAPSHOT_BYTES) / (coarse - SNAPSHOT_BYTES) == pytest.approx(8, rel=0.02)


def test_the_target_is_that_of_the_modality_and_of_the_canonical_axes():
    # The file's x runs along S: 10 voxels of 5 mm; its z along R: 40 voxels of 1 mm.
    turned = header((40, 20, 10), (0, 0, 1.0, 0, 0, 2.0, 0, 0, 5.0, 0, 0, 0, 0, 0, 0, 1))
    wanted = Geometry(spacing_mm="native", modalities={"MR": {"spacing_mm": (1.0, 2.0, 2.5)}})
    assert estimate([ArrayCost(turned, "CT")], [], wanted)[1] == SNAPSHOT_BYTES + 40 * 20 * 10
    assert estimate([ArrayCost(turned, "MR")], [], wanted)[1] == SNAPSHOT_BYTES + 40 * 20 * 20


def test_each_mask_file_is_read():
    one, many = (estimate([], [ArrayCost(header(), "CT", files=n)], Geometry())[0] for n in (1, 100))
    assert many > 50 * one


def test_without_geometry_the_native_voxels_count():
    unknown = ArrayHeader("x", "nifti", "zyx", (4, 5, 6), None, None, None, None, "int16", 1.0, 0.0, None, "regular", 1)
    assert estimate([ArrayCost(unknown, "CT")], [], Geometry())[1] == SNAPSHOT_BYTES + 4 * 5 * 6


def flat(shape, axes="yx", form="png", file_bytes=70_000, dtype="uint8"):
    return ArrayHeader("xray", form, axes, shape, None, None, None, None, dtype, 1.0, 0.0, None, "regular", file_bytes)


def test_pictures_cost_their_values_and_a_jpeg_its_own_bytes():
    asked = Geometry()
    seconds, stored = estimate([ArrayCost(flat((1000, 1200, 3), "yxc"), "XC")], [], asked)
    assert 0.1 < seconds < 1
    assert stored == pytest.approx(1000 * 1200 * 3 / FLAT_RATIO + FLAT_SNAPSHOT_BYTES)
    _, stored = estimate([ArrayCost(flat((1000, 1200, 3), "yxc", "jpeg"), "XC")], [], asked)
    assert stored == 70_000 + FLAT_SNAPSHOT_BYTES
    smaller = Geometry(longest_side=300)
    for form in ("png", "jpeg"):
        _, stored = estimate([ArrayCost(flat((1000, 1200, 3), "yxc", form), "XC")], [], smaller)
        assert stored == pytest.approx(1000 * 1200 * 3 / 16 / FLAT_RATIO + FLAT_SNAPSHOT_BYTES)


def test_a_film_costs_all_its_frames():
    one = estimate([ArrayCost(flat((1, 100, 120), "tyx"), "US")], [], Geometry())[1]
    ten = estimate([ArrayCost(flat((10, 100, 120), "tyx"), "US")], [], Geometry())[1]
    assert ten - FLAT_SNAPSHOT_BYTES == 10 * (one - FLAT_SNAPSHOT_BYTES)
