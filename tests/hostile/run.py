"""Puts inputs before the real pipelines, inventory to build, and says what became of each."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq

from pipelines.build import BuildOptions, build
from pipelines.console import Console
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from tests.hostile.files import Input
from tests.hostile.packs import MAX_MEMBERS
from transforms.plan.planner import Selection
from transforms.pseudonym import slug

KEY = "a key of hostile inputs, long enough"

TABLE = "rows.csv"
COLUMNS = ("case", "file", "patient", "view", "edema", "x", "y", "w", "h", "note")

LAYOUTS = {
    "files": {
        "kind": "paired",
        "images": [{"name": "ct", "modality": "CT", "path": r"{case:(?s:[^/]+)}/image{kind:\.(?:nii|nii\.gz|mha|mhd|nrrd|nhdr)}"}],
        "labels": [{"table": "organs", "image": "ct", "path": r"{case:(?s:[^/]+)}/label{end:\.(?:nii|nii\.gz)}"}],
    },
    "series": {"kind": "dicom", "path": "{case}/**"},
    "pictures": {
        "kind": "folders",
        "image": {"name": "xray", "modality": "DX", "path": r"{case:(?s:[^/]+)}/picture{kind:\.(?:png|jpg|tif)}"},
        "classes": [{"field": "kind", "name": "kind"}],
    },
    "films": {
        "kind": "folders",
        "image": {"name": "run", "modality": "XA", "path": r"{case:(?s:[^/]+)}/film{kind:\.(?:avi|mov|mp4)}"},
        "classes": [{"field": "kind", "name": "kind"}],
    },
    "tables": {
        "kind": "table",
        "path": TABLE,
        "case": "{case}",
        "images": [{"name": "xray", "modality": "DX", "file": "{file}"}],
        "classes": [{"column": "view", "name": "view", "values": {"AP": "AP", "PA": "PA"}}],
        "findings": [{"columns": ["edema"], "values": {"1": "present", "0": "absent", "": "unknown"}}],
        "boxes": [{"corner": ["x", "y"], "size": ["w", "h"], "name": "nodule"}],
        "texts": [{"name": "report", "file": "{case}/report.txt", "optional": True}, {"name": "note", "column": "note", "optional": True}],
    },
    "archives": {
        "kind": "paired",
        "images": [{"name": "ct", "modality": "CT", "path": r"{archive}/{case}/image{end:\.(?:nii|nii\.gz)}"}],
    },
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a run made of its inputs.

    Attributes:
        reasons: of every input that was refused, in whole or in part.
        samples: inputs that samples came out of.
        shards: sha256 by path.
    """

    reasons: dict[str, set[str]]
    samples: set[str]
    shards: dict[str, str]


@mock.patch.dict(os.environ, {"MDFP_PATIENT_KEY": KEY})
def run(inputs: Sequence[Input], folder: Path) -> Outcome:
    """Inventory, plan and build of inputs, in this process.

    Args:
        inputs: what lies in the sources.
        folder: an empty one, for raw files and corpus.
    """
    for i in inputs:
        for path, data in i.files.items():
            file = folder / "raw" / i.source / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
    _write_table([row for i in inputs for row in i.rows], folder / "raw" / "tables" / TABLE)
    workspace = open_workspace(_recipe(folder))
    console = Console(quiet=True, as_json=True)
    taken = take_inventory(workspace, Engine(1), console)
    built = build(workspace, plan(workspace, Selection(), console), Engine(1), BuildOptions(max_holes=1.0), console)
    names = defaultdict(set)
    for i in inputs:
        if i.rows:  # a row that names no file that is there has a case and no object
            names[f"{i.source}-{slug(i.name)}"].add(i.name)
    for o in taken.objects:
        names[o.case_id].add(o.path.split("/")[0])
    reasons: dict[str, set[str]] = defaultdict(set)
    for reject in (*taken.rejects, *built.holes):
        for name in [reject.path.split("/")[0]] if reject.path else names[reject.case_id or ""]:
            reasons[name].add(str(reject.reason))
    refused = {h.case_id for h in built.holes}
    made = {n for case in taken.cases if case.case_id not in refused for n in names[case.case_id]}
    corpus = folder / "corpus"
    digests = {
        p.relative_to(corpus).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted((corpus / "shards").rglob("*.tar"))
    }
    return Outcome(dict(reasons), made, digests)


def _write_table(rows: Sequence[dict[str, str]], path: Path) -> None:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sink.getvalue().encode())


def _recipe(folder: Path) -> Path:
    sources = []
    for name, layout in LAYOUTS.items():
        (folder / "raw" / name).mkdir(parents=True, exist_ok=True)
        manifest = {
            "id": name, "title": name, "terms": {"license": "own-data"}, "public_ids": True,
            "patient": {"namespace": name}, "layout": layout, "archives": name in ("series", "archives"),
        }  # fmt: skip
        if name == "tables":
            manifest["patient"] = {"namespace": name, "id": "{patient}"}
        if name == "files":
            values = {0: "background", 1: "liver"}
            manifest["labels"] = {"organs": {"origin": "expert", "values": values}}
        (folder / f"{name}.yaml").write_text(json.dumps(manifest))
        sources.append({"id": name, "root": f"raw/{name}", "manifest": f"{name}.yaml"})
    recipe = {
        "corpus": "hostile", "out": "corpus", "sources": sources, "terms": {"accept": ["own-data"]},
        "geometry": {"spacing_mm": [1.5, 1.5, 2.0]}, "labels": {"space": ["liver"]},
        "splits": {"train": 1.0, "val": 0.0}, "policy": {"accept": ["text"]},
        "limits": {"max_members": MAX_MEMBERS},
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe))
    return path


def rows(corpus: Path, pattern: str) -> list[dict[str, object]]:
    """Rows of all parquet files of a corpus that a pattern names."""
    return [row for file in sorted(corpus.rglob(pattern)) for row in pq.read_table(file).to_pylist()]
