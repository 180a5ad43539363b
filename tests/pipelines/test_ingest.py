"""`run` as a scheduled job: what is new becomes one generation, once, also when two schedulers fire at the same moment."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import mdfp
from examples import phantom
from mdfp.verify import verify
from pipelines import drift
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.publish import LostRaceError
from pipelines.runner import Engine
from pipelines.status import status
from transforms.plan.planner import Selection

SOURCE = "phantom-ct-structures"
ONLY = Selection(only=(SOURCE,))
ROUNDS = 3


@pytest.fixture(scope="module")
def newcomers(tmp_path_factory):
    """Folders of cases that are not in the bucket yet, each of another patient."""
    folder = tmp_path_factory.mktemp("newcomers")
    phantom.write_bucket(folder, scale="small", patients=24)
    return sorted(folder.glob(f"{SOURCE}/s03*"))[2:]


@pytest.fixture
def daily(bucket, make_workspace, console, tmp_path):
    """A bucket that others write to, and a job that takes in what is new."""
    shutil.copytree(bucket.folder, tmp_path / "bucket")
    theirs = type(bucket)(tmp_path / "bucket", bucket.truth)
    workspace = make_workspace(tmp_path / "corpus", source=theirs)

    def job(engine=Engine(), say=console):  # noqa: B008 (frozen)
        return runs.run(workspace, ONLY, engine, BuildOptions(max_holes=0.9), say)

    job()
    return theirs, workspace, job


def corpus_of(workspace):
    return mdfp.open(workspace.corpus.root)


def test_two_schedulers_at_the_same_moment_make_one_generation(daily, command_line, newcomers):
    bucket, workspace, _ = daily
    words = ("--only", SOURCE, "--max-holes", "0.9", "--workers", "1", "--json")
    lines = type(command_line)(bucket)
    assert len(newcomers) >= ROUNDS
    for number, new in enumerate(newcomers[:ROUNDS], start=2):
        before = corpus_of(workspace).manifest
        shutil.copytree(new, bucket.folder / SOURCE / new.name)
        both = [lines.start("run", workspace.corpus.folder, *words) for _ in range(2)]
        with ThreadPoolExecutor(2) as pool:
            ended = list(pool.map(lambda p: p.communicate(timeout=300), both))
        assert [p.returncode for p in both] == [0, 0], ended
        assert all("Traceback" not in stderr for _, stderr in ended), ended
        assert all(json.loads(stdout) for stdout, _ in ended)
        after = corpus_of(workspace)
        assert (after.manifest.number, after.manifest.parent) == (number, number - 1)
        assert set(before.shards) < set(after.manifest.shards)
        assert {s.generation for s in set(after.manifest.shards) - set(before.shards)} == {number}
        assert max(Counter(s.case_id for s in after.samples).values()) == 1
        assert f"{SOURCE}-{new.name}" in {s.case_id for s in after.samples}
    assert verify(corpus_of(workspace), quick=True) == []


def test_whoever_publishes_second_plans_again(daily, newcomers, monkeypatch, console):
    """The other one publishes between our build and our publish."""
    bucket, workspace, job = daily
    for new in newcomers[:2]:
        shutil.copytree(new, bucket.folder / SOURCE / new.name)
    original, raced = runs.publish, []

    def publish(*words):
        if not raced:
            raced.append(1)
            other = Selection(only=(f"{SOURCE}-{newcomers[0].name}",))
            runs.run(workspace, other, Engine(), BuildOptions(max_holes=0.9), console)
        return original(*words)

    monkeypatch.setattr(runs, "publish", publish)
    finished = job()
    assert finished.published.manifest.number == 3
    generations = {s.case_id: s.generation for s in corpus_of(workspace).samples}
    assert generations[f"{SOURCE}-{newcomers[0].name}"] == 2
    assert generations[f"{SOURCE}-{newcomers[1].name}"] == 3


def test_who_loses_for_ever_says_so(daily, newcomers, monkeypatch):
    bucket, _, job = daily
    shutil.copytree(newcomers[0], bucket.folder / SOURCE / newcomers[0].name)

    def lose(*words):
        raise LostRaceError("manifest 2 was published by another run meanwhile; run again to continue from it")

    monkeypatch.setattr(runs, "publish", lose)
    with pytest.raises(LostRaceError, match="run again"):
        job()


def test_an_unchanged_source_costs_a_listing_and_starts_no_engine(daily, monkeypatch):
    _, workspace, job = daily

    class Idle(Engine):
        def run(self, *words, **options):
            raise AssertionError("nothing is there to read or to build")

    before = {f: f.stat().st_mtime_ns for f in workspace.corpus.folder.rglob("*.*") if f.is_file()}
    assert job(Idle()) is None
    after = {f: f.stat().st_mtime_ns for f in workspace.corpus.folder.rglob("*.*") if f.is_file()}
    changed = {f.name for f in after if before.get(f) != after[f]}
    assert changed <= {"inventory.json", "sources.json"}


def test_what_is_new_in_one_source_costs_no_header_of_another(daily, newcomers, monkeypatch):
    from transforms import take_inventory

    bucket, _, job = daily
    shutil.copytree(newcomers[0], bucket.folder / SOURCE / newcomers[0].name)
    read = Counter()
    for name in ("inventory_moments", "read_header"):
        original = getattr(take_inventory, name)

        def counting(files, *words, _original=original, **more):
            read[getattr(files, "source", None) or next(w.id for w in words if hasattr(w, "layout"))] += 1
            return _original(files, *words, **more)

        monkeypatch.setattr(take_inventory, name, counting)
    finished = job()
    assert finished.published.manifest.number == 2
    assert set(read) == {SOURCE}


def test_changed_and_deleted_objects_of_published_cases_are_told(daily, capfd):
    bucket, workspace, job = daily
    samples = corpus_of(workspace).samples
    gone, changed, touched = sorted(s.case_id.removeprefix(f"{SOURCE}-") for s in samples)[:3]
    folder = bucket.folder / SOURCE
    shutil.rmtree(folder / gone)
    (folder / changed / "ct.nii.gz").write_bytes((folder / changed / "ct.nii.gz").read_bytes() + b"more")
    os.utime(folder / touched / "ct.nii.gz", (1, 1))
    manifest = corpus_of(workspace).manifest

    job(say=Console())

    said = capfd.readouterr().err
    assert "1 published cases gone" in said
    assert "1 published cases changed" in said
    assert status(workspace.corpus).changed_sources == {"gone": 1, "changed": 1, "touched": 1}
    assert corpus_of(workspace).manifest == manifest  # what is published stays as it is
    kept = json.loads((workspace.corpus.folder / drift.PATH).read_bytes())
    by_kind = {d["kind"]: d["cases"] for d in kept["drift"]}
    assert by_kind == {
        "gone": [f"{SOURCE}-{gone}"], "changed": [f"{SOURCE}-{changed}"], "touched": [f"{SOURCE}-{touched}"],
    }  # fmt: skip
    assert {o["expectation"]: o["success"] for o in kept["outcomes"]}["published_cases_not_gone"] is False
