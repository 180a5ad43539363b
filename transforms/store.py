"""Where files lie: a source's bucket to read from and a corpus to write to, local or remote, behind one small interface.

Only this module and `transforms.commit` know that there is a file system.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from mdfp.errors import UsageError
from schemas.reasons import Reason
from transforms.rejected import Rejected

HASHED_AT_ONCE = 64 << 20
"""Bytes of an object that are in memory while it is hashed."""


@dataclass(frozen=True)
class ListedObject:
    """One object of a bucket, as a listing shows it."""

    path: str
    """Below the root, with forward slashes."""
    bytes: int
    version: str
    """ETag or generation of the store; `mtime:<ns>` of a local file."""


def local_path(url: str) -> Path | None:
    """The local folder or file a URL names, or None for a remote one."""
    if url.startswith("file://"):
        return Path(url.removeprefix("file://"))
    return None if "://" in url else Path(url)


class _Store:
    """What reading and writing share."""

    def __init__(self, root: str):
        self.root = root
        self.folder = local_path(root)
        if self.folder is not None:
            self.folder = self.folder.expanduser().absolute()
            self._fs: Any = None
            self._base = ""
        else:
            # Listings are never cached: a store that others write to changes under us.
            self._fs, self._base = fsspec.core.url_to_fs(root, use_listings_cache=False)
            self._base = self._base.rstrip("/")

    def local(self, path: str) -> Path | None:
        """The file itself when the store is local, else None."""
        return None if self.folder is None else self.folder / path

    def _list(self, prefix: str) -> Iterator[ListedObject]:
        """Objects below a folder, sorted by path; nothing for a folder that is not there."""
        if self.folder is not None:
            base = self.folder / prefix
            if base.is_dir():
                yield from _walk(base, f"{prefix}/" if prefix else "")
            return
        found = self._fs.find(f"{self._base}/{prefix}".rstrip("/"), detail=True)
        for name, info in sorted(found.items()):
            yield ListedObject(name[len(self._base) :].lstrip("/"), int(info["size"]), _version(info))

    def _read(self, path: str, start: int, end: int | None) -> bytes:
        if self.folder is None:
            return bytes(self._fs.cat_file(f"{self._base}/{path}", start=start or None, end=end))
        with (self.folder / path).open("rb", buffering=0) as file:
            if start:
                file.seek(start)
            return file.read() if end is None else file.read(end - start)


class SourceStore(_Store):
    """The bucket or folder of a source. Reading only.

    Raises:
        UsageError: a local root that is not a folder.
    """

    def __init__(self, root: str):
        super().__init__(root)
        if self.folder is not None and not self.folder.is_dir():
            raise UsageError(
                f"root {root!r}: expected a folder, found {'a file' if self.folder.exists() else 'nothing'}; "
                "give the right place with --root SOURCE=PATH_OR_URL or under sources: in the recipe"
            )

    def list(self) -> Iterator[ListedObject]:
        """All objects, sorted by path. Links to folders are not followed: a loop would have no end."""
        return self._list("")

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes [start, end) of an object; short when the object is.

        Raises:
            Rejected: MISSING_FILE.
            OSError: anything that may pass: retried by callers, never a reason to leave a case out.
        """
        try:
            return self._read(path, start, end)
        except FileNotFoundError as error:
            raise Rejected(Reason.MISSING_FILE, "the object is no longer there") from error

    def version(self, path: str) -> ListedObject:
        """What a listing would say of one object now.

        Raises:
            Rejected: MISSING_FILE.
        """
        try:
            if self.folder is not None:
                stat = (self.folder / path).stat()
                return ListedObject(path, stat.st_size, f"mtime:{stat.st_mtime_ns}")
            info = self._fs.info(f"{self._base}/{path}")
        except FileNotFoundError as error:
            raise Rejected(Reason.MISSING_FILE, "the object is no longer there") from error
        return ListedObject(path, int(info["size"]), _version(info))


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
            return int(self._fs.info(f"{self._base}/{path}")["size"])
        except FileNotFoundError:
            return None

    def read(self, path: str) -> bytes:
        """A whole object.

        Raises:
            FileNotFoundError: it is not there.
        """
        return self._read(path, 0, None)

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

    def url(self, path: str) -> str:
        """Address of an object for people and other programs."""
        return f"{self.root.rstrip('/')}/{path}"

    @property
    def filesystem(self) -> tuple[Any, str]:
        """(fsspec file system, base path) of a remote corpus, for `transforms.commit`."""
        return self._fs, self._base


def _walk(folder: Path, prefix: str) -> Iterator[ListedObject]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
            elif entry.is_file():
                stat = entry.stat()
                yield ListedObject(f"{prefix}{entry.name}", stat.st_size, f"mtime:{stat.st_mtime_ns}")


def _version(info: dict[str, Any]) -> str:
    for key in ("generation", "ETag", "etag", "versionId", "LastModified", "last_modified", "mtime", "updated"):
        if info.get(key):
            return f"{key.lower()}:{str(info[key]).strip(chr(34))}"
    return f"size:{info['size']}"
