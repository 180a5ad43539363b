"""A job elsewhere is waited for, and ended through its own interface when somebody asks."""

from __future__ import annotations

import threading

import pytest

from pipelines.job import wait


class Job:
    """As Beam's results behave: waiting for a job that was cancelled raises."""

    def __init__(self, error=None):
        self.done = threading.Event()
        self.cancelled = False
        self._error = error

    def cancel(self):
        self.cancelled = True
        self.done.set()

    def wait_until_finish(self):
        assert self.done.wait(10)
        if self._error:
            raise self._error
        if self.cancelled:
            raise RuntimeError("Dataflow pipeline failed. State: CANCELLED")


def test_a_job_is_ended_when_somebody_asks():
    job, asked = Job(), iter([False, False, True])
    wait(job, lambda: next(asked), poll_s=0.01)
    assert job.cancelled


def test_a_job_that_fails_by_itself_says_so():
    job = Job(RuntimeError("a worker died"))
    job.done.set()
    with pytest.raises(RuntimeError, match="a worker died"):
        wait(job, lambda: False, poll_s=0.01)
    assert not job.cancelled


def test_a_store_that_does_not_answer_ends_nothing():
    answers = iter([OSError("503"), OSError("503"), True])

    def stop():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    job = Job()
    wait(job, stop, poll_s=0.01)
    assert job.cancelled


def test_nobody_asks_for_the_end_of_a_job_without_a_watch():
    job = Job()
    threading.Timer(0.05, job.done.set).start()
    wait(job, None, poll_s=0.01)
    assert not job.cancelled
