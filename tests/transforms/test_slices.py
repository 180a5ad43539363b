"""Cutting a finished volume sample: keys, numbers, places, annotations, and what is refused."""

from __future__ import annotations

import dataclasses

import nibabel
import numpy as np
import pytest

from mdfp import geometry
from mdfp.labels import State
from mdfp.sample import Acquisition, Grid, Normalisation, Sample, SampleAnnotation, SampleImage, SampleLabel
from schemas.reasons import Reason
from schemas.slices import Slices
from transforms import slices
from transforms.normalise.statistics import measure
from transforms.rejected import Rejected

SHAPE = (6, 8, 10)
AFFINE = geometry.compose(nibabel.eulerangles.euler2mat(0.1, 0.05, -0.08), (1.5, 2.0, 4.0), (-12.0, 30.0, 5.0))


def _image(name: str, array: np.ndarray, modality: str = "CT", unit: str | None = "HU", **more) -> SampleImage:
    grid = Grid(array.shape, geometry.spacing_xyz_mm(AFFINE), "RAS", tuple(AFFINE.ravel()))
    stats = measure(array, None).stats
    made = SampleImage(
        name=name, modality=modality, axes="zyx", dtype=array.dtype.name, unit=unit, scale=1.0, offset=0.0, native=grid,
        stored=grid, native_dtype=array.dtype.name, obliquity_deg=None, acquisition=Acquisition(), acquisition_axis="z",
        native_intensity=stats, stored_intensity=stats, normalisation=Normalisation("window_hu", -1000, 1000),
        padding_voxels=0, nonfinite_voxels=0, body_box=(2, 1, 1, 5, 7, 9), content_hash="0",
    )  # fmt: skip
    return dataclasses.replace(made, **more)


def _sample(*images: SampleImage, **more) -> Sample:
    made = Sample(
        key="case", case_id="case", source="s", split="train", fold=None, group="g", generation=1, shard="", position=3,
        patient="p", study=None, series=None, timepoint=None, days_from_first=None, modalities=("CT",), sex=None,
        age_years=None, site=None, license="CC0-1.0", images=images, labels=(), structures=(), annotations=(), texts=(),
        members=(), findings=(), done=(), warnings=(),
    )  # fmt: skip
    return dataclasses.replace(made, **more)


@pytest.fixture
def hu() -> np.ndarray:
    return np.random.default_rng(1).integers(-1024, 3000, SHAPE).astype(np.int16)


def _cut(record: Sample, array: np.ndarray, layers=(), **wanted) -> list[slices.SlicedSample]:
    images = {i.name: array for i in record.images}
    return list(slices.cut(record, images, layers, Slices(**wanted)))


@pytest.mark.parametrize("along", ["axial", "coronal", "sagittal"])
def test_a_picture_of_one_plane_is_the_volume_for_nibabel(hu, along):
    """nibabel turns the volume to the picture's orientation on its own; its planes and affine must be ours."""
    code = {"axial": "LPS", "coronal": "LIA", "sagittal": "PIR"}[along]
    volume = nibabel.Nifti1Image(hu.transpose(2, 1, 0), AFFINE)
    start = nibabel.io_orientation(AFFINE)
    turned = volume.as_reoriented(nibabel.orientations.ornt_transform(start, nibabel.orientations.axcodes2ornt(code)))
    planes = np.asarray(turned.dataobj)
    made = _cut(_sample(_image("ct", hu)), hu, along=along)
    assert len(made) == planes.shape[2]
    for number, one in enumerate(made):
        (image,) = one.record.images
        np.testing.assert_array_equal(one.pictures["ct"].astype(int) - 1024, planes[:, :, number].T)
        assert (
            "".join(nibabel.aff2axcodes(np.reshape(image.stored.affine_ras, (4, 4))))
            == code
            == image.stored.orientation
        )
        at = turned.affine @ [2, 3, number, 1]
        np.testing.assert_allclose(np.reshape(image.stored.affine_ras, (4, 4)) @ [2, 3, 0, 1], at)
        assert image.native == _image("ct", hu).native
        assert image.content_hash == "0"


def test_numbers_move_by_one_constant(hu):
    ct = _cut(_sample(_image("ct", hu)), hu, along="axial")[0]
    assert (ct.pictures["ct"].dtype, ct.record.images[0].offset) == (np.uint16, -1024.0)
    mr = _image("mr", hu, "MR", None, scale=0.5, offset=3.0)
    (made, *_) = _cut(_sample(mr), hu, along="axial")
    image = made.record.images[0]
    assert image.offset == 3.0 - 32768 * 0.5
    np.testing.assert_array_equal(made.pictures["mr"] * image.scale + image.offset, hu[0, ::-1, ::-1] * 0.5 + 3.0)
    small = (hu & 255).astype(np.uint8)
    (made, *_) = _cut(_sample(_image("mr", small, "MR", None)), small, along="axial")
    assert made.pictures["mr"].dtype == np.uint8
    assert made.record.images[0].offset == 0


def test_keys_sort_as_slices_lie_and_are_never_too_long():
    assert slices.slice_key("case", 0, 12) == "case-z0012"
    assert slices.slice_key("case", 2, 3) == "case-x0003"
    long = ["a" * 78 + "bc", "a" * 78 + "bd"]
    keys = [slices.slice_key(c, 1, n) for c in long for n in (0, 16_000)]
    assert len(set(keys)) == 4
    assert max(map(len, keys)) == 80


def test_body_and_foreground_choose_slices(hu):
    record = _sample(_image("ct", hu))
    assert [s.record.key for s in _cut(record, hu, along="axial", keep="body")] == [
        "case-z0002",
        "case-z0003",
        "case-z0004",
    ]
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, 3, :], mask[:, 5, :] = 1, 255  # what is ignored is not drawn
    label = SampleLabel("base", "ct", "uint8", "expert", record.images[0].native, "0", 0.0)
    assert [s.record.key for s in _cut(record, hu, [(label, mask)], along="coronal", keep="foreground")] == [
        "case-y0003"
    ]
    with pytest.raises(Rejected) as refused:
        _cut(record, hu, along="axial", keep="foreground")
    assert refused.value.reason == Reason.NO_SLICE


def test_the_acquired_plane_is_the_records(hu):
    made = _cut(_sample(_image("mr", hu, acquisition_axis="x")), hu, along="acquisition")
    assert made[0].record.key == "case-x0000"
    assert made[0].record.images[0].acquisition_axis is None
    made = _cut(_sample(_image("mr", hu, acquisition_axis="y")), hu, along="axial")
    assert made[0].record.images[0].acquisition_axis == "y"


def test_points_and_boxes_stay_where_they_lie_and_statements_become_those_of_the_study(hu):
    def told(kind, state=State.PRESENT, level="image", index=()):
        world = tuple(geometry.apply(AFFINE, np.reshape(index, (-1, 3))).ravel()) if index else ()
        return SampleAnnotation(kind, kind, None, state, level, "expert", "ct", index, world)

    box = told("box", index=(1.0, 2.0, 3.0, 4.0, 6.0, 4.0))
    record = _sample(
        _image("ct", hu),
        annotations=(box, told("point", index=(9.0, 0.0, 1.2)), told("class"), told("class", State.ABSENT)),
    )
    made = _cut(record, hu, along="axial")
    found = [{a.kind for a in s.record.annotations if a.index_xyz} for s in made]
    assert found == [set(), {"point"}, set(), {"box"}, {"box"}, set()]
    moved = made[3].record.annotations[0]
    assert moved.index_xyz == (5.0, 1.0, 0.0, 8.0, 5.0, 0.0)
    affine = np.reshape(made[3].record.images[0].stored.affine_ras, (4, 4))
    np.testing.assert_allclose(geometry.apply(affine, np.reshape(moved.index_xyz, (2, 3))).ravel(), moved.world_ras_mm)
    assert made[1].record.annotations[0].index_xyz == (0.0, 7.0, 0.0)
    whole = [(a.level, a.state, a.image) for a in made[0].record.annotations]
    assert whole == [("study", State.PRESENT, None), ("image", State.ABSENT, "ct")]


def test_what_is_no_volume_is_left_or_refused(hu):
    ct, picture = _image("ct", hu), _image("photo", hu, axes="yx")
    assert slices.to_slice(_sample(ct))
    assert not slices.to_slice(_sample(picture))
    for record, reason, said in (
        (_sample(ct, picture), Reason.UNSUPPORTED, "both in one case"),
        (_sample(dataclasses.replace(ct, axes="tzyx")), Reason.TEMPORAL, "over time"),
    ):
        with pytest.raises(Rejected, match=said) as refused:
            slices.to_slice(record)
        assert refused.value.reason == reason
    other = dataclasses.replace(ct, name="pt", stored=dataclasses.replace(ct.stored, shape=(1, 2, 3)))
    with pytest.raises(Rejected, match="reference"):
        _cut(_sample(ct, other), hu, along="axial")
    with pytest.raises(Rejected, match="name a plane"):
        _cut(_sample(ct, dataclasses.replace(ct, name="mr", acquisition_axis="x")), hu, along="acquisition")
