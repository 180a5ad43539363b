"""Rows to Arrow tables, a batch at a time: a corpus has millions of structures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mdfp.arrow import arrow_schema

BATCH_ROWS = 65_536
"""Rows that are Python objects at one time."""


def table(record: type, rows: Iterable[Any]) -> pa.Table:
    """A table of flat rows, in their order.

    Args:
        record: class of the rows; its fields are scalars.
        rows: instances of it.
    """
    schema = arrow_schema(record)
    batches = []
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH_ROWS)):
        arrays = [pa.array([getattr(r, f.name) for r in batch], type=f.type) for f in schema]
        batches.append(pa.record_batch(arrays, schema=schema))
    return pa.Table.from_batches(batches, schema=schema)


@dataclass(frozen=True)
class SpreadRow:
    """How far something that must stay together is spread."""

    id: Annotated[str, "the patient or group"]
    cases: Annotated[int, "its cases or samples"]
    splits: Annotated[int, "different splits they are in"]
    names: Annotated[str, "these splits"]


def spread(who: Any, split: Any) -> pa.Table:
    """A row for each patient (or group): in how many splits it is.

    Args:
        who: patient or group of each case or sample, an Arrow array of strings.
        split: the split of each.
    """
    names, codes = coded(who)
    split_names, split_codes = coded(split)
    pairs = np.unique(codes.astype(np.int64) * max(1, len(split_names)) + split_codes)
    owner = pairs // max(1, len(split_names))
    order = np.argsort(np.array(names, dtype=object), kind="stable") if names else np.array([], np.int64)
    splits = np.bincount(owner, minlength=len(names))
    joined = [""] * len(names)
    for one, s in zip(owner, pairs % max(1, len(split_names)), strict=True):
        joined[one] = f"{joined[one]} + {split_names[s]}" if joined[one] else str(split_names[s])
    return pa.table(
        [
            pa.array([names[i] for i in order], pa.string()),
            pa.array(np.bincount(codes, minlength=len(names))[order]),
            pa.array(splits[order]),
            pa.array([joined[i] for i in order], pa.string()),
        ],
        schema=arrow_schema(SpreadRow),
    )


def coded(values: Any) -> tuple[list[Any], npt.NDArray[np.int64]]:
    """(distinct values sorted, code of each value) of an Arrow array of strings without nulls."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    encoded: Any = array.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=lambda i: names[i])
    rank = np.empty(len(names), np.int64)
    rank[order] = np.arange(len(names))
    return [names[i] for i in order], rank[np.asarray(encoded.indices, dtype=np.int64)]


def column_table(record: type, columns: Mapping[str, Any]) -> pa.Table:
    """A table of flat rows from its columns: Arrow or numpy arrays, or one value for all rows."""
    schema = arrow_schema(record)
    count = next(len(c) for c in columns.values() if hasattr(c, "__len__") and not isinstance(c, str))
    arrays = []
    for f in schema:
        values: Any = columns[f.name]
        if isinstance(values, pa.ChunkedArray):
            values = values.combine_chunks()
        if isinstance(values, pa.Array):
            arrays.append(values.cast(f.type))
        elif isinstance(values, np.ndarray | list | tuple):
            arrays.append(pa.array(values, f.type, from_pandas=False))
        else:
            arrays.append(pa.repeat(pa.scalar(values, f.type), count))
    return pa.Table.from_arrays(arrays, schema=schema)
