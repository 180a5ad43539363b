"""Mutated files before each reader, for a few seconds: only `Rejected` comes out. `make fuzz` is the long run."""

from __future__ import annotations

import resource

import pytest

from tests.fuzz.__main__ import CORPUS, MEMORY_BYTES, fuzz, outcome
from tests.fuzz.mutate import mutated
from tests.fuzz.readers import TARGETS

SECONDS = 3.0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", TARGETS)
def test_only_rejects_come_out(name):
    counts, bugs = fuzz(TARGETS[name], SECONDS, first=0)
    assert bugs == []
    assert counts["read"] > 0, "no file was sound: the reader is not reached"
    assert len(counts) > 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < MEMORY_BYTES


@pytest.mark.parametrize("file", sorted(CORPUS.iterdir()), ids=lambda p: p.name)
def test_what_was_found_once_stays_fixed(file):
    assert not outcome(TARGETS[file.name.split("-")[0]], file.read_bytes()).startswith("BUG")


def test_a_number_is_a_file():
    seeds, words = TARGETS["nifti"].seeds(), TARGETS["nifti"].words
    assert mutated(seeds, words, 7) == mutated(seeds, words, 7) != mutated(seeds, words, 8)
    assert not any(mutated(seeds, words, n) in seeds for n in range(20, 40) if len(mutated(seeds, words, n)) > 5000)
