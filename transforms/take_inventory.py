r"""Beam: from chunks of a listing to inventory rows. References and headers only; pixels are never read.

    chunk of file cases   -> headers of each case ----------------------------------\
    chunk of DICOM files  -> header of each -> group by series -> diagnose ----------+-> rows -> group -> part files
"""

from __future__ import annotations

import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from mdfp import arrow, canonical
from schemas.case import Case, ObjectRecord, Reject
from schemas.inventory import InventoryRow
from schemas.place import Place
from schemas.recipe import Recipe
from schemas.source import Source
from transforms import commit
from transforms.archive_store import open_source
from transforms.inventory import Inventoried, object_reject
from transforms.inventory_moments import inventory_moments
from transforms.inventory_series import ReadFile, group_key, inventory_series, read_header
from transforms.layouts.case_files import CaseFiles, HeaderFile
from transforms.layouts.group import Grouped, group
from transforms.patient_key import KeyReference
from transforms.plan.inventory import make_row
from transforms.rejected import Rejected
from transforms.store import CorpusStore, ListedObject

CASES_PER_CHUNK = 32
"""File cases whose headers one element reads."""

FILES_PER_CHUNK = 512
"""DICOM instances whose headers one element reads."""


@dataclass(frozen=True)
class Chunk:
    """A reference to work: cases or header files [start, stop) of a source's grouped listing."""

    source: str
    kind: str
    """`cases` or `headers`."""
    start: int
    stop: int


def chunks(source: str, grouped: Grouped) -> list[Chunk]:
    """The work that a grouped listing is."""
    result = []
    for kind, total, size in (
        ("cases", len(grouped.cases), CASES_PER_CHUNK),
        ("headers", len(grouped.headers), FILES_PER_CHUNK),
    ):
        result += [Chunk(source, kind, start, min(total, start + size)) for start in range(0, total, size)]
    return result


@dataclass(frozen=True)
class Target:
    """Where the inventory of one source goes.

    Attributes:
        source: its id.
        folder: where its listing lies and its parts go, below the corpus.
        parts: part files its rows are written to.
    """

    source: str
    folder: str
    parts: int


@dataclass(frozen=True)
class InventoryJob:
    """What workers need to know; small, and the same for all of them.

    Attributes:
        out: where the corpus is.
        targets: the sources to take an inventory of.
        roots: (source id, where its files are).
        sources: (source id, manifest as JSON).
        recipe: the recipe as JSON, for limits, label faults and estimates.
        key: which key pseudonyms are made with; workers find the key itself in their own surroundings.
        attempts: how often a failing request to a store is tried.
    """

    out: Place
    targets: tuple[Target, ...]
    roots: tuple[tuple[str, Place], ...]
    sources: tuple[tuple[str, str], ...]
    recipe: str
    key: KeyReference
    attempts: int = 4

    def target(self, source: str) -> Target:
        """Where the inventory of a source goes."""
        return next(t for t in self.targets if t.source == source)


class _Opened:
    """What a worker opens once: stores, manifests, and the grouped listings it is asked for."""

    def __init__(self, job: InventoryJob):
        self.corpus = CorpusStore(job.out)
        self.sources = {i: Source.model_validate_json(text) for i, text in job.sources}
        self.recipe = Recipe.model_validate_json(job.recipe)
        self.stores = {i: open_source(root, self.sources[i], self.recipe.limits) for i, root in job.roots}
        self.keys = job.key.resolve()
        self._job = job
        self._grouped: dict[str, Grouped] = {}

    def grouped(self, source: str) -> Grouped:
        """The source's listing, grouped again: the same as the driver's, because grouping is pure."""
        if source not in self._grouped:
            listing = read_listing(self.corpus, self._job.target(source).folder, source)
            read = self.stores[source].read
            self._grouped[source] = group(self.sources[source], listing, read, self.keys)
        return self._grouped[source]

    def settings(self, source: str) -> dict[str, object]:
        """What the inventory functions take from the recipe, for one source."""
        labels = self.recipe.labels
        on_fault = "image_only" if labels.image_only else labels.on_fault
        temporal = self.recipe.temporal_of(source)
        return {
            "on_fault": on_fault,
            "wanted": self.recipe.geometry,
            "policy": self.recipe.policy,
            "temporal": temporal,
        }


class InventoryCasesFn(beam.DoFn):
    """Chunks of file cases → their rows."""

    def __init__(self, job: InventoryJob):
        self._job = job

    def setup(self) -> None:
        """Open stores."""
        self._opened = _Opened(self._job)

    def process(self, chunk: Chunk) -> Iterator[Inventoried]:
        """Read the headers of each case."""
        o = self._opened
        store = o.stores[chunk.source]

        def take(files: CaseFiles) -> list[Inventoried]:
            return commit.with_retries(
                lambda: inventory_moments(
                    files,
                    o.sources[chunk.source],
                    store,
                    o.keys,
                    o.recipe.limits,
                    **o.settings(chunk.source),  # type: ignore[arg-type]
                ),
                attempts=self._job.attempts,
            )

        taken = store.each(take, o.grouped(chunk.source).cases[chunk.start : chunk.stop])
        for found in itertools.chain.from_iterable(taken):
            Metrics.counter("Inventory", "cases" if found.case else "rejects").inc()
            yield found


class ReadInstancesFn(beam.DoFn):
    """Chunks of DICOM files → ((source, group), header); what is no image goes straight to the rows."""

    REJECTS = "rejects"

    def __init__(self, job: InventoryJob):
        self._job = job

    def setup(self) -> None:
        """Open stores."""
        self._opened = _Opened(self._job)

    def process(self, chunk: Chunk) -> Iterator[object]:
        """Read each header."""
        o = self._opened
        store = o.stores[chunk.source]

        def read_one(file: HeaderFile) -> ReadFile | Rejected:
            try:
                return commit.with_retries(lambda: read_header(file, store), attempts=self._job.attempts)
            except Rejected as verdict:
                return verdict

        files = o.grouped(chunk.source).headers[chunk.start : chunk.stop]
        for file, read in zip(files, store.each(read_one, files), strict=True):
            if isinstance(read, Rejected):
                Metrics.counter("Inventory", "rejects").inc()
                reject = object_reject(file.object, o.sources[chunk.source], o.keys, read)
                yield beam.pvalue.TaggedOutput(self.REJECTS, Inventoried(None, (), (reject,)))
            else:
                yield (f"{chunk.source}\n{group_key(read)}", read)


class DiagnoseSeriesFn(beam.DoFn):
    """((source, group), headers) → rows of the cases that the series are."""

    def __init__(self, job: InventoryJob):
        self._job = job

    def setup(self) -> None:
        """Open stores."""
        self._opened = _Opened(self._job)

    def process(self, element: tuple[str, Iterable[ReadFile]]) -> Iterator[Inventoried]:
        """Diagnose the series of one group."""
        name, files = element
        source, _, _ = name.partition("\n")
        o = self._opened
        yield from inventory_series(
            list(files),
            o.sources[source],
            o.stores[source],
            o.keys,
            o.recipe.limits,
            **o.settings(source),  # type: ignore[arg-type]
        )


class WritePartFn(beam.DoFn):
    """((source, part number) as text, rows) → the two files of one part, create-only: written twice they hold the same."""

    def __init__(self, job: InventoryJob):
        self._job = job

    def process(self, element: tuple[str, Iterable[bytes]]) -> Iterator[str]:
        """Write the rows in a fixed order."""
        key, rows = element
        source, _, number = key.partition("\n")
        folder, part = self._job.target(source).folder, int(number)
        found = [parse_row(row) for row in sorted(rows)]
        corpus = CorpusStore(self._job.out)
        rejects = arrow.to_table(Reject, [r for f in found for r in f.rejects])
        commit.create_bytes(_parquet(rejects), corpus, rejects_path(folder, part))
        # The cases come last: the driver looks for them alone.
        commit.create_bytes(_parquet(case_rows(found)), corpus, part_path(folder, part))
        yield key


def case_rows(found: Iterable[Inventoried]) -> pa.Table:
    """The rows of the cases among what was found, with the schema of `InventoryRow`."""
    made = [
        make_row(f.case, [o for o in f.objects if o.case_id == f.case.case_id], f.study_day) for f in found if f.case
    ]
    return arrow.to_table(InventoryRow, made)


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


@dataclass
class TakeInventory(beam.PTransform):
    """Chunks → part files with a row per case, and beside each its rejects; returns the numbers of the parts written."""

    job: InventoryJob

    def expand(self, references: beam.PCollection) -> beam.PCollection:
        """Two ways to a row, one way to disk."""
        spread = references | "SpreadChunks" >> beam.Reshuffle()
        cases = (
            spread
            | "KeepFileCases" >> beam.Filter(lambda c: c.kind == "cases")
            | "ReadCaseHeaders" >> beam.ParDo(InventoryCasesFn(self.job))
        )
        instances = (
            spread
            | "KeepHeaderFiles" >> beam.Filter(lambda c: c.kind == "headers")
            | "ReadInstanceHeaders"
            >> beam.ParDo(ReadInstancesFn(self.job)).with_outputs(ReadInstancesFn.REJECTS, main="instances")
        )
        series = (
            instances.instances
            | "GroupBySeries" >> beam.GroupByKey()
            | "DiagnoseSeries" >> beam.ParDo(DiagnoseSeriesFn(self.job))
        )
        return (
            (cases, series, instances[ReadInstancesFn.REJECTS])
            | "AllRows" >> beam.Flatten()
            | "ToJson" >> beam.Map(_keyed_row, {t.source: t.parts for t in self.job.targets})
            | "GroupByPart" >> beam.GroupByKey()
            | "WritePart" >> beam.ParDo(WritePartFn(self.job))
        )


def _keyed_row(found: Inventoried, parts: Mapping[str, int]) -> tuple[str, bytes]:
    row = canonical.dumps(found)
    source = found.case.source if found.case is not None else found.rejects[0].source
    return f"{source}\n{zlib.crc32(row) % parts[source]}", row


def part_path(folder: str, part: int) -> str:
    """Where the cases of a part lie below the corpus."""
    return f"{folder}/parts/{part:05d}.parquet"


def rejects_path(folder: str, part: int) -> str:
    """Where the rejects of a part lie below the corpus."""
    return f"{folder}/parts/{part:05d}.rejects.parquet"


def read_part(corpus: CorpusStore, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of a part file: the given columns, or all."""
    local = corpus.local(path)
    file = pq.ParquetFile(local if local is not None else pa.BufferReader(corpus.read(path)))
    return file.read(columns=None if columns is None else list(columns))


def parse_row(data: bytes) -> Inventoried:
    """What was found of one case, from the JSON that travels between workers."""
    row = json.loads(data)
    return Inventoried(
        case=None if row["case"] is None else arrow.from_dict(Case, row["case"]),
        objects=tuple(arrow.from_dict(ObjectRecord, o) for o in row["objects"]),
        rejects=tuple(arrow.from_dict(Reject, r) for r in row["rejects"]),
        study_day=row["study_day"],
    )


def listing_path(folder: str, source: str) -> str:
    """Where a source's listing lies below the corpus."""
    return f"{folder}/listings/{source}.jsonl"


def listing_bytes(listing: Iterable[ListedObject]) -> bytes:
    """A listing as JSON lines."""
    return b"".join(canonical.dumps([o.path, o.bytes, o.version]) + b"\n" for o in listing)


def read_listing(corpus: CorpusStore, folder: str, source: str) -> list[ListedObject]:
    """A source's listing as the driver saw it."""
    return [ListedObject(*json.loads(line)) for line in corpus.read(listing_path(folder, source)).splitlines()]
