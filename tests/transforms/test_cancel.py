"""A request stops the builds that were running when it came, and no later one."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from mdfp.errors import CancelledError
from transforms import cancel
from transforms.cancel import CancelWatch
from transforms.store import CorpusStore

PLAN = "plans/aaaa-bbbb"
REVISED = "plans/cccc-dddd"


@pytest.fixture
def store(tmp_path):
    return CorpusStore(str(tmp_path))


def test_a_request_stops_a_build_that_runs(store):
    watch = CancelWatch().also(store, PLAN)
    watch.check(store)
    assert watch.request(store) is None
    assert cancel.ask(store, PLAN, "finish") == 1
    assert watch.request(store) == "finish"
    with pytest.raises(CancelledError, match="every shard that was committed stays"):
        watch.check(store)


def test_a_later_build_goes_on_and_the_old_one_still_stops(store):
    old = CancelWatch().also(store, PLAN)
    cancel.ask(store, PLAN, "now")
    new = CancelWatch().also(store, PLAN)
    assert new.request(store) is None
    assert old.request(store) == "now"
    cancel.ask(store, PLAN, "finish")
    assert new.request(store) == "finish"


def test_a_request_about_an_earlier_revision_holds_for_the_build_that_moved_on(store):
    watch = CancelWatch().also(store, PLAN).also(store, REVISED)
    cancel.ask(store, PLAN, "finish")
    assert watch.request(store) == "finish"


def test_a_request_about_another_plan_is_not_obeyed(store):
    watch = CancelWatch().also(store, PLAN)
    cancel.ask(store, REVISED, "finish")
    assert watch.request(store) is None


def test_requests_at_once_are_one_each(store):
    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(lambda _: cancel.ask(store, PLAN, "finish"), range(8)))
    assert sorted(numbers) == list(range(1, 9))
    assert cancel.count(store, PLAN) == 8


def test_it_travels_to_workers(store):
    watch = CancelWatch().also(store, PLAN)
    assert pickle.loads(pickle.dumps(watch)) == watch
