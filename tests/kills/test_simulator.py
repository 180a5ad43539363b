"""Manifest = bytes = plan in every simulated history; and the simulator itself can fail.

`make kills` tells a thousand histories; these few are told with every test run.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests.kills.mutants import MUTANTS
from tests.kills.simulate import KINDS, describe, scenario_of, tell, undisturbed

SEEDS = 60


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_history_breaks_the_guarantee(first, scratch):
    for seed in range(first, first + 20):
        history = tell(seed, scratch)
        assert not history.violations, f"{describe(history)}\nagain: python -m tests.kills.simulate {seed}"


def test_a_history_is_a_function_of_its_seed(scratch):
    first, again = tell(7, scratch), tell(7, scratch)
    assert (first.trace, first.points, first.kills, first.shards) == (
        again.trace,
        again.points,
        again.kills,
        again.shards,
    )
    assert tell(8, scratch).trace != first.trace


def test_a_history_is_told_alike_in_another_process(scratch):
    command = [sys.executable, "-m", "tests.kills.simulate", "6"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == f"{describe(tell(6, scratch))}\n0 violated\n"
    assert "all holds" in told


def test_seeds_cover_every_kind_in_every_weather():
    scenarios = [scenario_of(seed) for seed in range(1000)]
    by_kind = Counter((s.kind, s.weather.refused > 0) for s in scenarios)
    assert set(by_kind) == {(kind, storm) for kind in KINDS for storm in (False, True)}
    assert min(by_kind.values()) >= 60
    assert sum(not s.honours for s in scenarios) >= 25  # one driver only: see docs/guarantees.md
    assert sum(s.unstable for s in scenarios) >= 40
    assert sum(s.full > 0 for s in scenarios) >= 100
    assert sum(s.sources_down > 0 for s in scenarios) >= 100


def test_an_undisturbed_build_publishes_every_case_once(scratch):
    assert len(undisturbed(scratch)) == 7


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_protocol_is_caught(name, scratch):
    mutant = MUTANTS[name]
    with mutant.at_work():
        for seed in range(mutant.seeds):
            if tell(seed, scratch, mutant.scenario).violations:
                return
    pytest.fail(f"{mutant.seeds} histories of a protocol in which {name}, and nobody noticed")
