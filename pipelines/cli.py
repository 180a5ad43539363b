"""The builder's command line, `python -m pipelines`: the stages of a build, what looks after a corpus, the catalog.

Exit codes: 0 done; 1 the run failed or a gate did not pass; 2 wrong use, nothing was done; 3 cancelled on request; 130
interrupted.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from mdfp.menu import Menu
from pipelines import archive, blueprint, catalog, operate
from pipelines.console import Console, megabytes
from pipelines.guard import Call, guard
from pipelines.options import (
    BEAM,
    HolesOpt,
    JsonOpt,
    LimitOpt,
    OnlyOpt,
    OutOpt,
    PricesOpt,
    QuietOpt,
    RebuildOpt,
    RecipeArg,
    RetriesOpt,
    RetryHolesOpt,
    RootOpt,
    RunnerOpt,
    ScratchOpt,
    VcpusOpt,
    WorkersOpt,
)


class Commands(Menu):
    """The commands, in the order in which a corpus comes about."""

    sections: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "Find data and describe it": ("catalog", "blueprint", "archive", "inspect", "init", "labels"),
        "Build a corpus": ("run", "inventory", "fingerprint", "plan", "build", "publish"),
        "Look after it": ("status", "cancel", "add-labels", "repair", "gc", "withdraw"),
        "See it work": ("demo",),
    }


app = typer.Typer(
    cls=Commands,
    help=(
        "Build a corpus of medical images: raw public data sets in, verified shards out.\n\n"
        "Four stages, each resumable: inventory (headers only) → plan (no pixels; review it) → build (pixels, once) → "
        "publish (everything becomes visible at once). `run` does all four. Readers use the command `mdfp`.\n\n"
        "Beam options go after --, for example: run recipe.yaml --runner spark -- --spark_master_url=spark://host:7077"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LABELS_EXAMPLE = """\b
LABELS.yaml, for example:
  layer: totalseg
  title: TotalSegmentator 2.4
  root: s3://my-bucket/predictions
  path: "{key}.nii.gz"
  labels: {origin: model, values: {0: background, 1: spleen, 5: liver}}
  terms: {license: CC-BY-4.0}
"""


def _beam(context: typer.Context, workers: int | None, runner: str, workspace: Any) -> Any:
    from pipelines.runner import Engine, local_workers

    engine = Engine(local_workers(workers), tuple(context.args), runner)
    engine.check_places({"out": workspace.corpus.root} | {f"root of {i}": r for i, r in workspace.roots.items()})
    return engine


def _options(scratch: Path | None, retries: int, max_holes: float, rebuild: bool) -> Any:
    from pipelines.build import BuildOptions

    return BuildOptions(scratch=scratch, attempts=retries + 1, max_holes=max_holes, rebuild=rebuild)


def _workspace(recipe: Path, root: list[str] | None, out: str | None) -> Any:
    from pipelines.workspace import open_workspace

    return open_workspace(recipe, root or (), out)


def _selection(only: list[str] | None, limit: int | None, retry_holes: bool) -> Any:
    from transforms.plan.planner import Selection

    return Selection(tuple(only or ()), limit, retry_holes)


@app.command()
def init(
    path: Annotated[
        Path, typer.Argument(help="A folder of your own images (DICOM, NIfTI, MHA, NRRD).", show_default=False)
    ],
    into: Annotated[Path, typer.Option("--into", help="Where the two drafts are written.")] = Path(),
    name: Annotated[str | None, typer.Option("--name", help="Name of the corpus; default: the folder's.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace drafts that are there.")] = False,
) -> None:
    """Draft a source manifest and a recipe for a folder of your own, good enough to run.

    Looks at file names and a few headers, guesses layout, modality and label values, and says what to check.
    """
    console = Console()

    def action() -> None:
        from pipelines.init import draft

        drafted = draft(path, into, name=name, force=force)
        for line in drafted.remarks:
            console.say(line)
        console.say(f"wrote {drafted.source} and {drafted.recipe}; look them over, then:")
        console.say(f"  python -m pipelines run {drafted.recipe}")

    guard(Call(console, resumable=False), action)


@app.command()
def inspect(
    place: Annotated[
        str, typer.Argument(metavar="PATH|URL", help="A file, a series' folder, or any folder.", show_default=False)
    ],
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Where the picture goes (PNG).", show_default="inspect.png")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Draw none.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Volumes whose voxels are read; 0: headers only.")] = 12,
    json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Say what a series, file or folder holds and what is wrong with it, with a picture. Nothing is built.

    Reads as an inventory and a build do: what is rejected here is rejected there, for the same reason.
    """
    console = Console(as_json=json, quiet=quiet)

    def action() -> None:
        from pipelines import inspect as inspecting

        found = inspecting.inspect(place, limit=limit, console=console)
        for line in inspecting.lines(found):
            console.say(line)
        path = picture or Path("inspect.png")
        drawn = not no_picture and inspecting.save_picture(found, path)
        if drawn:
            console.say(f"picture: {path}")
        console.result({"found": inspecting.as_json(found), "picture": str(path) if drawn else None})

    guard(Call(console, resumable=False), action)


@app.command()
def labels(recipe: RecipeArg, as_json: JsonOpt = False) -> None:
    """Show the label space of a recipe: which source annotates what, where they differ, what is proposed. Nothing is read.

    Exits with 1 where a class would mean two things and the recipe does not say what holds: no plan is made then.
    """
    console = Console(as_json)

    def action() -> None:
        from pipelines import labels as labelling
        from transforms.fusion.report import open_errors

        fusion = labelling.of_recipe(recipe)
        labelling.describe(fusion, console)
        console.result(labelling.summary(fusion))
        if open_errors(fusion):
            raise typer.Exit(1)

    guard(Call(console, resumable=False), action)


@app.command(context_settings=BEAM)
def inventory(
    context: typer.Context, recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None,
    runner: RunnerOpt = "local", workers: WorkersOpt = None, as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """List the sources, group files into cases, read their headers. No pixels."""
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines.inventory import describe, take_inventory

        workspace = _workspace(recipe, root, out)
        engine = _beam(context, workers, runner, workspace)
        found = take_inventory(workspace, engine, console)
        describe(found, console)
        console.result(found.summary())

    guard(Call(console, resumable=True), action)


@app.command(context_settings=BEAM)
def fingerprint(
    context: typer.Context, recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None,
    runner: RunnerOpt = "local", workers: WorkersOpt = None, as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Read every image of the inventory once and say which cases are the same, before anything is built. Optional.

    Images of unchanged objects are not read again. Later plans leave copies out, and keep what belongs together in one
    split. Writes tables under OUT/identity/ (docs/identity.md).
    """
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines import identity
        from pipelines.fingerprint import take_fingerprints
        from pipelines.inventory import read_inventory
        from transforms.plan.published import load

        workspace = _workspace(recipe, root, out)
        engine = _beam(context, workers, runner, workspace)
        taken = take_fingerprints(workspace, engine, console)
        console.say(f"fingerprint: {taken.line()}")
        published = load(workspace.corpus)
        known = identity.known(workspace, read_inventory(workspace), published, console)
        assert known is not None  # there are fingerprints
        graph = identity.write(workspace, known, published, console)
        console.say(f"identity: {identity.line(graph)}")
        console.result(dataclasses.asdict(taken) | {"identity": identity.summary(graph)})

    guard(Call(console, resumable=True), action)


@app.command()
def plan(
    recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None, only: OnlyOpt = None, limit: LimitOpt = None,
    retry_holes: RetryHolesOpt = False, workers: WorkersOpt = None, prices: PricesOpt = None, vcpus: VcpusOpt = 64,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Decide what is built and what is left out, and what it will cost; nothing is spent yet.

    Needs an inventory. Writes the plan as files to review under OUT/plans/.
    """
    console = Console(as_json, quiet)

    def action() -> None:
        from catalog import prices as price_lists
        from pipelines import cost as costing
        from pipelines import plan as planning
        from pipelines.runner import local_workers

        workspace = _workspace(recipe, root, out)
        price_lists.load(prices)  # a wrong list is told before the work is done
        made = planning.plan(workspace, _selection(only, limit, retry_holes), console)
        planning.describe(made, local_workers(workers), console)
        costs = costing.estimate(made, prices, vcpus)
        if made.shards:
            costing.describe(costs, console)
        console.result(planning.summary(made) | {"cost": costing.summary(costs)})

    guard(Call(console, resumable=True), action)


@app.command(context_settings=BEAM)
def build(
    context: typer.Context, recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None,
    runner: RunnerOpt = "local", workers: WorkersOpt = None,
    scratch_dir: ScratchOpt = None, retries: RetriesOpt = 3, max_holes: HolesOpt = 0.1, rebuild: RebuildOpt = False,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Build the shards of the newest plan. Shards that are there already are skipped: this is also how to resume."""
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines.build import build as build_plan
        from pipelines.plan import read_latest

        workspace = _workspace(recipe, root, out)
        engine = _beam(context, workers, runner, workspace)
        options = _options(scratch_dir, retries, max_holes, rebuild)
        built = build_plan(workspace, read_latest(workspace), engine, options, console)
        reasons = _reasons(built.holes)
        console.say(
            f"build: {built.samples} samples and {len(built.holes)} holes in {len(built.markers)} shards, {megabytes(built.bytes)}"
        )
        for reason, count in reasons.items():
            console.say(f"  hole: {count} × {reason}")
        console.result({"samples": built.samples, "holes": reasons, "shards": len(built.markers), "bytes": built.bytes})

    guard(Call(console, resumable=True), action)


@app.command()
def publish(
    recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None, max_holes: HolesOpt = 0.1,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Check every sample of the finished build, then make it visible: manifest, index, report, attribution."""
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines.build import Built, audit
        from pipelines.plan import read_latest
        from pipelines.publish import publish as publish_built

        workspace = _workspace(recipe, root, out)
        made = read_latest(workspace)
        published = publish_built(workspace, Built(made, audit(workspace, made)), console)
        number = published.manifest.number
        console.say(published.line(workspace.corpus))
        console.result({"manifest": number, "samples": published.manifest.samples, "new": published.new})

    guard(Call(console, resumable=True), action)


@app.command(context_settings=BEAM)
def run(
    context: typer.Context, recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None, only: OnlyOpt = None,
    limit: LimitOpt = None, retry_holes: RetryHolesOpt = False, runner: RunnerOpt = "local",
    workers: WorkersOpt = None, scratch_dir: ScratchOpt = None, retries: RetriesOpt = 3, max_holes: HolesOpt = 0.1,
    rebuild: RebuildOpt = False,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Inventory, plan, build, publish. What is done already is not done again."""
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines.run import run as run_all

        workspace = _workspace(recipe, root, out)
        engine = _beam(context, workers, runner, workspace)
        options = _options(scratch_dir, retries, max_holes, rebuild)
        finished = run_all(workspace, _selection(only, limit, retry_holes), engine, options, console)
        if finished is not None:
            manifest = finished.published.manifest
            console.say(f"look at it: mdfp info {workspace.corpus.root}; {workspace.corpus.url('report.html')}")
            console.result(
                {"manifest": manifest.number, "samples": manifest.samples, "holes": _reasons(finished.built.holes)}
            )
        else:
            console.result({"samples": 0, "new": False})

    guard(Call(console, resumable=True), action)


operate.register(app)
catalog.register(app)
blueprint.register(app)
archive.register(app)


@app.command(context_settings=BEAM, epilog=LABELS_EXAMPLE)
def add_labels(
    context: typer.Context, recipe: RecipeArg,
    labels_file: Annotated[
        Path, typer.Argument(metavar="LABELS", help="What the masks are and where they lie (YAML).", show_default=False)
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it only what would be added is shown.")] = False,
    mend: Annotated[
        bool, typer.Option("--repair", help="Add nothing: make sidecars of these labels again that were damaged or lost.")
    ] = False,
    root: RootOpt = None, out: OutOpt = None,
    runner: RunnerOpt = "local", workers: WorkersOpt = None, scratch_dir: ScratchOpt = None, retries: RetriesOpt = 3,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Add masks to a published corpus, for all or some of its samples: those of a model, or of another reader.

    A mask lies on the grid of the stored image (what `mdfp export` writes, and a model trained on the corpus predicts on) or on
    the one that its source published; anything else is left out. Images and shards stay as they are: the masks go to tars beside
    them, named by a new manifest. Readers then see one layer more, with its origin (docs/labels.md).

    May be interrupted anywhere: the same command goes on. Given twice it adds nothing.
    """
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines import add_labels as adding
        from pipelines.workspace import place_beside
        from schemas import added_labels

        spec = added_labels.load(labels_file)
        place = place_beside(spec.root, spec.layer, labels_file.resolve().parent, spec.access)
        workspace = _workspace(recipe, root, out)
        engine = _beam(context, workers, runner, workspace)
        engine.check_places({f"root of {spec.layer}": place.url})
        options = _options(scratch_dir, retries, 1.0, False)
        if mend:
            from pipelines.repair_labels import repair_labels

            _say_repaired(repair_labels(workspace, spec, place, options), console)
            return
        if not yes:
            todo = adding.look(workspace, spec, place)
            adding.describe(todo, spec, console)
            console.result(adding.summary(todo) | {"done": False})
            return
        done = adding.add_labels(workspace, spec, place, engine, options, console)
        console.say(
            f"add-labels: {done.samples} samples have {spec.layer} now, {done.there} had it; {done.sidecars} sidecars; "
            f"manifest {done.manifest}"
        )
        for reason, count in done.reasons.items():
            console.say(f"  left out: {count} × {reason}")
        if done.reasons:
            console.say(f"listed in {workspace.corpus.url(done.table)}")
        console.result(dataclasses.asdict(done) | {"done": True})

    guard(Call(console, resumable=yes), action)


@app.command()
def repair(
    recipe: RecipeArg, root: RootOpt = None, out: OutOpt = None, scratch_dir: ScratchOpt = None, retries: RetriesOpt = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Compare sizes only, do not hash.")] = False,
    as_json: JsonOpt = False, quiet: QuietOpt = False,
) -> None:  # fmt: skip
    """Find published shards that were damaged or lost and build them again from their sources, byte for byte."""
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines.repair import repair as repair_corpus

        workspace = _workspace(recipe, root, out)
        done = repair_corpus(workspace, _options(scratch_dir, retries, 1.0, False), deep=not quick, console=console)
        _say_repaired(done, console)

    guard(Call(console, resumable=True), action)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where everything goes.")] = Path("out/demo"),
    workers: WorkersOpt = None,
    fresh: Annotated[bool, typer.Option("--fresh/--keep", help="Start anew, or go on with what is there.")] = True,
    as_json: JsonOpt = False,
    quiet: QuietOpt = False,
) -> None:
    """Make phantom data sets with planted faults, build a corpus from them, stream it, and show what came of it."""
    console = Console(as_json, quiet)

    def action() -> None:
        from pipelines.demo import demo as run_demo
        from pipelines.runner import local_workers

        console.result(run_demo(folder, local_workers(workers), fresh=fresh, console=console))

    guard(Call(console, resumable=True), action)


def _say_repaired(done: Any, console: Console) -> None:
    console.say(
        f"repair: {done.checked} shards and sidecars checked, {len(done.damaged)} damaged, {len(done.restored)} restored"
    )
    for path, why in done.lost:
        console.error(f"{path}: {why}")
    console.result(dataclasses.asdict(done))
    if done.lost:
        raise typer.Exit(1)


def _reasons(holes: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for hole in holes:
        counts[str(hole.reason)] = counts.get(str(hole.reason), 0) + 1
    return dict(sorted(counts.items()))


def main() -> None:
    """Entry point of `python -m pipelines`."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    # Beam's import remarks on what it could also do; our own messages do not go through logging.
    if level := os.environ.get("MDFP_LOG"):
        logging.basicConfig(level=level)
    else:
        logging.disable(logging.WARNING)
    app(prog_name="python -m pipelines")
