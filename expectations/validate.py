"""Judge the inventory before the plan, the plan before the build, and all samples before a manifest names them.

Great Expectations runs here, once per stage, in the driver: a batch costs a quarter of a second however small it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from expectations import engine, suite
from expectations.outcome import ValidationResult
from expectations.summary import Summary
from expectations.tables import inventory, plan
from expectations.tables import samples as sample_tables
from mdfp import arrow
from mdfp.manifest import PaletteEntry
from mdfp.sample import Sample
from schemas.case import Case, ObjectRecord, Reject
from schemas.plan import Assignment, ShardPlan
from schemas.recipe import Recipe
from schemas.source import Source


def validate_inventory(
    cases: Sequence[Case],
    objects: Iterable[ObjectRecord],
    rejects: Sequence[Reject],
    *,
    extra: Sequence[str | Path] = (),
) -> ValidationResult:
    """Judge what the inventory found.

    Args:
        cases: all cases.
        objects: all objects; walked once.
        rejects: what was left out.
        extra: suite files of one's own.

    Raises:
        UsageError: a suite file is wrong.
    """
    return engine.run(suite.load_with("inventory", extra), inventory.tables(cases, objects, rejects))


def validate_plan(
    assignments: pa.Table | Sequence[Assignment],
    shards: Sequence[ShardPlan],
    cases: pa.Table | Sequence[Case],
    *,
    sources: Sequence[Source] = (),
    palette: Sequence[PaletteEntry] = (),
    extra: Sequence[str | Path] = (),
) -> ValidationResult:
    """Judge a plan.

    Args:
        assignments: one for each case of the inventory; records, or a table of their columns.
        shards: what would be built.
        cases: the inventory; records, or a table with the columns `expectations.tables.plan.CASE_COLUMNS`.
        sources: source manifests; label tables are judged where given.
        palette: integers of the structures; goes with `sources`.
        extra: suite files of one's own.

    Raises:
        UsageError: a suite file is wrong.
    """
    if not isinstance(assignments, pa.Table):
        assignments = arrow.to_table(Assignment, assignments)
    if not isinstance(cases, pa.Table):
        cases = _case_table(cases)
    return engine.run(suite.load_with("plan", extra), plan.tables(assignments, shards, cases, sources, palette))


def _case_table(cases: Sequence[Case]) -> pa.Table:
    rows = [(c.case_id, c.source, c.patient, c.split, sorted({label.table for label in c.labels})) for c in cases]
    columns = list(zip(*rows, strict=True)) or [()] * len(plan.CASE_COLUMNS)
    types = [pa.string()] * 4 + [pa.list_(pa.string())]
    arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
    return pa.Table.from_arrays(arrays, names=list(plan.CASE_COLUMNS))


def validate_samples(
    samples: Sequence[Sample],
    holes: Sequence[Reject],
    planned: Collection[str],
    *,
    palette: Sequence[PaletteEntry] = (),
    recipe: Recipe | None = None,
    extra: Sequence[str | Path] = (),
) -> ValidationResult:
    """Judge all samples of a corpus.

    Args:
        samples: every sample that the manifest will name, earlier generations included.
        holes: planned samples that could not be made, with their case ids.
        planned: ids of the cases that plans put into shards, known holes included.
        palette: of the newest generation; default: what the newest samples have.
        recipe: for the spacing it asks for and what it does with duplicates.
        extra: suite files of one's own.

    Raises:
        UsageError: a suite file is wrong.
    """
    tables = sample_tables.tables(samples, holes, planned, palette, recipe)
    return engine.run(suite.load_with("samples", extra), tables)


class SampleCheck:
    """Judges all samples of a corpus a batch at a time, and counts them for the report.

    Args:
        palette: of the newest generation.
        newest: that generation's number.
        recipe: for the spacing it asks for and what it does with duplicates.
        extra: suite files of one's own.
        later: structures of the palette that came after that generation, with labels that were added to some samples.

    Raises:
        UsageError: a suite file is wrong.
    """

    def __init__(
        self,
        palette: Sequence[PaletteEntry],
        newest: int,
        recipe: Recipe | None = None,
        extra: Sequence[str | Path] = (),
        later: Collection[str] = frozenset(),
    ):
        self._tables = sample_tables.SampleTables({p.structure: p.value for p in palette}, newest, recipe, later)
        self._judge = engine.Judge(suite.load_with("samples", extra))
        self.summary = Summary()
        self.add(arrow.to_table(Sample, []))  # a corpus without samples has tables too

    def add(self, samples: pa.Table) -> None:
        """Take the next samples: rows with the schema of `Sample`."""
        self._judge.add(self._tables.add(samples))
        self.summary.add(samples)

    def finish(self, holes: Sequence[Reject], planned: pa.Array) -> ValidationResult:
        """What came of it.

        Args:
            holes: planned samples that could not be made, with their case ids.
            planned: ids of the cases that plans put into shards, known holes included.
        """
        self._judge.add(self._tables.finish(holes, planned))
        return self._judge.finish()
