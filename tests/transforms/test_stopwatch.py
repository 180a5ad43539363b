"""Each second belongs to one stage."""

from __future__ import annotations

import threading
import time

import pytest

from transforms.stopwatch import Stopwatch


def test_an_inner_stage_takes_its_time_from_the_outer_one():
    watch = Stopwatch()
    start = time.perf_counter()
    with watch.measure("normalise"):
        time.sleep(0.02)
        with watch.measure("decode"):
            time.sleep(0.05)
    total = time.perf_counter() - start
    taken = watch.take()
    assert taken["decode"] >= 0.05
    assert 0.02 <= taken["normalise"] < 0.05 + 0.02
    assert sum(taken.values()) == pytest.approx(total, abs=0.01)


def test_taking_starts_anew():
    watch = Stopwatch()
    with watch.measure("fetch"):
        pass
    assert set(watch.take()) == {"fetch"}
    assert watch.take() == {}


def test_time_counts_when_a_stage_fails_too():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.measure("decode"):
        raise KeyError
    assert "decode" in watch.take()


def test_threads_do_not_nest_in_each_other():
    watch = Stopwatch()

    def fetch():
        with watch.measure("fetch"):
            time.sleep(0.03)

    thread = threading.Thread(target=fetch)
    with watch.measure("encode"):
        thread.start()
        thread.join()
    taken = watch.take()
    assert taken["fetch"] >= 0.03
    assert taken["encode"] >= 0.03
