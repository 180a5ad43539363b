"""Reading from and writing to a remote store: whole and pinned objects, retries, creating exactly once."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from transforms.retry import wait, with_retries
from transforms.stores import limits
from transforms.stores.backend import Backend, Got, ListedObject, Unfinished
from transforms.stores.errors import ChangedError, StoreError, TransientStoreError, may_pass

T = TypeVar("T")

REQUEST_ATTEMPTS = 6
"""How often one request is tried. Where one in ten fails, one in a million operations does."""

FIRST_WAIT_S = 0.2
"""Between the first two attempts of a request."""

PART_BYTES = 16 << 20
"""Size of the pieces in which large objects are read and written: many of them pay for their round trip, and 10,000, the
most that S3 takes, make 156 GiB."""


class Remote:
    """Objects below one root of a store, with everything that must hold whatever the store does.

    Args:
        backend: how to speak to the store.
        root: URL of the root, for people.
        guarded: whether the store refuses to create what is there; see `schemas.place.Place`.
        first_wait_s: between the first two attempts of a request.
    """

    def __init__(self, backend: Backend, root: str, *, guarded: bool = True, first_wait_s: float = FIRST_WAIT_S):
        self.backend = backend
        self._root = root.rstrip("/")
        self._guarded = guarded
        self._first_wait_s = first_wait_s

    def list(self, prefix: str) -> Iterator[ListedObject]:
        """Objects below a folder, sorted by path; streamed where the store lists in that order.

        Raises:
            StoreError: a store that says it lists in order does not.
        """
        if not self.backend.ordered:
            yield from sorted(self.backend.list(prefix, self._request), key=lambda o: o.path)
            return
        last = ""
        for item in self.backend.list(prefix, self._request):
            if item.path <= last:
                raise StoreError(
                    f"{self._root}: listed {item.path!r} after {last!r}; expected the order of their names"
                )
            last = item.path
            yield item

    def head(self, path: str) -> ListedObject | None:
        """What a listing would say of one object now, or None."""
        return self._request(lambda: self.backend.head(path))

    def read(self, path: str, start: int = 0, end: int | None = None, version: str | None = None) -> bytes:
        """Bytes [start, end) of an object in one request; short when the object is.

        Args:
            path: below the root.
            start: first byte.
            end: after the last; None: to the end.
            version: which the object must have; None: any.

        Raises:
            FileNotFoundError: it is not there.
            ChangedError: it has another version.
        """
        if end is not None and end <= start:
            return b""
        if version is not None and not self.backend.pins:
            return self._read_watched(path, start, end, version)
        got = self._request(lambda: self._whole(path, start, end, version), 0 if end is None else end - start)
        return got.data

    def read_object(self, path: str, size: int, version: str | None) -> bytes:
        """All bytes of an object whose size is known, in concurrent pieces, all of one version.

        Raises:
            FileNotFoundError: it is not there.
            ChangedError: it has another size or version.
        """
        starts = range(0, size, PART_BYTES)

        def part(start: int) -> bytes:
            end = min(size, start + PART_BYTES)
            data = self.read(path, start, end, version)
            if len(data) != end - start:
                raise ChangedError(f"{self._where(path)}: expected {size} bytes, found that it ends before {end}")
            return data

        if len(starts) <= 1:
            return part(0) if size else self.read(path, 0, 1, version)
        with ThreadPoolExecutor(limits.PARALLEL_PARTS) as pool:
            return b"".join(pool.map(part, starts))

    def create(self, path: str, content: bytes | Path) -> bool:
        """Make an object visible, whole, if none is there.

        An attempt whose answer was lost may have succeeded: when the next one finds an object of the same bytes, it is
        this one.

        Returns:
            True when it is there by this call, False when another one was there before.
        """
        # Look first, not to send a shard for nothing; and where the store does not refuse by itself this is all there is.
        if (not self._guarded or isinstance(content, Path)) and self.head(path) is not None:
            return False
        lost_answer = False
        for attempt in range(1, REQUEST_ATTEMPTS + 1):
            try:
                self._put(path, content, only_new=self._guarded)
            except FileExistsError:
                return lost_answer and self.holds(path, content)
            except OSError as error:
                if attempt == REQUEST_ATTEMPTS or not may_pass(error):
                    raise
                lost_answer = True
                wait(attempt, self._first_wait_s)
                if isinstance(content, Path) and self.holds(path, content):
                    return True
            else:
                return True
        raise AssertionError("unreachable: the last attempt returns or raises")

    def replace(self, path: str, content: bytes | Path) -> None:
        """Put an object, whatever was there."""
        self.again(lambda: self._put(path, content, only_new=False))

    def unfinished(self) -> tuple[Unfinished, ...]:
        """Uploads in parts that were begun and never finished."""
        return self._request(lambda: tuple(self.backend.unfinished()))

    def abort(self, upload: Unfinished) -> None:
        """End such an upload."""
        self._request(lambda: self.backend.abort(upload))

    def delete(self, path: str) -> None:
        """Remove an object; nothing when it is not there."""
        self._request(lambda: self.backend.delete(path))

    def holds(self, path: str, content: bytes | Path) -> bool:
        """Whether an object is there with these very bytes."""
        found = self.head(path)
        if found is None or found.bytes != _size(content):
            return False
        for start in range(0, found.bytes, PART_BYTES):
            end = min(found.bytes, start + PART_BYTES)
            try:
                if self.read(path, start, end, found.version) != _piece(content, start, end):
                    return False
            except (FileNotFoundError, ChangedError):
                return False
        return True

    def _put(self, path: str, content: bytes | Path, *, only_new: bool) -> None:
        if isinstance(content, bytes):
            with limits.request(len(content)):
                verified = self.backend.put(path, content, only_new=only_new)
        elif _size(content) <= PART_BYTES:
            self._put(path, content.read_bytes(), only_new=only_new)
            return
        else:
            verified = self.backend.put_parts(path, content, only_new=only_new, part_bytes=PART_BYTES, retry=self._part)
        self._confirm(path, content, verified)

    def _confirm(self, path: str, content: bytes | Path, verified: bool) -> None:
        """Look at what is there now; read it back where the store's own checksum was not compared."""
        if verified and isinstance(content, bytes):
            return
        size = _size(content)
        found = self.head(path)
        if found is None or found.bytes != size:
            raise StoreError(
                f"{self._where(path)}: sent {size} bytes, found {'nothing' if found is None else found.bytes} afterwards; "
                "another program writes here, or the store loses data"
            )
        if not verified and not self.holds(path, content):
            raise StoreError(f"{self._where(path)}: holds other bytes than were sent; remove it and run again")

    def _whole(self, path: str, start: int, end: int | None, version: str | None) -> Got:
        """One answer, after making sure that it is complete."""
        got = self.backend.get(path, start, end, version)
        if version is not None and got.version is not None and got.version != version:
            raise ChangedError(f"{self._where(path)}: expected {version}, found {got.version}")
        if got.total is not None:
            expected = max(0, (got.total if end is None else min(end, got.total)) - start)
            if len(got.data) != expected:
                raise TransientStoreError(
                    f"{self._where(path)}: expected {expected} bytes from {start}, the answer had {len(got.data)}"
                )
        return got

    def _read_watched(self, path: str, start: int, end: int | None, version: str) -> bytes:
        """A range of a store that cannot be asked for a version: look before, and again after."""

        def look() -> ListedObject:
            found = self.backend.head(path)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, "there is no such object", self._where(path))
            if found.version != version:
                raise ChangedError(f"{self._where(path)}: expected {version}, found {found.version}")
            return found

        def watched() -> bytes:
            look()
            data = self._whole(path, start, end, None).data
            size = look().bytes
            expected = max(0, min(size, size if end is None else end) - start)
            if len(data) != expected:
                raise TransientStoreError(
                    f"{self._where(path)}: expected {expected} bytes from {start}, the answer had {len(data)}"
                )
            return data

        return self._request(watched, 0 if end is None else end - start)

    def _request(self, action: Callable[[], T], count: int = 0) -> T:
        def limited() -> T:
            with limits.request(count):
                return action()

        return self.again(limited)

    def _part(self, action: Callable[[], T]) -> T:
        return self._request(action, PART_BYTES)

    def again(self, action: Callable[[], T]) -> T:
        """Run one request, again where its failure may pass."""
        return with_retries(action, attempts=REQUEST_ATTEMPTS, first_wait_s=self._first_wait_s)

    def _where(self, path: str) -> str:
        return f"{self._root}/{path}"


def _size(content: bytes | Path) -> int:
    return content.stat().st_size if isinstance(content, Path) else len(content)


def _piece(content: bytes | Path, start: int, end: int) -> bytes:
    if isinstance(content, bytes):
        return content[start:end]
    with content.open("rb") as file:
        return os.pread(file.fileno(), end - start, start)
