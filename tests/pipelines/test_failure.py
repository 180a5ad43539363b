from __future__ import annotations

import subprocess

import pytest

from mdfp.errors import UsageError
from pipelines.failure import WorkerError, expected, translated
from transforms.shard import ScratchFullError

TRACEBACK = """Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "transforms/shard.py", line 79, in build
    raise ValueError("first")
{first}

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/worker/sdk_worker.py", line 310, in _execute
    response = task()
               ^^^^^^
  File "transforms/shard.py", line 79, in build
    raise ScratchFullError(
{last} [while running 'BuildShards/BuildAndCommitShard-ptransform-43']

"""


def raised(last, first="ValueError: first: of two"):
    return RuntimeError(TRACEBACK.format(first=first, last=last))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ("transforms.shard.ScratchFullError: /tmp/x: 0 MiB free; give another", "/tmp/x: 0 MiB free; give another"),
        ("OSError: [Errno 28] No space left on device", "[Errno 28] No space left on device"),
        ("TimeoutError: the store did not answer", "the store did not answer"),
        ("mdfp.errors.UsageError: two\nlines: of it", "two\nlines: of it"),
    ],
)
def test_what_may_pass_is_an_error_with_its_own_message_again(last, message):
    found = translated(raised(last))
    assert isinstance(found, WorkerError)
    assert str(found) == message
    assert expected(found)


@pytest.mark.parametrize(
    "last",
    [
        "ValueError: a bug",
        "KeyError: 'x'",
        "nowhere.to.be.Found: x",
        "transforms.shard.nothing: x",
        "AssertionError: 3",
    ],
)
def test_a_bug_stays_a_bug(last):
    assert translated(raised(last)) is None
    assert translated(raised(last, first="OSError: before it")) is None


@pytest.mark.parametrize(
    "before",
    [
        "Pipeline job-001 failed in state FAILED: bundle inst003 stage-003 failed:",
        "Pipeline BeamApp-1 failed in state FAILED: java.lang.RuntimeException: Error received from SDK harness for 22: ",
    ],
)
@pytest.mark.parametrize(
    "after", ["", "\n\n\tat org.apache.beam.runners.X.y(X.java:1)\n\tat z\n\nDriver stacktrace:\n\tat w"]
)
def test_what_engines_write_around_it_does_not_matter(before, after):
    last = "RuntimeError: FileNotFoundError: [Errno 2] No such file or directory: '/x'"
    found = translated(RuntimeError(before + TRACEBACK.format(first="ValueError: first", last=last).rstrip() + after))
    assert isinstance(found, WorkerError)
    assert str(found) == "[Errno 2] No such file or directory: '/x'"


def test_in_process_there_is_no_traceback_to_cut_off():
    last = "OSError: [Errno 28] No space left on device [while running 'BuildShards/BuildAndCommitShard']"
    assert str(translated(RuntimeError(last))) == "[Errno 28] No space left on device"
    assert translated(RuntimeError("ValueError: a bug [while running 'X']")) is None


def test_a_text_that_is_no_traceback_is_no_known_error():
    assert translated(RuntimeError("the worker is gone")) is None
    assert translated(RuntimeError("")) is None


def test_errors_for_people_need_no_traceback():
    assert expected(UsageError("x"))
    assert expected(ScratchFullError("x"))
    assert expected(OSError("x"))
    assert not expected(RuntimeError("x"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_without_scratch_space_ends_in_one_message(workers, command_line, tmp_path):
    """The machine's own disk is not filled for this: the workers are told that it is full."""
    (tmp_path / "sitecustomize.py").write_text(
        "import collections, shutil\n"
        "full = collections.namedtuple('usage', 'total used free')(1, 1, 0)\n"
        "shutil.disk_usage = lambda path: full\n"
    )
    more = ("--only", "phantom-mr", "--workers", workers, "--quiet")
    ended = command_line.run("run", tmp_path / "corpus", *more, PYTHONPATH=str(tmp_path))
    assert ended.returncode == 1
    assert "0 MiB free" in ended.stderr
    assert "--scratch-dir" in ended.stderr
    assert "go on where it stopped with:\n  python -m pipelines run" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "corpus" / "manifests").exists()
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
