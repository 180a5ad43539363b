"""Plan: from the inventory and the recipe to what will be built, before anything is spent."""

from __future__ import annotations

from collections import Counter

import pyarrow.compute as pc
from rich.table import Table

from expectations.validate import validate_plan
from mdfp.errors import MdfpError, UsageError
from pipelines import identity, withdrawal
from pipelines.console import Console, duration, megabytes
from pipelines.gate import require_pass
from pipelines.inventory import read_inventory
from pipelines.rejects import write_missing_rejects
from pipelines.workspace import Workspace
from transforms import withdrawn as tombstones
from transforms.plan import files, planner
from transforms.plan.history import load_holes
from transforms.plan.planner import Plan, Selection
from transforms.plan.published import load as load_published
from transforms.shared_files import SHARED_BYTES
from transforms.views import changed

MEMORY_FACTOR = 6
"""Peak bytes of a worker per voxel of its largest case: the inflated int16 image, its mask, and both as stored."""


class NothingToBuildError(MdfpError):
    """Every case that the inventory found is left out."""


def plan(workspace: Workspace, selection: Selection, console: Console) -> Plan:
    """Make the plan of the next generation and write it.

    One without shards is written where the recipe asks for other views of what is published, else not.

    Raises:
        UsageError: there is no inventory yet, or the recipe does not fit what is published.
        NothingToBuildError: every case is left out.
        GateError: an expectation on the plan does not hold.
    """
    inventory = read_inventory(workspace)
    published = load_published(workspace.corpus)
    withdrawal.require_finished(workspace, published)
    write_missing_rejects(workspace, published.manifest.number if published else 0)
    known = identity.known(workspace, inventory, published, console)
    made = planner.make_plan(
        workspace.recipe,
        workspace.sources,
        inventory,
        published,
        selection,
        load_holes(workspace.corpus),
        tombstones.load(workspace.corpus),
        known,
    )
    if known is not None:
        console.say(f"identity: {identity.line(identity.write(workspace, known, published, console))}")
    if not made.shards:
        if published is None:
            raise NothingToBuildError(_nothing(made))
        if changed(made.recipe, published.manifest):
            files.write(made, workspace.corpus)
        return made
    result = validate_plan(
        made.table,
        made.shards,
        inventory.deciding,
        # Label tables are judged where they are used.
        sources=() if made.image_only else tuple(workspace.sources.values()),
        palette=made.palette,
    )
    require_pass(result, workspace.corpus, console)
    files.write(made, workspace.corpus)
    return made


def _nothing(made: Plan) -> str:
    reasons = Counter(f"{a.left_out} ({a.detail})" for a in made.left_out())
    reasons["already published"] = made.published().total()
    reasons.update(f"{r.reason} (found by the inventory)" for r in made.rejects)
    lines = [f"{count} × {reason}" for reason, count in reasons.most_common() if count]
    return "\n  ".join(["nothing to build: every case is left out", *lines])


def read_latest(workspace: Workspace) -> Plan:
    """The plan that was made last.

    Raises:
        UsageError: there is none.
    """
    newest = files.latest(workspace.corpus)
    if newest is None:
        raise UsageError(
            f"{workspace.corpus.root}: there is no plan yet; make one with: "
            f"python -m pipelines plan {workspace.recipe_path}"
        )
    return files.read(workspace.corpus, newest)


def describe(made: Plan, workers: int, console: Console) -> None:
    """Print what would be built, what is left out and why, and what it costs."""
    table = Table(title=f"plan {made.plan_id[:12]}, generation {made.generation}", title_justify="left")
    before = ("published",) if made.parent is not None else ()
    for column in ("source", "train", "val", "test", *before, "left out"):
        table.add_column(column, justify="left" if column == "source" else "right")
    placed = Counter(zip(made.placed["source"].to_pylist(), made.placed["split"].to_pylist(), strict=True))
    published, left_out = made.published(), made.left_out()
    left = Counter(a.source for a in left_out)
    for source in sorted(made.sources):
        counts = [placed[source, s] for s in ("train", "val", "test")]
        counts += [published[source]] if before else []
        table.add_row(source, *map(str, (*counts, left[source])))
    console.table(table)
    reasons = Counter((a.left_out, a.detail) for a in left_out if a.left_out)
    for (reason, detail), count in sorted(reasons.items()):
        console.say(f"  left out: {count} × {reason} ({detail})")
    rejected = Counter(r.reason for r in made.rejects)
    for reason, count in sorted(rejected.items()):
        console.say(f"  rejected by the inventory: {count} × {reason} ({reason.meaning})")
    for source, content in sorted(made.sources.items()):
        if taken := content.get("origins"):
            told = ", ".join(f"{o['id']} ({o['terms']['license'] or 'none stated'})" for o in taken)
            console.say(f"  terms of {source}: {content['terms']['license'] or 'none stated'}, and those of {told}")
    for doubt in made.doubts:
        console.say(f"  terms in doubt: {doubt}")
    if made.shards:
        console.say(cost(made, workers))


def cost(made: Plan, workers: int) -> str:
    """One line on bytes, CPU time and memory."""
    seconds = sum(s.estimated_seconds for s in made.shards)
    size = sum(s.estimated_bytes for s in made.shards)
    read = int(pc.sum(made.placed["object_bytes"]).as_py() or 0)
    return (
        f"{made.planned} cases in {len(made.shards)} shards: reads {megabytes(read)}, writes about {megabytes(size)}, "
        f"about {duration(seconds)} of CPU ({duration(seconds / max(1, workers))} on {workers} workers), "
        f"up to {megabytes(peak_bytes(made))} of memory a worker"
    )


def peak_bytes(made: Plan) -> int:
    """Memory a worker needs for the largest case, roughly, with the interpreter and its libraries.

    Where files are split into time points, with those that it keeps for the next of them.
    """
    recipe = made.recipe
    split = "split" in {recipe.get("temporal"), *(s.get("temporal") for s in recipe.get("sources", ()))}
    kept = SHARED_BYTES if split else 0
    return 300_000_000 + kept + MEMORY_FACTOR * int(pc.max(made.placed["voxels"]).as_py() or 0)


def summary(made: Plan) -> dict[str, object]:
    """The plan for machines."""
    return {
        "plan_id": made.plan_id,
        "generation": made.generation,
        "cases": made.planned,
        "shards": len(made.shards),
        "splits": dict(Counter(made.placed["split"].to_pylist())),
        "published": made.published().total(),
        "left_out": dict(Counter(str(a.left_out) for a in made.left_out())),
        "rejects": dict(Counter(str(r.reason) for r in made.rejects)),
        "origins": {i: [o["id"] for o in s["origins"]] for i, s in sorted(made.sources.items()) if s.get("origins")},
        "terms_in_doubt": list(made.doubts),
        "estimated_bytes": sum(s.estimated_bytes for s in made.shards),
        "estimated_seconds": round(sum(s.estimated_seconds for s in made.shards), 1),
        "estimated_peak_bytes": peak_bytes(made),
    }
