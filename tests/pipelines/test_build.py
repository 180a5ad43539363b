"""A build while it goes on, when it may not go on, and when somebody stops it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import time

import pytest

from mdfp.errors import UsageError
from pipelines.build import AuditError, BuildOptions, TooManyHolesError, audit, build
from pipelines.inventory import take_inventory
from pipelines.plan import plan, read_latest
from pipelines.publish import publish
from pipelines.runner import Engine
from pipelines.status import status
from transforms import environment
from transforms.plan.planner import Selection
from transforms.shard import marker_path


@pytest.fixture
def planned(make_workspace, console, tmp_path):
    """A workspace with a plan of the MR source: no faults in it."""
    workspace = make_workspace(tmp_path / "corpus")
    take_inventory(workspace, Engine(), console)
    return workspace, plan(workspace, Selection(only=("phantom-mr",)), console)


def test_status_counts_what_is_done(planned, console):
    workspace, made = planned
    found = status(workspace.corpus)
    assert (found.shards_done, found.shards_planned) == (0, len(made.shards))
    assert (found.cases_done, found.cases_planned, found.next_step) == (0, 4, "build")

    built = build(workspace, made, Engine(), BuildOptions(), console)
    half = made.shards[0]
    marker = workspace.corpus.folder / marker_path(half)
    kept = marker.read_bytes()
    marker.unlink()
    found = status(workspace.corpus)
    assert (found.shards_done, found.cases_done) == (len(made.shards) - 1, 4 - len(half.cases))
    assert (found.samples, found.published, found.next_step) == (4 - len(half.cases), 0, "build")

    marker.write_bytes(kept)
    found = status(workspace.corpus)
    assert (found.shards_done, found.bytes, found.next_step) == (len(made.shards), built.bytes, "publish")
    publish(workspace, built, console)
    found = status(workspace.corpus)
    assert (found.published, found.next_step) == (1, "nothing: all is published")
    (workspace.corpus.folder / built.markers[0].path).unlink()
    assert status(workspace.corpus).next_step == "repair"


def test_status_before_anything_and_after_the_inventory(make_workspace, console, tmp_path):
    workspace = make_workspace(tmp_path / "corpus")
    assert status(workspace.corpus).next_step == "inventory, then plan"
    assert not (tmp_path / "corpus").exists()


def test_a_shard_that_is_not_there_in_full_is_no_part_of_an_audit(planned, console):
    workspace, made = planned
    with pytest.raises(AuditError, match=r"is not committed; run build again"):
        audit(workspace, made)
    built = build(workspace, made, Engine(), BuildOptions(), console)
    assert [m.fingerprint for m in audit(workspace, made)] == [s.fingerprint for s in made.shards]
    tar = workspace.corpus.folder / built.markers[0].path
    content = tar.read_bytes()
    tar.write_bytes(content[:-1])
    with pytest.raises(AuditError, match="is not committed"):
        audit(workspace, made)
    tar.unlink()
    again = build(workspace, made, Engine(), BuildOptions(), console)
    assert tar.read_bytes() == content
    assert again.markers == built.markers


def test_what_is_committed_is_not_built_again(planned, console):
    workspace, made = planned
    build(workspace, made, Engine(), BuildOptions(), console)
    before = {f: f.stat().st_mtime_ns for f in workspace.corpus.folder.rglob("*.tar")}
    build(workspace, made, Engine(), BuildOptions(), console)
    assert {f: f.stat().st_mtime_ns for f in workspace.corpus.folder.rglob("*.tar")} == before


def test_another_environment_is_refused_without_rebuild(planned, console, monkeypatch):
    workspace, made = planned
    now = environment.locked()
    monkeypatch.setattr(environment, "locked", lambda: now | {"blosc2": "99.0"})
    with pytest.raises(UsageError, match=r"blosc2 99\.0 \(planned .*--rebuild"):
        build(workspace, made, Engine(), BuildOptions(), console)
    assert not list(workspace.corpus.folder.rglob("*.tar"))
    assert build(workspace, made, Engine(), BuildOptions(rebuild=True), console).samples == 4


def test_another_pixel_version_is_refused_always(planned, console):
    workspace, made = planned
    older = dataclasses.replace(made, pixel_version=made.pixel_version - 1)
    with pytest.raises(UsageError, match="make a new plan"):
        build(workspace, older, Engine(), BuildOptions(rebuild=True), console)


def test_too_many_holes_stop_before_anything_is_published(make_workspace, console, tmp_path):
    workspace = make_workspace(tmp_path / "corpus")
    take_inventory(workspace, Engine(), console)
    made = plan(workspace, Selection(only=("phantom-ct-msd",)), console)
    with pytest.raises(TooManyHolesError, match=r"phantom-ct-msd: 3 of 7 .*unmapped_label: 1.*raise --max-holes"):
        build(workspace, made, Engine(), BuildOptions(max_holes=0.4), console)
    assert not (tmp_path / "corpus" / "manifests").exists()
    built = build(workspace, read_latest(workspace), Engine(), BuildOptions(max_holes=0.43), console)
    assert built.samples == 4


def test_the_gate_of_holes_on_the_command_line(command_line, tmp_path):
    ended = command_line.run("run", tmp_path / "corpus", "--only", "phantom-ct-msd", "--quiet", "--workers", "1")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "more than --max-holes 0.1 allows" in ended.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(workers, command_line, corpus, digests_of, tmp_path):
    out = tmp_path / "corpus"
    process = command_line.start("run", out, "--max-holes", "0.9", "--workers", str(workers))
    _wait_for(lambda: list(out.glob("plans/*/plan.json")), process)
    if workers == 1:
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    else:
        os.kill(process.pid, signal.SIGINT)  # a supervisor to the one it started
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in errors
    resume = errors.strip().splitlines()[-1].strip()
    assert resume.startswith("python -m pipelines run ")
    assert f"--out {out}" in resume
    _wait_for(lambda: not _members(process.pid), None)
    if workers == 1:
        ended = command_line.run("run", out, "--max-holes", "0.9", "--workers", "1", "--json")
        assert ended.returncode == 0, ended.stderr
        assert json.loads(ended.stdout.splitlines()[-1])["manifest"] == 1
        assert digests_of(out) == corpus.digests()


def _members(group):
    return subprocess.run(
        ["ps", "-o", "pid=", "-g", str(group)], capture_output=True, text=True, check=False
    ).stdout.split()


def _wait_for(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)
