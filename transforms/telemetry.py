"""What a build measured: one small file for each shard that an attempt built, under `telemetry/`.

Clocks and hosts are allowed here and nowhere else. Nothing depends on these files: one that cannot be written is
passed over, and all of them may be deleted.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from mdfp import arrow, canonical
from transforms import commit
from transforms.store import CorpusStore

FOLDER = "telemetry/shards"


@dataclass(frozen=True)
class Seconds:
    """Wall seconds that went into one stage."""

    stage: Annotated[str, "fetch, decode, normalise, encode or upload"]
    seconds: Annotated[float, "wall seconds; fetching goes on beside the others"]


@dataclass(frozen=True)
class Count:
    """How many holes of one reason."""

    reason: Annotated[str, "reason code"]
    count: Annotated[int, "how many"]


@dataclass(frozen=True)
class ShardTelemetry:
    """One attempt that built a shard."""

    shard: Annotated[str, "id of the shard"]
    fingerprint: Annotated[str, "of the shard plan"]
    worker: Annotated[str, "host and process"]
    started: Annotated[float, "Unix seconds, by the worker's clock"]
    finished: Annotated[float, "Unix seconds, by the worker's clock"]
    cases_ok: Annotated[int, "samples made"]
    holes: Annotated[tuple[Count, ...], "cases that could not be made"]
    bytes_in: Annotated[int, "bytes of source objects"]
    bytes_out: Annotated[int, "bytes of the tar"]
    seconds: Annotated[tuple[Seconds, ...], "where the time went"]
    committed: Annotated[bool, "whether this attempt's marker is the shard's; false: another was faster"]
    deterministic: Annotated[bool, "false: another attempt committed other bytes for the same plan"]
    retries: Annotated[int, "requests to stores that were tried again meanwhile"] = 0


@dataclass(frozen=True)
class Summary:
    """What the telemetry of a build adds up to."""

    attempts: int
    workers: int
    bytes_in: int
    bytes_out: int
    retries: int
    seconds: dict[str, float] = field(default_factory=dict)
    nondeterministic: int = 0


def worker() -> str:
    """This process, by name."""
    return f"{socket.gethostname()}:{os.getpid()}"


def write(record: ShardTelemetry, store: CorpusStore) -> None:
    """Keep a record, under a name of its own. A store that refuses is passed over: nothing depends on it."""
    path = f"{FOLDER}/{record.shard}.{record.fingerprint[:16]}.{uuid.uuid4().hex[:8]}.json"
    with contextlib.suppress(OSError):
        commit.create_bytes(canonical.dumps(record), store, path)


def marker_of(path: str) -> str:
    """The commit marker that a record's file stands beside: of the same shard and fingerprint."""
    return f"commits/{path.removeprefix(f'{FOLDER}/').rsplit('.', 2)[0]}.json"


def parse(data: bytes) -> ShardTelemetry:
    """A record from the bytes of its file."""
    return arrow.from_dict(ShardTelemetry, json.loads(data))


def seconds(taken: Mapping[str, float]) -> tuple[Seconds, ...]:
    """Seconds by stage, as a record holds them."""
    return tuple(Seconds(stage, round(taken[stage], 3)) for stage in sorted(taken))


def counts(reasons: Iterable[str]) -> tuple[Count, ...]:
    """Reasons, counted."""
    return tuple(Count(reason, n) for reason, n in sorted(Counter(reasons).items()))


def summarise(records: Iterable[ShardTelemetry]) -> Summary:
    """The sum of records."""
    total: defaultdict[str, float] = defaultdict(float)
    workers: set[str] = set()
    attempts = bytes_in = bytes_out = retries = other = 0
    for r in records:
        attempts += 1
        workers.add(r.worker)
        bytes_in += r.bytes_in
        bytes_out += r.bytes_out
        retries += r.retries
        other += not r.deterministic
        for s in r.seconds:
            total[s.stage] += s.seconds
    stages = {k: round(v, 3) for k, v in sorted(total.items())}
    return Summary(attempts, len(workers), bytes_in, bytes_out, retries, stages, other)
