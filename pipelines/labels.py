"""The label space of a recipe, and where its sources do not mean the same. Manifests only: no root, no pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from catalog import sources as catalog_sources
from mdfp import canonical
from mdfp.fusion import Fusion, How, Severity
from pipelines.console import Console
from schemas import recipe as recipes
from transforms.fusion.report import fuse, open_errors

SHOWN = {
    How.ALWAYS: "always",
    How.MADE_UP: "made up",
    How.WHERE_PRESENT: "present",
    How.PER_CASE: "per case",
    How.IN_PARENT: "in",
}
"""What stands in a cell of the matrix."""

NEVER = "-"


def of_recipe(recipe_path: Path) -> Fusion:
    """The fusion of a recipe's sources.

    Raises:
        UsageError: the recipe or a manifest is wrong, or the space cannot be had from these sources.
    """
    recipe = recipes.load(recipe_path)
    sources = catalog_sources.resolve_all(recipe, recipe_path.resolve().parent)
    return fuse(recipe.labels, sources.values())


def describe(fusion: Fusion, console: Console) -> None:
    """Print the label space, the matrix of structures and sources, and the conflicts with what is proposed."""
    console.say(f"label space ({fusion.policy}): {', '.join(fusion.space) or 'empty'}")
    if fusion.unlabelled:
        console.say(f"without labels: {', '.join(fusion.unlabelled)}")
    console.table(_matrix(fusion))
    console.say(f"{NEVER}: not annotated there")
    for why in dict.fromkeys(entry.why for entry in fusion.left_out):
        console.say(f"no class, {why}: {', '.join(e.structure for e in fusion.left_out if e.why == why)}")
    if fusion.conflicts:
        console.table(_conflicts(fusion))
    for conflict in fusion.conflicts:
        console.say(f"  {conflict.id}: {conflict.detail}")
    if todo := [c for c in fusion.conflicts if c.severity is not Severity.SETTLED]:
        console.say("decide them in the recipe, for example")
        console.say("labels:\n  resolve:")
        for c in todo:
            console.say(f"    {c.id}: {c.proposal}    # {', '.join(c.offers)}")


def summary(fusion: Fusion) -> dict[str, Any]:
    """The fusion for machines, and how many conflicts are open."""
    content = dict(canonical.plain(fusion))
    content["errors"] = [c.id for c in open_errors(fusion)]
    content["warnings"] = [c.id for c in fusion.conflicts if c.severity is Severity.WARNING]
    return content


def _matrix(fusion: Fusion) -> Table:
    sources = sorted({a.source for a in fusion.annotations})
    table = Table(title="which source annotates what", title_justify="left")
    table.add_column("structure", no_wrap=True)
    table.add_column("class", justify="right", no_wrap=True)
    for source in sources:
        table.add_column(source, overflow="fold")
    number = {structure: str(n) for n, structure in enumerate(fusion.space, start=1)}
    cells = {(a.structure, a.source): f"{SHOWN[a.how]} {a.parent or ''}".strip() for a in fusion.annotations}
    others = sorted({a.structure for a in fusion.annotations} - set(fusion.space))
    for structure in (*fusion.space, *others):
        table.add_row(structure, number.get(structure, ""), *(cells.get((structure, s), NEVER) for s in sources))
    return table


def _conflicts(fusion: Fusion) -> Table:
    table = Table(title="where sources do not mean the same", title_justify="left")
    for column in ("conflict", "kind", "", "resolution", "proposal"):
        table.add_column(column)
    for c in fusion.conflicts:
        table.add_row(c.id, c.kind, str(c.severity), c.resolution or "", c.proposal)
    return table
