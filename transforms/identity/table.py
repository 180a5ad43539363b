"""Fingerprint tables on disk: small columns in memory, cubes read where they are needed."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mdfp import arrow, canonical
from mdfp.errors import UsageError
from schemas.identity import FingerprintRow
from transforms.identity.fingerprint import VERSION

ROWS_PER_GROUP = 512
"""Rows that are read together: 7 MB of cubes."""

CUBES = ["cells", "box_mm", "voxels_xyz"]

LIGHT = [n for n in arrow.arrow_schema(FingerprintRow).names if n not in CUBES]


def key_of(case_digest: str, objects_digest: str) -> str:
    """What a case's fingerprints are cached by: its objects with their versions, its headers, and how they are made."""
    return canonical.digest([VERSION, case_digest, objects_digest])[:32]


def table_of(rows: Iterable[FingerprintRow]) -> pa.Table:
    """Rows as a table."""
    return arrow.to_table(FingerprintRow, rows)


def parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return sink.getvalue()


class FingerprintFile:
    """A Parquet file of `FingerprintRow`s.

    Args:
        source: a path, or the file's bytes.
        name: what messages call it.

    Raises:
        UsageError: it is no such file.
    """

    def __init__(self, source: str | bytes, name: str):
        try:
            self._file = pq.ParquetFile(pa.BufferReader(source) if isinstance(source, bytes) else source)
        except (pa.ArrowInvalid, OSError) as error:
            raise UsageError(f"{name}: no Parquet file of fingerprints ({error})") from error
        missing = set(arrow.arrow_schema(FingerprintRow).names) - set(self._file.schema_arrow.names)
        if missing:
            raise UsageError(f"{name}: a table of fingerprints has the columns {', '.join(sorted(missing))} too")
        self.light: pa.Table = self._file.read(columns=LIGHT)

    def cubes(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """The columns `CUBES` of these rows, which ascend."""
        found = []
        start = 0
        for group in range(self._file.num_row_groups):
            size = self._file.metadata.row_group(group).num_rows
            low, high = np.searchsorted(rows, [start, start + size])
            if high > low:
                table = self._file.read_row_group(group, columns=CUBES)
                found.append(table.take(pa.array(rows[low:high] - start)))
            start += size
        return pa.concat_tables(found) if found else self._file.schema_arrow.empty_table().select(CUBES)

    def batches(self) -> Iterator[pa.Table]:
        """Whole rows, some hundred at a time."""
        for group in range(self._file.num_row_groups):
            yield self._file.read_row_group(group)


class Fingerprints:
    """Several tables as one, of which some rows count.

    Args:
        files: the tables.
        current: for each table which of its rows count: those of other versions of their objects do not.
    """

    def __init__(self, files: Sequence[FingerprintFile], current: Sequence[npt.NDArray[np.bool_]]):
        self._files = files
        empty = arrow.arrow_schema(FingerprintRow).empty_table().select(LIGHT)
        tables = [empty]
        places = [np.empty((0, 2), np.int64)]
        for number, (file, keep) in enumerate(zip(files, current, strict=True)):
            at = np.flatnonzero(keep)
            tables.append(file.light.take(pa.array(at)))
            places.append(np.stack([np.full(len(at), number), at], axis=1))
        table = pa.concat_tables(tables)
        order = np.asarray(_order(table))
        self.light: pa.Table = table.take(pa.array(order))
        self._places = np.concatenate(places)[order]

    def cubes(self, rows: npt.NDArray[np.int64]) -> pa.Table:
        """The columns `CUBES` of these rows, in the order given."""
        wanted = self._places[rows]
        tables, order = [], []
        for number, file in enumerate(self._files):
            mine = np.flatnonzero(wanted[:, 0] == number)
            sorted_mine = mine[np.argsort(wanted[mine, 1], kind="stable")]
            order.append(sorted_mine)
            tables.append(file.cubes(wanted[sorted_mine, 1]))
        if not tables:
            return arrow.arrow_schema(FingerprintRow).empty_table().select(CUBES)
        return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(order), kind="stable")))

    def digest(self) -> str:
        """Names the set of images: equal sets give equal matches."""
        pairs = zip(self.light["content_hash"].to_pylist(), self.light["code"].to_pylist(), strict=True)
        lines = sorted({f"{h} {(c or b'').hex()}" for h, c in pairs if h is not None})
        return hashlib.sha256("\n".join([str(VERSION), *lines]).encode()).hexdigest()


def _order(table: pa.Table) -> pa.Array:
    import pyarrow.compute as pc

    return pc.sort_indices(table, [(n, "ascending") for n in ("case_id", "source", "image")])
