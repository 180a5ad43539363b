"""The command blueprint: every option reaches its rule, files are kept, wrong use is told as elsewhere."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from schemas import recipe as recipes

BASE = ("-d", "2d", "--modality", "CT")


def call(*words):
    return CliRunner().invoke(app, ["blueprint", *words])


def result(*words):
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


OPTIONS = {
    "name": (["--name", "x"], "x"),
    "mixed_dimensions": (["--mixed-dimensions", "exclude"], "exclude"),
    "mixed_modalities": (["--mixed-modalities", "asked"], "asked"),
    "tasks": (["--task", "detection", "--task", "segmentation"], ["detection", "segmentation"]),
    "anatomies": (["--anatomy", "lung"], ["lung"]),
    "structures": (["--structure", "lung"], ["lung"]),
    "sources": (["--source", "lits"], ["lits"]),
    "image_only": (["--image-only"], True),
    "accept_risks": (["--accept-risk", "text"], ["text"]),
    "licenses": (["--license", "mit"], ["MIT"]),
    "include_unlabeled": (["--labeled-only"], False),
    "prefer_labeled": (["--prefer-labeled"], True),
    "minimum_images": (["--min-images", "1000"], 1000),
    "released_since": (["--since", "2021"], 2021),
    "released_until": (["--until", "2015"], 2015),
    "volumes_as_2d": (["--volumes-as-2d"], True),
    "minimum_datasets_per_modality": (["--min-datasets", "500"], 500),
    "minimum_organizations_per_modality": (["--min-organizations", "500"], 500),
    "storage_budget_gb": (["--budget-gb", "1"], 1.0),
}
WITHOUT_EFFECT_ON_WHO = {"name", "structures", "image_only", "accept_risks"}


@pytest.fixture(scope="module")
def base():
    return result(*BASE)


@pytest.mark.parametrize("rule", OPTIONS)
def test_every_option_reaches_its_rule(rule, base):
    words, value = OPTIONS[rule]
    found = result(*BASE, *words)
    assert found["query"] == base["query"] | {rule: value}
    order = [[d["id"] for d in made["datasets"]] for made in (found, base)]
    assert (order[0] == order[1]) == (rule in WITHOUT_EFFECT_ON_WHO)


def test_every_rule_has_an_option(base):
    assert set(OPTIONS) | {"dimension", "modalities"} == set(base["query"])


def test_it_prints_writes_and_refuses_to_overwrite(tmp_path):
    query = tmp_path / "q.yaml"
    query.write_text("name: spleen\ndimension: 3d\nmodalities: [CT]\nanatomies: [spleen]\nstructures: [spleen]\n")
    done = call(str(query), "--out", str(tmp_path / "plan"))
    assert done.exit_code == 0, done.output
    assert "msd-task09-spleen" in done.stdout
    assert "data sets of" in done.stdout
    recipe = recipes.load(tmp_path / "plan" / "recipe.yaml")
    assert "msd-task09-spleen" in {s.id for s in recipe.sources}
    again = call(str(query), "--out", str(tmp_path / "plan"))
    assert again.exit_code == 2
    assert "--force replaces it" in again.output
    kept = result(str(tmp_path / "plan" / "query.yaml"), "--out", str(tmp_path / "plan"), "--force")
    assert len(kept["files"]) == 4
    assert {k: v for k, v in kept.items() if k != "files"} == json.loads(
        (tmp_path / "plan" / "blueprint.json").read_text()
    )


def test_wrong_use_is_told_with_the_nearest_word(tmp_path):
    done = call("--modality", "CTT")
    assert done.exit_code == 2
    assert "did you mean 'CT'" in done.output
    assert call(str(tmp_path / "none.yaml")).exit_code == 2
