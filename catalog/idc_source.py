"""What a selection of the Imaging Data Commons becomes: manifests, published tables, and a recipe to edit.

A source for each bucket and licence: so the gate of terms, attribution and withdrawal know one licence for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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
    """A source for each bucket and licence of a selection, and a recipe over them.

    Args:
        selected: the series.
        name: of the corpus; ids of sources begin with it.
        accept: licences that the recipe accepts; none: those of the selection among `OPEN_LICENSES`.
        root: where the buckets lie instead, as folders of their names; None: the public ones.

    Raises:
        UsageError: nothing was selected, or the name cannot be one of a source.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,19}", name):
        raise UsageError(f"name: expected up to 20 of a-z, 0-9 and -, found {name!r}")
    parts = selected.parts()
    if not parts:
        raise UsageError("no series was selected")
    citations = {c.doi: c for c in selected.citations()}
    version = selected.archive.version
    ids = _ids(name, parts)
    sources = {
        ids[key]: _source(ids[key], key, table, [citations[d] for d in _values(table, "doi")], version)
        for key, table in parts.items()
    }
    stated = {license_id for _, license_id in parts}
    licenses = accept or [i for i in OPEN_LICENSES if i in stated]
    recipe = {
        "corpus": name,
        "out": f"out/{name}",
        "sources": [
            {"id": ids[bucket, license_id], "manifest": f"{ids[bucket, license_id]}.yaml"}
            | {"table": f"{ids[bucket, license_id]}.parquet"}
            | (
                {"root": f"{root.rstrip('/')}/{bucket}"}
                if root
                else {"root": f"s3://{bucket}", "access": {"anonymous": True}}
            )
            for bucket, license_id in parts
        ],
        "terms": {"accept": list(licenses)},
        "geometry": {"spacing_mm": [1.5, 1.5, 1.5]},
        "labels": "image_only",
        "splits": {"train": 0.98, "val": 0.01, "test": 0.01},
    }
    Recipe.model_validate(recipe)
    for content in sources.values():
        Source.model_validate(content)
    return Draft(recipe, sources, {ids[key]: table for key, table in parts.items()})


def _ids(name: str, parts: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Ids of sources: `ct-cc-by-4.0`, `ct-two-cc-by-4.0`; a number where a shortened licence would meet another."""
    result: dict[tuple[str, str], str] = {}
    for bucket, license_id in parts:
        place = bucket.removeprefix(BUCKET).strip("-")[:3] if bucket.startswith(BUCKET) else bucket[:3]
        terms = re.sub(r"[^a-z0-9.]+", "-", license_id.lower().removeprefix("licenseref-"))[:12].strip("-.")
        wanted = "-".join(t for t in (name, place, terms) if t)
        taken = sum(i == wanted or i.startswith(f"{wanted}-") for i in result.values())
        result[bucket, license_id] = wanted if not taken else f"{wanted}-{taken + 1}"
    return result


def _source(
    source_id: str, key: tuple[str, str], table: pa.Table, citations: Sequence[Citation], version: int
) -> dict[str, Any]:
    bucket, license_id = key
    return {
        "id": source_id,
        "title": f"NCI Imaging Data Commons, release {version}: {table.num_rows:,} series of the bucket {bucket}",
        "terms": {
            "license": license_id,
            "url": PAGE,
            "citation": [c.text or f"https://doi.org/{c.doi}" for c in citations],
        },
        "public_ids": True,
        "patient": {"namespace": NAMESPACE},
        "layout": {"kind": "dicom", "modalities": _values(table, "modality")},
        "inventory": "deferred",
    }


def _values(table: pa.Table, column: str) -> list[str]:
    return sorted(v for v in table[column].unique().to_pylist() if v is not None)


def _yaml(title: str, content: Mapping[str, Any]) -> str:
    return f"# {title}\n{yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)}"
