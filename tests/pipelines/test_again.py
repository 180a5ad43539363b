"""Running again: what is there stays, what is new is appended, what could not be made is not tried for ever."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml

import mdfp
from examples import phantom
from mdfp import arrow
from mdfp.errors import UsageError
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions, build
from pipelines.console import Console
from pipelines.inventory import take_inventory
from pipelines.plan import describe, plan
from pipelines.publish import complete, publish
from pipelines.runner import Engine
from schemas.case import Reject
from transforms.plan.planner import Selection

MSD = "phantom-ct-msd/Task77_Phantom"
NEW = "s0900"


@pytest.fixture(scope="module")
def grown(bucket, corpus, tmp_path_factory):
    """A bucket to change, and a folder with the corpus of its first state."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(bucket.folder, folder / "bucket")  # with mtimes: to the plan the files are the same
    shutil.copytree(corpus.folder, folder / "corpus")
    return type(bucket)(folder / "bucket", bucket.truth), folder / "corpus"


@pytest.fixture
def again(grown, make_workspace, console):
    """Run all stages once more; None when there was nothing new."""

    def run(selection=Selection(), **options):  # noqa: B008 (frozen)
        bucket, out = grown
        workspace = make_workspace(out, source=bucket)
        return runs.run(workspace, selection, Engine(), BuildOptions(**({"max_holes": 0.9} | options)), console)

    return run


def written(folder):
    return {str(f.relative_to(folder)): f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}


def rejects_of(folder, number):
    return arrow.from_table(Reject, pq.read_table(folder / "rejects" / f"{number:06d}.parquet"))


def test_the_same_again_adds_nothing(again, grown):
    before = written(grown[1])
    assert again() is None
    after = written(grown[1])
    assert set(after) == set(before)
    touched = {name for name in after if after[name] != before[name]}
    assert touched <= {"inventory/LATEST", "expectations/inventory.json"}


def test_a_new_case_is_appended_and_nothing_old_moves(again, grown):
    bucket, out = grown
    first = mdfp.open(str(out), 1)
    structures = bucket.folder / "phantom-ct-structures"
    other = phantom.write_bucket(out.parent / "other", scale="small", patients=16)
    del other
    shutil.copytree(out.parent / "other" / "phantom-ct-structures" / "s0304", structures / NEW)

    finished = again()

    assert finished.published.new
    assert finished.published.manifest.number == 2
    second = mdfp.open(str(out))
    assert second.manifest.parent == 1
    old, new = set(first.manifest.shards), set(second.manifest.shards)
    assert old < new
    assert {s.generation for s in new - old} == {2}
    where = {s.key: (s.split, s.shard, s.position, s.generation) for s in first.samples}
    assert {s.key: (s.split, s.shard, s.position, s.generation) for s in second.samples if s.generation == 1} == where
    (added,) = [s for s in second.samples if s.generation == 2]
    assert added.key == f"phantom-ct-structures-{NEW}"
    assert second.sample(added.key).image().shape == added.images[0].stored.shape
    assert verify(second) == []
    assert not {r.case_id for r in rejects_of(out, 2)} & where.keys()
    assert mdfp.open(str(out), 1).manifest == first.manifest
    assert (out / "LATEST").read_text() == "2\n"


def test_a_new_duplicate_of_a_published_case_is_a_hole(again, grown):
    bucket, out = grown
    structures = bucket.folder / "phantom-ct-structures"
    shutil.copytree(structures / "s0002", structures / "s0950")
    before = mdfp.open(str(out)).manifest
    finished = again()
    assert finished is not None
    assert [(h.case_id, str(h.reason)) for h in finished.built.holes] == [("phantom-ct-structures-s0950", "duplicate")]
    assert "phantom-ct-structures-s0002" in finished.built.holes[0].detail
    assert not finished.published.new
    assert mdfp.open(str(out)).manifest == before
    shutil.rmtree(structures / "s0950")


def test_a_hole_is_tried_again_when_asked_and_when_its_file_changed(again, grown, bucket):
    changed, _ = grown
    truth = changed.truth
    broken = next(f for f in truth.faults if f.reason == "corrupt_gzip")
    assert again() is None

    finished = again(Selection(retry_holes=True))
    assert {str(h.reason) for h in finished.built.holes} == {
        "corrupt_gzip",
        "label_grid",
        "unmapped_label",
        "duplicate",
    }
    assert not finished.published.new

    sound = next(c for c in truth.cases if c.source == broken.source and c.reason is None and c.label_paths)
    shutil.copyfile(
        bucket.folder / broken.source / sound.image_paths[0], changed.folder / broken.source / broken.paths[0]
    )
    finished = again()
    assert [c.case_id for c in finished.built.plan.cases] == [f"{broken.source}-{broken.name}"]
    left = {(a.case_id, str(a.left_out)) for a in finished.built.plan.left_out()}
    assert {reason for _, reason in left} == {"label_grid", "unmapped_label", "duplicate"}
    # The file is sound now, and is not what its label was drawn on.
    assert [str(h.reason) for h in finished.built.holes] == ["label_grid"]


def test_one_broken_case_among_published_ones_is_not_too_many(again, grown):
    bucket, _ = grown
    structures = bucket.folder / "phantom-ct-structures"
    shutil.copytree(structures / "s0002", structures / "s0960")
    image = structures / "s0960" / "ct.nii.gz"
    image.write_bytes(image.read_bytes()[:-3000])
    finished = again(Selection(only=("phantom-ct-structures",)), max_holes=0.2)
    assert [str(h.reason) for h in finished.built.holes] == ["corrupt_gzip"]
    shutil.rmtree(structures / "s0960")


def test_a_hole_is_tried_again_when_its_manifest_explains_it_now(grown, make_workspace, console, recipe_of_ones_own):
    """The remedy for an unmapped value is an entry in the table: no file of the data changes."""
    bucket, out = grown
    recipe = recipe_of_ones_own
    manifest = recipe.parent.parent / "sources" / "phantom-ct-msd.yaml"
    content = yaml.safe_load(manifest.read_text())
    content["labels"]["labels"]["ignore"] = [99]
    manifest.write_text(yaml.safe_dump(content, sort_keys=False))
    workspace = make_workspace(out, recipe=recipe, source=bucket)
    take_inventory(workspace, Engine(), console)
    made = plan(workspace, Selection(), console)
    unmapped = next(f.name for f in bucket.truth.faults if f.reason == "unmapped_label")
    assert f"phantom-ct-msd-{unmapped}" in {c.case_id for c in made.cases}


@pytest.fixture
def recipe_of_ones_own(tmp_path):
    """A copy of the demo's recipe and manifests, to be changed."""
    from examples.phantom.manifests import FOLDER

    shutil.copytree(FOLDER, tmp_path / "sources")
    (tmp_path / "recipes").mkdir()
    return shutil.copy(FOLDER.parent / "recipes" / "demo.yaml", tmp_path / "recipes" / "demo.yaml")


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("geometry", {"spacing_mm": [2, 2, 2]}),
        ("intensity", "native"),
        ("labels", {"resample": "nearest", "space": ["liver"]}),
    ],
)
def test_another_way_to_make_voxels_is_refused(section, value, corpus, make_workspace, console, recipe_of_ones_own):
    content = yaml.safe_load(recipe_of_ones_own.read_text())
    content[section] = value
    recipe_of_ones_own.write_text(yaml.safe_dump(content))
    workspace = make_workspace(corpus.folder, recipe=recipe_of_ones_own)
    with pytest.raises(UsageError, match=rf"the recipe's {section} changed since manifest 1.*another out"):
        plan(workspace, Selection(), console)


@pytest.mark.parametrize(
    "view", [{"space": ["liver"]}, {"space": {"policy": "union"}, "resolve": {"kidney": "roll_up"}}]
)
def test_another_label_space_and_other_splits_are_no_other_corpus(
    view, corpus, make_workspace, console, recipe_of_ones_own
):
    content = yaml.safe_load(recipe_of_ones_own.read_text())
    content["labels"] |= view
    content["splits"] = {"train": 1.0, "val": 0.0}
    recipe_of_ones_own.write_text(yaml.safe_dump(content))
    made = plan(make_workspace(corpus.folder, recipe=recipe_of_ones_own), Selection(), console)
    assert made.shards == ()


def test_only_the_plan_of_a_later_generation_says_what_is_published(corpus, make_workspace, console, tmp_path, capsys):
    def shown(made):
        describe(made, 1, Console())
        said = capsys.readouterr()
        return said.out + said.err

    assert "published" not in shown(corpus.plan)
    out = tmp_path / "corpus"
    shutil.copytree(corpus.folder, out)
    later = plan(make_workspace(out), Selection(), console)
    assert later.published() == Counter(s.source for s in mdfp.open(str(out)).samples)
    text = shown(later)
    assert "published" in text
    assert "not_selected" not in text


def test_another_patient_key_is_refused(corpus, make_workspace, console, monkeypatch):
    monkeypatch.setenv("MDFP_PATIENT_KEY", "another key of sixteen bytes")
    workspace = make_workspace(corpus.folder)
    with pytest.raises(UsageError, match=r"another patient key.*MDFP_PATIENT_KEY"):
        plan(workspace, Selection(), console)


def test_a_killed_publish_is_finished_by_the_next_run(corpus, make_workspace, console, tmp_path):
    """Killed right after the manifest: it is published, and everything beside it is missing."""
    out = tmp_path / "corpus"
    shutil.copytree(corpus.folder, out)
    for name in (
        "LATEST",
        "report.html",
        "findings.parquet",
        "contact-sheet.png",
        "ATTRIBUTION.md",
        "citations.bib",
        "croissant.json",
        "rejects/000001.parquet",
    ):
        (out / name).unlink()
    complete(make_workspace(out), console)
    papers = ("ATTRIBUTION.md", "citations.bib", "croissant.json")
    for name in ("LATEST", *papers, "rejects/000001.parquet", "findings.parquet", "contact-sheet.png"):
        assert (out / name).read_bytes() == (corpus.folder / name).read_bytes()
    assert (out / "report.html").exists()


def test_a_killed_publish_is_finished_though_another_edition_of_its_plan_was_made_since(
    corpus, make_workspace, console, tmp_path, plan_again
):
    out = tmp_path / "corpus"
    shutil.copytree(corpus.folder, out)
    workspace = make_workspace(out)
    plan_again(workspace)
    for name in ("LATEST", "rejects/000001.parquet"):
        (out / name).unlink()
    complete(workspace, console)
    for name in ("LATEST", "rejects/000001.parquet"):
        assert (out / name).read_bytes() == (corpus.folder / name).read_bytes()


def test_a_first_attempt_that_never_was_published_does_not_reach_the_second(
    corpus, bucket, make_workspace, console, tmp_path
):
    """Its index lies there under the next number; the one that is published is another."""
    out, only = tmp_path / "corpus", Selection(only=("phantom-mr",))
    workspace = make_workspace(out)
    take_inventory(workspace, Engine(), console)
    built = build(workspace, plan(workspace, only, console), Engine(), BuildOptions(), console)
    publish(workspace, built, console)
    for left in ("manifests/000001.json", "LATEST"):
        (out / left).unlink()  # as if it had been killed before its manifest
    wider = Selection(only=("phantom-mr", "phantom-ct-structures"))
    runs.run(workspace, wider, Engine(), BuildOptions(max_holes=0.9), console)
    opened = mdfp.open(str(out))
    assert verify(opened) == []
    assert {s.source for s in opened.samples} == {"phantom-mr", "phantom-ct-structures"}


def test_a_source_that_changes_between_plan_and_build_is_a_hole_that_heals(bucket, make_workspace, console, tmp_path):
    copied = type(bucket)(tmp_path / "bucket", bucket.truth)
    shutil.copytree(bucket.folder, copied.folder)
    out, only = tmp_path / "corpus", Selection(only=("phantom-mr",))
    workspace = make_workspace(out, source=copied)
    take_inventory(workspace, Engine(), console)
    made = plan(workspace, only, console)
    file = next((copied.folder / "phantom-mr" / "images").iterdir())
    os.utime(file)
    built = build(workspace, made, Engine(), BuildOptions(max_holes=1), console)
    assert [str(h.reason) for h in built.holes] == ["source_changed"]
    assert str(file) not in json.dumps([h.detail for h in built.holes])
    publish(workspace, built, console)
    finished = runs.run(workspace, only, Engine(), BuildOptions(), console)
    assert len(finished.built.holes) == 0
    assert finished.published.manifest.number == 2
    assert len(mdfp.open(str(out)).samples) == made.planned
