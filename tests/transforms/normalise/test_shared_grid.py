"""Images on the grid of another one, against SimpleITK, against the separable pass, and by laws."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the name its documentation uses)

from mdfp import geometry
from schemas.case import CaseImage
from schemas.reasons import Reason
from schemas.recipe import Recipe, ReferenceGrid
from transforms.labels.shared import nearest, vote
from transforms.normalise.grid import OutputGrid, output_grid
from transforms.normalise.image import normalise_image
from transforms.normalise.resample import resample
from transforms.normalise.shared_grid import extent, owners, reference_image, sample, shared_grid
from transforms.rejected import Rejected
from transforms.volume import Volume

MakeRecipe = Callable[..., Recipe]
MakeCase = Callable[..., CaseImage]
Oblique = Callable[..., geometry.Affine]

SHAPE = (19, 23, 29)
IGNORE = 255
LUT = np.arange(256, dtype=np.uint8)


@pytest.fixture
def image_ras(oblique: Oblique) -> geometry.Affine:
    return oblique(spacing=(1.3, 1.7, 2.9), origin=(-12.0, -14.0, -20.0))


@pytest.fixture
def reference(oblique: Oblique) -> OutputGrid:
    """Turned against the image, finer, and reaching beyond it on one side."""
    affine = oblique(spacing=(1.1, 1.2, 1.9), angles=(-3.0, 5.0, 2.0), origin=(-10.0, -12.0, -12.0))
    return output_grid((21, 25, 27), affine, (1.1, 1.2, 1.9), low_pass=False)


def smooth(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    z, y, x = np.indices(shape)
    wave = 700 * np.sin(x / 3.1) * np.cos(y / 4.3) + 55 * z
    return (wave + np.random.default_rng(5).integers(-40, 40, shape)).astype(np.int16)


def as_itk(array: np.ndarray, affine_ras: geometry.Affine) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    spacing = geometry.spacing_xyz_mm(affine_ras)
    image.SetSpacing(spacing)
    image.SetOrigin(lps[:3, 3].tolist())
    image.SetDirection((lps[:3, :3] / np.array(spacing)).ravel().tolist())
    return image


def by_itk(array: np.ndarray, affine: geometry.Affine, grid: OutputGrid, how: int, fill: float) -> np.ndarray:
    like = as_itk(np.zeros(grid.shape_zyx, dtype=np.uint8), grid.affine_ras)
    kind = sitk.sitkFloat64 if how != sitk.sitkNearestNeighbor else sitk.sitkUInt8
    return sitk.GetArrayFromImage(sitk.Resample(as_itk(array, affine), like, sitk.Transform(), how, fill, kind))


def test_linear_is_what_simpleitk_gives(image_ras: geometry.Affine, reference: OutputGrid) -> None:
    array = smooth()
    grid = shared_grid(image_ras, reference, low_pass=False)
    ours, outside = sample(array, grid, dtype=np.int16, fill=-2000)
    theirs = by_itk(array, image_ras, reference, sitk.sitkLinear, -2000)
    assert ((theirs == -2000) == (ours == -2000)).all()
    assert 0 < outside == (ours == -2000).sum() < ours.size / 2
    assert np.abs(ours - theirs)[theirs != -2000].max() <= 0.5 + 1e-3  # positions are rounded to a millionth of a voxel


def test_nearest_is_what_simpleitk_gives(image_ras: geometry.Affine, reference: OutputGrid) -> None:
    label = np.random.default_rng(1).integers(0, 9, SHAPE).astype(np.uint8)
    ours = nearest(label, LUT, shared_grid(image_ras, reference, low_pass=True), ignore=IGNORE)
    assert (ours == by_itk(label, image_ras, reference, sitk.sitkNearestNeighbor, IGNORE)).all()


@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_on_a_grid_of_its_own_axes_it_is_the_separable_pass(oblique: Oblique, kernel: str) -> None:
    affine, array = oblique(spacing=(1.0, 1.5, 2.0)), smooth()
    own = output_grid(SHAPE, affine, (0.8, 1.1, 1.5), low_pass=False, kernel=kernel)
    shared, outside = sample(array, shared_grid(affine, own, low_pass=False), dtype=np.float32, fill=0, kernel=kernel)
    separable = resample(array, own.taps_zyx, dtype=np.float32)
    inside = (slice(4, -4),) * 3  # at the ends a cubic kernel clamps positions here, and taps there
    assert outside == 0
    assert shared[inside] == pytest.approx(separable[inside], abs=0.01)


@pytest.mark.parametrize("flips", list(itertools.product((1, -1), repeat=3)))
@pytest.mark.parametrize("kernel", ["linear", "cubic"])
def test_flipping_the_file_changes_no_bit(
    image_ras: geometry.Affine, reference: OutputGrid, flips: tuple[int, int, int], kernel: str
) -> None:
    array, label = smooth(), np.random.default_rng(2).integers(0, 4, SHAPE).astype(np.uint8)
    grid = shared_grid(image_ras, reference, low_pass=True)
    turn = tuple(slice(None, None, f) for f in flips)
    for memory in (array, label):
        assert np.ascontiguousarray(memory[turn])[turn].strides != memory.strides or flips == (1, 1, 1)
    plain, n = sample(array, grid, dtype=np.int16, fill=0, kernel=kernel)
    turned, m = sample(np.ascontiguousarray(array[turn])[turn], grid, dtype=np.int16, fill=0, kernel=kernel)
    assert n == m
    assert (plain == turned).all()
    twice = [vote(a, LUT, grid, ignore=IGNORE) for a in (label, np.ascontiguousarray(label[turn])[turn])]
    assert (twice[0] == twice[1]).all()


def test_a_coarser_reference_averages_and_keeps_volumes(oblique: Oblique) -> None:
    affine = oblique(spacing=(0.8, 0.8, 0.8), angles=(20.0, -15.0, 30.0), origin=(-20.0, -20.0, -20.0))
    z, y, x = np.indices((60, 60, 60))
    ball = (((z - 30) ** 2 + (y - 29) ** 2 + (x - 31) ** 2) < 16**2).astype(np.uint8)
    corner = geometry.apply(affine, np.array([31.0, 29.0, 30.0])) - 23.75
    upright = oblique(spacing=(2.5, 2.5, 2.5), angles=(0, 0, 0), origin=(corner[0], corner[1], corner[2]))
    reference = output_grid((20, 20, 20), upright, (2.5, 2.5, 2.5), low_pass=True)
    grid = shared_grid(affine, reference, low_pass=True)
    assert max(grid.samples_zyx) == 3
    mm3 = vote(ball, LUT, grid, ignore=0).sum() * 2.5**3
    assert mm3 == pytest.approx(ball.sum() * 0.8**3, rel=0.02)
    noise = np.random.default_rng(7).normal(0, 100, ball.shape).astype(np.float32)
    averaged, outside = sample(noise, grid, dtype=np.float32, fill=np.nan)
    single, _ = sample(noise, shared_grid(affine, reference, low_pass=False), dtype=np.float32, fill=np.nan)
    assert outside == np.isnan(averaged).sum()
    assert np.nanstd(averaged) < 0.5 * np.nanstd(single)


def test_what_is_wholly_of_one_structure_is_that_structure(image_ras: geometry.Affine, reference: OutputGrid) -> None:
    grid = shared_grid(image_ras, reference, low_pass=True)
    made = vote(np.full(SHAPE, 3, dtype=np.uint8), LUT, grid, ignore=IGNORE)
    assert set(np.unique(made).tolist()) == {3, IGNORE}


def test_owners_and_extent_are_the_way_back(image_ras: geometry.Affine, reference: OutputGrid) -> None:
    grid = shared_grid(image_ras, reference, low_pass=True)
    index = np.argwhere(np.ones(SHAPE, dtype=bool))
    back = owners(index, grid)
    world = geometry.apply(image_ras, index[:, ::-1].astype(float))
    wanted = geometry.apply(geometry.inverse(reference.affine_ras), world)[:, ::-1]
    inside = (back >= 0).all(axis=1)
    assert 0 < inside.sum() < len(index)
    assert np.abs(back - wanted)[inside].max() <= 0.5 + 1e-5
    box = extent((0, 0, 0, *SHAPE), grid)
    told = nearest(np.ones(SHAPE, dtype=np.uint8), LUT, grid, ignore=0)
    z, y, x = np.nonzero(told)
    assert box[0] <= z.min() < z.max() < box[3]
    assert box[1] <= y.min() < y.max() < box[4]
    assert box[2] <= x.min() < x.max() < box[5]


def test_a_ct_outside_its_field_of_view_is_floor_and_is_told(
    recipe: MakeRecipe, case_image: MakeCase, oblique: Oblique
) -> None:
    wanted = recipe(geometry={"spacing_mm": [2.0, 2.0, 2.0], "grid": {"reference": "MR"}})
    whole = Volume(smooth((20, 30, 30)), oblique(spacing=(2.0, 2.0, 2.0), angles=(0, 0, 0), origin=(0.0, 0.0, 0.0)))
    mr = normalise_image(whole, case_image("MR"), wanted)
    moved = oblique(spacing=(2.0, 2.0, 2.0), angles=(0, 0, 10.0), origin=(10.0, 0.0, 8.0))
    assert isinstance(mr.grid, OutputGrid)
    ct = normalise_image(Volume(smooth((20, 30, 30)), moved), case_image("CT"), wanted, mr.grid)
    assert ct.record.stored == mr.record.stored
    assert ct.array_zyx.min() == -1024
    told = next(step for step in ct.done if "outside its field of view" in step)
    assert told == f"{(ct.array_zyx == -1024).sum()} voxels outside its field of view set to -1024 HU"
    far = moved.copy()
    far[:3, 3] += 500
    with pytest.raises(Rejected, match="expected it to overlap") as raised:
        normalise_image(Volume(smooth((20, 30, 30)), far), case_image("CT"), wanted, mr.grid)
    assert raised.value.reason is Reason.OFF_GRID


def test_the_reference_is_the_first_of_its_modality_and_frames_must_agree(case_image: MakeCase) -> None:
    ct, mr = case_image("CT"), case_image("MR")
    assert reference_image([mr, ct], "native") is None
    assert reference_image([mr, ct], ReferenceGrid(reference="CT")) == "ct"
    with pytest.raises(Rejected, match="expected an image of modality PT, whose grid all share; found CT, MR"):
        reference_image([mr, ct], ReferenceGrid(reference="PT"))
    one, two = (replace(i, header=replace(i.header, frame_of_reference=f)) for i, f in ((ct, "a"), (mr, "b")))
    with pytest.raises(Rejected, match="another frame of reference") as raised:
        reference_image([one, two], ReferenceGrid(reference="CT"))
    assert raised.value.reason is Reason.OFF_GRID
