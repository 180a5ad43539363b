"""Where files lie: a source's bucket to read from and a corpus to write to, local or remote, behind one small interface.

Only this module, `transforms.commit` and `transforms.probe` know that there is a file system. What differs between
remote stores is in `transforms.stores`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from mdfp.errors import UsageError
from schemas.place import Place
from schemas.reasons import Reason
from transforms import scratch
from transforms.refusal import readable_name
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.stores.backend import Backend, ListedObject, Unfinished
from transforms.stores.errors import ChangedError
from transforms.stores.open import open_remote
from transforms.stores.remote import Remote

__all__ = ["CorpusStore", "ListedObject", "SourceStore", "local_path"]

T = TypeVar("T")
R = TypeVar("R")

HASHED_AT_ONCE = 64 << 20
"""Bytes of an object that are in memory while it is hashed."""

EMPTY_ENOUGH = 1000
"""Objects that are looked at to tell whether a folder is empty: a page of a listing."""

CONCURRENT = 12
"""Objects of one source that are read at a time where each costs a round trip."""


def local_path(url: str) -> Path | None:
    """The local folder or file a URL names, or None for a remote one."""
    if url.startswith("file://"):
        return Path(url.removeprefix("file://"))
    return None if "://" in url else Path(url)


class _Store:
    """What reading and writing share.

    Connections are made once in each process, at first use: a store that was pickled or came through a fork opens its
    own.
    """

    def __init__(self, place: str | Place, backend: Backend | None = None):
        self.place = Place(place) if isinstance(place, str) else place
        self.root = self.place.url
        self.folder = local_path(self.root)
        if self.folder is not None:
            self.folder = self.folder.expanduser().absolute()
        self._opened: tuple[int, Remote] | None = None
        if self.folder is None:
            self._opened = (
                os.getpid(),
                Remote(backend, self.root, guarded=self.place.guarded) if backend else open_remote(self.place),
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    @property
    def remote(self) -> Remote:
        """The remote store, for `transforms.commit` and `transforms.probe`."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), open_remote(self.place))
        return self._opened[1]

    def local(self, path: str) -> Path | None:
        """The file itself when the store is local, else None."""
        return None if self.folder is None else self.folder / path

    def url(self, path: str) -> str:
        """Address of an object for people and other programs."""
        return f"{self.root.rstrip('/')}/{path}"

    def _list(self, prefix: str) -> Iterator[ListedObject]:
        """Objects below a folder, sorted by path; nothing for a folder that is not there."""
        if self.folder is None:
            yield from self.remote.list(prefix)
            return
        base = self.folder / prefix
        if base.is_dir():
            yield from _walk(base, f"{prefix}/" if prefix else "")

    def _read(self, path: str, start: int, end: int | None) -> bytes:
        if self.folder is None:
            return self.remote.read(path, start, end)
        with (self.folder / path).open("rb", buffering=0) as file:
            return _range(file, start, end)


class SourceStore(_Store):
    """The bucket or folder of a source. Reading only.

    Args:
        place: where, and how it is entered.
        backend: another way to speak to the store than its URL says; for tests.

    Raises:
        UsageError: a local root that is not a folder, a URL that no store answers to.
    """

    def __init__(self, place: str | Place, backend: Backend | None = None):
        super().__init__(place, backend)
        if self.folder is not None and not self.folder.is_dir():
            raise UsageError(
                f"root {self.root!r}: expected a folder, found {'a file' if self.folder.exists() else 'nothing'}; "
                "give the right place with --root SOURCE=PATH_OR_URL or under sources: in the recipe"
            )

    def list(self) -> Iterator[ListedObject]:
        """All objects, sorted by path. Links to folders are not followed: a loop would have no end."""
        return map(readable_name, self._list(""))

    def below(self, folder: str) -> Iterator[ListedObject]:
        """The objects in one folder and deeper, sorted by path; none where there is no such folder."""
        return map(readable_name, self._list(folder))

    def read(self, path: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> bytes:
        """Bytes [start, end) of an object; short when the object is.

        Args:
            path: below the root.
            start: first byte.
            end: after the last; None: to the end.
            version: what a listing said of it; bytes of another version are refused. None: whatever is there.

        Raises:
            Rejected: MISSING_FILE, SOURCE_CHANGED.
            OSError: anything that may pass: retried by callers, never a reason to leave a case out.
        """
        try:
            if version is None:
                return self._read(path, start, end)
            if self.folder is None:
                return self.remote.read(path, start, end, version)
            return self._read_local(path, version, lambda file: _range(file, start, end))
        except FileNotFoundError as error:
            raise Rejected(Reason.MISSING_FILE, "the object is no longer there") from error
        except ChangedError as error:
            raise self._changed(path, version or "") from error

    def read_object(self, path: str, size: int, version: str) -> Bytes:
        """All bytes of an object as the inventory saw it: of a large remote one, several ranges at a time.

        Raises:
            Rejected: MISSING_FILE; SOURCE_CHANGED where size or version differ.
            OSError: what may pass.
        """
        try:
            if self.folder is None:
                return self.remote.read_object(path, size, version)
            data = self._read_local(path, version, lambda file: _whole(file, size))
        except FileNotFoundError as error:
            raise Rejected(Reason.MISSING_FILE, "the object is no longer there") from error
        except ChangedError as error:
            raise self._changed(path, f"{size} bytes ({version})") from error
        if len(data) != size:
            raise self._changed(path, f"{size} bytes ({version})")
        return data

    def version(self, path: str) -> ListedObject:
        """What a listing would say of one object now.

        Raises:
            Rejected: MISSING_FILE.
        """
        try:
            if self.folder is not None:
                return _listed(path, (self.folder / path).stat())
            found = self.remote.head(path)
        except FileNotFoundError as error:
            raise Rejected(Reason.MISSING_FILE, "the object is no longer there") from error
        if found is None:
            raise Rejected(Reason.MISSING_FILE, "the object is no longer there")
        return found

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """`function` of every item, in their order; for a remote store several at a time.

        For reads that cost a round trip each. At most `CONCURRENT` results are waited for or wait to be taken.
        """
        if self.folder is not None:
            yield from map(function, items)
            return
        coming = iter(items)
        with ThreadPoolExecutor(CONCURRENT) as pool:
            pending = [pool.submit(function, item) for item in islice(coming, CONCURRENT)]
            try:
                while pending:
                    yield pending.pop(0).result()
                    pending += [pool.submit(function, item) for item in islice(coming, 1)]
            finally:
                for future in pending:
                    future.cancel()

    def _read_local(self, path: str, version: str, read: Callable[[FileIO], R]) -> R:
        if self.folder is None:
            raise TypeError(f"{self.root} is not local")
        with (self.folder / path).open("rb", buffering=0) as file:
            before = _listed(path, os.fstat(file.fileno()))
            if before.version != version:
                raise ChangedError(f"{self.url(path)}: expected {version}, found {before.version}")
            data = read(file)
            if _listed(path, os.fstat(file.fileno())) != before:
                raise ChangedError(f"{self.url(path)}: was written while it was read")
            return data

    def _changed(self, path: str, expected: str) -> Rejected:
        now = self.version(path)
        return Rejected(
            Reason.SOURCE_CHANGED,
            f"the inventory saw {expected}, now {now.bytes} bytes ({now.version}); run the inventory again",
        )


class CorpusStore(_Store):
    """The place of a corpus: what can be asked of it. Writing is `transforms.commit`'s alone."""

    def exists(self, path: str) -> bool:
        """Whether an object is there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Size in bytes of an object, or None when it is not there."""
        try:
            if self.folder is not None:
                return (self.folder / path).stat().st_size
            found = self.remote.head(path)
        except FileNotFoundError:
            return None
        return None if found is None else found.bytes

    def read(self, path: str) -> bytes:
        """A whole object.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._read(path, 0, None)

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of an object; short when the object is.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._read(path, start, end)

    def sha256(self, path: str) -> str:
        """Hex digest of an object, read a part at a time.

        Raises:
            FileNotFoundError: it is not there.
        """
        digest = hashlib.sha256()
        start = 0
        while part := self._read(path, start, start + HASHED_AT_ONCE):
            digest.update(part)
            start += len(part)
            if len(part) < HASHED_AT_ONCE:
                break
        return digest.hexdigest()

    def list(self, prefix: str) -> list[ListedObject]:
        """Objects below a folder of the corpus, sorted by path."""
        return list(self._list(prefix))

    def is_empty(self) -> bool:
        """Whether nothing lies there, as far as a listing shows; probes and progress of runs that came to nothing aside."""
        return all(o.path.startswith("telemetry/") for o in islice(self._list(""), EMPTY_ENOUGH))

    def unfinished(self) -> tuple[Unfinished, ...]:
        """Uploads in parts that were begun and never finished; none on a local disk."""
        return () if self.folder is not None else self.remote.unfinished()


def _walk(folder: Path, prefix: str) -> Iterator[ListedObject]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.is_file():
                try:
                    stat = entry.stat()
                except FileNotFoundError:  # a writer's temporary file, which became visible under its own name
                    continue
                yield _listed(f"{prefix}{entry.name}", stat)


def _range(file: FileIO, start: int, end: int | None) -> bytes:
    if start:
        file.seek(start)
    return file.read() if end is None else file.read(end - start)


def _whole(file: FileIO, size: int) -> Bytes:
    """Bytes of a file that should have `size`; fewer or more where it has not. A large one lies in scratch memory."""
    if size < scratch.LARGE_BYTES or os.fstat(file.fileno()).st_size != size:
        return file.read()
    buffer = scratch.take(size).data
    filled = 0
    while filled < size and (n := file.readinto(buffer[filled:])):
        filled += n
    return buffer[:filled].toreadonly()


def _listed(path: str, stat: os.stat_result) -> ListedObject:
    return ListedObject(path, stat.st_size, f"mtime:{stat.st_mtime_ns}", stat.st_mtime)
