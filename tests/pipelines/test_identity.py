"""Two releases of the same patients, under other names and written another way: recognised before anything is built."""

from __future__ import annotations

import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from examples.phantom.anatomy import person
from examples.phantom.scan import CT_HU, render, scan_grid
from examples.phantom.variations import VARIATIONS
from mdfp import arrow
from mdfp.errors import UsageError
from pipelines import fingerprint, identity
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.fingerprint import take_fingerprints
from pipelines.inventory import read_inventory, take_inventory
from pipelines.plan import plan, read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.identity import FingerprintRow, IdentityEdge, IdentityOverlap, IdentityRow, Kind
from schemas.reasons import Reason
from transforms.plan.planner import Selection
from transforms.plan.published import load as load_published
from transforms.plan.splits import draw
from transforms.volume import Volume

EVERYTHING = Selection()
QUIET = Console(quiet=True, as_json=True)
SIZE = 0.45


def scan(name, seed=""):
    body = person(name, size=SIZE)
    grid = scan_grid(body.centre_ras_mm, tuple(SIZE * e for e in (240.0, 184.0, 192.0)), (1.5, 1.5, 2.0), "LPS")
    return Volume(render(body, grid, CT_HU, seed=f"{name} {seed}", floor=-1024), grid.affine_ras)


def write(volume, path: Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.asarray(volume.array_zyx).transpose(2, 1, 0)
    nibabel.save(nibabel.Nifti1Image(data, volume.affine_ras), path)
    os.utime(path, (1_000_000_000, 1_000_000_000))


def manifest(source, license_id="CC-BY-4.0"):
    return {
        "id": source,
        "title": source,
        "terms": {"license": license_id},
        "public_ids": True,
        "patient": {"namespace": source, "id": "{case}"},
        "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}]},
    }


@pytest.fixture
def world(tmp_path):
    """Sources `first` (persons 0 to 3), `again` (0 and 1 as they are and re-written, 4), and a recipe of both."""
    for n in range(4):
        write(scan(f"person {n}"), tmp_path / "data" / "first" / f"one{n}.nii.gz")
    write(VARIATIONS["turned to PIR"](scan("person 0")), tmp_path / "data" / "again" / "two0.nii.gz")
    write(VARIATIONS["all of it"](scan("person 1")), tmp_path / "data" / "again" / "two1.nii.gz")
    write(scan("person 4"), tmp_path / "data" / "again" / "two4.nii.gz")
    return World(tmp_path)


class World:
    def __init__(self, folder):
        self.folder = folder

    def workspace(self, sources=("first", "again"), licences=None, listed=None, **changes):
        uses = []
        for source in sources:
            told = manifest(source, (licences or {}).get(source, "CC-BY-4.0")) | {"catalog": (listed or {}).get(source)}
            (self.folder / f"{source}.yaml").write_text(yaml.safe_dump(told))
            uses.append({"id": source, "manifest": f"{source}.yaml", "root": f"data/{source}"})
        recipe = {
            "corpus": "twice", "out": "out", "sources": uses, "terms": {"accept": ["CC-BY-4.0"]}, "labels": "image_only",
            "splits": {"train": 0.6, "val": 0.2, "test": 0.2}, "shards": {"target_mb": 8},
        }  # fmt: skip
        (self.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | changes))
        return open_workspace(self.folder / "recipe.yaml")

    def prepared(self, **changes):
        workspace = self.workspace(**changes)
        take_inventory(workspace, Engine(1), QUIET)
        return workspace

    def table(self, kind, record):
        path = json.loads((self.folder / "out" / fingerprint.LATEST).read_bytes())[kind]
        return arrow.from_table(record, pq.read_table(self.folder / "out" / path))


@pytest.mark.parametrize("seen", ["before", "after"])
def test_an_image_that_two_data_sets_publish_bears_the_terms_of_both(world, seen):
    """By fingerprints, or when both are built."""
    (world.folder / "data" / "again" / "two1.nii.gz").unlink()
    changes = {"licences": {"first": "CC-BY-NC-4.0"}, "splits": {"train": 1.0, "val": 0.0}}
    workspace = world.prepared(terms={"accept": ["CC-BY-4.0", "CC-BY-NC-4.0"]}, **changes)
    if seen == "before":
        take_fingerprints(workspace, Engine(1), QUIET)
    finished = runs.run(workspace, EVERYTHING, Engine(1), BuildOptions(), QUIET)
    assert finished is not None
    made = finished.built.plan
    assert made.revision == (0 if seen == "before" else 1)
    (doubt,) = made.doubts
    assert "published under CC-BY-4.0 (again) and CC-BY-NC-4.0 (first)" in doubt
    published = load_published(workspace.corpus)
    assert published is not None
    held = {s.case_id: s.license for s in published.samples}
    assert held.pop("again-two0") == "CC-BY-4.0 AND CC-BY-NC-4.0"
    assert set(held.values()) == {"CC-BY-4.0", "CC-BY-NC-4.0"}
    attribution = (world.folder / "out" / "ATTRIBUTION.md").read_text()
    assert "1 under CC-BY-4.0 AND CC-BY-NC-4.0: name the authors, no commercial use" in attribution


def test_a_contest_that_is_found_while_building_leaves_a_hole_under_a_profile(world):
    (world.folder / "data" / "again" / "two1.nii.gz").unlink()
    override = [{"source": "first", "reason": "bought for use of every kind"}]
    terms = {"profile": "commercial", "override": override}
    changes = {"licences": {"first": "CC-BY-NC-4.0"}, "splits": {"train": 1.0, "val": 0.0}}
    workspace = world.prepared(terms=terms, **changes)
    finished = runs.run(workspace, EVERYTHING, Engine(1), BuildOptions(), QUIET)
    assert finished is not None
    holes = {h.case_id: (h.reason, h.detail) for h in finished.built.holes}
    assert {c: reason for c, (reason, _) in holes.items()} == {
        "again-two0": Reason.TERMS_UNKNOWN,
        "first-one0": Reason.DUPLICATE,
    }
    assert holes["again-two0"][1].startswith(
        "the same image is published under CC-BY-4.0 (again-two0) and CC-BY-NC-4.0 (fir"
    )
    published = load_published(workspace.corpus)
    assert published is not None
    assert published.case_ids() == {"again-two4", "first-one1", "first-one2", "first-one3"}
    assert {(e.source, e.license, e.samples) for e in published.manifest.exceptions} == {("first", "CC-BY-NC-4.0", 3)}


def test_copies_are_left_out_before_they_are_built(world):
    workspace = world.prepared()
    taken = take_fingerprints(workspace, Engine(1), QUIET)
    assert (taken.cases, taken.images, taken.read, taken.faults) == (7, 7, 7, {})
    made = plan(workspace, EVERYTHING, QUIET)
    assert {a.case_id: a.left_out for a in made.left_out()} == {
        "first-one0": Reason.DUPLICATE,
        "first-one1": Reason.DUPLICATE,
    }
    edges = {(e.case_a, e.case_b): e for e in world.table("edges", IdentityEdge)}
    assert {pair: e.kind for pair, e in edges.items()} == {
        ("again-two0", "first-one0"): Kind.EXACT,
        ("again-two1", "first-one1"): Kind.NEAR,
    }
    assert edges["again-two1", "first-one1"].evidence == "ct = ct"
    assert 0 < (edges["again-two1", "first-one1"].distance or 0) < 0.03
    rows = {r.case_id: r for r in world.table("cases", IdentityRow)}
    assert len({r.component for r in rows.values()}) == 5
    assert rows["first-one1"].image == "again-two1"
    finished = runs.run(workspace, EVERYTHING, Engine(1), BuildOptions(), QUIET)
    assert finished is not None
    assert finished.built.plan.revision == 0  # no round of duplicates
    published = load_published(workspace.corpus)
    assert published is not None
    assert published.case_ids() == {"again-two0", "again-two1", "again-two4", "first-one2", "first-one3"}
    # What a fingerprint calls a content hash is the sample's.
    prints = {r.case_id: r.content_hash for r in world.table("fingerprints", FingerprintRow)}
    assert all(prints[s.case_id] == s.images[0].content_hash for s in published.samples)


def test_without_the_pass_a_plan_is_what_it_was(world):
    workspace = world.prepared()
    before = plan(workspace, EVERYTHING, QUIET)
    assert not before.left_out()
    assert not (world.folder / "out" / "identity").exists()


@pytest.mark.parametrize(("mode", "lost"), [("drop", 2), ("drop_exact", 1), ("keep", 0)])
def test_the_recipe_says_what_becomes_of_copies_and_they_never_part(world, mode, lost):
    workspace = world.prepared(duplicates=mode)
    take_fingerprints(workspace, Engine(1), QUIET)
    made = plan(workspace, EVERYTHING, QUIET)
    assert len(made.left_out()) == lost
    at = {a.case_id: a for a in made.assignments}
    for one, two in (("first-one0", "again-two0"), ("first-one1", "again-two1")):
        assert at[one].group == at[two].group
        assert len({at[one].split, at[two].split} - {None}) == 1


def test_only_what_changed_is_read_again(world):
    workspace = world.prepared()
    first = take_fingerprints(workspace, Engine(1), QUIET)
    again = take_fingerprints(workspace, Engine(1), QUIET)
    assert (again.read, again.path) == (0, first.path)
    write(scan("person 5"), world.folder / "data" / "again" / "two4.nii.gz")
    os.utime(world.folder / "data" / "again" / "two4.nii.gz", (1_000_000_001, 1_000_000_001))
    write(scan("person 6"), world.folder / "data" / "again" / "two6.nii.gz")
    take_inventory(workspace, Engine(1), QUIET)
    changed = take_fingerprints(workspace, Engine(1), QUIET)
    assert (changed.read, changed.cases) == (2, 8)
    rows = world.table("fingerprints", FingerprintRow)
    assert sorted(r.case_id for r in rows) == sorted({r.case_id for r in rows})
    assert not list((world.folder / "out" / "identity" / "parts").iterdir())


def test_fingerprints_of_changed_files_do_not_count(world, capsys):
    workspace = world.prepared()
    take_fingerprints(workspace, Engine(1), QUIET)
    write(scan("person 5"), world.folder / "data" / "again" / "two0.nii.gz")
    os.utime(world.folder / "data" / "again" / "two0.nii.gz", (1_000_000_001, 1_000_000_001))
    take_inventory(workspace, Engine(1), QUIET)
    made = plan(workspace, EVERYTHING, Console())
    assert {a.case_id for a in made.left_out()} == {"first-one1"}
    assert "1 of 7 cases have no fingerprint of their present files" in capsys.readouterr().err


def test_an_unreadable_image_is_told_and_harms_nothing(world):
    damaged = world.folder / "data" / "again" / "two4.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    workspace = world.prepared()
    taken = take_fingerprints(workspace, Engine(1), QUIET)
    assert sum(taken.faults.values()) == 1
    assert "1 unreadable" in taken.line()
    assert len(plan(workspace, EVERYTHING, QUIET).left_out()) == 2


def test_a_pass_that_was_interrupted_goes_on(world, monkeypatch):
    workspace = world.prepared()
    monkeypatch.setattr(fingerprint, "CASES_PER_CHUNK", 2)
    with monkeypatch.context() as broken:
        broken.setattr(fingerprint, "_merge", lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(OSError, match="full"):
            take_fingerprints(workspace, Engine(1), QUIET)
    parts = {p: p.stat().st_mtime_ns for p in (world.folder / "out" / "identity" / "parts").iterdir()}
    assert len(parts) == 4
    seen = {}

    def remove(store, paths):
        seen.update({p: p.stat().st_mtime_ns for p in parts})

    monkeypatch.setattr(fingerprint.commit, "remove_all", remove)
    taken = take_fingerprints(workspace, Engine(1), QUIET)
    assert seen == parts  # none was written again
    assert taken.images == 7


def torn_splits(world):
    """Splits whose draw puts first-one2 and first-one3 in train and in test."""
    keys = world.workspace(("first",)).keys
    patients = [keys.patient("first", f"one{n}") for n in (2, 3)]
    key = next(k for k in map(str, range(100)) if len({draw(k, "split", p) < 0.5 for p in patients}) == 2)
    return {"train": 0.5, "val": 0.0, "test": 0.5, "key": key}


def publish_first(world, splits):
    """Publish the source `first` alone, without a pass; returns the split of each case."""
    workspace = world.workspace(("first",), splits=splits)
    runs.run(workspace, EVERYTHING, Engine(1), BuildOptions(), QUIET)
    published = load_published(workspace.corpus)
    assert published is not None
    return {case_id: split for case_id, _, split in published.members()}


def test_published_assignments_never_move_and_a_torn_component_is_told(world, capsys):
    splits = torn_splits(world)
    before = publish_first(world, splits)
    one, other = sorted(("first-one2", "first-one3"), key=before.__getitem__)
    assert (before[one], before[other]) == ("test", "train")
    (world.folder / "links.csv").write_text(
        "source_a,case_a,source_b,case_b,kind,evidence\n"
        f"first,{one.removeprefix('first-')},first,{other},derived,their page\n"
        f"first,{one},again,two4,derived,their page\n"
    )
    workspace = world.prepared(identity={"links": ["links.csv"]}, splits=splits)
    take_fingerprints(workspace, Engine(1), QUIET)
    made = plan(workspace, EVERYTHING, Console())
    told = capsys.readouterr().err
    assert f"{other} is published in {before[other]}, where it must not be" in told
    assert f"withdraw {workspace.recipe_path} {other}" in told
    left = {a.case_id: a.left_out for a in made.left_out()}
    assert left["again-two4"] == Reason.PATIENT_CONFLICT
    assert left["again-two0"] == Reason.DUPLICATE  # of a published sample
    published = load_published(workspace.corpus)
    assert published is not None
    assert {case_id: split for case_id, _, split in published.members()} == before
    verdicts = {r.case_id: r.verdict for r in world.table("cases", IdentityRow)}
    assert verdicts[other] == "drop"
    assert verdicts[one] is None


def test_a_benchmark_known_by_its_fingerprints_alone_is_never_trained_on(world):
    theirs = world.prepared(sources=("again",))
    path = take_fingerprints(theirs, Engine(1), QUIET).path
    (world.folder / "benchmark.parquet").write_bytes(theirs.corpus.read(path))
    workspace = world.prepared(
        sources=("first",), corpus="ours", out="ours", identity={"known": ["benchmark.parquet"]},
        splits={"train": 0.9, "val": 0.1, "test": 0.0, "never_train": ["again"]},
    )  # fmt: skip
    take_fingerprints(workspace, Engine(1), QUIET)
    made = plan(workspace, EVERYTHING, QUIET)
    assert {a.case_id: a.left_out for a in made.left_out()} == {
        "first-one0": Reason.NEVER_TRAIN,
        "first-one1": Reason.NEVER_TRAIN,
    }
    assert read_latest(workspace).recipe["splits"]["never_train"] == ["again"]
    assert "identity" not in read_latest(workspace).recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": {"train": 0.8, "val": 0.2, "never_train": ["btvc"]}}, "never_train names 'btvc'"),
        ({"identity": {"links": ["links.csv"]}}, "links.csv, which is not there"),
        ({"identity": {"known": ["recipe.yaml"]}}, "no Parquet file of fingerprints"),
        ({"identity": {"links": ["recipe.yaml"]}}, "a table of links"),
    ],
)
def test_wrong_use_is_told_before_anything_is_planned(world, changes, message):
    workspace = world.prepared(**changes)
    with pytest.raises(UsageError, match=message):
        plan(workspace, EVERYTHING, QUIET)


def test_a_pass_needs_an_inventory(world):
    with pytest.raises(UsageError, match="no inventory yet"):
        take_fingerprints(world.workspace(), Engine(1), QUIET)


def test_links_may_be_a_parquet_table(world):
    (world.folder / "links.csv").write_text(
        "source_a,case_a,source_b,case_b,kind,evidence\nfirst,one2,again,two4,same_patient,x\n"
    )
    links = identity.read_links(world.folder / "links.csv")
    pq.write_table(arrow.to_table(type(links[0]), links), world.folder / "links.parquet")
    assert identity.read_links(world.folder / "links.parquet") == links
    workspace = world.prepared(identity={"links": ["links.parquet"]})
    known = identity.known(workspace, read_inventory(workspace), None, QUIET)
    assert known is not None
    assert known.graph.component["first-one2"] == known.graph.component["again-two4"]


def test_the_command_says_one_line_and_one_object(command_line, tmp_path):
    assert command_line.run("inventory", tmp_path / "out", "--workers", "1", "--quiet").returncode == 0
    done = command_line.run("fingerprint", tmp_path / "out", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["read"] == result["cases"] == result["identity"]["cases"]
    assert result["identity"]["edges"]["exact"] >= 1
    text = command_line.run("fingerprint", tmp_path / "out", "--workers", "1", "--quiet")
    assert "0 cases read" in text.stdout
    assert "exact" in text.stdout
    missing = command_line.run("fingerprint", tmp_path / "nothing", "--workers", "1")
    assert missing.returncode == 2
    assert "there is no inventory yet" in missing.stderr


class Heard(Console):
    """Keeps what is remarked."""

    def __init__(self):
        super().__init__(quiet=True, as_json=True)
        self.remarks = []

    def remark(self, text):
        self.remarks.append(text)


@pytest.mark.parametrize("named", ["as they were", "anew"])
def test_facts_of_the_catalog_join_cases_by_name_or_say_that_nothing_does(world, named):
    """KiTS23 holds the cases of KiTS21, and that those of KiTS19, under their names; nobody took fingerprints here."""
    again = world.folder / "data" / "again"
    for n in (0, 1, 4):
        (again / f"two{n}.nii.gz").rename(again / f"{'one' if named == 'as they were' else 'two'}{n}.nii.gz")
    lawful = {"accept": ["CC-BY-4.0", "CC-BY-NC-SA-4.0"], "unknown": "accept"}
    workspace = world.prepared(listed={"first": "kits19", "again": "kits23"}, terms=lawful)
    heard = Heard()
    made = plan(workspace, EVERYTHING, heard)
    assert [o["id"] for o in made.sources["again"]["origins"]] == ["kits19", "kits21"]
    (row,) = world.table("overlaps", IdentityOverlap)
    assert (row.source_a, row.source_b, row.relation, row.sure) == ("again", "first", "through kits21", True)
    group = {a.case_id: a.group for a in made.assignments}
    told = [r for r in heard.remarks if "overlap facts" in r]
    if named == "as they were":
        assert (row.cases_a, row.cases_b, row.found, row.images) == (3, 4, 2, 0)
        assert told == []
        edges = {(e.case_a, e.case_b, e.kind, e.evidence) for e in world.table("edges", IdentityEdge)}
        assert ("again-one0", "first-one0", Kind.LINK, "through kits21: equal case names") in edges
        assert all(group[f"again-one{n}"] == group[f"first-one{n}"] for n in (0, 1))
        assert group["again-one4"] != group["first-one2"]
    else:
        assert (row.found, row.images) == (0, 0)
        assert len(told) == 1
        assert told[0].startswith(
            "again (3 cases) and first (4) share cases, say the overlap facts (through kits21), and noth"
        )
