"""Bring the objects of a case to this machine, as compressed bytes in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.case import Case, ObjectRecord
from schemas.reasons import Reason
from transforms.read.array import Blob
from transforms.rejected import Rejected
from transforms.retry import with_retries
from transforms.scratch import Bytes
from transforms.store import SourceStore


@dataclass(frozen=True)
class FetchedCase:
    """The objects of a case, by array name (`image:ct`), in the order the inventory gave them.

    Attributes:
        case: whose they are.
        blobs: each with the structure whose mask it holds, or None.
    """

    case: Case
    blobs: dict[str, list[tuple[Blob, str | None]]] = field(default_factory=lambda: defaultdict(list))


def fetch_case(
    case: Case, objects: Sequence[ObjectRecord], store: SourceStore, *, attempts: int, any_version: bool = False
) -> FetchedCase:
    """Read every object of a case, all of the version that the inventory saw; from a remote store several at a time.

    Args:
        case: what to fetch.
        objects: its objects, in order.
        store: the source's bucket.
        attempts: how often a failing request is tried.
        any_version: compare sizes only: for callers who know what must come out, such as a repair from a new copy.

    Raises:
        Rejected: MISSING_FILE, SOURCE_CHANGED.
        OSError: what may pass, after `attempts`.
    """

    def read(record: ObjectRecord) -> Bytes:
        return with_retries(lambda: _read_unchanged(store, record, any_version), attempts=attempts)

    fetched = FetchedCase(case)
    once = {record.path: record for record in objects}  # several volumes may lie in one file
    contents = dict(zip(once, store.each(read, list(once.values())), strict=True))
    for record in objects:
        data = contents[record.path]
        fetched.blobs[record.array].append((Blob(record.path, data, store.local(record.path)), record.structure))
    return fetched


def _read_unchanged(store: SourceStore, record: ObjectRecord, any_version: bool) -> Bytes:
    if not any_version:
        return store.read_object(record.path, record.bytes, record.version)
    found = store.version(record.path)
    if found.bytes != record.bytes:
        raise Rejected(
            Reason.SOURCE_CHANGED,
            f"the inventory saw {record.bytes} bytes ({record.version}), now {found.bytes} ({found.version}); "
            "run the inventory again",
        )
    return store.read_object(record.path, found.bytes, found.version)
