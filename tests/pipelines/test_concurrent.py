"""Two runs at once into one folder: one corpus, no shard twice, one manifest 1."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import mdfp
from mdfp.verify import verify
from pipelines.build import BuildOptions, build
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.publish import LostRaceError, publish
from pipelines.runner import Engine
from transforms.plan.planner import Selection

MR = Selection(only=("phantom-mr",))
CT = Selection(only=("phantom-ct-structures",))


def test_two_runs_at_once_converge_to_one_corpus(command_line, corpus, digests_of, tmp_path):
    out = tmp_path / "corpus"
    words = ("--max-holes", "0.9", "--workers", "1", "--quiet", "--json")
    runs = [command_line.start("run", out, *words) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda p: p.communicate(), runs))
    codes = sorted(p.returncode for p in runs)
    assert codes[0] == 0, ended
    assert set(codes) <= {0, 1}, ended
    for process, (stdout, stderr) in zip(runs, ended, strict=True):
        assert "Traceback" not in stderr, stderr
        if process.returncode == 0:
            assert json.loads(stdout).get("manifest", 1) == 1
        else:
            assert "published by another run meanwhile; run again" in stderr
    assert digests_of(out) == corpus.digests()
    assert [f.name for f in (out / "manifests").iterdir()] == ["000001.json"]
    assert verify(mdfp.open(str(out))) == []


@pytest.fixture
def workspace(make_workspace, console, tmp_path):
    workspace = make_workspace(tmp_path / "corpus")
    take_inventory(workspace, Engine(), console)
    return workspace


def test_of_two_different_plans_for_one_number_the_second_plans_again(workspace, console):
    options = BuildOptions(max_holes=0.9)
    ours, theirs = (build(workspace, plan(workspace, s, console), Engine(), options, console) for s in (MR, CT))
    publish(workspace, theirs, console)
    before = {f: f.read_bytes() for f in workspace.corpus.folder.rglob("*") if f.is_file()}
    with pytest.raises(LostRaceError, match="made for manifest 1, the newest is 1; run plan, build and publish again"):
        publish(workspace, ours, console)
    assert {f: f.read_bytes() for f in workspace.corpus.folder.rglob("*") if f.is_file()} == before

    again = build(workspace, plan(workspace, MR, console), Engine(), options, console)
    assert publish(workspace, again, console).manifest.number == 2
    opened = mdfp.open(str(workspace.corpus.folder))
    assert {s.source for s in opened.samples} == {"phantom-mr", "phantom-ct-structures"}
    assert verify(opened) == []


def test_publishing_twice_is_publishing_once(workspace, console):
    built = build(workspace, plan(workspace, MR, console), Engine(), BuildOptions(), console)
    first, second = publish(workspace, built, console), publish(workspace, built, console)
    assert (first.new, second.new) == (True, False)
    assert first.manifest == second.manifest


def test_the_loser_of_the_last_moment_says_so(workspace, console, monkeypatch):
    """Another manifest appears between the look and the write: the create-only write decides."""
    from pipelines import publish as module

    options = BuildOptions(max_holes=0.9)
    ours, theirs = (build(workspace, plan(workspace, s, console), Engine(), options, console) for s in (MR, CT))
    publish(workspace, theirs, console)
    monkeypatch.setattr(module, "load_published", lambda store: None)
    monkeypatch.setattr(module, "newest_number", lambda store: 0)
    with pytest.raises(LostRaceError, match="manifest 1 was published by another run meanwhile"):
        publish(workspace, ours, console)
    monkeypatch.undo()
    opened = mdfp.open(str(workspace.corpus.folder))
    assert {s.source for s in opened.samples} == {"phantom-ct-structures"}
    assert verify(opened) == []
