"""Bring the objects of a case to this machine, as compressed bytes in memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.case import Case, ObjectRecord
from schemas.reasons import Reason
from transforms.read.array import Blob
from transforms.read.kept_content import KeptContent
from transforms.rejected import Rejected
from transforms.retry import with_retries
from transforms.scratch import Bytes
from transforms.shared_files import SharedFiles
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
    case: Case,
    objects: Sequence[ObjectRecord],
    store: SourceStore,
    *,
    attempts: int,
    any_version: bool = False,
    shared: SharedFiles | None = None,
) -> FetchedCase:
    """Read every object of a case, all of the version that the inventory saw; from a remote store several at a time.

    Args:
        case: what to fetch.
        objects: its objects, in order.
        store: the source's bucket.
        attempts: how often a failing request is tried.
        any_version: compare sizes only: for callers who know what must come out, such as a repair from a new copy.
        shared: files that other cases read too.

    Raises:
        Rejected: MISSING_FILE, SOURCE_CHANGED.
        OSError: what may pass, after `attempts`.
    """

    def read(record: ObjectRecord) -> Bytes:
        return with_retries(lambda: _read_unchanged(store, record, any_version), attempts=attempts)

    arrays = Counter(record.path for record in objects)

    def several(record: ObjectRecord) -> bool:
        return arrays[record.path] > 1 or (shared is not None and shared.shares(record))

    fetched = FetchedCase(case)
    once = {record.path: record for record in objects}  # several volumes may lie in one file
    blobs = {path: blob for path, record in once.items() if shared is not None and (blob := shared.get(record))}
    missing = [record for path, record in once.items() if path not in blobs]
    for record, data in zip(missing, store.each(read, missing), strict=True):
        blobs[record.path] = Blob(
            record.path, data, store.local(record.path), KeptContent() if several(record) else None
        )
        if shared is not None:
            shared.put(record, blobs[record.path])
    for record in objects:
        fetched.blobs[record.array].append((blobs[record.path], record.structure))
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
