"""The inventory as the planner takes it: records in memory, or a table of rows that lie in part files.

A million cases of forty objects do not fit in memory as records. Of the table only the columns that decide are read;
whole rows pass through, a part at a time, when they are moved into the order of the plan.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mdfp import arrow, canonical
from schemas.case import Case, ObjectRecord, Reject
from schemas.inventory import CaseObject, InventoryRow

DECIDING = (
    "case_id", "source", "patient", "split", "license", "days_from_first", "estimated_seconds", "estimated_bytes", "study_day",
    "case_digest", "objects_digest", "content_digest", "object_count", "object_bytes", "voxels", "label_tables",
)  # fmt: skip
"""The columns of an `InventoryRow` that a plan is decided by."""

Part = Callable[[Sequence[str] | None], pa.Table]
"""Reads the rows of one part: the given columns, or all."""


def make_row(case: Case, objects: Iterable[ObjectRecord], study_day: int | None) -> InventoryRow:
    """The row of a case, with its digests."""
    ordered = sorted(objects, key=lambda o: (o.array, o.ordinal, o.path))
    held = tuple(CaseObject(o.path, o.bytes, o.version, o.array, o.ordinal, o.structure) for o in ordered)
    plain: list[list[object]] = [[o.path, o.bytes, o.version, o.array, o.ordinal, o.structure] for o in held]
    stable: list[list[object]] = [[*o[:2], stable_version(str(o[2])), *o[3:]] for o in plain]
    return InventoryRow(
        **{name: getattr(case, name) for name in Case.__dataclass_fields__},
        objects=held,
        study_day=study_day,
        case_digest=canonical.digest(replace(case, days_from_first=None)),
        objects_digest=_digest(plain),
        content_digest=_digest(stable),
        object_count=len(held),
        object_bytes=sum(o.bytes for o in held),
        voxels=max((math.prod(i.header.shape) for i in case.images), default=0),
        label_tables=tuple(sorted({label.table for label in case.labels})),
    )


def stable_version(version: str) -> str:
    """A version that a copied folder keeps: when a local file was changed is left out."""
    return "" if version.startswith("mtime:") else version


def objects_digest(objects: Iterable[ObjectRecord]) -> str:
    """`InventoryRow.objects_digest` of these objects."""
    ordered = sorted(objects, key=lambda o: (o.array, o.ordinal, o.path))
    return _digest([[o.path, o.bytes, o.version, o.array, o.ordinal, o.structure] for o in ordered])


def _digest(rows: list[list[object]]) -> str:
    return hashlib.sha256(canonical.dumps(rows)).hexdigest()


def records_of(rows: pa.Table) -> Iterator[tuple[Case, tuple[ObjectRecord, ...]]]:
    """Cases with their objects, from whole rows of an inventory or of a plan's work."""
    for row in rows.to_pylist():
        case = arrow.from_dict(Case, row)
        yield case, tuple(ObjectRecord(source=case.source, case_id=case.case_id, **o) for o in row["objects"])


class InventoryTable:
    """Rows in parts, and the deciding columns of all of them.

    Args:
        parts: read the parts, in a fixed order.
        rejects: what was left out.
        patient_key: fingerprint of the secret behind the pseudonyms.
    """

    def __init__(self, parts: Sequence[Part], rejects: Sequence[Reject], patient_key: str):
        self.parts = tuple(parts)
        self.rejects = tuple(rejects)
        self.patient_key = patient_key

    @cached_property
    def deciding(self) -> pa.Table:
        """The columns `DECIDING` of all rows, in the order of the parts; days are counted from the patient's first."""
        empty = arrow.to_table(InventoryRow, []).select(list(DECIDING))
        table = pa.concat_tables(
            [empty, *(part(DECIDING).select(list(DECIDING)) for part in self.parts)]
        ).combine_chunks()
        days = pa.array(count_days(table), pa.int64(), from_pandas=True)
        return table.set_column(table.schema.get_field_index("days_from_first"), "days_from_first", days)

    def batches(self) -> Iterator[pa.Table]:
        """Whole rows, a part at a time, in the order of `deciding`."""
        start = 0
        days = self.deciding["days_from_first"]
        at = InventoryTable._days_column()
        for part in self.parts:
            table = part(None)
            yield table.set_column(at, "days_from_first", days.slice(start, table.num_rows))
            start += table.num_rows

    @staticmethod
    def _days_column() -> int:
        return int(arrow.arrow_schema(InventoryRow).get_field_index("days_from_first"))


def count_days(table: pa.Table) -> npt.NDArray[np.float64]:
    """Days since the first study of the same patient in the same source; where a row has no study day, what it says."""
    known = table["days_from_first"].to_numpy(zero_copy_only=False).astype(np.float64)
    day = table["study_day"].to_numpy(zero_copy_only=False).astype(np.float64)
    if np.isnan(day).all():
        return known
    who = pc.binary_join_element_wise(table["source"], table["patient"], "\0").combine_chunks().dictionary_encode()
    codes = np.asarray(who.indices)
    first = np.full(len(who.dictionary), np.inf)
    given = ~np.isnan(day)
    np.minimum.at(first, codes[given], day[given])
    return np.where(given, day - first[codes], known)


@dataclass(frozen=True)
class Inventory:
    """What an inventory stage found, as records."""

    cases: tuple[Case, ...]
    objects: tuple[ObjectRecord, ...]
    rejects: tuple[Reject, ...]
    patient_key: str
    """Fingerprint of the secret behind the pseudonyms."""

    def table(self) -> InventoryTable:
        """The same as a table of one part."""
        objects: dict[str, list[ObjectRecord]] = {}
        for o in self.objects:
            objects.setdefault(o.case_id, []).append(o)
        rows = arrow.to_table(InventoryRow, [make_row(c, objects.get(c.case_id, ()), None) for c in self.cases])
        return InventoryTable(
            [lambda names: rows if names is None else rows.select(list(names))], self.rejects, self.patient_key
        )
