"""What tables say meets the headers of pictures; what may name a person meets the recipe."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mdfp.errors import UsageError
from mdfp.sample import Acquisition, Finding
from schemas import recipe as recipes
from schemas.case import CaseAnnotation, CaseImage, CaseText
from schemas.policy import Policy, risks_of
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from schemas.source import Source
from transforms import layouts
from transforms.annotated import annotated, check_policy
from transforms.inventory import inventory_case
from transforms.layouts.case_files import Told
from transforms.pseudonym import PatientKeys
from transforms.read.raster import flat_header
from transforms.rejected import Rejected
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
HEADER = flat_header(name="xray", format="png", axes="yx", shape=(50, 80), dtype="uint8", file_bytes=1)
IMAGES = {"xray": CaseImage(HEADER, "DX", Acquisition())}


def placed(*index, image="xray"):
    return CaseAnnotation("box", "nodule", None, "present", "image", "expert", image, index, ())


def test_fractions_become_indices_of_pixel_centres():
    (found,) = annotated(Told(fractions=(placed(0.25, 0.5, 0, 1, 1, 0),)), IMAGES).annotations
    assert found.index_xyz == (19.5, 24.5, 0, 79.5, 49.5, 0)


@pytest.mark.parametrize(
    ("box", "fits"),
    [
        ((-0.5, -0.5, 0, 79.5, 49.5, 0), True),
        ((-1.5, -0.5, 0, 80.5, 49.5, 0), True),  # tables round
        ((0, 0, 0, 81, 20, 0), False),
        ((0, 0, 0, 20, 51, 0), False),
        ((-2, 0, 0, 20, 20, 0), False),
    ],
)
def test_a_box_outside_its_picture_is_refused(box, fits):
    told = Told(annotations=(placed(*box),))
    if fits:
        assert annotated(told, IMAGES).annotations
        return
    with pytest.raises(Rejected, match=r"bad_annotation: a box at [xy] .* of a picture of 80×50"):
        annotated(told, IMAGES)


def source(**more):
    layout = {
        "kind": "paired",
        "images": [{"name": "photo", "modality": "DX", "path": "{case}.png"}],
        "labels": [{"table": "labels", "image": "photo", "path": "{case}_mask.png"}],
    }
    content = {"id": "toy", "title": "Toy", "public_ids": True, "patient": {"namespace": "toy"}, "layout": layout}
    content["labels"] = {"labels": {"origin": "expert", "values": {0: "background", 1: "liver"}}}
    return Source.model_validate(content | more)


TEXTS = (CaseText("report", "report", None, "", "all well"),)


@pytest.mark.parametrize(
    ("modalities", "findings", "texts", "risks", "line"),
    [
        (["DX"], (), (), (), None),
        (["US"], (), (), (), "policy: {accept: [ultrasound]}"),
        (["XC"], (), (), (), "policy: {accept: [photographs]}"),
        (["DX"], (), TEXTS, (), "policy: {accept: [text]}"),
        (["DX"], (Finding("burned_in", "xray", "says so"),), (), (), "policy: {accept: [burned_in]}"),
        (["MR"], (), (), ("faces",), "policy: {accept: [faces]}"),
        (["US", "OP"], (), TEXTS, (), "policy: {accept: [photographs, text, ultrasound]}"),
    ],
)
def test_what_may_name_a_person_is_refused_with_the_line_to_add(modalities, findings, texts, risks, line):
    made = source(risks=risks)
    if line is None:
        check_policy(modalities, findings, texts, made, Policy())
        return
    with pytest.raises(Rejected) as refused:
        check_policy(modalities, findings, texts, made, Policy())
    assert refused.value.reason is Reason.POLICY_REFUSED
    assert refused.value.detail.endswith(f"add this line to the recipe: {line}")
    accepted = Recipe.model_validate(RECIPE | {"policy": {"accept": line.partition("[")[2].rstrip("]}").split(", ")}})
    check_policy(modalities, findings, texts, made, accepted.policy)


RECIPE = {"corpus": "c", "out": "-", "sources": [{"id": "s"}], "terms": {"accept": ["CC0-1.0"]}}


def test_recipes_and_manifests_without_pictures_read_as_before():
    plain = Recipe.model_validate(RECIPE).without_locations()
    assert "policy" not in plain
    assert "longest_side" not in plain["geometry"]
    assert "risks" not in source().model_dump(mode="json")
    asked = Recipe.model_validate(RECIPE | {"policy": {"accept": ["text"]}, "geometry": {"longest_side": 64}})
    assert asked.without_locations()["policy"] == {"accept": ["text"]}
    assert asked.without_locations()["geometry"]["longest_side"] == 64
    assert Recipe.model_validate_json(asked.model_dump_json()) == asked


def test_a_misspelt_policy_is_explained(tmp_path):
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(RECIPE | {"policy": {"accept": ["texts"]}}))
    with pytest.raises(UsageError, match="text"):
        recipes.load(path)


def test_risks_follow_modalities():
    assert risks_of("US") == {"ultrasound"}
    assert risks_of("OP") == risks_of("XC") == {"photographs"}
    assert risks_of("CT") == risks_of("DX") == frozenset()


def png(folder, name, array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    (folder / name).write_bytes(buffer.getvalue())


def test_a_mask_in_a_picture_file_is_a_label(tmp_path):
    png(tmp_path, "a.png", np.zeros((20, 30), np.uint8))
    png(tmp_path, "a_mask.png", np.zeros((20, 30), np.uint8))
    store = SourceStore(str(tmp_path))
    (files,) = layouts.group(source(), list(store.list()), store.read, KEYS).cases
    found = inventory_case(files, source(), store, KEYS, Limits())
    assert found.case is not None
    (label,) = found.case.labels
    assert (label.header.format, label.header.axes, label.header.shape) == ("mask", "yx", (20, 30))
    assert found.rejects == ()


def test_a_mask_of_another_size_is_a_label_fault_and_the_picture_can_stay(tmp_path):
    png(tmp_path, "a.png", np.zeros((20, 30), np.uint8))
    png(tmp_path, "a_mask.png", np.zeros((20, 29), np.uint8))
    store = SourceStore(str(tmp_path))
    (files,) = layouts.group(source(), list(store.list()), store.read, KEYS).cases
    refused = inventory_case(files, source(), store, KEYS, Limits())
    assert [r.reason for r in refused.rejects] == [Reason.LABEL_GRID]
    kept = inventory_case(files, source(), store, KEYS, Limits(), on_fault="image_only")
    assert kept.case is not None
    assert kept.case.labels == ()
    header = kept.case.images[0].header
    assert (header.axes, header.shape, header.format) == ("yx", (20, 30), "png")
