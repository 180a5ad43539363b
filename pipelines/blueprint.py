"""The command that plans a corpus from the catalog: `python -m pipelines blueprint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from pipelines.console import Console, megabytes
from pipelines.guard import Call, guard
from pipelines.options import JsonOpt

if TYPE_CHECKING:
    from catalog.blueprint import Blueprint

SHOWN = 20
"""Rows of a table on the screen; the files have all."""


def _words(name: str, text: str) -> Any:
    return typer.Option(name, help=f"{text}; repeat for alternatives.")


def blueprint(
    query: Annotated[
        Path | None, typer.Argument(help="Rules (YAML, docs/blueprint.md); options below win.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Where the files go.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the corpus.")] = None,
    dimension: Annotated[str | None, typer.Option("--dimension", "-d", help="2d, 3d, 4d or video.")] = None,
    mixed_dimensions: Annotated[str | None, typer.Option("--mixed-dimensions", help="include or exclude.")] = None,
    modality: Annotated[list[str] | None, _words("--modality", "DICOM modality: CT, MR, OP, …")] = None,
    mixed_modalities: Annotated[str | None, typer.Option("--mixed-modalities", help="include, asked or exclude.")] = None,
    task: Annotated[list[str] | None, _words("--task", "segmentation, classification, …")] = None,
    anatomy: Annotated[list[str] | None, _words("--anatomy", "brain, liver, chest, …")] = None,
    structure: Annotated[list[str] | None, typer.Option("--structure", help="A structure to have labels of; repeat.")] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="A manifest to take, whatever its row; repeat.")] = None,
    image_only: Annotated[bool | None, typer.Option("--image-only/--with-labels", help="Read no labels.")] = None,
    accept_risk: Annotated[list[str] | None, typer.Option("--accept-risk", help="What somebody looked at: text, faces, …")] = None,
    license_id: Annotated[list[str] | None, _words("--license", "SPDX id that is acceptable; none: terms not known")] = None,
    include_unlabeled: Annotated[bool | None, typer.Option("--include-unlabeled/--labeled-only", help="Without labels?")] = None,
    prefer_labeled: Annotated[bool | None, typer.Option("--prefer-labeled/--no-preference", help="Labelled first.")] = None,
    minimum_images: Annotated[int | None, typer.Option("--min-images", help="Least number of images of a data set.")] = None,
    since: Annotated[int | None, typer.Option("--since", help="First year of release.")] = None,
    until: Annotated[int | None, typer.Option("--until", help="Last year of release.")] = None,
    volumes_as_2d: Annotated[bool | None, typer.Option("--volumes-as-2d/--pictures-only", help="Volumes too, for 2d.")] = None,
    min_datasets: Annotated[int | None, typer.Option("--min-datasets", help="Least data sets of a modality.")] = None,
    min_organizations: Annotated[int | None, typer.Option("--min-organizations", help="Least organisations of one.")] = None,
    budget_gb: Annotated[float | None, typer.Option("--budget-gb", help="GB that downloads and corpus may take.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Plan a corpus from the catalog: which data sets, what they add up to, what conflicts, what is missing.

    Nothing is downloaded. With --out: query.yaml, blueprint.json, blueprint.md, and recipe.yaml for what can be built.
    """
    console = Console(as_json)
    options = {
        "name": name, "dimension": dimension, "mixed_dimensions": mixed_dimensions, "modalities": modality or None,
        "mixed_modalities": mixed_modalities, "tasks": task or None, "anatomies": anatomy or None,
        "structures": structure or None, "sources": source or None, "image_only": image_only,
        "accept_risks": accept_risk or None, "licenses": license_id or None, "include_unlabeled": include_unlabeled,
        "prefer_labeled": prefer_labeled, "minimum_images": minimum_images, "released_since": since,
        "released_until": until, "volumes_as_2d": volumes_as_2d, "minimum_datasets_per_modality": min_datasets,
        "minimum_organizations_per_modality": min_organizations, "storage_budget_gb": budget_gb,
    }  # fmt: skip

    def action() -> None:
        from catalog import blueprint as blueprints
        from catalog.blueprint import text

        wanted = blueprints.load(query, options)
        if out is not None and not force:
            text.check(out, wanted)
        made = blueprints.make(wanted)
        files = text.write(made, out, force=force) if out is not None else ()
        _tell(made, console)
        if files:
            console.say(f"wrote {', '.join(str(f) for f in files)}")
        console.result(made.as_dict() | {"files": [str(f) for f in files]})

    guard(Call(console, resumable=False), action)


def register(parent: typer.Typer) -> None:
    """Add the command to the builder's command line."""
    parent.command()(blueprint)


def _tell(made: Blueprint, console: Console) -> None:
    from catalog.blueprint import text

    console.table(_groups(made))
    if len(made.groups) > SHOWN:
        console.say(f"… and {len(made.groups) - SHOWN} more groups")
    console.say(text.sentence(made.total, made.shared))
    console.say(f"as published about {text.span(made.total.raw)}, in shards about {text.span(made.total.fused)}")
    console.table(_sets(made))
    if len(made.checklist) > SHOWN:
        console.say(f"… and {len(made.checklist) - SHOWN} more data sets; blueprint.md (--out) has all")
    if made.conflicts:
        console.table(_conflicts(made))
        if len(made.conflicts) > SHOWN:
            console.say(f"… and {len(made.conflicts) - SHOWN} more conflicts; blueprint.md (--out) has all")
    for c in made.duplicates:
        links = f"; {c.uncounted} links without a number" if c.uncounted else ""
        console.say(f"shared: {', '.join(c.datasets)}: {c.items:,} items, at most {c.distinct:,} different{links}")
    for g in made.coverage:
        if g.status != "labelled":
            console.say(f"not covered: {g.asked}: {g.status}{' (' + ', '.join(g.by) + ')' if g.by else ''}")
    for e in made.unknown():
        console.say(f"left out, a fact is missing: {e.id}: {'; '.join(f'{f.rule}: {f.reason}' for f in e.failures)}")
    out_by_fact = len(made.near())
    console.say(f"left out by a known fact: {out_by_fact}; recipe: {len(made.draft.sources)} sources")


def _groups(made: Blueprint) -> Table:
    shown = Table(title="groups", title_justify="left")
    for column in ("modality", "task", "anatomy"):
        shown.add_column(column, overflow="fold")
    for column in ("data sets", "items", "makers", "raw", "fused"):
        shown.add_column(column, justify="right")
    for g in made.groups[:SHOWN]:
        items = g.total.items
        shown.add_row(
            escape(g.modality), escape(g.task), escape(g.anatomy), str(len(g.datasets)),
            f"{items.images + items.volumes + items.videos:,}", str(g.total.organizations),
            megabytes(g.total.raw.middle), megabytes(g.total.fused.middle),
        )  # fmt: skip
    return shown


def _sets(made: Blueprint) -> Table:
    shown = Table(title="data sets and what is to be done", title_justify="left")
    shown.add_column("id", overflow="fold", min_width=16)
    shown.add_column("recipe", overflow="fold")
    shown.add_column("to do", overflow="fold")
    for e in sorted(made.checklist, key=lambda entry: entry.source is None)[:SHOWN]:
        shown.add_row(escape(e.id), escape(e.source or "no"), escape("; ".join(e.steps)))
    return shown


def _conflicts(made: Blueprint) -> Table:
    shown = Table(title="conflicts", title_justify="left")
    for column in ("kind", "about", "who"):
        shown.add_column(column, overflow="fold")
    for c in made.conflicts[:SHOWN]:
        who = "; ".join(
            f"{k}: {', '.join(v[:3])}{f' +{len(v) - 3}' if len(v) > 3 else ''}" for k, v in c.parties.items()
        )
        shown.add_row(c.kind, escape(c.what), escape(who))
    return shown
