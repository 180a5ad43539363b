"""What the plan writes: who goes where, and which shard is built from what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from mdfp.canonical import SPARSE
from schemas.case import Reject
from schemas.reasons import Reason


@dataclass(frozen=True)
class Assignment:
    """Where a case goes, or why it is left out."""

    case_id: Annotated[str, "the case"]
    source: Annotated[str, "id of the source"]
    split: Annotated[str | None, "train, val or test; null when left out"]
    fold: Annotated[int | None, "cross-validation fold of a train case"]
    group: Annotated[str, "cases that must not be split apart share it"]
    shard: Annotated[str | None, "id of the shard: <split>/<source>-<n>"]
    position: Annotated[int | None, "its place in the shard"]
    left_out: Annotated[Reason | None, "why it is not in a shard, or is a planned hole in it"]
    detail: Annotated[str, "the same for a person"]


@dataclass(frozen=True)
class PlannedCase(Assignment):
    """A row of the plan's table: where a case goes, and digests of what it is made from."""

    case_digest: Annotated[str, "sha256 of the case's canonical JSON, days_from_first left out"]
    objects_digest: Annotated[str, "sha256 of the objects' canonical JSON"]
    content_digest: Annotated[str, "the same without the times at which local files were changed"]
    days_from_first: Annotated[int | None, "days since the patient's first study"]
    object_count: Annotated[int, "objects"]
    object_bytes: Annotated[int, "bytes of its objects"]
    voxels: Annotated[int, "voxels of its largest image"]
    terms: Annotated[
        str | None, "licences of its sample, joined by AND, where more hold than its case's own; else null"
    ] = None


@dataclass(frozen=True)
class ShardPlan:
    """One shard to build: the unit of work, retry and commit."""

    shard: Annotated[str, "id: <split>/<source>-<n>"]
    split: Annotated[str, "train, val or test"]
    source: Annotated[str, "id of the source, or of the pool"]
    generation: Annotated[int, "number of the manifest it is planned for"]
    cases: Annotated[tuple[str, ...], "case ids in order"]
    holes: Annotated[
        tuple[str, ...], "case ids among them of which it is already known that they are left out: duplicates"
    ]
    estimated_bytes: Annotated[int, "expected size"]
    estimated_seconds: Annotated[float, "expected CPU seconds"]
    fingerprint: Annotated[str, "sha256 of everything its bytes are a function of"]
    hole_details: Annotated[tuple[str, ...], "for each of the holes, whose pixels it has"] = ()
    hole_reasons: Annotated[tuple[Reason, ...], "for each of the holes, why; none: all are duplicates"] = field(
        default=(), metadata={SPARSE: True}
    )


@dataclass(frozen=True)
class RowsFile:
    """`rows/<shard>-<sha>.arrow.zst`: the index rows of a shard's samples, beside the marker that names it."""

    path: Annotated[str, "below the corpus"]
    bytes: Annotated[int, "size"]
    sha256: Annotated[str, "of the file"]
    digest: Annotated[
        str, "sha256 of the rows' canonical JSON, a line each (the file's bytes may differ between writers)"
    ]


@dataclass(frozen=True)
class Marker:
    """`commits/<shard>.<fingerprint>.json`: the shard exists, whole. Its creation is the commit point."""

    shard: Annotated[str, "id of the shard"]
    fingerprint: Annotated[str, "of the shard plan that was built"]
    path: Annotated[str | None, "the tar, below the corpus; null when every case was a hole"]
    bytes: Annotated[int, "size of the tar"]
    sha256: Annotated[str | None, "of the tar"]
    samples: Annotated[int, "samples in it"]
    made: Annotated[str, "sha256 of their case ids in order, a line each case"]
    rows: Annotated[RowsFile | None, "the index rows of its samples; null when every case was a hole"]
    holes: Annotated[tuple[Reject, ...], "cases that could not be made"]
