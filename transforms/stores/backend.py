"""What a remote store must be able to do. One module of this package says how for each kind of store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")


class Retry(Protocol):
    """Runs one request within the process's limits, again where its failure may pass."""

    def __call__(self, request: Callable[[], T], /) -> T:
        """What the request gave."""
        ...


@dataclass(frozen=True)
class ListedObject:
    """One object of a bucket, as a listing shows it."""

    path: str
    """Below the root, with forward slashes."""
    bytes: int
    version: str
    """ETag or generation of the store; `mtime:<ns>` of a local file."""
    modified: float | None = field(default=None, compare=False, repr=False)
    """Unix time of its creation by the store's clock, where a listing says it. No part of what the object is."""


@dataclass(frozen=True)
class Unfinished:
    """An upload in parts that somebody began and did not finish: stored, billed, and seen by no listing.

    Attributes:
        path: below the root, the object that it would have become.
        id: the store's name for it.
        begun: Unix time, by the store's clock.
    """

    path: str
    id: str
    begun: float


@dataclass(frozen=True)
class Got:
    """The answer to a ranged read.

    Attributes:
        data: bytes of the range; fewer where the object ends before it.
        total: bytes of the whole object, where the store says.
        version: of the object these bytes are from, as a listing would write it; None where the store does not say.
    """

    data: bytes
    total: int | None
    version: str | None


class Backend(Protocol):
    """Objects below one root of a store. Each call is one attempt: `transforms.stores.remote` tries again.

    Failures are raised as `transforms.stores.errors` has them: FileNotFoundError, ChangedError, TransientStoreError for
    what may pass, StoreError for what does not.
    """

    pins: bool
    """Whether `get` answers for the version of the very bytes it returns. If not, callers look before and after."""
    ordered: bool
    """Whether `list` gives paths in ascending order by itself."""

    def list(self, prefix: str, retry: Retry) -> Iterator[ListedObject]:
        """Objects below a folder of the root (``''``: all), a page at a time; nothing for one that is not there.

        Args:
            prefix: the folder.
            retry: for the single pages.
        """
        ...

    def head(self, path: str) -> ListedObject | None:
        """What a listing would say of one object now; None when it is not there."""
        ...

    def get(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """Bytes [start, end) of an object, of this version where one is given.

        Raises:
            FileNotFoundError: it is not there.
            ChangedError: it has another version.
        """
        ...

    def put(self, path: str, data: bytes, *, only_new: bool) -> bool:
        """Write an object in one request.

        Returns:
            Whether the store's checksum of what it holds, or of what arrived, was compared with what was sent.

        Raises:
            FileExistsError: `only_new`, and one is there.
        """
        ...

    def put_parts(self, path: str, file: Path, *, only_new: bool, part_bytes: int, retry: Retry) -> bool:
        """Write an object in parts, visible when the last request succeeds; nothing is left behind on failure.

        Args:
            path: where.
            file: what, complete and closed.
            only_new: refuse when an object is there.
            part_bytes: size of a part.
            retry: for the single parts.

        Returns:
            As `put`.

        Raises:
            FileExistsError: `only_new`, and one is there.
        """
        ...

    def unfinished(self) -> Iterator[Unfinished]:
        """Uploads in parts that were begun and neither finished nor ended, of stores that have such."""
        ...

    def abort(self, upload: Unfinished) -> None:
        """End an upload, parts and all; nothing when it is no longer there."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; nothing when it is not there."""
        ...
