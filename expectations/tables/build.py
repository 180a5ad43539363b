"""Rows to Arrow tables, a batch at a time: a corpus has millions of structures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any

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


def spread(pairs: Iterable[tuple[str, str]]) -> pa.Table:
    """A row for each patient (or group): in how many splits it is.

    Args:
        pairs: (patient or group, split), one for each case or sample.
    """
    splits: dict[str, list[str]] = defaultdict(list)
    for who, split in pairs:
        splits[who].append(split)
    return table(
        SpreadRow,
        (
            SpreadRow(id=who, cases=len(where), splits=len(set(where)), names=" + ".join(sorted(set(where))))
            for who, where in sorted(splits.items())
        ),
    )
