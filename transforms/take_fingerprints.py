"""Beam: from references to rows of an inventory to files of fingerprints. Pixels are read once, inside one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics

from mdfp import canonical
from schemas.case import ArrayHeader, Case, ObjectRecord
from schemas.identity import FingerprintRow
from schemas.place import Place
from schemas.recipe import Limits, Recipe
from schemas.source import Source
from transforms import commit
from transforms.archive_store import open_source
from transforms.confirm import confirm
from transforms.fetch import fetch_case
from transforms.flat import Flat
from transforms.identity.fingerprint import fingerprint
from transforms.identity.table import key_of, parquet, table_of
from transforms.plan.inventory import records_of
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.rejected import Rejected
from transforms.store import CorpusStore, SourceStore
from transforms.take_inventory import read_part
from transforms.volume import TemporalVolume, Volume

CASES_PER_CHUNK = 16
"""Cases whose images one element reads; what is lost when a worker dies."""


@dataclass(frozen=True)
class Chunk:
    """A reference to work: rows of a part file of an inventory, and the file that their fingerprints go to."""

    part: str
    rows: tuple[int, ...]
    target: str


def chunk(part: str, rows: tuple[int, ...], keys: tuple[str, ...]) -> Chunk:
    """Work whose target is named by what it is made of: done once, it is done."""
    return Chunk(part, rows, f"identity/parts/{canonical.digest(keys)[:32]}.parquet")


@dataclass(frozen=True)
class FingerprintJob:
    """What workers need to know; small, and the same for all of them.

    Attributes:
        out: where the corpus is.
        roots: (source id, where its files are).
        sources: (source id, manifest as JSON).
        recipe: the recipe as JSON, for its limits.
        attempts: how often a failing request to a store is tried.
    """

    out: Place
    roots: tuple[tuple[str, Place], ...]
    sources: tuple[tuple[str, str], ...]
    recipe: str
    attempts: int = 4


@dataclass
class TakeFingerprints(beam.PTransform):
    """Chunks → the paths of the files that hold their fingerprints.

    One element costs, at its largest: the compressed bytes of a case and one volume as read.
    """

    job: FingerprintJob

    def expand(self, references: beam.PCollection) -> beam.PCollection:
        """References are spread over workers first; pixels are read after."""
        return (
            references
            | "SpreadChunks" >> beam.Reshuffle()
            | "FingerprintCases" >> beam.ParDo(FingerprintCasesFn(self.job))
        )


class FingerprintCasesFn(beam.DoFn):
    """Makes the fingerprints of a chunk of cases; stores are opened once per process."""

    def __init__(self, job: FingerprintJob):
        self._job = job

    def setup(self) -> None:
        """Open stores."""
        job = self._job
        self._corpus = CorpusStore(job.out)
        self._limits = Recipe.model_validate_json(job.recipe).limits
        sources = {i: Source.model_validate_json(text) for i, text in job.sources}
        self._stores = {i: open_source(root, sources[i], self._limits) for i, root in job.roots}

    def process(self, work: Chunk) -> Iterator[str]:
        """Read each case's images; nothing where the file is there already."""
        if not self._corpus.exists(work.target):
            table = read_part(self._corpus, work.part).take(pa.array(np.array(work.rows, np.int64)))
            digests = zip(table["case_digest"].to_pylist(), table["objects_digest"].to_pylist(), strict=True)
            rows: list[FingerprintRow] = []
            for (case, objects), (case_digest, objects_digest) in zip(records_of(table), digests, strict=True):
                key = key_of(case_digest, objects_digest)
                rows += case_rows(case, objects, self._stores[case.source], key, self._limits, self._job.attempts)
                Metrics.counter("TakeFingerprints", "cases").inc()
            commit.create_bytes(parquet(table_of(rows)), self._corpus, work.target)
        yield work.target


def case_rows(
    case: Case, objects: tuple[ObjectRecord, ...], store: SourceStore, key: str, limits: Limits, attempts: int
) -> list[FingerprintRow]:
    """The fingerprints of a case, a row an image; one row with the reason where it cannot be read.

    Raises:
        OSError: what may pass, after `attempts`.
    """
    mine = tuple(o for o in objects if o.array.startswith("image:"))
    rows = []
    try:
        fetched = fetch_case(case, mine, store, attempts=attempts)
        for image in case.images:
            name = image.header.name
            read = _read(image.header, [b for b, _ in fetched.blobs[f"image:{name}"]], limits)
            found = fingerprint(read, image.modality)
            cube = found.thumbnail
            rows.append(
                FingerprintRow(
                    source=case.source,
                    case_id=case.case_id,
                    image=name,
                    modality=image.modality,
                    key=key,
                    content_hash=found.content_hash,
                    code=found.code,
                    cells=None if cube is None else cube.cells_zyx.tobytes(),
                    box_mm=() if cube is None else cube.box_mm,
                    voxels_xyz=() if cube is None else cube.voxels_xyz,
                    fault=None,
                    detail="",
                )
            )
    except Rejected as fault:
        empty = FingerprintRow(
            case.source, case.case_id, "", "", key, None, None, None, (), (), fault.reason, fault.detail
        )
        return [empty]
    return rows


def _read(header: ArrayHeader, blobs: list[Blob], limits: Limits) -> Volume | TemporalVolume | Flat:
    """An image of a case; what is wrong with it is confirmed in a fresh process, as a build does."""
    try:
        return read_any(header, blobs, limits=limits)
    except Rejected as verdict:
        raise confirm(verdict, header, blobs, limits) from verdict
