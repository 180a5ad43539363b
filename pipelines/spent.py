"""Where the time of a build went: what workers measured, added up for the newest plan."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipelines.console import Console, duration, megabytes
from transforms import telemetry
from transforms.plan import files
from transforms.plan.shard_list import planned_shards
from transforms.store import CorpusStore
from transforms.telemetry import Summary

READERS = 16


def spent(corpus: CorpusStore) -> Summary:
    """The sum over all attempts at shards of the newest plan. Costs a listing and one small read for each attempt."""
    base = files.latest(corpus)
    markers = {s.marker for s in planned_shards(corpus, base)} if base else set()
    paths = [o.path for o in corpus.list(telemetry.FOLDER) if telemetry.marker_of(o.path) in markers]
    with ThreadPoolExecutor(READERS) as pool:
        return telemetry.summarise(telemetry.parse(data) for data in pool.map(corpus.read, paths))


def describe(found: Summary, console: Console) -> None:
    """Print it for people."""
    if not found.attempts:
        console.say("telemetry: nothing was measured for this plan")
        return
    console.say(
        f"telemetry: {found.attempts} attempts at shards by {found.workers} workers, {megabytes(found.bytes_in)} in, "
        f"{megabytes(found.bytes_out)} out, {found.retries} requests tried again"
    )
    # Fetching goes on beside the others, so it is no part of their sum.
    total = sum(seconds for stage, seconds in found.seconds.items() if stage != "fetch") or 1.0
    for stage, seconds in found.seconds.items():
        share = "beside the others" if stage == "fetch" else f"{seconds / total:.0%}"
        console.say(f"  {stage}: {duration(seconds)}, {share}")
    if found.nondeterministic:
        console.say(f"  {found.nondeterministic} attempts made other bytes than the one that was committed")
