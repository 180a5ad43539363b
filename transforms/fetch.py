"""Bring the objects of a case to this machine: compressed bytes in memory, or a path for what only reads files."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from schemas.case import Case, ObjectRecord
from schemas.reasons import Reason
from transforms.commit import with_retries
from transforms.read.array import Blob
from transforms.rejected import Rejected
from transforms.store import SourceStore


@dataclass
class FetchedCase(AbstractContextManager["FetchedCase"]):
    """The objects of a case, by array name, in the order the inventory gave them.

    Holds the compressed bytes of the whole case in memory; close it to free them and any temporary files.
    """

    case: Case
    blobs: dict[str, list[tuple[Blob, str | None]]] = field(default_factory=lambda: defaultdict(list))
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def __exit__(self, *_: object) -> None:
        self.blobs.clear()
        if self._scratch is not None:
            self._scratch.cleanup()


def fetch_case(
    case: Case, objects: Sequence[ObjectRecord], store: SourceStore, *, scratch: Path, attempts: int
) -> FetchedCase:
    """Read every object of a case, after making sure that it is still the one the inventory saw.

    Args:
        case: what to fetch.
        objects: its objects, in order.
        store: the source's bucket.
        scratch: where files go that a library can only read by path (remote MHA and NRRD).
        attempts: how often a failing request is tried.

    Raises:
        Rejected: MISSING_FILE, SOURCE_CHANGED.
        OSError: what may pass, after `attempts`.
    """
    fetched = FetchedCase(case)
    formats = {f"image:{i.header.name}": i.header.format for i in case.images}
    formats |= {f"label:{label.header.name}": label.header.format for label in case.labels}
    try:
        for record in objects:
            # Default arguments bind now: the lambdas run at once, but say so to readers and linters.
            found = with_retries(lambda r=record: store.version(r.path), attempts=attempts)  # type: ignore[misc]
            if (found.bytes, found.version) != (record.bytes, record.version):
                raise Rejected(
                    Reason.SOURCE_CHANGED,
                    f"the inventory saw {record.bytes} bytes ({record.version}), now {found.bytes} ({found.version}); "
                    "run the inventory again",
                )
            local = store.local(record.path)
            if formats.get(record.array) == "itk":
                data = b""
                if local is None:
                    if fetched._scratch is None:
                        fetched._scratch = tempfile.TemporaryDirectory(prefix="mdfp-", dir=scratch)
                    local = Path(fetched._scratch.name) / Path(record.path).name
                    content = with_retries(lambda r=record: store.read(r.path), attempts=attempts)  # type: ignore[misc]
                    local.write_bytes(content)
            else:
                data = with_retries(lambda r=record: store.read(r.path), attempts=attempts)  # type: ignore[misc]
            fetched.blobs[record.array].append((Blob(record.path, data, local), record.structure))
    except BaseException:
        fetched.__exit__()
        raise
    return fetched
