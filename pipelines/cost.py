"""The cost of a plan, for people and for machines, before anything is spent."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
from rich.table import Table

from catalog import prices as price_lists
from pipelines.console import Console, duration, megabytes
from pipelines.plan import peak_bytes
from transforms import cost
from transforms.cost import CostEstimate, Totals
from transforms.plan.planner import Plan

VCPUS = 64
"""Workers that the estimate rents where nothing is said."""


def totals(made: Plan) -> Totals:
    """What a plan adds up to."""
    return Totals(
        cases=made.planned,
        objects=int(pc.sum(made.placed["object_count"]).as_py() or 0),
        shards=len(made.shards),
        bytes_in=int(pc.sum(made.placed["object_bytes"]).as_py() or 0),
        bytes_out=sum(s.estimated_bytes for s in made.shards),
        cpu_seconds=sum(s.estimated_seconds for s in made.shards),
        longest_shard_seconds=max((s.estimated_seconds for s in made.shards), default=0.0),
        peak_bytes=peak_bytes(made),
    )


def estimate(made: Plan, prices: Path | None, vcpus: int) -> CostEstimate:
    """What a plan costs by a price list.

    Args:
        made: the plan.
        prices: the list; None: the examples that come with the project.
        vcpus: workers to rent at once.

    Raises:
        UsageError: the list is missing or wrong.
    """
    return cost.estimate(totals(made), price_lists.load(prices), vcpus)


def describe(found: CostEstimate, console: Console) -> None:
    """Print an estimate."""
    money = found.currency
    engines = Table(title=f"cost by prices of {found.date}, to about a factor of two", title_justify="left")
    for column in ("engine", "vCPU h", "GB h", "GB a vCPU", "vCPUs", "wall time", "limited by", money):
        engines.add_column(column, justify="left" if column in ("engine", "limited by") else "right")
    for c in found.compute:
        engines.add_row(
            f"{c.id} ({c.region})", f"{c.vcpu_hours:,.1f}", f"{c.memory_gb_hours:,.0f}", f"{c.memory_gb_per_vcpu:g}",
            str(c.workers), duration(c.wall_seconds), c.limited_by, f"{c.amount:,.2f}",
        )  # fmt: skip
    console.table(engines)
    stores = Table()
    for column in (
        "store",
        "reads",
        "writes",
        f"requests {money}",
        f"a month {money}",
        f"egress in {money}",
        f"egress an epoch {money}",
    ):
        stores.add_column(column, justify="left" if column == "store" else "right")
    for s in found.stores:
        stores.add_row(
            f"{s.id} ({s.region})", f"{s.reads:,}", f"{s.writes:,}", f"{s.requests_amount:,.2f}", f"{s.storage_month:,.2f}",
            f"{s.egress_in:,.2f}", f"{s.egress_epoch:,.2f}",
        )  # fmt: skip
    console.table(stores)
    console.say(
        f"  in: {megabytes(found.totals.bytes_in)} of {found.totals.objects:,} objects; out: about "
        f"{megabytes(found.totals.bytes_out)}. Egress is paid only where workers or readers are elsewhere than the store."
    )
    quotas = [(c.id, q) for c in found.compute for q in c.quotas] + [(s.id, q) for s in found.stores for q in s.quotas]
    for name, q in quotas:
        if q.exceeded:
            console.say(f"  quota: {name}: {q.name}: needs {q.needed:,.0f}, usually {q.limit:,.0f}")
        elif q.limit is None:
            console.say(f"  quota to check: {name}: {q.name}: needs {q.needed:,.0f}")
    console.say(f"  {found.note}")


def summary(found: CostEstimate) -> dict[str, Any]:
    """The same for machines."""
    return dataclasses.asdict(found)
