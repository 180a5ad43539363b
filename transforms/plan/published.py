"""What a corpus already holds: its newest manifest, and the samples it names."""

from __future__ import annotations

import io
from dataclasses import dataclass

import pyarrow.parquet as pq

from mdfp import arrow
from mdfp import manifest as manifests
from mdfp.manifest import Manifest
from mdfp.sample import Sample
from transforms.store import CorpusStore


@dataclass(frozen=True)
class Published:
    """A corpus as of its newest manifest."""

    manifest: Manifest
    samples: tuple[Sample, ...]


def newest_number(store: CorpusStore) -> int:
    """Number of the newest manifest; 0 when there is none."""
    numbers = [
        int(o.path.removeprefix("manifests/").removesuffix(".json"))
        for o in store.list("manifests")
        if o.path.endswith(".json")
    ]
    return max(numbers, default=0)


def load(store: CorpusStore) -> Published | None:
    """The newest published state of a corpus, or None when nothing is published."""
    number = newest_number(store)
    if number == 0:
        return None
    path = manifests.manifest_path(number)
    manifest = manifests.parse(store.read(path), store.url(path))
    live = {s.path for s in manifest.shards}
    rows: list[Sample] = []
    for index in manifest.indexes:
        table = pq.read_table(io.BytesIO(store.read(index.path)))
        rows += [s for s in arrow.from_table(Sample, table) if s.shard in live]
    return Published(manifest, tuple(rows))
