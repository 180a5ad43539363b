"""All four stages, one after the other: by hand, or as a scheduled job that takes in what is new."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines import drift
from pipelines.build import BuildOptions, Built, build
from pipelines.console import Console, megabytes
from pipelines.inventory import Taken, take_inventory
from pipelines.plan import describe, plan
from pipelines.publish import LostRaceError, PublishedCorpus, complete, publish, views_changed
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from transforms.plan.planner import Selection

ROUNDS = 5
"""How often another run may publish first. Each time what it published is taken out of the next plan."""


@dataclass(frozen=True)
class Finished:
    """What a run ended with."""

    built: Built
    published: PublishedCorpus


def run(
    workspace: Workspace, selection: Selection, engine: Engine, options: BuildOptions, console: Console
) -> Finished | None:
    """Inventory, plan, build, publish. What is done already is not done again; running twice adds nothing.

    Two runs at once are one corpus: whoever publishes second plans again upon what the first one published, and finds
    that nothing is left to do, or builds what only it had seen.

    Returns:
        None when everything the recipe selects is published already.

    Raises:
        LostRaceError: others published first, again and again.
    """
    taken = take_inventory(workspace, engine, console)
    console.say(f"inventory: {taken.line()}")
    for attempt in range(1, ROUNDS + 1):
        try:
            return _from_plan(workspace, taken, selection, engine, options, console)
        except LostRaceError:
            if attempt == ROUNDS:
                raise
            console.remark("another run published first; planning again upon what it published")
    raise AssertionError("unreachable: the last round returns or raises")


def _from_plan(
    workspace: Workspace,
    taken: Taken,
    selection: Selection,
    engine: Engine,
    options: BuildOptions,
    console: Console,
) -> Finished | None:
    drift.look(workspace.corpus, taken.folder, taken.table.deciding, workspace.sources, console)
    made = plan(workspace, selection, console)
    describe(made, engine.workers, console)
    if not made.shards and not views_changed(workspace, made):
        complete(workspace, console)
        console.say("plan: nothing new to build")
        return None
    built = build(workspace, made, engine, options, console) if made.shards else Built(made, ())
    console.say(
        f"build: {built.samples} samples and {len(built.holes)} holes in {len(built.markers)} shards, {megabytes(built.bytes)}"
    )
    published = publish(workspace, built, console)
    console.say(published.line(workspace.corpus))
    return Finished(built, published)
