"""Volumes cut into pictures: each slice is that of the volume sample, and what is said of it is true of it."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import yaml

import mdfp
from mdfp import geometry
from mdfp.frames import Frames
from mdfp.labels import State
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions, audit
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.withdraw import withdraw
from schemas.reasons import Reason
from transforms.plan.planner import Selection
from transforms.shard import committed
from transforms.withdrawn import Withdrawal

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "demo.yaml"


@pytest.fixture(scope="module")
def recipe_of(tmp_path_factory):
    """The demo's recipe with slices; its manifests by their whole path."""

    def write(**slices) -> Path:
        content = yaml.safe_load(RECIPE.read_text())
        for source in content["sources"]:
            source["manifest"] = str((RECIPE.parent / source["manifest"]).resolve())
        path = tmp_path_factory.mktemp("recipe") / "slices.yaml"
        path.write_text(yaml.safe_dump({**content, "slices": slices}))
        return path

    return write


@pytest.fixture(scope="module", params=["axial", "coronal", "sagittal"])
def along(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def sliced(along, build_corpus, recipe_of, tmp_path_factory):
    step = {"axial": {"every_mm": 4.5}, "coronal": {"every": 7}, "sagittal": {"every": 9, "at_most": 5}}[along]
    keep = "foreground" if along == "axial" else "all"
    return build_corpus(tmp_path_factory.mktemp("sliced") / "corpus", recipe=recipe_of(along=along, keep=keep, **step))


def _plane(array_zyx: np.ndarray, along: str, number: int) -> np.ndarray:
    """Radiological: columns to the left (sagittal: posterior), rows to posterior (else inferior)."""
    if along == "axial":
        return array_zyx[number, ::-1, ::-1]
    return array_zyx[::-1, number, ::-1] if along == "coronal" else array_zyx[::-1, ::-1, number]


def _by_case(sliced):
    cases = defaultdict(list)
    for key in mdfp.open(str(sliced.folder)).samples.keys:
        cases[key.rsplit("-", 1)[0]].append(key)
    return cases


def test_every_slice_is_that_of_the_volume_sample(corpus, sliced, along):
    volumes, pictures = mdfp.open(str(corpus.folder)), mdfp.open(str(sliced.folder))
    cases = _by_case(sliced)
    assert cases
    assert set(cases) <= set(volumes.samples.keys)
    for case, keys in cases.items():
        volume = volumes.sample(case)
        array = volume.image(values="physical")
        stored = volume.record.images[0].stored
        for key in keys:
            letter, number = key.rsplit("-", 1)[1][0], int(key.rsplit("-", 1)[1][1:])
            assert letter == {"axial": "z", "coronal": "y", "sagittal": "x"}[along]
            picture = pictures.sample(key)
            (image,) = picture.record.images
            name, data = picture.member("image", image.name)
            pixels = imagecodecs.png_decode(data)  # a second decoder of the very bytes
            assert name == f"{key}.image.{image.name}.png"
            assert pixels.dtype.name == image.dtype in ("uint8", "uint16")
            wanted = _plane(array, along, number)
            np.testing.assert_allclose(pixels * image.scale + image.offset, wanted, rtol=1e-6, atol=1e-3)
            np.testing.assert_array_equal(picture.image(values="physical"), wanted)
            assert image.stored_intensity.maximum == pytest.approx(float(wanted.max()), rel=1e-5, abs=1e-3)
            assert image.normalisation == volume.record.images[0].normalisation
            assert [e.layer for e in picture.record.labels] == [e.layer for e in volume.record.labels]
            for layer in (e.layer for e in volume.record.labels):
                np.testing.assert_array_equal(picture.label(layer), _plane(volume.label(layer), along, number))
            # The world position of a pixel is that of its voxel.
            rows, columns = pixels.shape
            v, u = rows // 3, columns // 4
            nz, ny, nx = stored.shape
            index = {
                "axial": (nx - 1 - u, ny - 1 - v, number),
                "coronal": (nx - 1 - u, number, nz - 1 - v),
                "sagittal": (number, ny - 1 - u, nz - 1 - v),
            }[along]
            affine = picture.affine()
            np.testing.assert_allclose(
                geometry.apply(affine, np.array([u, v, 0.0])), geometry.apply(volume.affine(), np.array(index, float))
            )
            assert image.stored.orientation == {"axial": "LPS", "coronal": "LIA", "sagittal": "PIR"}[along]
            np.testing.assert_allclose(image.stored.spacing_xyz_mm, geometry.spacing_xyz_mm(affine)[:2], atol=1e-6)


def test_ct_is_hu_above_its_floor(sliced):
    images = [s.images[0] for s in sliced.samples if s.modalities == ("CT",)]
    assert images
    assert {(i.dtype, i.scale, i.offset, i.unit) for i in images} == {("uint16", 1.0, -1024.0, "HU")}


def test_states_are_those_of_the_slice(corpus, sliced, along):
    """The phantom's truth says what was looked for in a case; the voxels of the volume sample where it lies."""
    volumes = mdfp.open(str(corpus.folder))
    whole = {s.key: s for s in corpus.samples}
    seen = set()
    for sample in sliced.samples:
        number = int(sample.key.rsplit("-", 1)[1][1:])
        volume = volumes.sample(sample.case_id)
        masks = {e.layer: _plane(volume.label(e.layer), along, number) for e in volume.record.labels}
        truth = sliced.truth_of(sample.case_id)
        for found, known in zip(sample.structures, whole[sample.case_id].structures, strict=True):
            assert (found.structure, found.value) == (known.structure, known.value)
            pixels = np.argwhere(masks[known.layer] == known.value) if known.layer else np.empty((0, 2))
            told = truth.structure(found.structure)
            seen.add((str(known.state), str(found.state)))
            if told.state == State.UNKNOWN:
                assert found.state == State.UNKNOWN
                assert found.stored_voxels is None
            elif told.state == State.ABSENT:
                assert found.state == State.ABSENT
                assert not len(pixels)
            elif told.state == State.PRESENT and len(pixels):
                assert found.state == State.PRESENT
                assert found.layer == known.layer
                assert found.stored_voxels == len(pixels)
                assert found.box == (*pixels.min(axis=0), *(pixels.max(axis=0) + 1))
            elif found.state not in (State.UNKNOWN, State.MERGED):
                assert found.layer is None
                assert found.box is None
                assert not found.stored_voxels
    assert {("present", "present"), ("present", "absent"), ("unknown", "unknown")} <= seen


def test_foreground_means_that_something_is_drawn(sliced, along):
    if along == "axial":
        assert all(any(s.stored_voxels for s in sample.structures) for sample in sliced.samples)


def test_steps_and_their_most(corpus, sliced, along):
    whole = {s.key: s.images[0].stored for s in corpus.samples}
    for case, keys in _by_case(sliced).items():
        numbers = sorted(int(k.rsplit("-", 1)[1][1:]) for k in keys)
        steps = set(np.diff(numbers))
        if along == "axial":
            step = max(1, int(4.5 / whole[case].spacing_xyz_mm[2] + 0.5))
            assert all(s % step == 0 for s in steps)
        elif along == "coronal":
            assert steps <= {7}
            assert len(numbers) == -(-(whole[case].shape[1] - numbers[0]) // 7)
        else:
            assert len(numbers) <= 5
            assert all(s % 9 == 0 for s in steps)


def test_slices_stay_with_their_patient_and_the_corpus_is_whole(corpus, sliced):
    whole = {s.key: s for s in corpus.samples}
    for sample in sliced.samples:
        volume = whole[sample.case_id]
        assert (sample.patient, sample.group, sample.split, sample.fold) == (
            volume.patient, volume.group, volume.split, volume.fold,
        )  # fmt: skip
    assert len({s.key for s in sliced.samples}) == len(sliced.samples)
    opened = mdfp.open(str(sliced.folder))
    assert verify(opened) == []


def test_planned_is_made_or_a_hole(sliced):
    for shard in sliced.plan.shards:
        marker = committed(sliced.workspace.corpus, shard)
        made = {s.case_id for s in sliced.samples if s.shard == marker.path}
        assert made | {h.case_id for h in marker.holes} == set(shard.cases)
        assert not made & {h.case_id for h in marker.holes}
        assert marker.samples == sum(s.shard == marker.path for s in sliced.samples)


def test_frames_and_export_take_slices(sliced, along, tmp_path):
    from mdfp.export import export_nifti

    corpus = mdfp.open(str(sliced.folder))
    key = corpus.samples.keys[0]
    written = export_nifti(corpus.sample(key), tmp_path)
    assert any(p.name.endswith(".png") for p in written)
    assert not any(p.name.endswith(".nii.gz") for p in written)
    affine = corpus.sample(key).affine(box=(3, 2, 9, 8))
    np.testing.assert_allclose(affine[:3, 3], geometry.apply(corpus.sample(key).affine(), np.array([2.0, 3.0, 0.0])))


def test_the_bytes_are_the_same_again(sliced, along, make_workspace, console, tmp_path, recipe_of):
    if along != "coronal":
        pytest.skip("one plane is enough")
    path = recipe_of(along="coronal", keep="all", every=7)
    workspace = make_workspace(tmp_path / "again", recipe=path)
    runs.run(workspace, Selection(), Engine(2), BuildOptions(max_holes=0.9), console)
    again = read_latest(workspace)
    assert again.plan_id == sliced.plan.plan_id
    shards = {f.name for f in (sliced.folder / "shards").rglob("*.tar")}
    assert shards
    assert shards == {f.name for f in (tmp_path / "again" / "shards").rglob("*.tar")}


def test_a_volume_of_which_nothing_is_kept_is_a_hole(corpus, sliced, along):
    made = set(_by_case(sliced))
    markers = [committed(sliced.workspace.corpus, shard) for shard in sliced.plan.shards]
    lost = {h.case_id for m in markers for h in m.holes if h.reason == Reason.NO_SLICE}
    nothing_drawn = {s.key for s in corpus.samples if not any(x.stored_voxels for x in s.structures)}
    assert lost == (nothing_drawn if along == "axial" else set())
    assert made == {s.key for s in corpus.samples} - lost


def test_a_loader_gives_slices_with_class_masks(sliced, along):
    corpus = mdfp.open(str(sliced.folder))
    frames = Frames((64, 48), channels=1, labels=True, space=["liver", "spleen"], ignore=-1)
    drawn, keys = set(), set()
    for batch in corpus.loader("train", seed=3, crops=frames, batch=2, uneven="drop"):
        assert batch["image"].shape == (2, 1, 64, 48)
        assert batch["classes"].shape == (2, 64, 48)
        assert batch["image"].min() >= 0
        assert batch["image"].max() <= 1
        drawn |= set(np.unique(batch["classes"]).tolist())
        keys |= set(batch["key"])
    assert drawn >= {0, 1}
    assert len(keys) > 2


def test_a_case_is_taken_back_with_all_its_slices(sliced, along, make_workspace, console, tmp_path, recipe_of):
    if along != "sagittal":
        pytest.skip("one plane is enough")
    shutil.copytree(sliced.folder, tmp_path / "corpus")
    workspace = make_workspace(tmp_path / "corpus", recipe=recipe_of(along="sagittal", every=9, at_most=5))
    before = mdfp.open(workspace.corpus.root)
    shard = max(before.manifest.shards, key=lambda s: s.samples)
    case = next(s.case_id for s in before.samples if s.shard == shard.path)
    mine = {s.key for s in before.samples if s.case_id == case}
    assert len(mine) > 1
    done = withdraw(workspace, Withdrawal((case,), (), ()), purge=True, scratch=None, console=console)
    assert done.samples == len(mine)
    after = mdfp.open(workspace.corpus.root)
    assert verify(after) == []
    assert set(after.samples.keys) == set(before.samples.keys) - mine
    assert [h.count for h in after.manifest.holes if h.reason == "withdrawn"] == [1]
    markers = audit(workspace, read_latest(workspace))  # planned = made + holes, still
    assert sum(m.samples for m in markers) == len(after.samples)
