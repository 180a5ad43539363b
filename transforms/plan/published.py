"""What a corpus already holds: its newest manifest, and the samples it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow
from mdfp import manifest as manifests
from mdfp.manifest import Manifest
from mdfp.sample import Sample
from transforms.store import CorpusStore


class Published:
    """A corpus as of its newest manifest. Of its samples only the columns that are asked for are read.

    Args:
        manifest: the newest.
        files: read the index files: the given columns (`images.list.element.content_hash`), or all.
    """

    def __init__(self, manifest: Manifest, files: Sequence[Callable[[Sequence[str] | None], pa.Table]]):
        self.manifest = manifest
        self._files = tuple(files)

    @classmethod
    def of(cls, manifest: Manifest, samples: Sequence[Sample]) -> Published:
        """From records instead of files."""
        table = arrow.to_table(Sample, samples)
        return cls(manifest, [lambda names: table])

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Rows of all samples, an index file at a time; rows whose shard the manifest does not name are left out."""
        live = pa.array([s.path for s in self.manifest.shards], pa.string())
        for read in self._files:
            table = read(None if columns is None else ["shard", *columns])
            yield table.filter(pc.is_in(table["shard"], value_set=live))

    def parts(self) -> list[Callable[[], pa.Table]]:
        """What reads the whole rows of each index file: those whose shard the manifest names."""
        return [partial(self._whole, read) for read in self._files]

    def _whole(self, read: Callable[[Sequence[str] | None], pa.Table]) -> pa.Table:
        table = read(None)
        return table.filter(pc.is_in(table["shard"], value_set=pa.array([s.path for s in self.manifest.shards])))

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples as records: for small corpora."""
        return tuple(s for table in self.batches() for s in arrow.from_table(Sample, table))

    def case_ids(self) -> frozenset[str]:
        """The cases that have a sample."""
        return frozenset(self._column("case_id"))

    def split_of_group(self) -> dict[str, str]:
        """The split of every group, and of every patient: groups of several patients bear the name of one."""
        split = self._column("split")
        return dict(zip(self._column("patient"), split, strict=True)) | dict(
            zip(self._column("group"), split, strict=True)
        )

    def members(self) -> Iterator[tuple[str, str, str]]:
        """Case id, patient and split of every sample."""
        return zip(self._column("case_id"), self._column("patient"), self._column("split"), strict=True)

    def sources(self) -> Counter[str]:
        """Samples of each source."""
        return Counter(self._column("source"))

    def licenses(self) -> Counter[tuple[str, str]]:
        """Samples of each source under each licence."""
        return Counter(zip(self._column("source"), self._column("license"), strict=True))

    def _column(self, name: str) -> list[str]:
        if name not in self._columns:
            self._columns[name] = [v for table in self.batches([name]) for v in table[name].to_pylist()]
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        return {}


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
    return Published(manifest, [partial(read_columns, store, entry.path) for entry in manifest.indexes])


def read_columns(store: CorpusStore, path: str, columns: Sequence[str] | None) -> pa.Table:
    """Rows of an index file: the given columns (`images.list.element.content_hash`), or all."""
    local = store.local(path)
    file = pq.ParquetFile(local if local is not None else pa.BufferReader(store.read(path)))
    return file.read(columns=None if columns is None else list(columns))
