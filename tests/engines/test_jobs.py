"""What every engine must do with a graph of our shape: count, say what went wrong, and bear to do a thing twice."""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from pipelines.failure import WorkerError
from pipelines.runner import Engine
from tests.engines import jobs

pytestmark = pytest.mark.engines

COUNT = 40
NAMES = {"processes": "local", "spark-local": "spark", "spark-cluster": "spark"}
SUMS = {n: sum(range(n, COUNT, 10)) for n in range(10)}


def made(engine, beam_args):
    return Engine(1 if engine.word == "local" else 2, beam_args, NAMES.get(engine.word, engine.word))


def sums(folder):
    return {n: int((folder / f"sum-{n}").read_text()) for n in range(10)}


def test_it_counts_and_groups(engine, beam_args, tmp_path):
    counted = made(engine, beam_args).run(functools.partial(jobs.build, folder=str(tmp_path), count=COUNT), tasks=COUNT)
    assert sums(tmp_path) == SUMS
    assert counted["Jobs/seen"] == len(jobs.calls(tmp_path, "Sort")) >= COUNT
    assert counted["Jobs/groups"] == len(jobs.calls(tmp_path, "Collect")) >= 10
    assert set(jobs.calls(tmp_path, "Sort")) == {str(n) for n in range(COUNT)}


def test_what_a_worker_raises_comes_back_with_its_own_message(engine, beam_args, tmp_path):
    always = functools.partial(jobs.build, folder=str(tmp_path / "not there"), count=COUNT)
    with pytest.raises(OSError, match=r"No such file or directory.*not there") as caught:
        made(engine, beam_args).run(always, tasks=COUNT)
    assert "Traceback" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert engine.word == "local" or isinstance(caught.value, WorkerError)


@pytest.mark.needs_engine("spark-local")
def test_spark_calls_steps_again_and_the_result_is_the_same(tmp_path):
    """Failing attempts are repeated, whole partitions of them; results are written under the names of their content."""
    failing = frozenset({3, 8, 21})
    engine = Engine(2, ("--spark_master_url=local[2,4]",), "spark")
    engine.run(functools.partial(jobs.build, folder=str(tmp_path), count=COUNT, fails_once=failing), tasks=4)
    often = Counter(jobs.calls(tmp_path, "Sort"))
    assert all(often[str(n)] >= 2 for n in failing)
    assert often.total() > COUNT + len(failing), "a partition is repeated as a whole"
    assert sums(tmp_path) == SUMS
