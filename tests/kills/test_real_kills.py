"""A few real deaths with every test run; `make kills` has all of them."""

from __future__ import annotations

import os

import pytest

from tests.kills import beam, real
from tests.kills.points import POINTS, by_name
from tests.kills.real import Ground


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Ground:
    return Ground(tmp_path_factory.mktemp("kills"))


@pytest.mark.parametrize(
    "point",
    [
        "shard: tar linked, folder not synced",
        "marker: half of the temporary file",
        "publish: index visible, no manifest",
        "publish: manifest visible, no rejects",
    ],
)
def test_whoever_is_killed_leaves_nothing_half_and_is_resumed(point, ground):
    death = real.death(ground, by_name(point), 1)
    assert death.killed
    assert death.violations == ()


def test_a_writer_that_comes_back_after_publish_changes_nothing(ground):
    assert real.zombie(ground).violations == ()


def test_two_writers_of_one_plan_are_one_corpus(ground):
    assert real.race(ground).violations == ()


def test_a_death_that_loses_a_shard_would_be_seen(ground, monkeypatch):
    """The comparison itself can fail."""
    order = ground.new()
    assert real.ended(real.start(order)) == 0
    lost = next(path for path in ground.expected if path.startswith("shards/"))
    (ground.folder / order.corpus / lost).write_bytes(b"half of it")
    assert any("its bytes are not those that its name says" in v for v in ground.visible(order.corpus))
    assert any(lost in v for v in ground.finished(order))


def test_points_are_named_once():
    assert len({p.name for p in POINTS}) == len(POINTS) >= 20


@pytest.mark.kills
@pytest.mark.skipif("MDFP_KILLS" not in os.environ, reason="takes a minute: `make kills`, or MDFP_KILLS=1")
def test_a_driver_whose_worker_is_killed_ends_with_an_error_and_is_resumed(tmp_path):
    (death,) = beam.deaths(beam.Driver(tmp_path), 1)
    assert death.killed
    assert death.violations == ()
