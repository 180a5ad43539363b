"""Real masks, a hundred files a case as a model writes them: added to a corpus without labels, they say what a build says."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import mdfp
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.add_labels import add_labels
from pipelines.build import BuildOptions
from pipelines.runner import Engine
from pipelines.workspace import open_workspace, place_beside
from schemas.added_labels import AddedLabels
from transforms.plan.planner import Selection

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files"),
]

REAL = Path(__file__).parents[2] / "examples" / "recipes" / "real"
SOURCE = "totalsegmentator-like"


def built(folder, console, *, labelled):
    folder.mkdir()
    manifest = yaml.safe_load((REAL / f"{SOURCE}.yaml").read_text())
    if not labelled:
        manifest |= {"labels": {}, "layout": {"kind": "paired", "images": [manifest["layout"]["image"]]}}
    (folder / f"{SOURCE}.yaml").write_text(yaml.safe_dump(manifest))
    root = Path(os.environ["MDFP_TESTDATA"]) / "nifti" / SOURCE
    content = {
        "corpus": "added-real",
        "out": str(folder / "corpus"),
        "sources": [{"id": SOURCE, "root": str(root), "manifest": f"{SOURCE}.yaml"}],
        "terms": {"accept": ["Apache-2.0"]},
        "geometry": {"spacing_mm": [3.0, 3.0, 3.0], "crop": "foreground"},
        "splits": {"train": 1.0, "val": 0.0},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    workspace = open_workspace(folder / "recipe.yaml")
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), console)
    return workspace


def said(states):
    plain = (dataclasses.replace(s, value=0, layer="" if s.layer else None) for s in states)
    return sorted(plain, key=lambda s: s.structure)


def test_a_hundred_masks_of_a_case(tmp_path, console):
    once = mdfp.open(built(tmp_path / "once", console, labelled=True).corpus.root)
    workspace = built(tmp_path / "later", console, labelled=False)
    (key,) = [s.key for s in once.samples]
    root = Path(os.environ["MDFP_TESTDATA"]) / "nifti" / SOURCE
    (folder,) = [f.parent for f in root.rglob("segmentations") if f.is_dir()]
    shutil.copytree(folder / "segmentations", tmp_path / "masks" / key)
    (table,) = yaml.safe_load((REAL / f"{SOURCE}.yaml").read_text())["labels"].values()
    spec = AddedLabels.model_validate(
        {
            "layer": "total",
            "title": "Total",
            "root": str(tmp_path / "masks"),
            "path": "{key}/{structure}.nii.gz",
            "labels": table,
            "terms": {"license": "Apache-2.0"},
        }
    )
    place = place_beside(spec.root, spec.layer, tmp_path, spec.access)
    done = add_labels(workspace, spec, place, Engine(1), BuildOptions(), console)
    assert (done.samples, done.reasons) == (1, {})
    later = mdfp.open(workspace.corpus.root)
    assert verify(later) == []
    a, b = once.sample(key), later.sample(key)
    assert said(a.record.structures) == said(b.record.structures)
    assert sum(s.state == "present" for s in b.record.structures) > 20
    values = [{e.value: e.structure for e in corpus.palette} for corpus in (once, later)]
    for mine, theirs in zip(a.record.labels, b.record.labels, strict=True):
        x, y = a.label(mine.layer), b.label(theirs.layer)
        for value in np.unique(x):
            named = values[0].get(int(value))
            other = next((v for v, s in values[1].items() if s == named), int(value))
            np.testing.assert_array_equal(x == value, y == other)
    space = ["liver", "spleen", "kidney_left", "vertebrae", "rib"]
    known = [s for s in space if s in once.hierarchy.structures]
    np.testing.assert_array_equal(a.classes(known), b.classes(known))
