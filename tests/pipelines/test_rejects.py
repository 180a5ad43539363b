"""What a publish that was killed right after its manifest left unsaid, the next plan says in its stead."""

from __future__ import annotations

import shutil

import pytest

from pipelines.plan import plan
from pipelines.publish import publish
from pipelines.rejects import write_missing_rejects
from transforms.plan.planner import Selection


@pytest.fixture
def unfinished(corpus, make_workspace, tmp_path):
    """A corpus whose publish died between manifest and rejects."""
    shutil.copytree(corpus.folder, tmp_path / "corpus")
    (tmp_path / "corpus" / "rejects" / "000001.parquet").unlink()
    (tmp_path / "corpus" / "LATEST").unlink()
    return make_workspace(tmp_path / "corpus")


def test_the_next_plan_knows_the_holes_of_a_publish_that_was_killed(unfinished, corpus, console):
    made = plan(unfinished, Selection(), console)
    assert made.shards == ()
    written = unfinished.corpus.folder / "rejects" / "000001.parquet"
    assert written.read_bytes() == (corpus.folder / "rejects" / "000001.parquet").read_bytes()


def test_nothing_is_written_where_nothing_is_missing(unfinished):
    assert write_missing_rejects(unfinished, 1) == [1]
    assert write_missing_rejects(unfinished, 1) == []
    assert write_missing_rejects(unfinished, 0) == []


def test_a_generation_whose_plan_was_removed_is_passed_over(unfinished):
    shutil.rmtree(unfinished.corpus.folder / "plans")
    assert write_missing_rejects(unfinished, 1) == []


def test_a_late_publish_leaves_what_speaks_of_a_newer_manifest_alone(make_workspace, console, tmp_path, monkeypatch):
    from pipelines import publish as module
    from pipelines.build import BuildOptions, build
    from pipelines.inventory import take_inventory
    from pipelines.runner import Engine

    workspace = make_workspace(tmp_path / "corpus")
    take_inventory(workspace, Engine(), console)
    options = BuildOptions(max_holes=0.9)
    built = build(workspace, plan(workspace, Selection(only=("phantom-mr",)), console), Engine(), options, console)
    newer = iter([0])  # another publish follows while this one is between its manifest and its report
    monkeypatch.setattr(module, "newest_number", lambda store: next(newer, 2))
    published = publish(workspace, built, console)
    assert published.new
    assert (tmp_path / "corpus" / "rejects" / "000001.parquet").exists()
    assert not (tmp_path / "corpus" / "ATTRIBUTION.md").exists()
    assert not (tmp_path / "corpus" / "LATEST").exists()
