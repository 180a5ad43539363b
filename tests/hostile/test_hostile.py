"""Nothing hostile gets through, stops the run or changes its neighbours: `make hostile`, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT_S = 480
"""A hang is a failure; the run takes a minute on one slow core."""


@pytest.fixture(scope="module")
def found():
    command = [sys.executable, "-m", "tests.hostile", "--json"]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout)


def test_every_hostile_input_is_refused_by_its_own_reason(found):
    assert found["inputs"] >= 160
    assert found["wrong"] == {}


def test_sound_inputs_come_out_as_if_they_were_alone(found):
    assert found["lost"] == []
    assert found["shards"] >= 6  # volumes, series, archives, pictures, films, rows
    assert found["same"]


def test_memory_stays_small(found):
    assert found["peak_bytes"] < 2 << 30
