"""What a selection of the Imaging Data Commons becomes: a manifest and a published table per bucket, and a recipe to edit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from catalog.idc import Citation, Selected
from mdfp.errors import UsageError
from schemas.recipe import Recipe
from schemas.source import Source

NAMESPACE = "idc"
"""One namespace of patients for the whole archive: an id that occurs in two collections is one person. 89 do in release 25,
all of re-releases; strangers with one id would only be kept in one split."""

PAGE = "https://imaging.datacommons.cancer.gov"
"""The archive's page."""

BUCKET = "idc-open-data"
"""The bucket that holds most of it; the others are its name and a suffix."""

OPEN_LICENSES = ("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0")
"""What a drafted recipe accepts where the selection names no licences: terms that ask for attribution at most."""


@dataclass(frozen=True)
class Draft:
    """Files of a selection, not written yet.

    Attributes:
        recipe: content of a recipe to edit, then to run.
        sources: content of manifests by id.
        tables: published tables by id.
    """

    recipe: Mapping[str, Any]
    sources: Mapping[str, Mapping[str, Any]]
    tables: Mapping[str, pa.Table]

    def write(self, folder: Path, *, force: bool = False) -> tuple[Path, ...]:
        """Write `<source>.yaml` and `<source>.parquet` of each source and `recipe.yaml`; returns the files, the recipe first.

        Raises:
            UsageError: a file is there already, and not `force`.
        """
        texts = {
            folder / "recipe.yaml": _yaml(
                "Drafted from a selection; edit geometry, terms and splits, then run it.", self.recipe
            )
        }
        texts |= {folder / f"{i}.yaml": _yaml(s["title"], s) for i, s in self.sources.items()}
        tables = {folder / f"{i}.parquet": t for i, t in self.tables.items()}
        if not force and (there := [f for f in (*texts, *tables) if f.exists()]):
            raise UsageError(f"{there[0]} is there already; --force replaces it")
        folder.mkdir(parents=True, exist_ok=True)
        for file, table in tables.items():
            pq.write_table(table, file, compression="zstd")
        for file, text in texts.items():
            file.write_text(text, encoding="utf-8")
        return (*texts, *tables)


def draft(selected: Selected, name: str, *, accept: Sequence[str] = (), root: str | None = None) -> Draft:
    """A source for each bucket of a selection, and a recipe over them.

    Args:
        selected: the series.
        name: of the corpus, and of the source of the largest bucket; others get a suffix.
        accept: licences that the recipe accepts; none: those of the selection among `OPEN_LICENSES`.
        root: where the buckets lie instead, as folders of their names; None: the public ones.

    Raises:
        UsageError: nothing was selected, or the name cannot be one of a source.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,29}", name):
        raise UsageError(f"name: expected up to 30 of a-z, 0-9 and -, found {name!r}")
    buckets = selected.buckets()
    if not buckets:
        raise UsageError("no series was selected")
    citations = {c.doi: c for c in selected.citations()}
    ids = {
        bucket: name + bucket.removeprefix(BUCKET) if bucket.startswith(BUCKET) else f"{name}-{bucket}"
        for bucket in buckets
    }
    sources = {
        ids[b]: _source(ids[b], b, t, [citations[d] for d in _values(t, "doi") if d], selected.archive.version)
        for b, t in buckets.items()
    }  # fmt: skip
    licenses = accept or [i for i in OPEN_LICENSES if any(i in _values(t, "license") for t in buckets.values())]
    recipe = {
        "corpus": name,
        "out": f"out/{name}",
        "sources": [
            {"id": ids[b], "manifest": f"{ids[b]}.yaml", "table": f"{ids[b]}.parquet"}
            | ({"root": f"{root.rstrip('/')}/{b}"} if root else {"root": f"s3://{b}", "access": {"anonymous": True}})
            for b in buckets
        ],
        "terms": {"accept": list(licenses)},
        "geometry": {"spacing_mm": [1.5, 1.5, 1.5]},
        "labels": "image_only",
        "splits": {"train": 0.98, "val": 0.01, "test": 0.01},
    }
    Recipe.model_validate(recipe)
    for content in sources.values():
        Source.model_validate(content)
    return Draft(recipe, sources, {ids[b]: t for b, t in buckets.items()})


def _source(
    source_id: str, bucket: str, table: pa.Table, citations: Sequence[Citation], version: int
) -> dict[str, Any]:
    stated = _values(table, "license")
    # Each series has its own licence; one for all stands here only where they agree.
    one = {"license": stated[0]} if len(stated) == 1 else {}
    return {
        "id": source_id,
        "title": f"NCI Imaging Data Commons, release {version}: {table.num_rows:,} series of the bucket {bucket}",
        "terms": one | {"url": PAGE, "citation": [c.text or f"https://doi.org/{c.doi}" for c in citations]},
        "public_ids": True,
        "patient": {"namespace": NAMESPACE},
        "layout": {"kind": "dicom", "modalities": _values(table, "modality")},
        "inventory": "deferred",
    }


def _values(table: pa.Table, column: str) -> list[str]:
    return sorted(v for v in table[column].unique().to_pylist() if v is not None)


def _yaml(title: str, content: Mapping[str, Any]) -> str:
    return f"# {title}\n{yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)}"
