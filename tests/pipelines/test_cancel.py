"""A build that is asked to stop ends the shard it is at, keeps what it committed, and goes on when told to."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mdfp.errors import CancelledError, UsageError
from pipelines.build import BuildOptions, build
from pipelines.cancel import cancel
from pipelines.cli import app
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from pipelines.status import status
from transforms import shard as shards
from transforms.cancel import FOLDER
from transforms.plan.planner import Selection


@pytest.fixture
def planned(make_workspace, console, tmp_path):
    workspace = make_workspace(tmp_path / "corpus")
    take_inventory(workspace, Engine(), console)
    return workspace, plan(workspace, Selection(only=("phantom-mr",)), console)


@pytest.fixture
def cancelled_at_the_first(planned, monkeypatch):
    """Somebody cancels while the first shard is being built."""
    workspace, _ = planned
    original, asked = shards.ShardBuilder.build, []

    def build_and_ask(self, work):
        if not asked:
            asked.append(cancel(workspace.corpus, "finish"))
        return original(self, work)

    monkeypatch.setattr(shards.ShardBuilder, "build", build_and_ask)
    return asked


def test_the_shard_at_hand_is_finished_and_no_other_begun(planned, cancelled_at_the_first, console):
    workspace, made = planned
    assert len(made.shards) > 1
    with pytest.raises(CancelledError, match="every shard that was committed stays"):
        build(workspace, made, Engine(), BuildOptions(), console)
    found = status(workspace.corpus)
    assert (found.shards_done, found.cancel_requests, found.next_step) == (1, 1, "build")
    assert cancelled_at_the_first[0].status.shards_done == 0


def test_a_later_build_goes_on_and_makes_the_same_bytes(planned, cancelled_at_the_first, console):
    workspace, made = planned
    with pytest.raises(CancelledError):
        build(workspace, made, Engine(), BuildOptions(), console)
    first = {f: f.stat().st_mtime_ns for f in workspace.corpus.folder.rglob("*.tar")}
    built = build(workspace, made, Engine(), BuildOptions(), console)
    assert built.samples == 4
    assert {f: f.stat().st_mtime_ns for f in first} == first
    assert [o.path for o in workspace.corpus.list(FOLDER)]  # the request stays, and is known


def test_workers_in_other_processes_stop_too(planned, console, monkeypatch):
    """The request is made right before the engine starts: no worker builds anything."""
    from pipelines import build as module

    workspace, made = planned
    original = Engine.run

    def ask_and_run(self, *words, **options):
        cancel(workspace.corpus, "finish")
        return original(self, *words, **options)

    monkeypatch.setattr(module.Engine, "run", ask_and_run)
    with pytest.raises(CancelledError):
        build(workspace, made, Engine(2), BuildOptions(), console)
    assert status(workspace.corpus).shards_done == 0


def test_there_must_be_something_to_stop(planned, console, make_workspace, tmp_path):
    with pytest.raises(UsageError, match="there is no plan"):
        cancel(make_workspace(tmp_path / "other").corpus, "finish")
    workspace, made = planned
    build(workspace, made, Engine(), BuildOptions(), console)
    with pytest.raises(UsageError, match=r"all .* are built; there is nothing to stop"):
        cancel(workspace.corpus, "finish")


def test_the_command_prints_how_to_resume(planned):
    workspace, made = planned
    ended = CliRunner().invoke(app, ["cancel", str(workspace.corpus.folder), "--now", "--json"])
    assert ended.exit_code == 0, ended.output
    content = json.loads(ended.stdout)
    assert (content["mode"], content["request"], content["shards_left"]) == ("now", 1, len(made.shards))
    assert content["resume"].startswith("python -m pipelines build ")


def test_a_cancelled_command_ends_with_code_three(planned, cancelled_at_the_first, command_line):
    workspace, made = planned
    words = command_line.words("build", workspace.corpus.folder, "--workers", "1", "--quiet")
    ended = CliRunner().invoke(app, words[words.index("build") :])
    assert (ended.exit_code, "Traceback" in ended.output) == (3, False), ended.output
    assert len(cancelled_at_the_first) == 1
    assert "go on where it stopped with" in ended.output
    assert 0 < status(workspace.corpus).shards_done < len(made.shards)
