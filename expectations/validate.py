"""Judge the inventory before the plan, the plan before the build, and all samples before a manifest names them.

Great Expectations runs here, once per stage, in the driver: a batch costs a quarter of a second however small it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from expectations import engine, suite
from expectations.outcome import ValidationResult
from expectations.tables import inventory, plan
from expectations.tables import samples as sample_tables
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
    assignments: Sequence[Assignment],
    shards: Sequence[ShardPlan],
    cases: Sequence[Case],
    *,
    sources: Sequence[Source] = (),
    palette: Sequence[PaletteEntry] = (),
    extra: Sequence[str | Path] = (),
) -> ValidationResult:
    """Judge a plan.

    Args:
        assignments: one for each case of the inventory.
        shards: what would be built.
        cases: the inventory.
        sources: source manifests; label tables are judged where given.
        palette: integers of the structures; goes with `sources`.
        extra: suite files of one's own.

    Raises:
        UsageError: a suite file is wrong.
    """
    return engine.run(suite.load_with("plan", extra), plan.tables(assignments, shards, cases, sources, palette))


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
