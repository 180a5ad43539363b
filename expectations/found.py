"""What was noticed while a corpus was read: rows for `findings.parquet`, lines for the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from expectations.tables.nested import Nested, whole
from mdfp import arrow
from schemas.case import Reject
from schemas.findings import FINDINGS, FoundRow
from schemas.reasons import Reason

EXAMPLES = 3
"""Examples shown for each finding."""

SCHEMA = arrow.arrow_schema(FoundRow)


@dataclass(frozen=True)
class FoundLine:
    """One finding, over all sources.

    Attributes:
        code: what.
        meaning: of the code.
        count: rows.
        sources: with their counts.
        examples: (case, detail).
    """

    code: str
    meaning: str
    count: int
    sources: list[tuple[str, int]]
    examples: list[tuple[str, str]]


class Found:
    """Findings of samples; `add` takes rows with the schema of `Sample`."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []

    def add(self, samples: pa.Table) -> None:
        """Take what was noticed about some samples."""
        n = Nested(samples["findings"])
        if not len(n):
            return
        owner = pa.array(n.parent)
        code = n.field("code")
        columns = {
            "source": whole(samples["source"]).take(owner),
            "case_id": whole(samples["case_id"]).take(owner),
            "where": n.field("where"),
            "code": code,
            "meaning": pa.array([FINDINGS.get(c, "") for c in code.to_pylist()], pa.string()),
            "detail": n.field("detail"),
            "outcome": pa.array(["sample"] * len(n), pa.string()),
            "path": pa.nulls(len(n), pa.string()),
        }
        self._parts.append(pa.table(columns, schema=SCHEMA))

    def table(self, rejects: Iterable[Reject] = ()) -> pa.Table:
        """All rows, sorted: findings of samples, and what was left out because of what was read."""
        rows = [
            FoundRow(r.source, r.case_id, None, str(r.reason), _meaning(r.reason), r.detail, "left out", r.path)
            for r in rejects
            if r.stage != "plan"
        ]
        everything = pa.concat_tables([*self._parts, arrow.to_table(FoundRow, rows)])
        keys = ("source", "case_id", "outcome", "code", "where", "detail", "path")
        return everything.take(pc.sort_indices(everything, sort_keys=[(k, "ascending") for k in keys]))

    def lines(self) -> list[FoundLine]:
        """A line for each finding of samples, the most frequent first."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        examples: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for part in self._parts:
            grouped = part.group_by(["code", "source"]).aggregate([([], "count_all")])
            for row in grouped.to_pylist():
                counts[row["code"]][row["source"]] += row["count_all"]
            for code in pc.unique(part["code"]).to_pylist():
                mine = part.filter(pc.equal(part["code"], code))
                first = pc.sort_indices(mine, sort_keys=[("case_id", "ascending"), ("where", "ascending")])[:EXAMPLES]
                found = [(r["case_id"], r["detail"]) for r in mine.take(first).to_pylist()]
                examples[code] = sorted([*examples[code], *found])[:EXAMPLES]
        return [
            FoundLine(code, FINDINGS.get(code, ""), by.total(), sorted(by.items()), examples[code])
            for code, by in sorted(counts.items(), key=lambda item: (-item[1].total(), item[0]))
        ]


def _meaning(reason: str) -> str:
    return next((r.meaning for r in Reason if r == reason), "")
