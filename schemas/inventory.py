"""What the inventory's workers write: a row a case with its objects, and beside them what the planner decides by.

The planner never looks at an object. It reads the columns at the end of a row, and moves rows where they belong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.case import Case


@dataclass(frozen=True)
class CaseObject:
    """One object of the case in whose row it stands."""

    path: Annotated[str, "below the source's root, with forward slashes"]
    bytes: Annotated[int, "size"]
    version: Annotated[str, "ETag or generation of the store, or mtime:<ns> of a local file"]
    array: Annotated[str, "name of the array of the case, for example image:ct or label:organs"]
    ordinal: Annotated[int, "its place in the array: slice order for DICOM, 0 for a single file"]
    structure: Annotated[str | None, "structure, where one file holds one structure's mask"]


@dataclass(frozen=True)
class InventoryRow(Case):
    """A case, its objects, and digests of both."""

    objects: Annotated[tuple[CaseObject, ...], "its objects, by array, ordinal and path"]
    study_day: Annotated[int | None, "number of the study's day, shifted per patient: only differences mean anything"]
    case_digest: Annotated[str, "sha256 of the case's canonical JSON, days_from_first left out"]
    objects_digest: Annotated[str, "sha256 of the objects' canonical JSON"]
    content_digest: Annotated[str, "the same without the times at which local files were changed"]
    object_count: Annotated[int, "objects"]
    object_bytes: Annotated[int, "bytes of its objects"]
    voxels: Annotated[int, "voxels of its largest image"]
    label_tables: Annotated[tuple[str, ...], "tables of its labels, each once"]


@dataclass(frozen=True)
class WorkRow(Case):
    """A case as a worker reads it: one row of the batch that is its shard."""

    objects: Annotated[tuple[CaseObject, ...], "its objects, by array, ordinal and path"]
    group: Annotated[str, "cases that must not be split apart share it"]
    fold: Annotated[int | None, "cross-validation fold of a train case"]
