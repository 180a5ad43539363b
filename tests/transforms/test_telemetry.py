"""Telemetry is written beside the corpus, once an attempt, and nothing depends on it."""

from __future__ import annotations

import dataclasses

from mdfp import arrow
from transforms import telemetry
from transforms.store import CorpusStore
from transforms.telemetry import ShardTelemetry

RECORD = ShardTelemetry(
    shard="train/a-00001", fingerprint="f" * 64, worker="host:1", started=100.0, finished=160.0, cases_ok=3,
    holes=telemetry.counts(["duplicate", "corrupt_gzip", "duplicate"]), bytes_in=1000, bytes_out=500, retries=2,
    seconds=telemetry.seconds({"fetch": 1.0, "decode": 2.00049}), committed=True, deterministic=True,
)  # fmt: skip


def test_two_attempts_at_one_shard_are_two_files(tmp_path):
    store = CorpusStore(str(tmp_path))
    telemetry.write(RECORD, store)
    telemetry.write(RECORD, store)
    found = store.list(telemetry.FOLDER)
    assert len(found) == 2
    assert [telemetry.parse(store.read(o.path)) for o in found] == [RECORD, RECORD]


def test_a_store_that_refuses_does_not_stop_a_build(tmp_path):
    (tmp_path / "telemetry").write_text("a file where a folder should be")
    telemetry.write(RECORD, CorpusStore(str(tmp_path)))


def test_the_sum_counts_workers_seconds_and_what_differed():
    other = dataclasses.replace(RECORD, worker="host:2", committed=False, deterministic=False)
    found = telemetry.summarise([RECORD, RECORD, other])
    assert (found.attempts, found.workers, found.bytes_in, found.nondeterministic) == (3, 2, 3000, 1)
    assert found.retries == 6
    assert found.seconds == {"decode": 6.0, "fetch": 3.0}


def test_reasons_are_counted_and_every_field_is_documented():
    assert [(c.reason, c.count) for c in RECORD.holes] == [("corrupt_gzip", 1), ("duplicate", 2)]
    assert arrow.undocumented(ShardTelemetry) == []
