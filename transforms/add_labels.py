"""Beam: build sidecars from references to rows of a work list. Masks are read and written inside one step."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from mdfp import arrow
from mdfp.manifest import PaletteEntry
from mdfp.sample import Sample
from schemas.added_labels import AddedLabels
from schemas.label_work import MaskFile, ShardLabels
from schemas.place import Place
from transforms.build_shards import recipe_of
from transforms.labels.added import Adding
from transforms.same_code import require_same_code
from transforms.sidecar import SidecarBuilder
from transforms.store import CorpusStore, SourceStore


@dataclass(frozen=True)
class LabelStatus:
    """What became of the labels of one shard: small enough for any shuffle."""

    shard: str
    samples: int
    rejects: int
    bytes: int
    built: bool


@dataclass
class AddLabels(beam.PTransform):
    """Row numbers of a work list's shards → a `LabelStatus` each; the sidecars themselves go to the corpus.

    One element costs, at its largest: some row groups of an index file (the whole file, compressed, from a remote store), one
    mask as read and as stored, and a sidecar on local scratch.

    Attributes:
        out: where the corpus is.
        work: path of the work list's header below the corpus.
        root: where the masks lie.
        scratch: local folder for tars being built, on whatever machine a worker runs.
        attempts: how often a failing request to a store is tried.
    """

    out: Place
    work: str
    root: Place
    scratch: str
    attempts: int = 4

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """References are spread over workers first; masks are read after."""
        return (
            numbers
            | "SpreadShardNumbers" >> beam.Reshuffle()
            | "BuildAndCommitSidecar" >> beam.ParDo(AddLabelsFn(self)).with_output_types(LabelStatus)
        )


class AddLabelsFn(beam.DoFn):
    """Builds one sidecar per element; the work list and the stores are opened once per process."""

    def __init__(self, options: AddLabels):
        self._options = options
        self._built = Metrics.counter("AddLabels", "sidecars_built")
        self._skipped = Metrics.counter("AddLabels", "sidecars_skipped")
        self._samples = Metrics.counter("AddLabels", "samples")
        self._rejects = Metrics.counter("AddLabels", "rejects")

    def setup(self) -> None:
        """Open the work list and the stores.

        Raises:
            UsageError: this worker's code is not what the driver runs.
        """
        options = self._options
        corpus = CorpusStore(options.out)
        self._work = WorkList.read(corpus, options.work)
        header = self._work.header
        require_same_code(header["pixel_version"], header["environment"])
        Path(options.scratch).mkdir(parents=True, exist_ok=True)
        self._builder = SidecarBuilder(
            self._work.adding, SourceStore(options.root), corpus, Path(options.scratch), options.attempts
        )

    def process(self, number: int) -> Iterator[LabelStatus]:
        """Build the sidecar of the shard in that row."""
        shard = self._work.shards[number]
        marker, built = self._builder.build(shard, self._work.files_of(number), self._work.records_of(number))
        (self._built if built else self._skipped).inc()
        self._samples.inc(marker.samples)
        self._rejects.inc(len(marker.rejects))
        yield LabelStatus(marker.shard, marker.samples, len(marker.rejects), marker.bytes, built)


@dataclass
class WorkList:
    """What an addition has to do, as the driver wrote it.

    Attributes:
        corpus: where it lies.
        header: what holds for all of it: labels, recipe, palette, facts, environment.
        shards: the work, a shard each.
        files: the mask files, those of a shard together, in the order of the shards.
    """

    corpus: CorpusStore
    header: dict[str, Any]
    shards: tuple[ShardLabels, ...]
    files: pa.Table
    _index: tuple[str, str | pa.Buffer] | None = field(default=None, repr=False)

    @classmethod
    def read(cls, corpus: CorpusStore, path: str) -> WorkList:
        """The work list whose header lies at a path."""
        header = json.loads(corpus.read(path))
        base = path.removesuffix(".json")
        shards = pq.read_table(io.BytesIO(corpus.read(f"{base}-shards.parquet")))
        files = pq.read_table(io.BytesIO(corpus.read(f"{base}-files.parquet")))
        return cls(corpus, header, tuple(arrow.from_table(ShardLabels, shards)), files)

    @property
    def adding(self) -> Adding:
        """What the masks are."""
        header = self.header
        return Adding(
            spec=AddedLabels.model_validate({**header["labels"], "root": "-"}),
            recipe=recipe_of(header["recipe"]),
            palette=tuple(arrow.from_dict(PaletteEntry, e) for e in header["palette"]),
            includes=header["includes"],
        )

    def files_of(self, number: int) -> list[MaskFile]:
        """The masks of one shard's samples."""
        before = sum(s.files for s in self.shards[:number])
        return arrow.from_table(MaskFile, self.files.slice(before, self.shards[number].files))

    def records_of(self, number: int) -> list[Sample]:
        """The index rows of one shard that have masks, in order; of its index file the row groups that hold them."""
        work = self.shards[number]
        if self._index is None or self._index[0] != work.index:  # kept: shards of one file lie together
            local = self.corpus.local(work.index)
            self._index = work.index, str(local) if local is not None else pa.py_buffer(self.corpus.read(work.index))
        source = self._index[1]
        table = pq.read_table(
            source if isinstance(source, str) else pa.BufferReader(source),
            filters=[("shard", "==", work.shard)],
            partitioning=None,
        )
        keys = pa.array(sorted({f.key for f in self.files_of(number)}), pa.string())
        return arrow.from_table(Sample, table.filter(pc.is_in(table["key"], value_set=keys)))
