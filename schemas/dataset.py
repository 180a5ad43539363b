"""What the catalog says of a data set, and which data sets share cases: the rows of `catalog/*.jsonl`.

Facts as a survey of public data sets states them, machine-made and unchecked; every doubt stays in `issues`. Which words
the lists may hold is closed, and stands in `catalog/vocabularies.yaml` (`schemas.vocabulary`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

ID = r"^[a-z0-9][a-z0-9-]{0,79}$"
"""Ids of data sets: a slug of the name."""

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class SectionCount:
    """How many images a table of the survey states, as it words it."""

    __pydantic_config__ = _STRICT

    section: Annotated[str, "table of the survey"]
    value: Annotated[str, "the count as text: 12.5k"]


@dataclass(frozen=True)
class SplitCounts:
    """How many items the data set's own splits hold; which kind of item is not stated."""

    __pydantic_config__ = _STRICT

    total: Annotated[int | None, "all of them", Field(ge=0)] = None
    train: Annotated[int | None, "items to train with", Field(ge=0)] = None
    val: Annotated[int | None, "items to validate with", Field(ge=0)] = None
    test: Annotated[int | None, "items to test with", Field(ge=0)] = None


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set. Patients are not told from images: there is no count of cases."""

    __pydantic_config__ = _STRICT

    id: Annotated[str, "slug of the name, unique", Field(pattern=ID)]
    name: Annotated[str, "as the survey writes it", Field(min_length=1)]
    aliases: Annotated[tuple[str, ...], "other names"] = ()
    family: Annotated[str | None, "series of releases it belongs to: brats, kits, msd"] = None
    year: Annotated[int | None, "year of release", Field(ge=1980, le=2100)] = None
    dimensions: Annotated[tuple[str, ...], "2d, 3d, 4d, video, text"] = ()
    modalities: Annotated[tuple[str, ...], "DICOM Modality codes where one exists; PET/CT has both"] = ()
    modality_subtypes: Annotated[tuple[str, ...], "sequence, tracer or view, as the survey words it"] = ()
    aux_objects: Annotated[tuple[str, ...], "DICOM objects beside the images: RTSTRUCT, SEG"] = ()
    modality_raw: Annotated[tuple[str, ...], "the survey's words for the modality"] = ()
    tasks: Annotated[tuple[str, ...], "what it is meant for"] = ()
    task_raw: Annotated[tuple[str, ...], "the survey's words for the task"] = ()
    anatomies: Annotated[tuple[str, ...], "what is shown"] = ()
    structure_raw: Annotated[tuple[str, ...], "the survey's words for the anatomy"] = ()
    structures: Annotated[
        tuple[str, ...], "structures of the ontology that are annotated, where its label table is known"
    ] = ()
    diseases: Annotated[tuple[str, ...], "diseases, as the survey words them"] = ()
    n_images: Annotated[int | None, "pictures; the largest count where rows of the survey disagree", Field(ge=0)] = None
    n_volumes: Annotated[int | None, "volumes; the largest count", Field(ge=0)] = None
    n_videos: Annotated[int | None, "films; the largest count", Field(ge=0)] = None
    n_approx: Annotated[bool, "whether a count is rounded, such as 2.7k"] = False
    n_raw: Annotated[tuple[SectionCount, ...], "the counts as text, per table of the survey"] = ()
    splits: Annotated[SplitCounts | None, "sizes of its own splits"] = None
    label: Annotated[str, "labeled, unlabeled or mixed"]
    n_classes: Annotated[int | None, "classes", Field(ge=0)] = None
    image_formats: Annotated[tuple[str, ...], "file formats; none: not known"] = ()
    access: Annotated[str, "open, registration, agreement or unknown: guessed, see access_basis"]
    access_basis: Annotated[str, "how access was found out"]
    license: Annotated[str | None, "SPDX id; null: none that could be read"] = None
    license_status: Annotated[str, "stated, or why there is no SPDX id"]
    license_raw: Annotated[tuple[str, ...], "the survey's words for the licence"] = ()
    organizations: Annotated[tuple[str, ...], "who made it"] = ()
    challenge_series: Annotated[tuple[str, ...], "challenges it belongs to"] = ()
    urls: Annotated[tuple[str, ...], "its pages"] = ()
    paper_url: Annotated[str | None, "the work that describes it"] = None
    source_categories: Annotated[tuple[str, ...], "tables of the survey that list it"] = ()
    issues: Annotated[tuple[str, ...], "codes of what is doubtful, some with a word after a colon"] = ()
    same_url_ids: Annotated[tuple[str, ...], "data sets with the same address"] = ()


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What is known of cases that two data sets share. A side that is no row of the catalog has a name alone."""

    __pydantic_config__ = _STRICT

    family: Annotated[str, "group of overlaps"]
    relation: Annotated[str, "from the container to the part: relabelled, subset, …"]
    container: Annotated[str | None, "id of the data set that holds or reuses"] = None
    container_name: Annotated[str | None, "its name where the source of the fact has another than the id"] = None
    part: Annotated[str | None, "id of the data set that is held or reused"] = None
    part_name: Annotated[str | None, "its name where the source of the fact has another than the id"] = None
    n_shared: Annotated[int | None, "cases in common", Field(ge=0)] = None
    note: Annotated[str | None, "what else is known"] = None
    found_by: Annotated[tuple[str, ...], "how the shared cases can be found"] = ()
    confidence: Annotated[str, "how sure the fact is: high, medium, low"]
    sources: Annotated[tuple[str, ...], "where the fact stands", Field(min_length=1)]
