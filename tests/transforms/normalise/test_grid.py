from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp import geometry
from schemas.recipe import PlaneSpacing
from transforms.normalise.grid import acquisition_axis, output_grid, steady_affine, target_spacing

Oblique = Callable[..., geometry.Affine]
SHAPE_ZYX = (9, 14, 23)


def middle_world(shape_zyx: tuple[int, int, int], affine: geometry.Affine) -> geometry.Affine:
    return geometry.apply(affine, (np.array(shape_zyx[::-1]) - 1) / 2)


@pytest.mark.parametrize("target", [(1.5, 1.5, 1.5), (0.4, 1.1, 5.0), (50.0, 50.0, 50.0)])
def test_the_middle_of_the_field_of_view_does_not_move(oblique: Oblique, target: tuple[float, float, float]) -> None:
    affine = oblique()
    grid = output_grid(SHAPE_ZYX, affine, target, low_pass=True)
    assert middle_world(grid.shape_zyx, grid.affine_ras) == pytest.approx(middle_world(SHAPE_ZYX, affine), abs=1e-8)


def test_directions_stay_and_spacing_is_as_asked(oblique: Oblique) -> None:
    affine = oblique()
    grid = output_grid(SHAPE_ZYX, affine, (1.5, 2.0, 3.0), low_pass=False)
    assert geometry.direction(grid.affine_ras) == pytest.approx(geometry.direction(affine), abs=1e-9)
    assert geometry.spacing_xyz_mm(grid.affine_ras) == pytest.approx((1.5, 2.0, 3.0), abs=1e-9)
    assert grid.spacing_xyz_mm == (1.5, 2.0, 3.0)


def test_taps_and_affine_agree_on_where_each_output_lies(oblique: Oblique) -> None:
    affine = oblique()
    grid = output_grid(SHAPE_ZYX, affine, (1.5, 1.5, 1.5), low_pass=False)
    for axis in range(3):
        n = SHAPE_ZYX[2 - axis]
        taps = grid.taps_zyx[2 - axis]
        position = (taps.weights * (taps.first[:, None] + np.arange(taps.width))).sum(axis=1)
        index = np.zeros((len(position), 3))
        index[:, axis] = np.arange(len(position))
        back = geometry.apply(geometry.inverse(affine), geometry.apply(grid.affine_ras, index))[:, axis]
        assert position == pytest.approx(np.clip(back, 0, n - 1), abs=1e-8)


def test_an_axis_that_is_not_resampled_keeps_spacing_and_place(oblique: Oblique) -> None:
    affine = oblique(spacing=(0.9765625, 0.7, 2.0), angles=(0, 0, 0))
    wanted = target_spacing(geometry.spacing_xyz_mm(affine), (0.976562, 1.4, 2.0), upsample=True)
    grid = output_grid((5, 6, 7), affine, wanted, low_pass=True)
    assert [t.identity for t in grid.taps_zyx] == [True, False, True]
    assert grid.spacing_xyz_mm == (0.9765625, 1.4, 2.0)
    assert grid.affine_ras[0, 3] == affine[0, 3]
    assert grid.affine_ras[2, 3] == affine[2, 3]


def test_native_spacing_changes_nothing(oblique: Oblique) -> None:
    affine = oblique()
    wanted = target_spacing(geometry.spacing_xyz_mm(affine), "native", upsample=True)
    grid = output_grid(SHAPE_ZYX, affine, wanted, low_pass=True)
    assert grid.identity
    assert grid.affine_ras == pytest.approx(affine, abs=1e-10)


def test_in_plane_and_through_plane_follow_the_thickest_axis() -> None:
    assert acquisition_axis((1.0, 1.0, 1.0)) == 2
    assert acquisition_axis((1.0, 5.0, 1.0)) == 1
    assert acquisition_axis((4.0, 1.0, 1.0)) == 0
    spacing = PlaneSpacing(in_plane=1.5, through_plane="native")
    assert target_spacing((0.5, 5.0, 0.5), spacing, upsample=True) == (1.5, 5.0, 1.5)


def test_never_upsampling_keeps_coarser_axes() -> None:
    assert target_spacing((0.5, 0.5, 5.0), (1.5, 1.5, 1.5), upsample=False) == (1.5, 1.5, 5.0)
    assert target_spacing((0.5, 0.5, 5.0), (1.5, 1.5, 1.5), upsample=True) == (1.5, 1.5, 1.5)


def test_a_cut_moves_the_origin_with_the_voxels(oblique: Oblique) -> None:
    grid = output_grid(SHAPE_ZYX, oblique(), (1.5, 1.5, 1.5), low_pass=True)
    box = (2, 3, 1, 9, 8, 10)
    cut = grid.cut(box)
    assert cut.shape_zyx == (7, 5, 9)
    assert geometry.apply(cut.affine_ras, [0, 0, 0]) == pytest.approx(
        geometry.apply(grid.affine_ras, [1, 3, 2]), abs=1e-9
    )
    assert [len(t.first) for t in cut.taps_zyx] == [7, 5, 9]


@pytest.mark.parametrize("box", [(0, 0, 0, 0, 3, 3), (0, 0, 0, 99, 3, 3), (-1, 0, 0, 2, 3, 3)])
def test_a_cut_outside_the_grid_is_refused(oblique: Oblique, box: tuple[int, int, int, int, int, int]) -> None:
    grid = output_grid(SHAPE_ZYX, oblique(), (1.5, 1.5, 1.5), low_pass=True)
    with pytest.raises(ValueError, match="empty or reaches beyond a grid"):
        grid.cut(box)


@given(st.lists(st.floats(-600, 600), min_size=16, max_size=16))
def test_steady_affines_stay_where_they_are(values: list[float]) -> None:
    affine = np.array(values).reshape(4, 4)
    steady = steady_affine(affine)
    assert steady == pytest.approx(affine, abs=6e-11)
    assert (steady_affine(steady) == steady).all()
    assert not np.signbit(steady[steady == 0]).any()


def test_steady_affines_read_as_people_wrote_them() -> None:
    written = np.diag([0.8, 0.7421875, 1.3, 1.0])
    assert (steady_affine(written * (1 + 2e-16)) == written).all()
