"""All four stages, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.build import BuildOptions, Built, build
from pipelines.console import Console, megabytes
from pipelines.inventory import take_inventory
from pipelines.plan import describe, plan
from pipelines.publish import PublishedCorpus, complete, publish
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from transforms.plan.planner import Selection


@dataclass(frozen=True)
class Finished:
    """What a run ended with."""

    built: Built
    published: PublishedCorpus


def run(
    workspace: Workspace, selection: Selection, engine: Engine, options: BuildOptions, console: Console
) -> Finished | None:
    """Inventory, plan, build, publish. What is done already is not done again; running twice adds nothing.

    Returns:
        None when everything the recipe selects is published already.
    """
    found = take_inventory(workspace, engine, console)
    console.say(f"inventory: {found.line()}")
    made = plan(workspace, selection, console)
    describe(made, engine.workers, console)
    if not made.shards:
        complete(workspace, console)
        console.say("plan: nothing new to build")
        return None
    built = build(workspace, made, engine, options, console)
    console.say(
        f"build: {built.samples} samples and {len(built.holes)} holes in {len(built.markers)} shards, {megabytes(built.bytes)}"
    )
    published = publish(workspace, built, console)
    console.say(published.line(workspace.corpus))
    return Finished(built, published)
