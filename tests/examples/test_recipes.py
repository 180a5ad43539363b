"""Recipes and manifests in examples/ are valid and agree with each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import phantom
from examples.phantom import manifests
from schemas import ontology, recipe

FOLDER = Path(__file__).parents[2] / "examples" / "recipes"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda p: p.name)
def test_recipes_are_valid(path):
    assert recipe.load(path).sources


def test_the_demo_takes_every_phantom_source_and_accepts_its_terms():
    demo = recipe.load(FOLDER / "demo.yaml")
    assert tuple(use.id for use in demo.sources) == phantom.SOURCES
    for use in demo.sources:
        assert (FOLDER / use.manifest).resolve() == (manifests.FOLDER / f"{use.id}.yaml").resolve()
        assert manifests.load(use.id).terms.license in demo.terms.accept


def test_label_numbers_differ_between_sources():
    tables = [
        manifests.numbers(manifests.load(source), table)
        for source, table in (
            ("phantom-ct-dicom", "organs"), ("phantom-ct-msd", "labels"), ("phantom-mr", "sides"), ("phantom-mr", "merged")
        )
    ]  # fmt: skip
    for structure in ("liver", "spleen"):
        assert len({t[structure] for t in tables}) >= 3


def test_every_structure_is_in_the_ontology_and_drawn_by_some_source():
    drawn = {s for source in phantom.SOURCES for s in manifests.load(source).annotated()}
    assert drawn == set(manifests.EVERY_STRUCTURE)
    assert drawn <= set(ontology.load())


def test_sources_share_a_clinic_where_they_share_a_patient():
    namespaces = {s: manifests.load(s).patient.namespace for s in phantom.SOURCES}
    assert namespaces["phantom-ct-dicom"] == namespaces["phantom-ct-structures"]
    assert len(set(namespaces.values())) == 3
