"""Which masks are taken, and which are left out with a reason while everything else goes on."""

from __future__ import annotations

import gzip
import shutil

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest

import mdfp
from mdfp.export import export_nifti
from mdfp.verify import verify
from tests import added_labels as world

TABLE = {"origin": "pseudo", "values": {0: "background", 1: "liver", 2: "pancreas"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory, console):
    """A corpus with the expert's labels, resampled and cropped."""
    geometry = {"spacing_mm": [2.0, 2.0, 3.0], "crop": "foreground"}
    return world.make(tmp_path_factory.mktemp("masks") / "built", console, "expert", geometry=geometry)


@pytest.fixture
def built(base, tmp_path):
    """The same, of one's own, and no masks beside it."""
    shutil.copytree(base.folder, tmp_path / "built")
    shutil.rmtree(tmp_path / "built" / "masks")
    (tmp_path / "built" / "masks").mkdir()
    return world.Corpus(tmp_path / "built")


def rejects(corpus, done):
    return {r["case_id"] or r["path"]: r["reason"] for r in pq.read_table(corpus.out / done.table).to_pylist()}


def test_what_cannot_be_used_is_counted_and_listed_and_the_rest_goes_on(built, console):
    masks = built.folder / "masks"
    good = world.drawn({1: world.LIVER})
    shifted = world.affine()
    shifted[0, 3] += 0.6
    world.save(masks / "scans-both.nii.gz", good)
    world.save(masks / "scans-stranger.nii.gz", good)
    world.save(masks / "scans-differ.nii.gz", good, shifted)
    world.save(masks / "scans-expert.nii.gz", world.drawn({7: world.LIVER}))
    coarse = world.affine()
    coarse[:3, 2] *= 2
    world.save(masks / "scans-model.nii.gz", good[:, :, ::2], coarse)
    world.save(masks / "scans-none.nii.gz", (good + 0.5).astype(np.float32))
    (masks / "scans-part.nii.gz").write_bytes(b"no gzip")
    whole = gzip.compress(nibabel.Nifti1Image(good, world.affine()).to_bytes(), mtime=0)
    (masks / "scans-unsure.nii.gz").write_bytes(whole[: len(whole) // 2])
    (masks / "notes.txt").write_text("by Dr Roe")
    done = built.add(console, layer="pseudo", labels=TABLE)
    assert (done.samples, done.manifest) == (1, 2)
    found = rejects(built, done)
    assert {k.removeprefix("scans-"): r for k, r in found.items() if k.startswith("scans-")} == {
        "differ": "label_grid",
        "expert": "unmapped_label",
        "model": "label_grid",
        "none": "label_not_integer",
        "part": "label_unreadable",
        "unsure": "label_unreadable",
        "empty": "missing_label",
        "nothing": "missing_label",
    }
    assert sorted(r for k, r in found.items() if not k.startswith("scans-")) == ["no_image", "unmatched"]
    assert not any("Roe" in k or "notes" in k or "stranger" in k for k in found)
    corpus = mdfp.open(str(built.out))
    assert verify(corpus) == []
    assert {s.key for s in corpus.samples if any(m.shard for m in s.members)} == {"scans-both"}
    assert corpus.sample("scans-differ").states(["liver"]) == {"liver": "absent"}
    # Only bad masks are left: nothing more is published, and they are told again.
    again = built.add(console, layer="pseudo", labels=TABLE)
    assert (again.samples, again.there, again.manifest) == (0, 1, 2)
    assert rejects(built, again) == found


def test_a_mask_on_the_exported_grid_is_taken_voxel_by_voxel(built, console, tmp_path):
    corpus = mdfp.open(str(built.out))
    drawn = {}
    for number, key in enumerate(("scans-both", "scans-model", "scans-none")):
        sample = corpus.sample(key)
        export_nifti(sample, tmp_path / "look", values="physical")
        image = nibabel.load(tmp_path / "look" / f"{key}.image.ct.nii.gz")
        mask = np.zeros(image.shape, np.uint8)
        mask[1 + number : 6, 2:7, 1:4], mask[6:8, 7:9, 2:5] = 1, 2
        # However its axes are stored, a mask lies where its affine says.
        turned = nibabel.Nifti1Image(mask, image.affine).as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
        nibabel.save(turned, built.folder / "masks" / f"{key}.nii.gz")
        drawn[key] = mask.transpose(2, 1, 0)
    done = built.add(console, layer="pseudo", labels=TABLE)
    assert (done.samples, done.reasons) == (3, {"missing_label": 6})
    corpus = mdfp.open(str(built.out))
    assert verify(corpus) == []
    values = {e.structure: e.value for e in corpus.palette}
    for key, mask in drawn.items():
        stored = corpus.sample(key).label("pseudo")
        np.testing.assert_array_equal(stored == values["liver"], mask == 1)
        np.testing.assert_array_equal(stored == values["pancreas"], mask == 2)
        (state,) = [s for s in corpus.sample(key).seen_by(["pseudo"]).structures if s.structure == "pancreas"]
        assert state.native_voxels == state.stored_voxels == (mask == 2).sum()
        np.testing.assert_array_equal(corpus.sample(key).classes(["pancreas"], origins=["pseudo"]) == 1, mask == 2)


def test_one_file_a_structure_as_models_write_them(built, console):
    table = {
        "origin": "model",
        "structures": {"liver": "liver", "aorta": "aorta", "pancreas": "pancreas"},
        "ignore_names": ["body*"],
    }
    files = {"liver": world.LIVER, "aorta": world.AORTA, "body_trunc": world.SPLEEN, "pancreas": None}
    for name, box in files.items():
        mask = world.drawn({1: box} if box else {})
        world.save(built.folder / "masks" / "scans" / "scans-none" / f"{name}.nii.gz", mask)
    world.save(built.folder / "masks" / "scans" / "scans-both" / "hip.nii.gz", world.drawn({1: world.LIVER}))
    done = built.add(console, layer="total", labels=table, path="{source}/{key}/{structure}.nii.gz")
    assert (done.samples, done.reasons) == (1, {"missing_label": 7, "unmapped_label": 1})
    corpus = mdfp.open(str(built.out))
    assert verify(corpus) == []
    sample = corpus.sample("scans-none")
    assert sample.states(["liver", "aorta", "pancreas", "spleen"]) == {
        "liver": "present", "aorta": "present", "pancreas": "absent", "spleen": "unknown",
    }  # fmt: skip


def test_two_files_for_one_mask_are_none(built, console):
    for suffix in (".nii.gz", ".nii"):
        world.save(built.folder / "masks" / f"scans-both{suffix}", world.drawn({1: world.LIVER}))
    done = built.add(console, layer="pseudo", labels=TABLE, path="{key}.nii*")
    assert (done.samples, done.manifest, done.reasons["conflicting_files"]) == (0, 1, 1)


def test_two_workers_write_what_one_writes(base, console, tmp_path):
    from pipelines.runner import Engine

    digests = []
    for workers in (1, 2):
        shutil.copytree(base.folder, tmp_path / str(workers))
        corpus = world.Corpus(tmp_path / str(workers))
        corpus.add(console, Engine(workers))
        digests.append(
            {
                f.relative_to(corpus.out): f.read_bytes()
                for part in ("sidecars", "index", "manifests", "rejects")
                for f in (corpus.out / part).rglob("*")
                if f.is_file()
            }
        )
    assert digests[0] == digests[1]
    assert len(digests[0]) > 5


def test_masks_of_pictures_are_pictures(console, tmp_path):
    from PIL import Image

    from examples.pictures import write_all
    from pipelines import run as runs
    from pipelines.add_labels import add_labels
    from pipelines.build import BuildOptions
    from pipelines.runner import Engine
    from pipelines.workspace import open_workspace, place_beside
    from schemas.added_labels import AddedLabels
    from tests.pipelines.test_picture_masks import RECIPE, SOURCES
    from transforms.plan.planner import Selection

    write_all(tmp_path / "raw")
    roots = [f"{s}={tmp_path / 'raw' / s}" for s in SOURCES]
    workspace = open_workspace(RECIPE, roots, str(tmp_path / "corpus"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), console)
    corpus = mdfp.open(str(tmp_path / "corpus"))
    (tmp_path / "masks").mkdir()
    drawn, left = {}, 0
    for record in corpus.samples:
        image = record.images[0]
        flat = len(record.images) == 1 and image.axes in ("yx", "yxc")
        rows, columns = image.stored.shape[-2:] if image.axes == "yx" else image.stored.shape[:2]
        mask = np.zeros((rows, columns), np.uint8)
        mask[2:7, 3:9] = 1
        Image.fromarray(mask).save(tmp_path / "masks" / f"{record.key}_{image.name}.png")
        if flat:
            drawn[record.key] = mask
        else:
            left += 1
    strange = next(k for k in drawn if max(drawn[k].shape) > 10)
    Image.fromarray(drawn.pop(strange)[:-1]).save(
        tmp_path / "masks" / f"{strange}_{next(r for r in corpus.samples if r.key == strange).images[0].name}.png"
    )
    spec = AddedLabels.model_validate(
        {
            "layer": "spots",
            "title": "Spots",
            "root": str(tmp_path / "masks"),
            "path": "{key}_{image}.png",
            "labels": {"origin": "pseudo", "values": {0: "background", 1: "skin_lesion"}},
            "terms": {"license": "CC-BY-4.0"},
        }
    )
    place = place_beside(spec.root, spec.layer, tmp_path, spec.access)
    done = add_labels(workspace, spec, place, Engine(1), BuildOptions(), console)
    assert (done.samples, done.reasons) == (len(drawn), {"label_grid": 1 + left})
    corpus = mdfp.open(str(tmp_path / "corpus"))
    assert verify(corpus) == []
    for key, mask in drawn.items():
        sample = corpus.sample(key)
        (layer,) = [e for e in sample.record.labels if e.origin == "pseudo"]
        assert layer.layer == f"spots_{sample.record.images[0].name}"
        np.testing.assert_array_equal(sample.label(layer.layer) > 0, mask == 1)
        np.testing.assert_array_equal(sample.classes(["skin_lesion"], origins=["pseudo"]) == 1, mask == 1)
