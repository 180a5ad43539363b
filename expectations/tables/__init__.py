"""The flat tables that suites judge: one row a case, array, patient, shard, sample, image or structure.

Facts about several rows (in how many splits is a patient?) are counted here first, so that a suite only has to judge
single columns. Every column is documented in the row's class.
"""

from __future__ import annotations

from expectations.tables import inventory, plan, samples
from mdfp.arrow import arrow_schema

TABLES: dict[str, type] = {**inventory.TABLES, **plan.TABLES, **samples.TABLES}
"""Row class of each table, by name."""

SUITES: dict[str, tuple[str, ...]] = {
    "inventory": tuple(inventory.TABLES),
    "plan": tuple(plan.TABLES),
    "samples": tuple(samples.TABLES),
}
"""Tables that each suite judges."""


def columns_of(table: str) -> tuple[str, ...]:
    """Names of a table's columns."""
    return tuple(arrow_schema(TABLES[table]).names)


def documentation(table: str) -> dict[str, str]:
    """What each column of a table means."""
    return {f.name: (f.metadata or {})[b"doc"].decode() for f in arrow_schema(TABLES[table])}
