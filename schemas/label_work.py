"""What adding labels to a published corpus writes while it is at it: which mask is of which sample, and what became of a shard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from schemas.case import Reject
from schemas.plan import RowsFile


@dataclass(frozen=True)
class MaskFile:
    """One file of masks, and the sample that it is of."""

    shard: Annotated[str, "path of the sample's shard below the corpus"]
    key: Annotated[str, "key of the sample"]
    image: Annotated[str, "name of the image that it is a mask of"]
    structure: Annotated[str | None, "structure, where one file holds one structure's mask"]
    path: Annotated[str, "below the root of the labels"]
    bytes: Annotated[int, "size"]
    version: Annotated[str, "ETag or generation of the store, or mtime:<ns> of a local file"]


@dataclass(frozen=True)
class ShardLabels:
    """A shard whose samples get labels: the unit of work, retry and commit."""

    shard: Annotated[str, "path of the shard below the corpus"]
    index: Annotated[str, "path of the index file that holds the rows of its samples"]
    files: Annotated[int, "mask files of its samples"]
    fingerprint: Annotated[str, "sha256 of everything its sidecar is a function of"]


@dataclass(frozen=True)
class LabelMarker:
    """`labels/<layer>/commits/<shard>.<fingerprint>.json`: the labels of a shard are made. Its creation is the commit point."""

    shard: Annotated[str, "path of the shard below the corpus"]
    fingerprint: Annotated[str, "of the work that was done"]
    path: Annotated[str | None, "the sidecar, below the corpus; null when no mask could be used"]
    bytes: Annotated[int, "size of the sidecar"]
    sha256: Annotated[str | None, "of the sidecar"]
    samples: Annotated[int, "samples that have members in it"]
    masks: Annotated[int, "masks in it, one for each image of a sample that has one"]
    rows: Annotated[RowsFile | None, "the new index rows of these samples; null when there are none"]
    rejects: Annotated[tuple[Reject, ...], "masks that could not be used"]
