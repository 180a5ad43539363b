"""The command that plans a corpus from an archive's published table: `python -m pipelines archive`.

Selection, inventory, plan and price in one process; nothing is downloaded. The page, the recipe and the manifests are small
enough to keep under version control; the published tables and the plan are made anew from the query by the same command.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.console import Console, duration, megabytes
from pipelines.guard import Call, guard
from pipelines.options import JsonOpt

if TYPE_CHECKING:
    from catalog.archive_query import ArchiveQuery
    from catalog.idc import Selected
    from transforms.cost import CostEstimate
    from transforms.plan.planner import Plan


@dataclass(frozen=True)
class Made:
    """What a query over an archive leads to.

    Attributes:
        query: the rules.
        selected: the series.
        plan: where each of them goes.
        costs: what that costs.
    """

    query: ArchiveQuery
    selected: Selected
    plan: Plan
    costs: CostEstimate


class Watch:
    """CPU and wall time since it was made."""

    def __init__(self) -> None:
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def read(self) -> dict[str, float]:
        """CPU seconds of this process (all threads), wall seconds, and the load average of the last minute."""
        return {
            "cpu_seconds": round(time.process_time() - self._cpu, 1),
            "wall_seconds": round(time.perf_counter() - self._wall, 1),
            "load_average": round(os.getloadavg()[0], 1),
        }


def archive(
    query: Annotated[Path, typer.Argument(help="Rules (YAML, docs/datasets.md).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where recipe, manifests, tables and page go.")],
    root: Annotated[str | None, typer.Option("--root", help="Where copies of the buckets lie, as folders of their names.")] = None,
    tables: Annotated[Path | None, typer.Option("--tables", help="Folder of the archive's tables, not the package's.")] = None,
    prices: Annotated[Path | None, typer.Option("--prices", metavar="FILE", help="Price list; default: examples.")] = None,
    vcpus: Annotated[int, typer.Option("--vcpus", min=1, help="vCPUs to rent at once, for the cost estimate.")] = 64,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Plan a corpus from the Imaging Data Commons: series, patients, bytes, terms, splits, shards, vCPU-hours and price.

    Nothing is downloaded. Needs the package idc-index-data (extra idc), which holds the table of all series.
    """
    console = Console(as_json)
    watch = Watch()

    def action() -> None:
        from catalog import archive_query
        from pipelines import archive_page

        made, files = make(archive_query.load(query), out, root, tables, prices, vcpus, force=force)
        page = out / "blueprint.md"
        page.write_text(archive_page.markdown(made), encoding="utf-8")
        summary = archive_page.summary(made)
        (out / "blueprint.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        _tell(made, console)
        spent = watch.read()
        console.say(
            f"planned in {spent['wall_seconds']:.1f} s of wall time and {spent['cpu_seconds']:.1f} s of CPU, at a load average of "
            f"{spent['load_average']:.1f}"
        )
        console.say(f"wrote {page} and {len(files)} files beside it; build with: python -m pipelines build {files[0]}")
        console.result(summary | {"files": [str(f) for f in (page, *files)], "spent": spent})

    guard(Call(console, resumable=False), action)


def make(
    query: ArchiveQuery,
    out: Path,
    root: str | None = None,
    tables: Path | None = None,
    prices: Path | None = None,
    vcpus: int = 64,
    *,
    force: bool = False,
) -> tuple[Made, tuple[Path, ...]]:
    """Select, write recipe, manifests and tables, take their inventory, and plan.

    Args:
        query: the rules.
        out: folder of the files, the recipe first; the plan goes where the recipe says.
        root: where copies of the buckets lie; None: the public ones.
        tables: the archive's tables; None: of the installed package.
        prices: the price list; None: the examples.
        vcpus: workers of the estimate.
        force: replace files that are there.

    Raises:
        UsageError: the package, a table, a word or a price list is missing or wrong; files are there already.
    """
    from catalog import idc_source
    from catalog import prices as price_lists
    from catalog.idc import Archive
    from pipelines import cost
    from pipelines.inventory import take_inventory
    from pipelines.plan import plan
    from pipelines.runner import Engine
    from pipelines.workspace import open_workspace
    from transforms.plan.planner import Selection

    price_lists.load(prices)  # a wrong list is told before the work is done
    quiet = Console(quiet=True)
    selected = Archive(tables).select(query.selection())
    files = idc_source.draft(selected, query.name, accept=query.licenses, root=root).write(out, force=force)
    workspace = open_workspace(files[0])
    take_inventory(workspace, Engine(1), quiet)
    made = plan(workspace, Selection(), quiet)
    return Made(query, selected, made, cost.estimate(made, prices, vcpus)), files


def register(parent: typer.Typer) -> None:
    """Add the command to the builder's command line."""
    parent.command()(archive)


def _tell(made: Made, console: Console) -> None:
    facts, totals = made.selected.facts(), made.costs.totals
    console.say(
        f"{facts.series:,} series of {facts.patients:,} patients in {facts.collections} collections, {megabytes(facts.bytes)}; "
        f"{totals.cases:,} planned in {totals.shards:,} shards, about {megabytes(totals.bytes_out)}"
    )
    for c in made.costs.compute:
        console.say(
            f"  {c.id}: {c.vcpu_hours:,.1f} vCPU hours, {duration(c.wall_seconds)}, {c.amount:,.2f} {made.costs.currency}"
        )
