"""Fingerprint: read every image of the inventory once, and remember what it is recognised by.

Optional, before `plan`: copies are then left out before they are built, and cases that belong together share a split.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from pipelines.console import Console
from pipelines.inventory import newest_parts
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from schemas.identity import FingerprintRow
from transforms import commit, probe
from transforms.identity.table import ROWS_PER_GROUP, FingerprintFile, key_of
from transforms.references import References
from transforms.store import CorpusStore
from transforms.take_fingerprints import CASES_PER_CHUNK, Chunk, FingerprintJob, TakeFingerprints, chunk
from transforms.take_inventory import read_part

LATEST = "identity/LATEST.json"
"""Names the newest file of each kind: fingerprints, cases, edges. A hint: all of them are named by what they hold."""


@dataclass(frozen=True)
class Taken:
    """A finished pass.

    Attributes:
        path: the table, below the corpus.
        cases: cases of the inventory.
        images: images with a fingerprint.
        read: cases whose images were read now; the others are unchanged since an earlier pass.
        faults: cases that could not be read, by reason.
    """

    path: str
    cases: int
    images: int
    read: int
    faults: Mapping[str, int]

    def line(self) -> str:
        """One line for people."""
        faults = ", ".join(f"{count} {reason}" for reason, count in self.faults.items())
        return (
            f"{self.images} images of {self.cases} cases, {self.read} cases read and {self.cases - self.read} known already, "
            f"{sum(self.faults.values())} unreadable{f' ({faults})' if faults else ''}"
        )


def take_fingerprints(workspace: Workspace, engine: Engine, console: Console) -> Taken:
    """Read the images of all cases whose objects are new or changed, and write the table of all fingerprints.

    Raises:
        UsageError: there is no inventory yet.
        OSError: a store failed for longer than the retries; run again to go on where it stopped.
    """
    corpus = workspace.corpus
    probe.require(corpus)
    before = load(corpus)
    known = frozenset(before.light["key"].to_pylist()) if before else frozenset()
    keys: list[str] = []
    work: list[Chunk] = []
    for part in newest_parts(workspace):
        table = read_part(corpus, part, ["case_digest", "objects_digest"])
        mine = [key_of(*row) for row in zip(*(c.to_pylist() for c in table.columns), strict=True)]
        new = [n for n, key in enumerate(mine) if key not in known]
        cut = [new[at : at + CASES_PER_CHUNK] for at in range(0, len(new), CASES_PER_CHUNK)]
        work += [chunk(part, tuple(rows), tuple(mine[n] for n in rows)) for rows in cut]
        keys += mine
    if work:
        _read_images(workspace, work, engine, console)
    path = _merge(corpus, before, frozenset(keys), work)
    remember(corpus, fingerprints=path)
    commit.remove_all(corpus, [w.target for w in work])
    light = FingerprintFile(_source(corpus, path), path).light
    return Taken(
        path=path,
        cases=len(keys),
        images=light.num_rows - light["content_hash"].null_count,
        read=sum(len(w.rows) for w in work),
        faults=dict(sorted(Counter(r for r in light["fault"].to_pylist() if r).items())),
    )


def _read_images(workspace: Workspace, work: Sequence[Chunk], engine: Engine, console: Console) -> None:
    job = FingerprintJob(
        out=workspace.corpus.place,
        roots=tuple(sorted(workspace.places.items())),
        sources=tuple((i, s.model_dump_json()) for i, s in sorted(workspace.sources.items())),
        recipe=workspace.recipe.model_dump_json(),
    )

    def count() -> int:
        return sum(len(w.rows) for w in work if workspace.corpus.exists(w.target))

    with console.progress("fingerprint", sum(len(w.rows) for w in work), count):
        engine.run(lambda p: p | "Chunks" >> References(work) | TakeFingerprints(job), tasks=len(work))


def _merge(corpus: CorpusStore, before: FingerprintFile | None, keys: frozenset[str], work: Sequence[Chunk]) -> str:
    """One table of the fingerprints with these keys, a few hundred rows in memory at a time; returns its path."""
    path = f"identity/fingerprints-{canonical.digest(sorted(keys))[:16]}.parquet"
    if corpus.exists(path):
        return path
    wanted = pa.array(sorted(keys), pa.string())
    with tempfile.TemporaryDirectory(prefix="mdfp-fingerprints-") as folder:
        file = Path(folder) / "table.parquet"
        with pq.ParquetWriter(file, arrow.arrow_schema(FingerprintRow), compression="zstd") as writer:
            for batch in before.batches() if before else ():
                kept = batch.filter(pc.is_in(batch["key"], value_set=wanted))
                writer.write_table(kept.cast(arrow.arrow_schema(FingerprintRow)), row_group_size=ROWS_PER_GROUP)
            for target in dict.fromkeys(w.target for w in work):
                writer.write_table(read_part(corpus, target).cast(arrow.arrow_schema(FingerprintRow)))
        commit.create_file(file, corpus, path)
    return path


def load(corpus: CorpusStore) -> FingerprintFile | None:
    """The newest table of fingerprints, or None where there was no pass."""
    path = newest(corpus).get("fingerprints")
    return None if path is None else FingerprintFile(_source(corpus, path), corpus.url(path))


def newest(corpus: CorpusStore) -> dict[str, str]:
    """Path of the newest file of each kind."""
    try:
        return dict(json.loads(corpus.read(LATEST)))
    except FileNotFoundError:
        return {}


def remember(corpus: CorpusStore, **paths: str) -> None:
    """Name the newest files."""
    commit.replace(canonical.pretty(newest(corpus) | paths), corpus, LATEST)


def current(file: FingerprintFile, keys: Mapping[str, str]) -> np.ndarray:
    """Which rows are of the objects that the inventory sees: `keys` holds the key of each case, by its id."""
    cases, found = file.light["case_id"].to_pylist(), file.light["key"].to_pylist()
    return np.array([keys.get(c) == k for c, k in zip(cases, found, strict=True)], np.bool_)


def _source(corpus: CorpusStore, path: str) -> str | bytes:
    local = corpus.local(path)
    return str(local) if local is not None else corpus.read(path)
