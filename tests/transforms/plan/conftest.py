"""Cases made up for planning: metadata only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from mdfp.sample import Acquisition
from schemas.case import ArrayHeader, Case, CaseImage, ObjectRecord

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
