"""Source manifests by id: `catalog/sources/<id>.yaml`, or one of the user's own that a recipe names."""

from __future__ import annotations

from pathlib import Path

from mdfp.errors import UsageError
from schemas import source as source_schema
from schemas.recipe import Recipe, SourceUse
from schemas.source import Source
from schemas.suggest import nearest
from schemas.table_layout import TableFindings, TableLayout

FOLDER = Path(__file__).parent / "sources"


def ids() -> tuple[str, ...]:
    """Ids of the sources in the catalog, sorted."""
    return tuple(sorted(p.name.removesuffix(".yaml") for p in FOLDER.glob("*.yaml")))


def findings(source: Source) -> dict[str, frozenset[str]]:
    """What a source's tables may state of a picture: finding -> its states; empty for layouts without findings."""
    layout = source.layout
    result: dict[str, set[str]] = {}
    for entry in layout.findings if isinstance(layout, TableLayout) else ():
        if isinstance(entry, TableFindings):
            states = {*entry.values.values()} | ({"uncertain"} if entry.several == "uncertain" else set())
            names = {*entry.columns, *entry.named.values()}
        else:
            states = {"present", entry.others} | ({"absent"} if entry.absent_if else set())
            names = set(entry.names.values())
        for name in names:
            result.setdefault(name, set()).update(states)
    return {name: frozenset(states) for name, states in sorted(result.items())}


def load(source_id: str) -> Source:
    """A source of the catalog.

    Raises:
        UsageError: there is none of this id (the message names the nearest), or its manifest is wrong.
    """
    if source_id not in ids():
        raise UsageError(
            f"unknown source {source_id!r}{nearest(source_id, ids()) or ';'} the catalog has {', '.join(ids())}; "
            "for a source of your own give manifest: <file.yaml> beside its id"
        )
    return source_schema.load(FOLDER / f"{source_id}.yaml")


def resolve(use: SourceUse, folder: str | Path) -> Source:
    """The manifest that an entry under `sources:` of a recipe means.

    Args:
        use: the entry.
        folder: where the recipe lies; `manifest:` is relative to it.

    Raises:
        UsageError: no such manifest, a wrong one, or one with another id.
    """
    if use.manifest is None:
        return load(use.id)
    found = source_schema.load(Path(folder) / use.manifest)
    if found.id != use.id:
        raise UsageError(f"{Path(folder) / use.manifest}: has the id {found.id!r}, the recipe asks for {use.id!r}")
    return found


def resolve_all(recipe: Recipe, folder: str | Path) -> dict[str, Source]:
    """Manifests of all sources of a recipe, by id, in the recipe's order.

    Raises:
        UsageError: see `resolve`.
    """
    return {use.id: resolve(use, folder) for use in recipe.sources}
