"""The commands of whoever looks after a corpus: status, cancel, gc, withdraw.

They take a recipe, or the address of a corpus alone: neither sources nor the patient key are needed to look after one.
"""

from __future__ import annotations

import dataclasses
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mdfp.errors import UsageError
from pipelines.console import Console, megabytes
from pipelines.guard import Call, guard
from pipelines.options import JsonOpt, QuietOpt

TargetArg = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE|CORPUS", help="The recipe (.yaml), or the address of the corpus.", show_default=False
    ),
]
OutOpt = Annotated[str | None, typer.Option("--out", help="Where the corpus is. Overrides the recipe.")]
RootOpt = Annotated[list[str] | None, typer.Option("--root", hidden=True, help="Not needed: no source is looked at.")]
RootsOpt = Annotated[
    list[str] | None, typer.Option("--root", metavar="SOURCE=URL", help="Where a source's files lie; as for run.")
]


class Kind(StrEnum):
    """What a withdrawal names."""

    CASE = "case"
    PATIENT = "patient"
    PATIENT_ID = "patient-id"
    SOURCE = "source"


def register(app: typer.Typer) -> None:
    """Add the commands to the builder's command line."""
    app.command()(status)
    app.command()(cancel)
    app.command()(gc)
    app.command()(withdraw)


def status(
    target: TargetArg, out: OutOpt = None, root: RootOpt = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again until nothing is left to build.")] = False,
    every: Annotated[float, typer.Option("--every", min=1, help="Seconds between two looks of --watch.")] = 15.0,
    telemetry: Annotated[
        bool, typer.Option("--telemetry", help="Add up what workers measured: where the time went, requests tried again.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Show how far a build is, wherever it runs: commit markers counted against the plan, speed, and when it will end.

    Costs two listings and one small read for each marker that is new since the last look. Nothing is asked of an
    engine, so it works for one that runs elsewhere, and after it died.
    """
    console = Console(as_json)

    def action() -> None:
        from pipelines import spent
        from pipelines import status as looking
        from pipelines.place import corpus_at

        corpus = corpus_at(target, out)
        watcher = looking.Watcher(corpus)
        found = looking.watch(watcher, every, console) if watch else watcher.look()
        looking.describe(found, console)
        result = dataclasses.asdict(found) | {"next_step": found.next_step}
        if telemetry:
            sums = spent.spent(corpus)
            spent.describe(sums, console)
            result["telemetry"] = dataclasses.asdict(sums)
        console.result(result)

    guard(Call(console, resumable=False), action)


def cancel(
    target: TargetArg, out: OutOpt = None,
    now: Annotated[
        bool, typer.Option("--now", help="End the engine's job as well, where the command that started it still waits.")
    ] = False,
    as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Ask the running builds of the newest plan to stop, on whatever engine and machine.

    Workers look for the request before each shard: they finish the one they are at (minutes) and start no other. What is
    committed stays, nothing half-done is ever visible, and a later build goes on from there.
    """
    console = Console(as_json)

    def action() -> None:
        from pipelines import cancel as cancelling
        from pipelines.place import corpus_at

        done = cancelling.cancel(corpus_at(target, out), "now" if now else "finish")
        resume = shlex.join(["python", "-m", "pipelines", "build", target, *(["--out", out] if out else [])])
        left = done.status.shards_planned - done.status.shards_done
        console.say(
            f"cancel: asked builds of the plan {(done.status.plan_id or '')[:12]} to stop, {left} shards before its end"
        )
        console.say(f"go on later with:\n  {resume}")
        console.result(
            {
                "request": done.number,
                "mode": done.mode,
                "shards_left": left,
                "resume": resume,
                "plan_id": done.status.plan_id,
            }
        )

    guard(Call(console, resumable=False), action)


def gc(
    target: TargetArg, out: OutOpt = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete what was found; without it nothing is touched.")] = False,
    older_than: Annotated[
        float, typer.Option("--older-than", metavar="DAYS", min=0, help="Only what is older than so many days.")
    ] = 7.0,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Find what killed runs left behind, and delete it with --delete.

    Shards, sidecars, index rows and index files that no manifest and no marker of the newest plan names; plans, markers,
    inventories and additions of labels that were given up; temporary files; unfinished uploads. Safe beside a running build:
    it writes what is younger than a day before it names it.
    """
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines import gc as collecting
        from pipelines.place import corpus_at

        if older_than < 1:
            console.remark("less than a day is safe only while nothing is running")
        done = collecting.collect(corpus_at(target, out), older_than_days=older_than, delete=delete)
        collecting.describe(done, older_than, console)
        console.result(done.summary())

    guard(Call(console, resumable=True), action)


def withdraw(
    recipe: Annotated[Path, typer.Argument(help="The recipe (YAML).", show_default=False)],
    target: Annotated[
        str | None,
        typer.Argument(help="A case, a patient (pseudonym) or a source; none: finish what was interrupted.", show_default=False),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option("--as", help="What TARGET is, where it is not published (yet). patient-id: NAMESPACE:ID of the source."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would go is shown.")] = False,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="Leave the old bytes to jobs that read them now; a later call deletes them.")
    ] = False,
    root: RootsOpt = None, out: OutOpt = None,
    scratch_dir: Annotated[Path | None, typer.Option("--scratch-dir", help="Local folder for shards being rewritten.")] = None,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Take cases back after publication, for good: a case, a patient with all cases, or a whole source.

    Publishes a new manifest whose shards do not hold them, then deletes the old bytes. They are never planned again.
    Training jobs that opened the corpus before lose what is deleted under them: let them end first, or use --keep-old.
    May be interrupted anywhere: the same command finishes it.
    """
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines import withdraw as withdrawing
        from pipelines.target import resolve
        from pipelines.workspace import open_workspace

        workspace = open_workspace(recipe, root or (), out)
        withdrawal = None if target is None else resolve(workspace, target, kind)
        if not yes:
            if withdrawal is None:
                raise UsageError("name what to take back (a case, a patient or a source), or finish with --yes")
            found = withdrawing.look(workspace.corpus, withdrawal)
            console.say(
                f"withdraw: {found.samples} samples in {found.shards} shards ({megabytes(found.bytes)}) would be taken back, "
                "for good; nothing was done. Do it with --yes"
            )
            console.result(dataclasses.asdict(found) | {"done": False})
            return
        done = withdrawing.withdraw(workspace, withdrawal, purge=not keep_old, scratch=scratch_dir, console=console)
        console.say(
            f"withdraw: {done.samples} samples taken back, {done.rewritten} shards rewritten, {done.purged} objects deleted; "
            f"manifest {done.manifest}"
        )
        if keep_old:
            console.say(
                "the old bytes stay for readers of earlier manifests; delete them with:\n  "
                + shlex.join(["python", "-m", "pipelines", "withdraw", str(recipe), "--yes"])
            )
        console.result(dataclasses.asdict(done) | {"done": True})

    guard(Call(console, resumable=yes), action)
