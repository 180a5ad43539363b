"""Draft a source manifest and a recipe for a folder of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mdfp.errors import UsageError
from schemas import recipe as recipes
from schemas import source as sources
from transforms.draft import as_yaml, draft_source
from transforms.pseudonym import slug
from transforms.store import SourceStore

_RECIPE = """\
# The corpus to build from {folder}. Every key is explained in the JSON Schema beside the project's schemas.
corpus: {name}
out: {name}-corpus
sources:
  - {{id: {name}, manifest: {manifest}, root: {root}}}
terms: {{accept: [own-data]}}
geometry: {{orientation: RAS, spacing_mm: {spacing}}}
intensity: {{{intensity}}}
labels: {labels}
splits: {{by: patient, train: 0.8, val: 0.1, test: 0.1}}
"""

_INTENSITY = {
    "CT": "CT: {window_hu: [-1000, 1000]}",
    "MR": "MR: {percentiles: [0.5, 99.5]}",
    "PT": "PT: {percentiles: [0, 100]}",
}


@dataclass(frozen=True)
class Drafted:
    """The files written."""

    source: Path
    recipe: Path
    remarks: tuple[str, ...]


def draft(folder: Path, into: Path, *, name: str | None, force: bool) -> Drafted:
    """Write a source manifest and a recipe that validate, and say what to check.

    Args:
        folder: the images.
        into: where the drafts go.
        name: name of source and corpus; default: the folder's.
        force: replace drafts that are there.

    Raises:
        UsageError: no images there, or drafts would be overwritten.
    """
    store = SourceStore(str(folder))
    word = slug(name or folder.resolve().name).strip("_-")[:40].replace("_", "-") or "own-data"
    source_path, recipe_path = into / f"{word}.source.yaml", into / f"{word}.recipe.yaml"
    for path in (source_path, recipe_path):
        if path.exists() and not force:
            raise UsageError(f"{path} is there already; give another --into, or --force to replace it")
    drafted = draft_source(store, word)
    space = sorted({s for t in drafted.manifest.get("labels", {}).values() for s in _structures(t)})
    text = _RECIPE.format(
        folder=folder,
        name=word,
        manifest=source_path.name,
        root=folder.resolve(),
        spacing="[1.5, 1.5, 1.5]" if drafted.modalities == ("CT",) else "native",
        intensity=", ".join(_INTENSITY[m] for m in drafted.modalities if m in _INTENSITY),
        labels=f"{{space: [{', '.join(space)}]}}" if drafted.labelled else "image_only",
    )
    into.mkdir(parents=True, exist_ok=True)
    source_path.write_text(as_yaml(drafted.manifest), encoding="utf-8")
    recipe_path.write_text(text, encoding="utf-8")
    sources.load(source_path)
    recipes.load(recipe_path)
    return Drafted(source_path, recipe_path, drafted.remarks)


def _structures(table: dict[str, dict[object, str]]) -> set[str]:
    named = set(table.get("values", {}).values()) | set(table.get("structures", {}).values())
    return {s for s in named if s != "background"}
