"""Cases made up for planning: metadata only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from mdfp.sample import (
    PERCENTS,
    Acquisition,
    Grid,
    IntensityStats,
    Normalisation,
    Sample,
    SampleImage,
    SampleLabel,
)
from schemas.case import ArrayHeader, Case, CaseImage, CaseLabel, ObjectRecord, Reject
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from transforms.plan.planner import Inventory, Plan, make_plan

HEADER = ArrayHeader(
    name="ct",
    format="nifti",
    axes="zyx",
    shape=(10, 20, 30),
    spacing_xyz_mm=(0.8, 0.9, 2.5),
    orientation="LPS",
    affine_ras=(-0.8, 0.0, 0.0, 0.0, 0.0, -0.9, 0.0, 0.0, 0.0, 0.0, 2.5, 0.0, 0.0, 0.0, 0.0, 1.0),
    obliquity_deg=0.0,
    dtype="int16",
    scale=1.0,
    offset=0.0,
    frame_of_reference=None,
    verdict="regular",
    bytes=1000,
)

CASE = Case(
    case_id="a-1",
    source="a",
    patient="p1",
    study=None,
    series=None,
    timepoint=None,
    days_from_first=None,
    sex=None,
    age_years=None,
    site=None,
    split=None,
    license="CC-BY-4.0",
    images=(CaseImage(HEADER, "CT", Acquisition()),),
    labels=(),
    annotations=(),
    texts=(),
    findings=(),
    estimated_seconds=1.0,
    estimated_bytes=1_000_000,
)


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """A case with some fields changed."""
    return lambda **changes: dataclasses.replace(CASE, **changes)


@pytest.fixture
def make_object() -> Callable[..., ObjectRecord]:
    """An object of a case."""

    def make(case: Case, version: str = "etag:1") -> ObjectRecord:
        return ObjectRecord(case.source, f"{case.case_id}.nii.gz", 1000, version, case.case_id, "image:ct", 0, None)

    return make


@pytest.fixture
def make_recipe() -> Callable[..., Recipe]:
    """A recipe of the sources a and b with some sections changed."""

    def make(**changes) -> Recipe:
        content = {
            "corpus": "tiny",
            "out": "somewhere",
            "sources": [{"id": "a"}, {"id": "b"}],
            "terms": {"accept": ["CC-BY-4.0"]},
            "labels": {"space": ["liver"]},
            "splits": {"train": 0.6, "val": 0.2, "test": 0.2},
        }
        return Recipe.model_validate(content | changes)

    return make


@pytest.fixture
def sources() -> dict[str, Source]:
    """Manifests of two sources; one draws a liver, the other a liver and a spleen."""

    def source(name, values):
        return Source.model_validate(
            {
                "id": name,
                "title": name.upper(),
                "terms": {"license": "CC-BY-4.0"},
                "patient": {"namespace": name},
                "layout": {
                    "kind": "paired",
                    "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}],
                    "labels": [{"table": "organs", "image": "ct", "path": "{case}_seg.nii.gz"}],
                },
                "labels": {"organs": {"origin": "expert", "values": values}},
            }
        )

    return {
        "a": source("a", {0: "background", 1: "liver"}),
        "b": source("b", {0: "background", 1: "spleen", 2: "liver"}),
    }


@pytest.fixture
def make_inventory(make_case, make_object) -> Callable[..., Inventory]:
    """Forty cases of thirty patients in two sources, each an image and a label, and one reject."""

    def make(count=40, version="etag:1", **changes) -> Inventory:
        label = CaseLabel(dataclasses.replace(HEADER, name="organs"), "ct", "organs", "expert")
        cases = [
            make_case(case_id=f"{source}-{n}", source=source, patient=f"p{n % 30}", labels=(label,), **changes)
            for n in range(count)
            for source in ("a" if n % 4 else "b",)
        ]
        reject = Reject("inventory", "a", "a-bad", Reason.BAD_SPACING, "0 mm", None)
        objects = tuple(make_object(c, version) for c in cases)
        return Inventory(tuple(cases), objects, (reject,), "fingerprint of a key")

    return make


@pytest.fixture
def make_tiny_plan(make_recipe, sources, make_inventory) -> Callable[..., Plan]:
    """A plan of all that; arguments replace the recipe's sections."""
    return lambda inventory=None, **changes: make_plan(
        make_recipe(**changes), sources, inventory or make_inventory(), None
    )


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """The record of a sample, as a build or an index gives it."""

    def make(case_id="a-1", *, pixels="1" * 32, labels=(), **changes) -> Sample:
        grid = Grid((4, 5, 6), (1.0, 1.0, 1.0), "RAS", tuple(float(i % 5 == 0) for i in range(16)))
        stats = IntensityStats(-5.0, 5.0, 0.0, 1.0, tuple(0.0 for _ in PERCENTS), None, None)
        image = SampleImage(
            name="ct", modality="CT", axes="zyx", dtype="int16", unit="HU", scale=1.0, offset=0.0, native=grid, stored=grid,
            native_dtype="int16", obliquity_deg=0.0, acquisition=Acquisition(), acquisition_axis="z", native_intensity=stats,
            stored_intensity=stats, normalisation=Normalisation("window_hu", -100.0, 100.0), padding_voxels=0,
            nonfinite_voxels=0, body_box=None, content_hash=pixels,
        )  # fmt: skip
        sample = Sample(
            key=case_id, case_id=case_id, source=case_id.partition("-")[0], split="train", fold=None, group="p1", generation=1,
            shard="shards/train/a-00000-0.tar", position=0, patient="p1", study=None, series=None, timepoint=None,
            days_from_first=None, modalities=("CT",), sex=None, age_years=None, site=None, license="CC-BY-4.0", images=(image,),
            labels=tuple(SampleLabel("base", "ct", "uint8", "expert", grid, content, 0.0) for content in labels),
            structures=(), annotations=(), texts=(), members=(), findings=(), done=(), warnings=(),
        )  # fmt: skip
        return dataclasses.replace(sample, **changes)

    return make
