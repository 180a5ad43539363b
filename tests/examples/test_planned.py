"""Recipes that were planned from the catalog: they are what their query gives, load, and plan on trees as published."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from catalog import blueprint, sources
from catalog.blueprint import text
from pipelines.console import Console
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas import recipe
from tests.catalog import picture_tree, published_tree
from tests.catalog.test_published_layouts import dataset_json
from transforms.plan.planner import Selection

FOLDER = Path(__file__).parents[2] / "examples" / "recipes" / "planned"
OF_ARCHIVES = {"idc-ct": "test_idc_ct.py"}
"""Planned from the table of an archive, and tested elsewhere."""

OF_SCANS = {"ct-self-supervised": "test_ct_self_supervised.py"}
"""Whose trees are scans of dolls, and which is run elsewhere."""

PLANNED = sorted({p.name for p in FOLDER.iterdir() if p.is_dir()} - set(OF_ARCHIVES))
LEAST = {
    "abdominal-ct": (10, {"CT"}),
    "brain-tumour-mr": (3, {"MR"}),
    "chest-xray": (6, {"XR"}),
    "ct-self-supervised": (12, {"CT"}),
    "universal": (7, {"CT", "MR"}),
}
"""Name -> least number of sources, and modalities that there must be."""


def test_these_are_all():
    assert sorted(LEAST) == PLANNED


@pytest.mark.parametrize("name", PLANNED)
def test_they_are_what_their_query_gives(name):
    made = blueprint.make(blueprint.load(FOLDER / name / "query.yaml"))
    for file in ("blueprint.md", "recipe.yaml"):
        written = (FOLDER / name / file).read_text(encoding="utf-8")
        assert written == text.files(made)[file], (
            f"write it anew: python -m pipelines blueprint {name}/query.yaml --out {name}"
        )


def write(root, source):
    """The tree of a source as it is published; returns the number of its cases."""
    root.mkdir(parents=True)
    if source in picture_tree.expected():
        picture_tree.write(root, picture_tree.expected()[source])
        return len(picture_tree.expected()[source]["cases"])
    expected = published_tree.expected()[source]
    published_tree.write(root, expected)
    if "folder" in expected.content:
        dataset_json(root, expected)
    return len(expected.cases)


@pytest.mark.parametrize("name", PLANNED)
def test_they_take_as_many_sources_as_they_should(name):
    taken = recipe.load(FOLDER / name / "recipe.yaml")
    assert len(taken.sources) >= LEAST[name][0]
    assert set(sources.resolve_all(taken, FOLDER / name)) == {use.id for use in taken.sources}


@pytest.mark.parametrize("name", sorted(set(PLANNED) - set(OF_SCANS)))
def test_they_plan_on_trees_as_published(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MDFP_PATIENT_KEY", "a key for tests, of sixteen bytes and more")
    taken = recipe.load(FOLDER / name / "recipe.yaml")
    cases = {use.id: write(tmp_path / "raw" / use.id, use.id) for use in taken.sources}
    roots = [f"{use.id}={tmp_path / 'raw' / use.id}" for use in taken.sources]
    workspace = open_workspace(FOLDER / name / "recipe.yaml", roots, str(tmp_path / "out"))
    quiet = Console(quiet=True)
    found = take_inventory(workspace, Engine(1), quiet)
    assert Counter(c.source for c in found.cases) == cases
    made = plan(workspace, Selection(), quiet)
    assert set(made.placed["source"].to_pylist()) == {use.id for use in taken.sources}
    assert {i.modality for c in found.cases for i in c.images} >= LEAST[name][1]
