"""What a recipe means, its short forms, and what it leaves out of itself."""

from __future__ import annotations

import pytest

from mdfp.errors import UsageError
from schemas import yaml_file
from schemas.recipe import PlaneSpacing, Recipe

DESIGN = """\
corpus: abdomen-ct
out: s3://my-bucket/abdomen-ct
sources:
  - {id: msd-task09-spleen, root: s3://raw/Task09_Spleen}
  - {id: soft-tissue-sarcoma}
terms:     {accept: [CC-BY-4.0, CC-BY-SA-4.0], unknown: refuse}
geometry:  {orientation: RAS, spacing_mm: [1.5, 1.5, 1.5]}
intensity: {CT: {window_hu: [-1000, 1000]}, MR: {percentiles: [0.5, 99.5]}}
labels:    {space: [spleen, liver, kidney_left, kidney_right], resample: vote, on_fault: reject}
splits:    {by: patient, train: 0.9, val: 0.1, test: {sources: [soft-tissue-sarcoma]}}
shards:    {target_mb: 512, group_by: [split, source]}
"""


def parsed(text):
    return yaml_file.loads(Recipe, text, "recipe.yaml")


def test_a_full_recipe_is_read():
    recipe = parsed(DESIGN)
    assert recipe.geometry.spacing_for("CT") == (1.5, 1.5, 1.5)
    assert recipe.intensity.modalities["CT"].window_hu == (-1000, 1000)
    assert recipe.splits.test.sources == ("soft-tissue-sarcoma",)


def test_short_forms_mean_the_long_ones():
    head = DESIGN.split("geometry:")[0]
    assert parsed(head + "intensity: native").intensity.store == "native"
    assert parsed(head + "labels: image_only").labels.image_only
    assert parsed(head + "intensity: {CT: {window_hu: [0, 1]}}") == parsed(
        head + "intensity: {modalities: {CT: {window_hu: [0, 1]}}}"
    )


def test_a_modality_may_have_a_spacing_of_its_own():
    text = DESIGN.replace("[1.5, 1.5, 1.5]", "[1.5, 1.5, 1.5], modalities: {MR: {spacing_mm: {in_plane: 1}}}")
    geometry = parsed(text).geometry
    assert geometry.spacing_for("MR") == PlaneSpacing(in_plane=1, through_plane="native")
    assert geometry.spacing_for("CT") == (1.5, 1.5, 1.5)


def test_where_things_lie_is_no_part_of_what_is_built():
    here = parsed(DESIGN)
    there = parsed(DESIGN.replace("s3://my-bucket/abdomen-ct", "/elsewhere").replace("s3://raw/Task09_Spleen", "/raw"))
    assert here.without_locations() == there.without_locations()
    assert "s3://" not in repr(here.without_locations())


def test_locations_aside_a_recipe_survives_json():
    recipe = parsed(DESIGN)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@pytest.mark.parametrize(("train", "val", "test"), [(1, 0, 0), (0.7, 0.2, 0.1), (0.1, 0.2, 0.7)])
def test_fractions_sum_to_one_however_they_are_rounded(train, val, test):
    recipe = parsed(DESIGN.split("splits:")[0] + f"splits: {{train: {train}, val: {val}, test: {test}}}")
    assert recipe.splits.train == train


def test_what_is_made_of_several_readers_is_in_a_recipe_only_where_something_is():
    assert parsed(DESIGN).labels.readers == "keep"
    assert "readers" not in parsed(DESIGN).without_locations()["labels"]
    fused = parsed(DESIGN.replace("resample: vote", "readers: half"))
    assert fused.without_locations()["labels"]["readers"] == "half"
    assert Recipe.model_validate({**fused.without_locations(), "out": "-"}).labels.readers == "half"
    with pytest.raises(UsageError, match="readers"):
        parsed(DESIGN.replace("resample: vote", "readers: best"))
