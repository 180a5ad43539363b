"""The reader's commands: look at a corpus, check it, take samples out of it.

Exit codes: 0 all is well; 1 the corpus is damaged or a check failed; 2 wrong use (nothing was done).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import mdfp
from mdfp import canonical
from mdfp.class_mask import UNTOLD
from mdfp.errors import CorpusError, MdfpError, UsageError
from mdfp.labels import State
from mdfp.manifest import Manifest
from mdfp.menu import Menu
from mdfp.sample import SampleImage

DAMAGED, WRONG_USE = 1, 2

BUILDER = (
    *("add-labels", "archive", "blueprint", "build", "cancel", "catalog", "demo", "fingerprint", "gc", "init"),
    *("inspect", "inventory", "labels", "plan", "publish", "repair", "run", "status", "withdraw"),
)
"""Commands of the other program, which people try here."""

_EPILOG = "Exit codes: 0 all is well, 1 the corpus is damaged or a check failed, 2 wrong use."

app = typer.Typer(
    name="mdfp",
    cls=Menu,
    help="Look at a corpus of medical images, check it, and take samples out of it.\n\n"
    "A corpus is named by its folder or any fsspec URL (s3://, gs://, https://, …). It is built with "
    "`python -m pipelines` from the project's checkout.\n\n"
    "Start with: mdfp info ./abdomen-ct",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

CorpusUrl = Annotated[str, typer.Argument(metavar="CORPUS", help="Folder or URL of the corpus.")]
Number = Annotated[int | None, typer.Option("--number", "-n", help="Manifest to read; the newest by default.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON value on standard output, for machines.")]
SpaceOption = Annotated[
    str | None, typer.Option("--space", help="Structures of a label space, with commas: liver,kidney_left.")
]


def run(arguments: Sequence[str]) -> None:
    """Run and leave with the documented exit code; errors of ours are one line on standard error."""
    if arguments and arguments[0] in BUILDER:
        _fail(
            f"mdfp {arguments[0]}: this is the reader. Corpora are built from the project's checkout with "
            f"`python -m pipelines {arguments[0]} …`",
            WRONG_USE,
        )
    try:
        app(args=list(arguments), prog_name="mdfp")
    except UsageError as error:
        _fail(f"mdfp: {error}", WRONG_USE)
    except CorpusError as error:
        _fail(f"mdfp: {error}", DAMAGED)
    except MdfpError as error:
        _fail(f"mdfp: {error}", WRONG_USE)
    except OSError as error:
        _fail(f"mdfp: {error}", DAMAGED)


def _fail(message: str, code: int) -> None:
    sys.stderr.write(" ".join(message.split()) + "\n")
    raise SystemExit(code)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(canonical.plain(value), ensure_ascii=False) + "\n")


def _console() -> Console:
    # A table in a log or a pipe is not cut to a terminal that is not there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


@app.command(epilog="Example: mdfp info s3://my-bucket/abdomen-ct --json | jq .samples")
def info(corpus: CorpusUrl, number: Number = None, as_json: AsJson = False) -> None:
    """What a corpus is: its splits, sources, terms and palette."""
    opened = mdfp.open(corpus, number)
    manifest = opened.manifest
    if as_json:
        _print_json(
            {
                "corpus": manifest.corpus,
                "number": manifest.number,
                "parent": manifest.parent,
                "samples": manifest.samples,
                "shards": len(manifest.shards),
                "bytes": sum(s.bytes for s in manifest.shards),
                "splits": [
                    {"split": s.split, "samples": s.samples, "patients": s.patients, "bytes": s.bytes}
                    for s in manifest.splits
                ],
                "label_space": manifest.label_space,
                "palette": {e.structure: e.value for e in manifest.palette},
                "holes": manifest.holes,
                "terms": manifest.terms,
                "profile": manifest.profile,
                "exceptions": manifest.exceptions,
                "sampling": manifest.sampling,
                "sites": manifest.sites,
                "added": manifest.added,
                "plan_id": manifest.plan_id,
                "pixel_version": manifest.pixel_version,
            }
        )
        return
    out = _console()
    size = sum(s.bytes for s in manifest.shards)
    out.print(
        f"{manifest.corpus}, manifest {manifest.number}: {manifest.samples} samples, {len(manifest.shards)} shards, {_size(size)}"
    )
    table = Table("split", "samples", "patients", "shards", "size", box=None)
    for split in manifest.splits:
        table.add_row(split.split, str(split.samples), str(split.patients), str(len(split.urls)), _size(split.bytes))
    out.print(table)
    out.print(f"label space: {', '.join(manifest.label_space) or 'every structure of the palette'}")
    out.print(f"palette: {', '.join(f'{e.value} {e.structure}' for e in manifest.palette)}")
    for term in manifest.terms:
        out.print(f"source {term.source}: {term.title}, {term.license}{', ' + term.url if term.url else ''}")
        for origin in term.origins:
            out.print(f"  from {origin.origin}: {origin.title}, {origin.license}")
    for added in manifest.added:
        out.print(f"labels added: {added.layer} ({added.origin}): {added.title}, {added.license}")
    _print_views(manifest, out)
    for hole in manifest.holes:
        out.print(f"left out: {hole.count} of {hole.source}, {hole.reason}")


def _print_views(manifest: Manifest, out: Console) -> None:
    """Say what the terms were checked for, how the train split is sampled, and which sites there are."""
    if manifest.profile:
        out.print(f"terms checked for: {', '.join(manifest.profile)}")
    for e in manifest.exceptions:
        out.print(f"taken against the terms: {e.samples} of {e.source} under {e.license}; ground: {e.reason}")
    if manifest.sampling is not None:
        plan = manifest.sampling
        capped = {c.source: f"{c.share:g}" if c.samples is None else str(c.samples) for c in plan.caps}
        table = Table("sampled", "source", "samples", "share", "cap", box=None)
        for cell in plan.cells:
            table.add_row(cell.group, cell.source, str(cell.samples), f"{cell.weight:.1%}", capped.get(cell.source, ""))
        rule = {0.0: "equal", 1.0: "proportional"}.get(plan.exponent, f"temperature {plan.exponent:g}")
        out.print(f"sampling of {plan.split}: by {plan.by}, {rule}")
        out.print(table)
    if manifest.sites is not None:
        table = Table("site", "samples", "patients", "train", "val", "test", box=None)
        for s in manifest.sites.sites:
            table.add_row(s.site, str(s.samples), str(s.groups), str(s.train), str(s.val), str(s.test))
        out.print(f"sites, by {manifest.sites.by}: mdfp.open(url, site=…)")
        out.print(table)
        for m in manifest.sites.moved:
            out.print(f"patient {m.group} is in {m.site}, with {m.samples} samples from {', '.join(m.others)}")


@app.command(epilog="Example: mdfp ls ./abdomen-ct --split train --state liver=present --state spleen=absent")
def ls(
    corpus: CorpusUrl,
    split: Annotated[list[str] | None, typer.Option(help="train, val or test; may be repeated.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="Id of a source; may be repeated.")] = None,
    modality: Annotated[list[str] | None, typer.Option(help="CT, MR, …; may be repeated.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STRUCTURE=STATE", help=f"State of a structure: {', '.join(State)}; may be repeated."),
    ] = None,
    site: Annotated[str | None, typer.Option(help="Only this site's (`mdfp info` lists them).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Show only so many.")] = None,
    number: Number = None,
    as_json: AsJson = False,
) -> None:
    """List samples, all or those that meet every condition."""
    opened = mdfp.open(corpus, number, site=site)
    states: dict[str, list[str]] = {}
    for condition in state or ():
        structure, equals, wanted = condition.partition("=")
        if not equals:
            raise UsageError(f"--state: expected STRUCTURE=STATE, for example liver=present, found {condition!r}")
        states.setdefault(structure, []).append(wanted)
    known = opened.hierarchy.structures
    if strange := sorted(set(states) - known):
        opened.label_space(strange)  # names near ones
    found = opened.samples.where(split=split, source=source, modality=modality, states=states)
    shown = found[:limit] if limit else found
    rows = [
        {
            "key": s.key,
            "split": s.split,
            "source": s.source,
            "modalities": s.modalities,
            "shape_xyz": [list(reversed(i.stored.shape)) for i in s.images],
            "axes": [i.axes for i in s.images],
            "spacing_xyz_mm": [i.stored.spacing_xyz_mm for i in s.images],
            "present": [x.structure for x in s.structures if x.state is State.PRESENT],
        }
        for s in shown
    ]
    if as_json:
        _print_json(rows)
        return
    out = _console()
    table = Table("key", "split", "source", "modality", "x×y×z", "mm", "present", box=None)
    for sample in shown:
        grid = sample.images[0].stored
        spacing = "×".join(f"{v:g}" for v in grid.spacing_xyz_mm or ())
        table.add_row(
            sample.key,
            sample.split,
            sample.source,
            "+".join(sample.modalities),
            _shape(sample.images[0]),
            spacing,
            _few([x.structure for x in sample.structures if x.state is State.PRESENT]),
        )
    out.print(table)
    out.print(
        f"{len(found)} of {len(opened.samples)} samples" + (f", {len(shown)} shown" if len(shown) < len(found) else "")
    )


@app.command(epilog="Example: mdfp show ./abdomen-ct case-0001 --space liver,spleen -o case.png")
def show(
    corpus: CorpusUrl,
    key: Annotated[str, typer.Argument(metavar="KEY", help="Name of the sample (`mdfp ls`).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Picture to write; KEY.png by default.")] = None,
    image: Annotated[str | None, typer.Option(help="Image of the sample, where it has several.")] = None,
    space: SpaceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write over the picture.")] = False,
    number: Number = None,
    as_json: AsJson = False,
) -> None:
    """Draw a sample: axial, coronal and sagittal slices with its labels, or a picture with its boxes; and what is known."""
    from mdfp.flat_picture import flat_view
    from mdfp.picture import flatten, frame_caption, png, sample_view, shown_frame

    opened = mdfp.open(corpus, number)
    sample = opened.sample(key)
    record = sample.record
    name = image or (record.images[0].name if record.images else None)
    target = output or Path(f"{key}.png")
    if target.exists() and not force:
        raise UsageError(f"{target}: there already; give another name with -o, or --force to write over it")
    over_time = name is not None and record.image(name).axes == "tzyx"
    shown = sample.image(name, values="stored", frame=shown_frame(record.image(name)) if over_time else None)
    layers = [entry.layer for entry in record.labels if entry.image == name]
    if space:
        asked = opened.label_space(_names(space))
        label: Any = sample.classes(asked, image=name) if "t" not in record.image(name).axes else None
        names = dict(enumerate(asked.names, start=1)) | {UNTOLD: "cannot be told"}
    else:
        label = flatten([sample.label(layer) for layer in layers]) if layers else None
        names = {e.value: e.structure for e in opened.palette}
    caption = f"{key} · {record.source} · {name}"
    if over_time or record.image(name).axes == "zyx":
        drawn = sample_view(record.image(name), shown, label, names=names, caption=caption)
    else:
        drawn = flat_view(record.image(name), shown, record.annotations, label_yx=label, names=names, caption=caption)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(png(drawn))
    if as_json:
        _print_json({"picture": str(target), "sample": record})
        return
    out = _console()
    grid = record.image(name).stored
    out.print(f"{key}: {record.split}, {record.source}, {record.license}, {'+'.join(record.modalities)}")
    if over_time or record.image(name).axes == "zyx":
        shape = "×".join(map(str, reversed(grid.shape[-3:])))
        times = f" at {grid.shape[0]} time points, {frame_caption(record.image(name))} drawn" if over_time else ""
        out.print(f"{name}: {shape} voxels, {grid.spacing_xyz_mm} mm (x, y, z), {grid.orientation}{times}")
    else:
        spacing = f"{grid.spacing_xyz_mm} mm (x, y)" if grid.spacing_xyz_mm else "spacing unknown"
        out.print(f"{name}: {record.image(name).axes} {'×'.join(map(str, grid.shape))}, {spacing}")
    for annotation in record.annotations:
        value = f" = {annotation.value}" if annotation.value else ""
        out.print(f"{annotation.kind} {annotation.name}{value}: {annotation.state} ({annotation.level})")
    for text in record.texts:
        out.print(f"text {text.name}: {_cut(sample.text(text.name))}")
    for state in State:
        if found := [s.structure for s in record.structures if s.state is state]:
            out.print(f"{state}: {_few(found, 12)}")
    for warning in record.warnings:
        out.print(f"warning: {warning}")
    out.print(f"wrote {target}")


@app.command(epilog="Example: mdfp verify ./abdomen-ct && echo sound")
def verify(
    corpus: CorpusUrl,
    quick: Annotated[bool, typer.Option("--quick", help="Hash and list the shards, decode nothing.")] = False,
    number: Number = None,
    as_json: AsJson = False,
) -> None:
    """Re-hash every shard, re-read every member and compare with the index. Exit code 1 when anything differs."""
    from mdfp.verify import verify as check

    opened = mdfp.open(corpus, number)
    shards = opened.manifest.tars
    columns = (TextColumn("verify"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=Console(stderr=True), transient=True, disable=as_json or not sys.stderr.isatty()
    ) as progress:
        task = progress.add_task("verify", total=len(shards))
        faults = check(opened, quick=quick, done=lambda _: progress.advance(task))
    if as_json:
        _print_json({"shards": len(opened.manifest.shards), "samples": opened.manifest.samples, "faults": faults})
    else:
        for fault in faults:
            sys.stdout.write(f"{fault}\n")
        verdict = f"{len(faults)} faults" if faults else "sound"
        tars = f"{len(opened.manifest.shards)} shards"
        if sidecars := opened.manifest.sidecars:
            tars += f" and {len(sidecars)} sidecars"
        sys.stdout.write(f"{tars}, {opened.manifest.samples} samples: {verdict}\n")
    if faults:
        raise typer.Exit(DAMAGED)


@app.command(epilog="Example: mdfp stats ./abdomen-ct --json")
def stats(corpus: CorpusUrl, number: Number = None, as_json: AsJson = False) -> None:
    """Count samples, patients and bytes per source and split, and the states of each structure per source."""
    from mdfp.stats import statistics

    found = statistics(mdfp.open(corpus, number))
    if as_json:
        _print_json(found.plain())
        return
    out = _console()
    table = Table("source", "split", "samples", "patients", "size", box=None)
    for group in found.groups:
        table.add_row(group.source, group.split, str(group.samples), str(group.patients), _size(group.bytes))
    out.print(table)
    table = Table("structure", "source", *State, "vanished", "ml", box=None)
    for row in found.structures:
        if set(row.states) != {State.UNKNOWN}:
            counts = (str(row.states.get(s, "")) for s in State)
            table.add_row(row.structure, row.source, *counts, str(row.vanished or ""), f"{row.stored_mm3 / 1000:.1f}")
    out.print(table)
    if found.findings:
        table = Table("finding", "class", "source", *State, box=None)
        for told in found.findings:
            counts = (str(told.states.get(s, "")) for s in State)
            table.add_row(told.finding, told.value or "", told.source, *counts)
        out.print(table)
    for modality, count in found.modalities.items():
        out.print(f"{modality}: {count} samples")
    for hole, count in found.holes.items():
        out.print(f"left out: {count} of {hole}")


@app.command(epilog="Example: mdfp export ./abdomen-ct case-0001 --out ./look --space liver,spleen")
def export(
    corpus: CorpusUrl,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Names of samples (`mdfp ls`).")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    to: Annotated[
        str, typer.Option("--to", help="Format of volumes: nifti. Pictures and texts go out as they are.")
    ] = "nifti",
    space: SpaceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    number: Number = None,
    as_json: AsJson = False,
) -> None:
    """Write samples as files: NIfTI volumes and labels, pictures, texts, and a JSON sidecar. Nothing is written over without --force."""
    from mdfp.export import export_nifti

    if to != "nifti":
        raise UsageError(f"--to: expected nifti, found {to!r}")
    opened = mdfp.open(corpus, number)
    samples = [opened.sample(key) for key in keys]
    written = []
    for sample in samples:
        written += export_nifti(sample, out, space=_names(space) if space else None, force=force)
    if as_json:
        _print_json([str(path) for path in written])
    else:
        for path in written:
            sys.stdout.write(f"wrote {path}\n")


@app.callback(invoke_without_command=True)
def _options(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        sys.stdout.write(f"mdfp {mdfp.__version__}\n")
        raise typer.Exit


def _names(space: str) -> list[str]:
    return [name.strip() for name in space.split(",") if name.strip()]


def _shape(image: SampleImage) -> str:
    """Voxels of a volume along x, y, z, and of an image over time also t; of others the array's own order, named."""
    if image.axes in ("zyx", "tzyx"):
        times = f" at {image.stored.shape[0]} times" if image.axes == "tzyx" else ""
        return "×".join(str(n) for n in reversed(image.stored.shape[-3:])) + times
    return f"{'×'.join(str(n) for n in image.stored.shape)} {image.axes}"


def _cut(text: str, most: int = 300) -> str:
    words = " ".join(text.split())
    return words if len(words) <= most else words[:most] + " …"


def _few(names: Sequence[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _size(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"
