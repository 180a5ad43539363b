"""Bodies: organs lie apart, on their sides and in the field of view; grids and NIfTI headers say where voxels are."""

from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest

from examples.phantom import files
from examples.phantom.anatomy import EXTENT_RAS_MM, ORGANS, TUMOUR, Ellipsoid, person
from examples.phantom.scan import CT_HU, ScanGrid, inside, label_map, render, scan_grid
from mdfp import geometry

ORIENTATIONS = ["LPS", "RAS", "PIR", "ASL", "LIP", "LAS", "RPI"]
TILTS = [(0.0, 0.0, 0.0), (0.08, -0.05, 0.03)]


@pytest.mark.parametrize("number", range(40))
def test_organs_lie_apart_and_in_the_field_of_view(number):
    body = person(f"anybody {number}", tumour_mm=13.0)
    grid = scan_grid(body.centre_ras_mm, EXTENT_RAS_MM, (3.0, 3.1, 3.2), "RAS")
    count = np.zeros(grid.shape_zyx, dtype=int)
    for structure in ORGANS:
        box, mask = inside(body.organs[structure], grid)
        count[box] += mask
    assert count.max() == 1
    liver, lesion = body.organs["liver"], body.organs[TUMOUR]
    for corner in itertools.product((-1, 0, 1), repeat=3):
        length = max(1.0, float(np.linalg.norm(corner)))
        surface = [
            c + a * k / length for c, a, k in zip(lesion.centre_ras_mm, lesion.semi_axes_mm, corner, strict=True)
        ]
        offsets = zip(surface, liver.centre_ras_mm, liver.semi_axes_mm, strict=True)
        assert sum(((p - c) / a) ** 2 for p, c, a in offsets) < 1
    for organ in body.organs.values():
        for axis in range(3):
            reach = abs(organ.centre_ras_mm[axis] - body.centre_ras_mm[axis]) + organ.semi_axes_mm[axis]
            assert reach < EXTENT_RAS_MM[axis] / 2


@pytest.mark.parametrize("number", range(40))
def test_paired_organs_lie_on_their_sides_and_differ_in_size(number):
    organs = person(f"anybody {number}").organs
    for structure, organ in organs.items():
        if structure.endswith(("_left", "_right")):
            far_side = organ.centre_ras_mm[0] + (1 if structure.endswith("_left") else -1) * organ.semi_axes_mm[0]
            assert (far_side < 0) == structure.endswith("_left")
    assert organs["kidney_left"].mm3 > organs["kidney_right"].mm3
    assert organs["spleen"].centre_ras_mm[0] < 0 < organs["liver"].centre_ras_mm[0]


def test_what_is_taken_out_or_added_moves_nothing_else():
    plain, changed = person("one"), person("one", without=("spleen",), tumour_mm=9.0, gallbladder=True)
    assert set(plain.organs) - set(changed.organs) == {"spleen"}
    assert all(changed.organs[s] == plain.organs[s] for s in plain.organs if s != "spleen")


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_grids_are_centred_right_angled_and_turned_as_asked(orientation, tilt):
    grid = scan_grid((3.0, -7.0, 11.0), (30.0, 44.0, 60.0), (1.0, 2.0, 3.0), orientation, tilt)
    z, y, x = grid.shape_zyx
    assert grid.position_of(((x - 1) / 2, (y - 1) / 2, (z - 1) / 2)) == pytest.approx((3.0, -7.0, 11.0))
    assert geometry.orientation_code(grid.affine_ras) == orientation
    assert geometry.shear_deg(grid.affine_ras) < 1e-6
    assert sorted(grid.shape_zyx) == [20, 22, 30]
    assert grid.voxel_mm3 == pytest.approx(6.0)
    assert grid.index_of(grid.position_of((4.0, 5.5, 6.0))) == pytest.approx((4.0, 5.5, 6.0))
    assert (geometry.obliquity_deg(grid.affine_ras) > 5) == any(tilt)


@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_inside_is_the_definition_of_an_ellipsoid(orientation, tilt):
    grid = scan_grid((3.0, -7.0, 11.0), (30.0, 44.0, 60.0), (1.0, 2.0, 3.0), orientation, tilt)
    organ = Ellipsoid((0.0, -2.0, 20.0), (6.0, 13.0, 19.0))
    box, mask = inside(organ, grid)
    found = np.zeros(grid.shape_zyx, dtype=bool)
    found[box] = mask
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape_zyx[::-1]), indexing="ij"), axis=-1)
    world = index @ grid.affine_ras[:3, :3].T + grid.affine_ras[:3, 3]
    q = (((world - organ.centre_ras_mm) / organ.semi_axes_mm) ** 2).sum(axis=-1)
    assert np.array_equal(found, (q <= 1).transpose(2, 1, 0))
    assert found.sum() * grid.voxel_mm3 == pytest.approx(organ.mm3, rel=0.05)


def test_an_organ_outside_the_grid_has_no_voxels():
    grid = scan_grid((0.0, 0.0, 0.0), (10.0, 12.0, 14.0), (1.0, 1.0, 1.0), "RAS")
    _, mask = inside(Ellipsoid((50.0, 0.0, 0.0), (3.0, 3.0, 3.0)), grid)
    assert mask.size == 0


@pytest.mark.parametrize("forms", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_nibabel_reads_our_nifti_as_it_was_meant(orientation, tilt, forms):
    grid = scan_grid((3.0, -7.0, 11.0), (5.0, 12.0, 21.0), (1.0, 2.0, 3.0), orientation, tilt)
    volume = np.arange(np.prod(grid.shape_zyx), dtype=np.int16).reshape(grid.shape_zyx)
    qform, sform = forms
    content = files.nifti(volume, grid, slope_inter=(2.0, -5.0), qform=qform, sform=sform)
    image = nibabel.Nifti1Image.from_bytes(content)
    assert image.affine == pytest.approx(grid.affine_ras, abs=2e-5)
    if qform:
        assert image.get_qform() == pytest.approx(grid.affine_ras, abs=2e-5)
    assert np.array_equal(np.asarray(image.dataobj), volume.transpose(2, 1, 0) * 2.0 - 5.0)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_noise_and_texture_are_mild_centred_and_of_the_seed():
    body = person("one")
    grid = scan_grid(body.centre_ras_mm, EXTENT_RAS_MM, (3.0, 3.5, 4.0), "LPS")
    first, again = (render(body, grid, CT_HU, seed="a", floor=-1024) for _ in range(2))
    other = render(body, grid, CT_HU, seed="b", floor=-1024)
    assert first.dtype == np.int16
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    box, mask = inside(body.organs["liver"], grid)
    liver = first[box][mask]
    assert abs(float(liver.mean()) - CT_HU["liver"]) < 2
    assert 4 < float(liver.std()) < 12
    assert first.min() >= -1024


def test_a_label_map_lets_the_lesion_cover_its_organ_and_both_kidneys_be_one():
    body = person("one", tumour_mm=13.0)
    grid = scan_grid(body.centre_ras_mm, EXTENT_RAS_MM, (3.0, 3.5, 4.0), "LPS")
    labels = label_map(body, grid, {"liver": 4, "liver_tumour": 9, "kidney": 2})
    assert set(np.unique(labels)) == {0, 2, 4, 9}
    box, mask = inside(body.organs[TUMOUR], grid)
    assert (labels[box][mask] == 9).all()
    for side in ("kidney_left", "kidney_right"):
        box, mask = inside(body.organs[side], grid)
        assert (labels[box][mask] == 2).all()


def test_index_of_needs_no_straight_grid():
    affine = geometry.compose(np.diag([-1.0, 1.0, 1.0]), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0))
    assert ScanGrid((5, 6, 7), affine).index_of((8.0, 23.0, 38.0)) == pytest.approx((1.0, 1.0, 2.0))
