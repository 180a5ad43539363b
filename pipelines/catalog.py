"""The commands that look into the catalog: `python -m pipelines catalog search|show|facets|export|sql|idc`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mdfp.menu import Menu
from pipelines.console import Console, megabytes
from pipelines.guard import Call, guard
from pipelines.options import JsonOpt

if TYPE_CHECKING:
    import pyarrow as pa

    from catalog.datasets import Catalog
    from catalog.idc import Citation, Facts
    from catalog.query import Query, Totals
    from schemas.dataset import DataSet, Overlap

app = typer.Typer(
    name="catalog",
    cls=Menu,
    help="Look into the catalog of public data sets: search it, count it, export it, ask it in SQL (docs/datasets.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WordsArg = Annotated[
    list[str] | None,
    typer.Argument(metavar="[WORD]...", help="Words that must all occur: a name, disease, organ, organisation."),
]
ModalityOpt = Annotated[
    list[str] | None, typer.Option("--modality", "-m", help="DICOM modality: CT, MR, OP, …; repeat for alternatives.")
]
DimensionOpt = Annotated[list[str] | None, typer.Option("--dimension", "-d", help="2d, 3d, 4d, video or text; repeat.")]
TaskOpt = Annotated[list[str] | None, typer.Option("--task", "-t", help="segmentation, classification, …; repeat.")]
AnatomyOpt = Annotated[list[str] | None, typer.Option("--anatomy", "-a", help="brain, liver, chest, …; repeat.")]
StructureOpt = Annotated[
    list[str] | None,
    typer.Option("--structure", help="A structure of the ontology that is known to be annotated: kidney; repeat."),
]
LicenseOpt = Annotated[
    list[str] | None, typer.Option("--license", "-l", help="SPDX id, or none: no id could be read; repeat.")
]
AccessOpt = Annotated[
    list[str] | None, typer.Option("--access", help="open, registration, agreement, unknown; repeat.")
]
LabelOpt = Annotated[list[str] | None, typer.Option("--label", help="labeled, unlabeled or mixed; repeat.")]
FamilyOpt = Annotated[list[str] | None, typer.Option("--family", help="Series of releases: brats, kits, msd; repeat.")]
YearOpt = Annotated[str | None, typer.Option("--year", help="2019, 2019-, -2021 or 2019-2021.")]
ReadableOpt = Annotated[
    bool | None,
    typer.Option("--readable/--not-readable", help="Only those with a manifest in catalog/sources, or without."),
]
LimitOpt = Annotated[int, typer.Option("--limit", "-n", min=0, help="Rows to print; 0: all. --json gives all.")]


def register(parent: typer.Typer) -> None:
    """Add the commands to the builder's command line."""
    parent.add_typer(app)


@app.command()
def search(
    words: WordsArg = None, modality: ModalityOpt = None, dimension: DimensionOpt = None, task: TaskOpt = None,
    anatomy: AnatomyOpt = None, structure: StructureOpt = None, license_id: LicenseOpt = None, access: AccessOpt = None,
    label: LabelOpt = None, family: FamilyOpt = None, year: YearOpt = None, readable: ReadableOpt = None,
    limit: LimitOpt = 40, as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Find data sets. Values of one option are alternatives; options and words must all hold."""
    console = Console(as_json)

    def action() -> None:
        from catalog import datasets, query

        wanted = _query(
            words, modality, dimension, task, anatomy, structure, license_id, access, label, family, year, readable
        )
        found = query.Search(datasets.load(), wanted)
        table, totals = found.table(), found.totals()
        console.table(_listed(table, limit))
        if limit and table.num_rows > limit:
            console.say(f"… and {table.num_rows - limit} more; --limit 0 prints all")
        console.say(_total_line(totals))
        console.result({"total": dataclasses.asdict(totals), "datasets": table.to_pylist()})

    guard(Call(console, resumable=False), action)


@app.command()
def show(
    dataset: Annotated[str, typer.Argument(help="Id or name of a data set.", show_default=False)],
    as_json: JsonOpt = False,
) -> None:
    """Show all that the catalog has of one data set: facts, doubts, what it shares with others, how it is read."""
    console = Console(as_json)

    def action() -> None:
        from catalog import datasets

        catalog = datasets.load()
        found = catalog.find(dataset)
        links = catalog.overlaps_of(found.id)
        console.table(_facts(found, links, catalog))
        console.result(_shown(found, links))

    guard(Call(console, resumable=False), action)


@app.command()
def facets(
    words: WordsArg = None, modality: ModalityOpt = None, dimension: DimensionOpt = None, task: TaskOpt = None,
    anatomy: AnatomyOpt = None, structure: StructureOpt = None, license_id: LicenseOpt = None, access: AccessOpt = None,
    label: LabelOpt = None, family: FamilyOpt = None, year: YearOpt = None, readable: ReadableOpt = None,
    by: Annotated[
        list[str] | None, typer.Option("--by", help="modality, dimension, task, anatomy, label, access, license, …; repeat.")
    ] = None,
    limit: LimitOpt = 15, as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Count data sets by modality, task, anatomy and so on.

    A data set with two modalities stands in two rows, and is counted once in the total.
    """
    console = Console(as_json)

    def action() -> None:
        from catalog import datasets, query

        wanted = _query(
            words, modality, dimension, task, anatomy, structure, license_id, access, label, family, year, readable
        )
        found = query.Search(datasets.load(), wanted)
        names = by or ["modality", "dimension", "task", "anatomy", "label", "access", "license"]
        counted = {name: found.facet(name) for name in names}
        totals = found.totals()
        for name, values in counted.items():
            console.table(_counted(name, values[: limit or None], len(values)))
        console.say(_total_line(totals))
        console.result(
            {
                "total": dataclasses.asdict(totals),
                "facets": {name: [dataclasses.asdict(v) for v in values] for name, values in counted.items()},
            }
        )

    guard(Call(console, resumable=False), action)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to: .parquet, .csv or .jsonl.", show_default=False)],
    words: WordsArg = None, modality: ModalityOpt = None, dimension: DimensionOpt = None, task: TaskOpt = None,
    anatomy: AnatomyOpt = None, structure: StructureOpt = None, license_id: LicenseOpt = None, access: AccessOpt = None,
    label: LabelOpt = None, family: FamilyOpt = None, year: YearOpt = None, readable: ReadableOpt = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Write the data sets found (all, without filters) as Parquet, CSV or JSON lines."""
    console = Console(as_json)

    def action() -> None:
        from catalog import datasets, export, query

        export.check(file, force=force)
        wanted = _query(
            words, modality, dimension, task, anatomy, structure, license_id, access, label, family, year, readable
        )
        table = query.Search(datasets.load(), wanted).table()
        export.write(table, file, force=force)
        console.say(f"{file}: {table.num_rows} data sets")
        console.result({"file": str(file), "datasets": table.num_rows})

    guard(Call(console, resumable=False), action)


@app.command()
def sql(
    statement: Annotated[str, typer.Argument(help="DuckDB SQL over datasets, links, modalities, …", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", help="Write the result: .parquet, .csv or .jsonl.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    limit: LimitOpt = 100, as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Ask the catalog in SQL. Tables: datasets, links, modalities, anatomies, issues, families; nothing else can be read."""
    console = Console(as_json)

    def action() -> None:
        from catalog import datasets, export, query

        if out is not None:
            export.check(out, force=force)
        table = query.sql(datasets.load(), statement)
        if out is not None:
            export.write(table, out, force=force)
            console.say(f"{out}: {table.num_rows} rows")
        else:
            console.table(_plain(table, limit))
            console.say(f"{table.num_rows} rows" + (f", {limit} of them printed" if 0 < limit < table.num_rows else ""))
        console.result(
            {"rows": export.plain_rows(table)} if out is None else {"file": str(out), "rows": table.num_rows}
        )

    guard(Call(console, resumable=False), action)


@app.command()
def idc(
    modality: ModalityOpt = None,
    body_part: Annotated[list[str] | None, typer.Option("--body-part", help="Body Part Examined: CHEST, …; repeat.")] = None,
    collection: Annotated[list[str] | None, typer.Option("--collection", "-c", help="Collection: nlst, …; repeat.")] = None,
    license_id: Annotated[list[str] | None, typer.Option("--license", "-l", help="SPDX id; repeat.")] = None,
    min_instances: Annotated[int | None, typer.Option("--min-instances", min=1, help="Least number of instances.")] = None,
    fit_3d: Annotated[
        bool, typer.Option("--fit-3d", help="CT fit for 3-D self-supervision: the rule stands in docs/datasets.md.")
    ] = False,
    where: Annotated[str | None, typer.Option("--where", help="A condition in SQL over the columns of the table.")] = None,
    geometry: Annotated[
        Path | None, typer.Option("--geometry", help="A file of volume_geometry_index: regular volumes only.")
    ] = None,
    tables: Annotated[Path | None, typer.Option("--tables", help="Folder of the archive's tables, not the package's.")] = None,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FOLDER", help="Write manifests, tables and a recipe to run.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the corpus and of its sources.")] = "idc",
    root: Annotated[str | None, typer.Option("--root", help="Where copies of the buckets lie, as folders of their names.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    as_json: JsonOpt = False,
) -> None:  # fmt: skip
    """Select series of NCI's Imaging Data Commons: how many, whose, how large, under which terms; and make a recipe of them.

    Nothing is downloaded. Needs the package idc-index-data (extra idc), which holds the table of all series.
    """
    console = Console(as_json)

    def action() -> None:
        from catalog import idc as archives
        from catalog import idc_source

        selection = archives.Selection(
            modalities=tuple(modality or ()),
            body_parts=tuple(body_part or ()),
            collections=tuple(collection or ()),
            licenses=tuple(license_id or ()),
            min_instances=min_instances,
            fit_3d=fit_3d,
            where=where,
            geometry=geometry,
        )
        selected = archives.Archive(tables).select(selection)
        facts, citations = selected.facts(), selected.citations()
        _tell_archive(facts, citations, console)
        files: tuple[Path, ...] = ()
        if write is not None:
            files = idc_source.draft(selected, name, accept=selection.licenses, root=root).write(write, force=force)
            console.say(f"wrote {', '.join(str(f) for f in files)}; look it over, then:")
            console.say(f"  python -m pipelines inventory {files[0]} && python -m pipelines plan {files[0]}")
        console.result(
            {"release": selected.archive.version, "facts": dataclasses.asdict(facts)}
            | {"citations": [dataclasses.asdict(c) for c in citations], "files": [str(f) for f in files]}
        )

    guard(Call(console, resumable=False), action)


def _query(
    words: list[str] | None, modality: list[str] | None, dimension: list[str] | None, task: list[str] | None,
    anatomy: list[str] | None, structure: list[str] | None, license_id: list[str] | None, access: list[str] | None,
    label: list[str] | None, family: list[str] | None, year: str | None, readable: bool | None,
) -> Query:  # fmt: skip
    from catalog.query import Query, years

    return Query(
        words=tuple(words or ()),
        modalities=tuple(modality or ()),
        dimensions=tuple(dimension or ()),
        tasks=tuple(task or ()),
        anatomies=tuple(anatomy or ()),
        structures=tuple(structure or ()),
        licenses=tuple(license_id or ()),
        access=tuple(access or ()),
        labels=tuple(label or ()),
        families=tuple(family or ()),
        years=(None, None) if year is None else years(year),
        readable=readable,
    )


def _listed(table: pa.Table, limit: int) -> Table:
    shown = Table(title="data sets", title_justify="left")
    shown.add_column("id", overflow="fold", min_width=22)
    shown.add_column("year", no_wrap=True)
    for column, width in (("images", 8), ("task", 12), ("anatomy", 9), ("terms", 10)):
        shown.add_column(column, overflow="fold", min_width=width)
    shown.add_column("items", justify="right")
    for row in table.slice(0, limit or None).to_pylist():
        kind = f"{_joined(row['dimensions'])} {_joined(row['modalities'])}"
        task = _joined(row["tasks"]) + ("" if row["label"] == "labeled" else f" ({row['label']})")
        terms = f"{row['license'] or row['license_status']}; {row['access']}"
        cells = (row["id"], str(row["year"] or "?"), kind, task, _joined(row["anatomies"]), terms, _items(row))
        shown.add_row(*(escape(c) for c in cells))
    return shown


def _items(row: dict[str, Any]) -> str:
    """`210 volumes, 12,000 images`."""
    counts = [
        f"{'about ' if row['n_approx'] else ''}{row[column]:,} {name}"
        for column, name in (("n_volumes", "volumes"), ("n_images", "images"), ("n_videos", "videos"))
        if row[column] is not None
    ]
    return ", ".join(counts) or "?"


def _joined(values: Any, limit: int = 4) -> str:
    return ", ".join(values[:limit]) + (f" +{len(values) - limit}" if len(values) > limit else "") or "?"


def _total_line(totals: Totals) -> str:
    unknown = f"; {totals.without_count} without a count" if totals.without_count else ""
    shared = f"; {totals.overlaps} known links between them: some items are counted twice" if totals.overlaps else ""
    return (
        f"{totals.datasets} data sets: {totals.volumes:,} volumes, {totals.images:,} images, {totals.videos:,} videos"
        f"{unknown}{shared}"
    )


def _counted(name: str, values: Any, total: int) -> Table:
    shown = Table(
        title=name, title_justify="left", caption=f"{total - len(values)} more" if total > len(values) else None
    )
    shown.add_column(name)
    for column in ("data sets", "volumes", "images", "videos"):
        shown.add_column(column, justify="right")
    for v in values:
        counts = (v.datasets, v.volumes, v.images, v.videos)
        shown.add_row("not stated" if v.value is None else escape(v.value), *(f"{n:,}" for n in counts))
    return shown


def _shown(found: DataSet, links: tuple[Overlap, ...]) -> dict[str, Any]:
    from catalog import datasets, origins, sources

    read = {i: origins.in_force(sources.load(i)) for i in datasets.manifests().get(found.id, ())}
    return {
        "dataset": dataclasses.asdict(found),
        "links": [dataclasses.asdict(o) for o in links],
        "sources": {
            i: {"license": m.terms.license, "origins": [o.id for o in m.origins], "doubts": origins.doubts(m)}
            for i, m in read.items()
        },
    }


def _facts(found: DataSet, links: tuple[Overlap, ...], catalog: Catalog) -> Table:
    from catalog import datasets, origins, sources

    shown = Table(title=escape(found.name), title_justify="left", show_header=False)
    shown.add_column("field", style="bold")
    shown.add_column("value")
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if value == field.default or field.name in ("issues", "name"):
            continue
        if field.name == "n_raw":
            value = [f"{s.section}: {s.value}" for s in value]
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = [f"{k} {v:,}" for k, v in dataclasses.asdict(value).items() if v is not None]
        shown.add_row(
            field.name, escape(", ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))
        )
    for issue in found.issues:
        code, _, detail = issue.partition(":")
        shown.add_row("doubt", escape(f"{code}: {catalog.vocabularies.issues[code]}{f' ({detail})' if detail else ''}"))
    for link in links:
        shown.add_row("shares", escape(_link_line(found.id, link)))
    for source in datasets.manifests().get(found.id, ()):
        manifest = origins.in_force(sources.load(source))
        stated = manifest.terms.license or "none"
        differs = (
            f"; the catalog says {found.license}" if found.license and stated not in ("none", found.license) else ""
        )
        shown.add_row("read by", escape(f"catalog/sources/{source}.yaml, licence {stated}{differs}"))
        if manifest.origins:
            taken = ", ".join(f"{o.id} ({o.terms.license or 'none'})" for o in manifest.origins)
            shown.add_row("its origins", escape(taken))
    return shown


def _link_line(dataset: str, link: Overlap) -> str:
    """`42 cases with abdomenatlas (which reuses them: relabelled): note [high]`."""
    inside = link.part == dataset
    other = (link.container or link.container_name) if inside else (link.part or link.part_name)
    count = f"{link.n_shared:,} cases" if link.n_shared is not None else "cases"
    role = f"{link.relation} of this one" if inside else link.relation
    return f"{count} with {other} ({role}){f': {link.note}' if link.note else ''} [{link.confidence}]"


def _plain(table: pa.Table, limit: int) -> Table:
    shown = Table()
    for column in table.column_names:
        shown.add_column(escape(column))
    for row in table.slice(0, limit or None).to_pylist():
        shown.add_row(*(escape(_cell(v)) for v in row.values()))
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return _joined([str(v) for v in value], 8)
    return "" if value is None else str(value)


def _tell_archive(facts: Facts, citations: tuple[Citation, ...], console: Console) -> None:
    for title, parts in (
        ("licence", facts.licenses),
        ("modality", facts.modalities),
        ("largest collections", facts.largest),
    ):
        shown = Table(title=title, title_justify="left")
        shown.add_column(title)
        for column in ("series", "patients", "bytes"):
            shown.add_column(column, justify="right")
        for part in parts:
            shown.add_row(escape(part.value), f"{part.series:,}", f"{part.patients:,}", megabytes(part.bytes))
        console.table(shown)
    console.say(
        f"{facts.series:,} series, {facts.instances:,} instances, {facts.patients:,} patients, {facts.studies:,} studies in "
        f"{facts.collections} collections: {megabytes(facts.bytes)}; {len(citations)} works to cite"
    )
