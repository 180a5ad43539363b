"""Progress is arithmetic on markers' names and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.progress import PAUSE_S, PlannedShard, progress

PLANNED = [PlannedShard(f"train/a-{n:05d}", f"commits/train/a-{n:05d}.f.json", 10, 100.0) for n in range(20)]


def times(count, *, start=1000.0, step=50.0):
    return {s.marker: start + step * i for i, s in enumerate(PLANNED[:count])}


def test_markers_are_counted_against_the_plan():
    found = progress(PLANNED, times(5), 1200.0)
    assert (found.shards_done, found.shards_planned, found.cases_done, found.cases_planned) == (5, 20, 50, 200)


def test_markers_of_other_plans_are_passed_over():
    others = {f"commits/train/a-{n:05d}.other.json": 900.0 for n in range(20)}
    assert progress(PLANNED, times(5) | others, 1200.0) == progress(PLANNED, times(5), 1200.0)


def test_the_end_is_what_is_left_at_the_speed_of_what_was_done():
    speed = progress(PLANNED, times(5), 1200.0).speed
    assert speed.work_per_second == pytest.approx(2.0)  # two workers: 100 s of work every 50 s
    assert speed.cases_per_hour == pytest.approx(720)
    assert speed.eta_s == pytest.approx(15 * 100 / 2)
    assert progress(PLANNED, times(5), 1230.0).speed.eta_s == pytest.approx(15 * 100 / 2 - 30)


def test_a_large_shard_left_counts_as_much_as_its_work():
    heavy = [*PLANNED[:-1], PlannedShard("train/z-00000", "commits/train/z-00000.f.json", 10, 600.0)]
    assert progress(heavy, times(5), 1200.0).speed.eta_s == pytest.approx((14 * 100 + 600) / 2)


def test_a_pause_is_no_part_of_the_speed():
    before = times(5)
    after = {s.marker: 1200 + PAUSE_S * 4 + 25 * i for i, s in enumerate(PLANNED[5:9])}
    speed = progress(PLANNED, before | after, max(after.values())).speed
    assert speed.work_per_second == pytest.approx(4.0)
    assert speed.over_s == pytest.approx(75)


def test_what_stands_still_has_no_end_in_sight():
    speed = progress(PLANNED, times(5), 1200.0 + PAUSE_S + 1).speed
    assert speed.eta_s is None
    assert speed.idle_s == pytest.approx(PAUSE_S + 1)


@pytest.mark.parametrize("count", [0, 1])
def test_one_marker_has_no_speed(count):
    assert progress(PLANNED, times(count), 5000.0).speed is None


def test_what_is_finished_has_no_end_ahead():
    found = progress(PLANNED, times(20), 2000.0)
    assert found.shards_done == found.shards_planned
    assert found.speed.eta_s is None


def test_a_plan_without_shards_is_done():
    assert progress([], {}, 0.0).shards_planned == 0


@given(st.lists(st.floats(0, 1e6), min_size=20, max_size=20), st.floats(0, 2e6), st.integers(0, 20))
def test_no_times_however_strange_give_a_negative_end(moments, now, count):
    found = progress(PLANNED, {s.marker: t for s, t in zip(PLANNED[:count], moments, strict=False)}, now)
    assert found.shards_done == count
    if found.speed is not None:
        assert found.speed.work_per_second > 0
        assert found.speed.eta_s is None or found.speed.eta_s >= 0
