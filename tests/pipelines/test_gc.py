"""Garbage is what nothing names and nobody will name; the rest stays, byte for byte."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from typer.testing import CliRunner

import mdfp
from mdfp.verify import verify
from pipelines import gc as collecting
from pipelines.build import BuildOptions, build
from pipelines.cli import app
from pipelines.gc import CorpusMovedError, collect
from pipelines.plan import plan
from pipelines.runner import Engine
from transforms.plan.planner import Selection
from transforms.store import CorpusStore

DAY = 86_400


@pytest.fixture
def littered(corpus, make_workspace, console, tmp_path):
    """A published corpus, a month old, with everything that killed runs leave behind."""
    out = tmp_path / "corpus"
    shutil.copytree(corpus.folder, out)
    litter = {
        "shards/train/phantom-mr-00000-00000000deadbeef.tar": "shards",
        "rows/train/phantom-mr-00000-00000000deadbeef.parquet": "rows",
        "index/000001-00000000dead.parquet": "index",
        "index/000009-00000000dead.parquet": "index",
        "commits/train/phantom-mr-00000.00000000deadbeef.json": "markers",
        "plans/00000000deadbeef-00000000/cases.parquet": "plans",
        "inventory/00000000deadbeef/parts/00000.jsonl": "inventories",
        "shards/train/.part-k1ll3d": "parts",
    }
    for path in litter:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(b"left behind")
    age(out, 30)
    return CorpusStore(str(out)), litter


def age(folder, days):
    then = time.time() - days * DAY
    for file in folder.rglob("*"):
        if file.is_file():
            os.utime(file, (then, then))


def content(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_without_delete_nothing_is_touched(littered):
    store, litter = littered
    before = content(store.folder)
    done = collect(store, older_than_days=7, delete=False)
    assert litter.items() <= {g.object.path: g.kind for g in done.found}.items()
    assert content(store.folder) == before


def test_what_is_deleted_is_litter_and_the_corpus_is_whole(littered):
    store, litter = littered
    before = content(store.folder)
    done = collect(store, older_than_days=7, delete=True)
    after = content(store.folder)
    gone = set(before) - set(after)
    assert gone == {g.object.path for g in done.found} >= set(litter)
    assert {k: after[k] for k in after} == {k: before[k] for k in after}
    opened = mdfp.open(str(store.folder))
    assert verify(opened, quick=True) == []
    assert collect(store, older_than_days=7, delete=True).found == ()


def test_nothing_named_by_any_manifest_or_its_plan_is_garbage(littered, corpus):
    store, litter = littered
    found = {g.object.path for g in collect(store, older_than_days=0, delete=False).found}
    manifest = mdfp.open(str(store.folder)).manifest
    assert not found & {s.path for s in manifest.shards}
    assert not found & {i.path for i in manifest.indexes}
    revisions = found - set(litter)
    # The first revision of the plan was replaced when duplicates were found: its plan, markers and shards are litter too.
    assert all(p.split("/")[0] in ("plans", "commits", "shards", "rows", "telemetry") for p in revisions)


def test_after_collecting_everything_still_runs(littered, make_workspace, console):
    store, _ = littered
    collect(store, older_than_days=0, delete=True)
    workspace = make_workspace(store.folder)
    assert build(workspace, plan_again(workspace, console), Engine(), BuildOptions(max_holes=0.9), console).samples >= 0


def plan_again(workspace, console):
    from pipelines.inventory import take_inventory
    from pipelines.plan import read_latest

    take_inventory(workspace, Engine(), console)
    plan(workspace, Selection(), console)
    return read_latest(workspace)


def test_what_a_running_build_just_wrote_is_spared(littered):
    store, _ = littered
    fresh = store.folder / "shards/train/phantom-mr-00000-1111111111111111.tar"
    fresh.write_bytes(b"a marker will name it in a moment")
    collect(store, older_than_days=7, delete=True)
    assert fresh.exists()


def test_a_plan_that_appears_meanwhile_stops_the_deletion(littered, monkeypatch):
    store, _ = littered
    before = content(store.folder)
    original, calls = collecting.needed, []

    def needed(*words):
        calls.append(1)
        if len(calls) == 2:
            (store.folder / "plans/LATEST").write_text("plans/00000000deadbeef-00000000\n")
        return original(*words)

    monkeypatch.setattr(collecting, "needed", needed)
    with pytest.raises(CorpusMovedError, match="nothing was deleted, run gc again"):
        collect(store, older_than_days=7, delete=True)
    assert set(content(store.folder)) == set(before)


def test_the_command_is_a_dry_run_and_says_what_it_would_free(littered):
    store, litter = littered
    ended = CliRunner().invoke(app, ["gc", str(store.folder)])
    assert ended.exit_code == 0, ended.output
    assert "could go; delete them with --delete" in ended.output
    assert all((store.folder / path).exists() for path in litter)
    ended = CliRunner().invoke(app, ["gc", str(store.folder), "--delete", "--json"])
    found = json.loads(ended.stdout)
    assert found["deleted"]
    assert found["found"]["index"]["objects"] == 2
