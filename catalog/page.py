"""The page of all sources, docs/catalog.md: made from the manifests, so that it says what they say.

`python -m catalog.page` writes it; a test compares it with what is in the tree.
"""

from __future__ import annotations

from pathlib import Path

from catalog import origins, sources
from schemas.label_table import LabelTable
from schemas.layouts import DicomLayout, PairedLayout, PerStructureLayout
from schemas.source import Source
from schemas.table_layout import FoldersLayout, TableLayout

PAGE = Path(__file__).parent.parent / "docs" / "catalog.md"

_HEAD = """# Sources of the catalog

Made from `catalog/sources/` by `python -m catalog.page`. A licence stands here only where it could be confirmed; *none
stated* means that a recipe must say `terms: {unknown: accept}`, after a look at the data set's own page. What is known to be
wrong with a data set, and what this version does not read of it, stands in its manifest under `known_issues:`.

| id | data set | layout | images | structures or findings | made by | licence | left out |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""

_FOOT = """
Sources in one row below share a namespace of patients: people of both meet under one id, and stay in one split.

| namespace | sources |
| --- | --- |
"""


def page() -> str:
    """The page, in Markdown."""
    loaded = [origins.in_force(sources.load(i)) for i in sources.ids()]
    rows = "".join(f"| {' | '.join(_row(s))} |\n" for s in loaded)
    shared = "".join(f"| {n} | {', '.join(i)} |\n" for n, i in sorted(namespaces(loaded).items()) if len(i) > 1)
    return f"{_HEAD}{rows}{_FOOT}{shared}"


def namespaces(loaded: list[Source]) -> dict[str, list[str]]:
    """Namespace of patients -> ids of the sources that have people in it, in order."""
    result: dict[str, list[str]] = {}
    for s in loaded:
        for namespace in {s.patient.namespace, *(p.namespace for p in s.patient.shared.values())}:
            result.setdefault(namespace, []).append(s.id)
    return result


def images(source: Source) -> list[str]:
    """What images a case may have: name and modality; of DICOM, the modalities alone."""
    layout = source.layout
    if isinstance(layout, DicomLayout):
        return list(layout.modalities or ("any",))
    if isinstance(layout, PairedLayout):
        return [f"{i.name} ({i.modality})" for i in layout.images]
    if isinstance(layout, PerStructureLayout):
        return [f"{i.name} ({i.modality})" for i in (layout.image, *layout.more_images)]
    if isinstance(layout, TableLayout):
        return [f"{i.name} ({i.modality})" for i in layout.images]
    if isinstance(layout, FoldersLayout):
        return [f"{layout.image.name} ({layout.image.modality})"]
    return [f"{c.name} ({c.modality})" for c in layout.channels]


def _row(source: Source) -> tuple[str, ...]:
    link = f"[{source.id}](../catalog/sources/{source.id}.yaml)"
    title = f"[{source.title}]({source.terms.url})" if source.terms.url else source.title
    return (
        link,
        title,
        source.layout.kind,
        ", ".join(images(source)),
        _labels(source),
        ", ".join(sorted(_makers(source))),
        _terms(source),
        f"{len(source.exclude)} case{'s' if len(source.exclude) > 1 else ''}" if source.exclude else "",
    )


def _labels(source: Source) -> str:
    """How many structures it draws, or findings it states."""
    if source.labels:
        return str(len(source.annotated()))
    if found := sources.findings(source):
        return f"{len(found)} findings"
    return "classes" if getattr(source.layout, "classes", ()) else "no labels"


def _makers(source: Source) -> set[str]:
    """Who drew its structures, or stated its findings and classes."""
    stated = [e for kind in ("findings", "classes", "boxes") for e in getattr(source.layout, kind, ())]
    return {_origin(t) for t in source.labels.values()} | {e.origin for e in stated if e.origin != "unknown"}


def _terms(source: Source) -> str:
    """Its licence, and the data sets that its cases were taken from, with theirs."""
    own = source.terms.license or "none stated"
    taken = [f"{o.id} ({o.terms.license or 'none stated'})" for o in source.origins]
    return f"{own}; and those of {', '.join(taken)}" if taken else own


def _origin(table: LabelTable) -> str:
    return "not stated" if table.origin == "unknown" else table.origin


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
