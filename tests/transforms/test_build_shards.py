"""What an operator sees of a build: counters, telemetry, events; and what a request to stop leaves undone."""

from __future__ import annotations

import dataclasses
import json
import os
import time

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from mdfp import canonical
from transforms import cancel, telemetry
from transforms.build_shards import BuildShards
from transforms.cancel import CancelWatch
from transforms.event_log import EventLog
from transforms.observe import Observer
from transforms.plan import files
from transforms.shard import committed
from transforms.stopwatch import STAGES
from transforms.store import SourceStore


def run(world, **changes):
    """Build all shards in process; the counters by name."""
    transform = BuildShards(
        out=world.corpus.place,
        plan=files.folder(world.plan),
        roots=(("tiny", world.source.place),),
        scratch=str(world.scratch),
        attempts=1,
    )
    pipeline = beam.Pipeline("FnApiRunner", options=PipelineOptions([]))
    numbers = list(range(len(world.plan.shards)))
    _ = pipeline | beam.Create(numbers) | dataclasses.replace(transform, **changes)
    result = pipeline.run()
    result.wait_until_finish()
    found = result.metrics().query()
    counted = {m.key.metric.name: m.committed for m in found["counters"]}
    return counted | {m.key.metric.name: m.committed for m in found["distributions"]}


@pytest.fixture
def broken(world):
    """The same world, with one image cut short after the inventory saw it whole: a hole."""
    file = world.file(1)
    content = file.read_bytes()
    stat = file.stat()
    file.write_bytes(content[:-50] + bytes(50))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return world


HOST = "a-host-of-its-own"


@pytest.fixture(autouse=True)
def _host(monkeypatch):
    monkeypatch.setattr(telemetry.socket, "gethostname", lambda: HOST)


def test_counters_say_what_was_made_and_where_the_time_went(broken):
    counted = run(broken)
    shards = len(broken.plan.shards)
    assert (counted["shards_built"], counted["cases_ok"], counted["samples"]) == (shards, 3, 3)
    assert counted["holes_corrupt_gzip"] == 1
    assert counted["bytes_in"] == sum(o.bytes for o in broken.plan.objects)
    assert counted["bytes_out"] == sum(f.stat().st_size for f in broken.corpus.folder.rglob("*.tar"))
    assert counted["nondeterministic_shards"] == 0
    assert {f"milliseconds_{stage}" for stage in STAGES} <= set(counted)
    assert counted["milliseconds_decode"].count == shards


def test_requests_that_were_tried_again_are_counted(world, monkeypatch):
    sound, failed = SourceStore.read_object, []

    def throttled(self, path, size, version):
        if path not in failed:
            failed.append(path)
            raise TimeoutError("slow down")
        return sound(self, path, size, version)

    monkeypatch.setattr(SourceStore, "read_object", throttled)
    monkeypatch.setattr("transforms.retry.LONGEST_WAIT_S", 0.001)
    counted = run(world, attempts=2)
    assert counted["retries"] == len(failed) == len(world.plan.objects)
    records = [telemetry.parse(world.corpus.read(o.path)) for o in world.corpus.list(telemetry.FOLDER)]
    assert telemetry.summarise(records).retries == len(failed)


def test_a_second_run_counts_what_it_skipped(world):
    run(world)
    counted = run(world)
    assert counted["shards_skipped"] == len(world.plan.shards)
    assert counted["samples"] == 4
    assert "bytes_out" not in counted


def test_each_attempt_leaves_one_record_beside_the_corpus(broken):
    before = time.time()
    run(broken)
    run(broken)
    found = [telemetry.parse(broken.corpus.read(o.path)) for o in broken.corpus.list(telemetry.FOLDER)]
    assert sorted(r.shard for r in found) == sorted(s.shard for s in broken.plan.shards)
    assert {r.worker for r in found} == {f"{HOST}:{os.getpid()}"}
    assert sum(r.cases_ok for r in found) == 3
    assert [(c.reason, c.count) for r in found for c in r.holes] == [("corrupt_gzip", 1)]
    assert all(r.committed and r.deterministic and before <= r.started <= r.finished <= time.time() for r in found)
    for record in found:
        assert {s.stage for s in record.seconds} == set(STAGES)
        stages = sum(s.seconds for s in record.seconds if s.stage != "fetch")
        assert 0 < stages <= record.finished - record.started


def test_telemetry_is_in_no_marker_row_or_tar(broken):
    run(broken, log=EventLog("json", str(broken.scratch / "log")))
    for folder in ("shards", "rows", "commits", "plans"):
        for o in broken.corpus.list(folder):
            data = broken.corpus.read(o.path)
            assert b'"started"' not in data
            assert HOST.encode() not in data, o.path


def test_events_name_shards_and_cases_and_no_path(broken):
    log = broken.scratch / "log"
    run(broken, log=EventLog("json", str(log)))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {line["shard"] for line in lines} == {s.shard for s in broken.plan.shards}
    (hole,) = [line for line in lines if line["message"] == "a case is a hole"]
    assert (hole["severity"], hole["reason"], hole["stage"]) == ("WARNING", "corrupt_gzip", "build")
    assert hole["case"] in {c.case_id for c in broken.plan.cases}
    done = [line for line in lines if line["message"] == "shard committed"]
    assert all(line["seconds"] >= 0 and line["bytes_out"] > 0 for line in done)
    text = log.read_text()
    for secret in (str(broken.root), ".nii", str(broken.corpus.folder), HOST):
        assert secret not in text


def test_a_request_to_stop_leaves_the_rest_for_later(world):
    watch = CancelWatch().also(world.corpus, files.folder(world.plan))
    cancel.ask(world.corpus, files.folder(world.plan), "finish")
    counted = run(world, cancel=watch)
    assert counted == {"shards_cancelled": len(world.plan.shards)}
    assert all(committed(world.corpus, shard) is None for shard in world.plan.shards)
    later = CancelWatch().also(world.corpus, files.folder(world.plan))
    assert run(world, cancel=later)["shards_built"] == len(world.plan.shards)


def test_another_attempt_with_other_bytes_is_told_and_loses(world):
    """A zombie that made something else: the first marker stands, and somebody hears of it."""
    log = world.scratch / "log"
    observer = Observer(EventLog("json", str(log)))
    work = world.reader.work(0)
    winner, _ = world.builder().build(work)
    tar = world.corpus.folder / winner.path
    kept = tar.read_bytes()
    tar.unlink()  # so that the second attempt builds; its marker is there already
    other = dataclasses.replace(winner, sha256="0" * 64)
    (world.corpus.folder / f"commits/{winner.shard}.{winner.fingerprint[:16]}.json").write_bytes(canonical.dumps(other))
    found, built = world.builder(observer=observer).build(work)
    assert (found, built) == (other, False)
    attempt = observer.take()
    assert (attempt.record.committed, attempt.record.deterministic) == (False, False)
    assert "two attempts at one plan made different bytes" in log.read_text()
    assert tar.read_bytes() == kept
