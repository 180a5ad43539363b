"""The promise: the same recipe over the same files gives the same bytes, however, wherever and on whatever it is run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from transforms.plan.planner import Selection
from transforms.store import SourceStore

KILLS = 6


def test_two_processes_give_the_bytes_of_one_and_end_with_it(command_line, corpus, digests_of, tmp_path):
    process = command_line.start("run", tmp_path / "corpus", "--max-holes", "0.9", "--quiet", "--workers", "2")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    left = subprocess.run(["ps", "-o", "pid=", "-g", str(process.pid)], capture_output=True, text=True, check=False)
    assert left.stdout.split() == []
    assert digests_of(tmp_path / "corpus") == corpus.digests()


def test_the_order_of_a_listing_does_not_matter(build_corpus, corpus, tmp_path, monkeypatch):
    in_order = SourceStore.list

    def shuffled(store):
        listing = list(in_order(store))
        random.Random(7).shuffle(listing)
        return iter(listing)

    monkeypatch.setattr(SourceStore, "list", shuffled)
    assert build_corpus(tmp_path / "corpus").digests() == corpus.digests()


def test_it_does_not_matter_where_files_lie_and_when_they_were_written(build_corpus, corpus, bucket, tmp_path):
    copied = type(bucket)(tmp_path / "another place" / "copied", bucket.truth)
    shutil.copytree(bucket.folder, copied.folder, copy_function=shutil.copyfile)
    built = build_corpus(tmp_path / "other" / "corpus", source=copied)
    assert built.digests() == corpus.digests()
    assert built.plan.plan_id == corpus.plan.plan_id
    assert built.plan.edition != corpus.plan.edition


def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bytes(command_line, corpus, digests_of, tmp_path):
    moments = random.Random(20)
    out = tmp_path / "corpus"
    done = []
    for _ in range(KILLS):
        process = command_line.start("run", out, "--max-holes", "0.9", "--quiet", "--workers", "1")
        # The interpreter takes about three seconds to its first write, the whole run ten.
        time.sleep(moments.uniform(3, 10))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        done.append(len(list(out.glob("commits/*/*.json"))))
    ended = command_line.run("run", out, "--max-holes", "0.9", "--workers", "1")
    assert ended.returncode == 0, ended.stderr
    assert done == sorted(done)
    assert digests_of(out) == corpus.digests()
    assert (out / "LATEST").read_text() == "1\n"
    assert (out / "report.html").stat().st_size > 10_000


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the promise is made for x86-64")
def test_features_of_the_cpu_do_not_reach_the_bytes(command_line, corpus, digests_of, tmp_path):
    """What numpy, numba and BLAS do on an older machine, asked for by their own switches."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    older = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(f for f in __cpu_dispatch__ if __cpu_features__[f]),
        "NUMBA_CPU_NAME": "x86-64-v2",
        "NUMBA_CACHE_DIR": str(tmp_path / "numba"),
        "OPENBLAS_CORETYPE": "Haswell",
    }
    ended = command_line.run("run", tmp_path / "corpus", "--max-holes", "0.9", "--workers", "1", **older)
    assert ended.returncode == 0, ended.stderr
    assert digests_of(tmp_path / "corpus") == corpus.digests()


def test_files_that_were_touched_after_the_plan_are_planned_anew(
    build_corpus, bucket, make_workspace, console, tmp_path
):
    """The plan's id does not depend on mtimes, so that both plans have the same one; their objects differ."""
    copied = type(bucket)(tmp_path / "copied", bucket.truth)
    shutil.copytree(bucket.folder, copied.folder)
    only = Selection(only=("phantom-mr",))
    workspace = make_workspace(tmp_path / "corpus", source=copied)
    take_inventory(workspace, Engine(), console)
    before = plan(workspace, only, console)
    for file in copied.folder.rglob("*.*"):
        os.utime(file)
    built = build_corpus(tmp_path / "corpus", source=copied, selection=only)
    assert built.plan.plan_id == before.plan_id
    assert len(built.samples) == built.plan.planned > 0
