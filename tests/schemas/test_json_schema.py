"""The exported JSON Schemas are the models', and accept what the models accept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from schemas import json_schema

jsonschema = pytest.importorskip("jsonschema", reason="comes with great-expectations, of the build extra")

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["source.schema.json", "recipe.schema.json"])
def test_the_committed_file_is_current(name):
    committed = (json_schema.FOLDER / name).read_text(encoding="utf-8")
    assert committed == json_schema.files()[name], "run: python -m schemas.json_schema"


def as_json(path):
    return json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", sorted((ROOT / "catalog" / "sources").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_manifest_of_the_catalog_fits(path):
    jsonschema.validate(as_json(path), json_schema.source_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_example_recipe_fits(path):
    jsonschema.validate(as_json(path), json_schema.recipe_schema())


RECIPE = {"corpus": "a", "out": "o", "sources": [{"id": "x"}], "terms": {"accept": ["own-data"]}}


@pytest.mark.parametrize(
    "more",
    [{"intensity": "native"}, {"intensity": {"CT": {"window_hu": [-1000, 1000]}}}, {"labels": "image_only"}],
)
def test_the_short_forms_of_a_recipe_fit(more):
    jsonschema.validate({**RECIPE, **more}, json_schema.recipe_schema())


def test_a_misspelt_key_does_not_fit():
    with pytest.raises(jsonschema.ValidationError, match="geometri"):
        jsonschema.validate({**RECIPE, "geometri": {}}, json_schema.recipe_schema())
