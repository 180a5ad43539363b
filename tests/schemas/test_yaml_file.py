"""A wrong file gives file, line, what was expected, and the nearest valid name: one line for each fault."""

from __future__ import annotations

import typing

import pytest

from mdfp.errors import UsageError
from schemas import recipe, source, yaml_file
from schemas.recipe import Recipe
from schemas.source import Source

RECIPE = """\
corpus: abc
out: out
sources: [{id: x}]
terms: {accept: [CC-BY-4.0]}
"""
SOURCE = """\
id: toy
title: Toy
patient: {namespace: toy}
layout:
  kind: paired
  images: [{name: ct, modality: CT, path: "{case}.nii.gz"}]
"""


def fails(model, text):
    with pytest.raises(UsageError) as caught:
        yaml_file.loads(model, text, "file.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("geometry: {spacing_mm: [1.5, 1.5]}",
         "file.yaml:5: geometry.spacing_mm: expected [x, y, z], native, or {in_plane:, through_plane:}, found [1.5, 1.5]"),
        ("geometry: {spacing_mm: [0, 1, 1]}",
         "file.yaml:5: geometry.spacing_mm: a spacing is between 0.01 and 100 mm, or 'native'; found 0.0"),
        ("geometry:\n  spacing_mm:\n    in_plane: big",
         "file.yaml:7: geometry.spacing_mm.in_plane: expected a number of mm, or native, found 'big'"),
        ("geometry:\n  spacing_mm:\n    in_plane: 1\n    in_plan: 3",
         "file.yaml:8: geometry.spacing_mm: unknown key 'in_plan'; did you mean 'in_plane'? (valid: in_plane, through_plane)"),
        ("geometry: {grid: CT}", "file.yaml:5: geometry.grid: expected native, or {reference: CT}, found 'CT'"),
        ("geometry: {modalities: {MR: {spacing_mm: 2}}}",
         "file.yaml:5: geometry.modalities.MR.spacing_mm: expected [x, y, z], native, or {in_plane:, through_plane:}, found 2"),
        ("splits: {test: btcv}",
         "file.yaml:5: splits.test: expected a fraction, or {sources: [ids]} held out whole, found 'btcv'"),
        ("splits: {train: 0.9, val: 0.3}", "file.yaml:5: splits: train + val + test must be 1, found 0.9 + 0.3 + 0.0 = 1.2"),
        ("splits: {test: {sources: [y]}, val: 0.1}",
         "file.yaml:1: the file: splits.test.sources names ['y'], which sources: does not take"),
        ("labels:\n  space: [spleen,\n    livr]",
         "file.yaml:6: labels.space: label space: unknown structure 'livr'; did you mean 'liver'?"),
        ("labels: {on_fault: rejct}",
         "file.yaml:5: labels.on_fault: expected 'reject' or 'image_only', found 'rejct'; did you mean 'reject'?"),
        ("intensity: {CT: {window_hu: [1]}}", "file.yaml:5: intensity.CT.window_hu: expected more than the 1 values of [1]"),
        ("intensity: {CT: {window_hu: [5, 1]}}", "file.yaml:5: intensity.CT: lower must be below upper, found [5.0, 1.0]"),
        ("intensity: {MR: {}}",
         "file.yaml:5: intensity.MR: give either window_hu: [lower, upper] or percentiles: [lower, upper]"),
        ("shards: {target_mb: 0}", "file.yaml:5: shards.target_mb: input should be greater than 0, found 0"),
        ("labels: {space: [liver, liver]}", "file.yaml:5: labels.space: a structure is named twice in ['liver', 'liver']"),
        ("out: elsewhere", "file.yaml:5: the key 'out' is written twice, first in line 2"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_told_in_one_line(text, message):
    assert fails(Recipe, RECIPE + text) == message


def test_a_misspelt_key_names_the_nearest():
    message = fails(Recipe, RECIPE + "geometri: {}")
    assert message.startswith(
        "file.yaml:5: the file: unknown key 'geometri'; did you mean 'geometry'? (valid: corpus, "
    )


def test_a_missing_key_is_named():
    assert fails(Recipe, RECIPE.replace("out: out\n", "")) == "file.yaml:1: the file: 'out' is missing"


def test_an_unknown_licence_names_the_nearest_and_the_way_out():
    message = fails(Recipe, RECIPE.replace("CC-BY-4.0", "CC-BY-4"))
    assert message.startswith("file.yaml:4: terms.accept: unknown licence 'CC-BY-4'; did you mean 'CC-BY-4.0'")
    assert message.endswith("use an SPDX id, 'own-data', or LicenseRef-<name> for custom terms")


def test_every_fault_of_a_file_is_told():
    message = fails(Recipe, RECIPE + "geometry: {crop: some}\nshards: {target_mb: -1}\n")
    assert [line.split(": ")[0] for line in message.split("\n")] == ["file.yaml:5", "file.yaml:6"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: paired", "kind: pared", r"file.yaml:4: layout: .*'pared'"),
        ("{case}.nii.gz", "{case:[}.nii.gz", r"file.yaml:6: layout.images.0.path: pattern '\{case:\[\}.nii.gz'"),
        ("modality: CT", "modality: ct", r"file.yaml:6: layout.images.0.modality: .*found 'ct'"),
        ("title: Toy", "title: Toy\nlabels: {l: {origin: expert, values: {1: splen}}}",
         r"file.yaml:3: labels.l.values: value 1: unknown structure 'splen'; did you mean 'spleen'"),
        ("title: Toy", "title: Toy\nlabels: {l: {origin: expert}}",
         r"file.yaml:3: labels.l: a label table needs values: .* or structures:"),
        ("title: Toy", "title: Toy\nlabels: {l: {origin: expert, values: {1: spleen}, ignore: [1]}}",
         r"file.yaml:3: labels.l: values \[1\] are both mapped and ignored"),
        ("title: Toy", "title: Toy\nlabels: {l: {origin: expert, values: {1: spleen}, looked_for: per_case_table}}",
         r"file.yaml:3: labels.l: looked_for: per_case_table needs case_table:"),
        ("kind: paired", 'kind: paired\n  labels: [{table: organs, image: ct, path: "{case}_seg.nii.gz"}]',
         r"file.yaml:1: the file: the layout names the label table 'organs', labels: has none"),
        ("kind: paired", 'kind: paired\n  labels: [{table: organs, image: ctt, path: "{case}_seg.nii.gz"}]',
         r"file.yaml:4: layout: a label is of the image 'ctt'; did you mean 'ct'\?; images: has \['ct'\]"),
        ("kind: paired", 'kind: paired\n  labels: [{table: organs, image: ct, path: "{id}_seg.nii.gz"}]',
         r"file.yaml:4: layout: the patterns share no field"),
    ],
)  # fmt: skip
def test_a_wrong_manifest_says_what_was_expected(old, new, message):
    import re

    assert re.match(message, fails(Source, SOURCE.replace(old, new)))


def test_text_that_is_not_yaml_is_told_with_its_line():
    assert fails(Recipe, "corpus: abc\nout: [").startswith("file.yaml:2: not YAML: ")


def test_a_file_without_keys_says_what_a_recipe_has():
    assert fails(Recipe, "- a\n").startswith("file.yaml: expected keys and values (corpus, out, sources, ")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.yaml: cannot be read \(No such file or directory\)"):
        recipe.load(tmp_path / "nowhere.yaml")


def test_a_manifest_in_a_folder_of_sources_bears_its_id(tmp_path):
    (tmp_path / "sources").mkdir()
    path = tmp_path / "sources" / "other.yaml"
    path.write_text(SOURCE)
    with pytest.raises(UsageError, match="id 'toy' must be the file's name"):
        source.load(path)


def _models(model, seen):
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for other in yaml_file._models_in(field.annotation):
                _models(other, seen)
    return seen


@pytest.mark.parametrize("model", sorted(_models(Recipe, set()) | _models(Source, set()), key=lambda m: m.__name__))
def test_a_field_with_alternatives_says_them_in_its_description(model):
    for name, field in model.model_fields.items():
        if yaml_file._alternatives(field):
            assert field.description, f"{model.__name__}.{name}"
            assert " or " in field.description, f"{model.__name__}.{name}: {typing.get_args(field.annotation)}"
