"""Manifests of radiographs against trees in their published layouts: who, in which split, with what said of which picture.

What must come out stands in `published_pictures.yaml`, which was written apart from the manifests.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from catalog import datasets, sources
from examples.pictures.write import pixels
from schemas.place import Place
from schemas.plan import Assignment
from schemas.policy import Policy
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from tests.catalog import picture_tree
from transforms import layouts
from transforms.archive_store import open_source
from transforms.fetch import fetch_case
from transforms.inventory import inventory_case
from transforms.pseudonym import PatientKeys
from transforms.sample import SampleMaker

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
EXPECTED = picture_tree.expected()
RECIPE = Recipe.model_validate(
    {
        "corpus": "c",
        "out": "-",
        "sources": [{"id": "any"}],
        "terms": {"accept": ["own-data"]},
        "policy": {"accept": ["text"]},
    }
)


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def world(request, tmp_path_factory):
    """A source's tree, grouped, inventoried, and its cases made into samples."""
    root, expected = tmp_path_factory.mktemp(request.param), EXPECTED[request.param]
    picture_tree.write(root, expected)
    source = sources.load(request.param)
    store = open_source(Place(str(root)), source, Limits())
    grouped = layouts.group(source, list(store.list()), store.read, KEYS)
    maker = SampleMaker(RECIPE, {source.id: source}, (), 1)
    found, made = {}, {}
    for files in grouped.cases:
        found[files.name.lower()] = one = inventory_case(files, source, store, KEYS, Limits(), policy=RECIPE.policy)
        assert one.case is not None, one.rejects
        fetched = fetch_case(one.case, one.objects, store, attempts=1)
        assignment = Assignment(one.case.case_id, source.id, "train", None, "g", "train/x-0", 0, None, "")
        made[files.name.lower()] = maker.make(fetched, assignment)
    return SimpleNamespace(
        name=request.param, expected=expected, source=source, store=store, grouped=grouped, found=found, made=made
    )


def annotations(world, case, kind, *, finding=None):
    for a in world.found[case].case.annotations:
        if a.kind == kind and (finding is None or (a.value is None) == finding):
            yield a


def test_the_cases_are_those_that_were_published(world):
    assert set(world.found) == set(world.expected["cases"])
    assert world.grouped.counts.balanced()
    assert world.grouped.counts.skipped == len(world.expected.get("skipped", ()))
    assert not world.grouped.rejects
    for name, case in world.expected["cases"].items():
        images = {
            o.array.removeprefix("image:"): o.path for o in world.found[name].objects if o.array.startswith("image:")
        }
        assert images == case["images"], name
        assert {i.modality for i in world.found[name].case.images} == {"XR"}


def test_people_splits_and_facts(world):
    for name, case in world.expected["cases"].items():
        found = world.found[name].case
        person = case.get("person")
        if person is not None:
            assert found.patient == KEYS.patient(world.source.patient.namespace, person), name
        assert found.split == case.get("split"), name
        assert (found.sex, found.age_years) == (case.get("sex"), case.get("age")), name
    people = [f.case.patient for f in world.found.values()]
    named = [c.get("person", n) for n, c in world.expected["cases"].items()]
    assert len(set(people)) == len(set(named))


def test_findings_have_the_states_that_their_cells_mean(world):
    for name, case in world.expected["cases"].items():
        told = {a.name: a.state for a in annotations(world, name, "class", finding=True)}
        wanted = (
            dict.fromkeys(sources.findings(world.source), case["rest"]) | case["findings"] if "rest" in case else {}
        )
        assert told == wanted, name
        origins = {a.origin for a in annotations(world, name, "class", finding=True)}
        if name in world.expected.get("origin", {}):
            assert origins == {world.expected["origin"][name]}


def test_classes_and_boxes_are_of_their_pictures(world):
    for name, case in world.expected["cases"].items():
        classes = {f"{a.name} {a.image}": a.value for a in annotations(world, name, "class", finding=False)}
        assert classes == case.get("classes", {}), name
        boxes = {
            a.name: [v + 0.5 for v in (*a.index_xyz[:2], *a.index_xyz[3:5])] for a in annotations(world, name, "box")
        }
        assert boxes == case.get("boxes", {}), name


def test_texts_are_taken_with_their_case_and_only_where_they_are_accepted(world):
    for name, case in world.expected["cases"].items():
        texts = {p.array: p.data.decode() for p in world.made[name].payloads if p.kind == "text"}
        assert texts == case.get("texts", {}), name
    if any("texts" in c for c in world.expected["cases"].values()):
        files = next(f for f in world.grouped.cases if "texts" in world.expected["cases"][f.name.lower()])
        refused = inventory_case(files, world.source, world.store, KEYS, Limits(), policy=Policy())
        assert [r.reason for r in refused.rejects] == [Reason.POLICY_REFUSED]


def test_pictures_are_those_of_the_files(world):
    for name, case in world.expected["cases"].items():
        for image, path in case["images"].items():
            (payload,) = (p for p in world.made[name].payloads if p.kind == "image" and p.array == image)
            record = next(i for i in world.made[name].record.images if i.name == image)
            if path.endswith((".jpg", ".jpeg")):
                assert payload.data[:2] == b"\xff\xd8"
            else:
                top = 4095 if path.endswith(".dicom") else 255
                stored = pixels(path, picture_tree.ROWS, picture_tree.COLUMNS, 1, top).astype(np.int64)
                shown = top - stored if path.endswith(".dicom") else stored  # MONOCHROME1: high is bright, once
                assert record.stored_intensity.mean == pytest.approx(float(shown.mean()), rel=1e-6)
            spacing = (0.125, 0.25) if path.endswith(".dicom") else None  # PixelSpacing is between rows, then columns
            assert record.native.spacing_xyz_mm == spacing


def test_every_finding_of_every_source_is_a_word_of_the_vocabulary():
    """One finding has one name in all sources, so that fused columns are one column."""
    words = set(datasets.load().vocabularies.words("findings"))
    named = set()
    for source_id in sources.ids():
        source = sources.load(source_id)
        boxes = {n for b in getattr(source.layout, "boxes", ()) for n in b.names.values()}
        assert set(sources.findings(source)) | boxes <= words, source_id
        named |= set(sources.findings(source)) | boxes
    assert named == words
