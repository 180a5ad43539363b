"""Where a corpus lies: the one module of this package that knows there is a file system.

Any fsspec URL will do. Files of a local folder are memory-mapped, so that a crop of a warm shard costs no copy;
elsewhere a member is one ranged read.
"""

from __future__ import annotations

import mmap
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec

from mdfp.errors import CorpusError, MissingExtraError, UsageError
from mdfp.urls import redacted

MAPPED_FILES = 64
"""Shards kept mapped at a time. A map holds a file descriptor, of which a process has about a thousand."""

READ_BYTES = 4 * 2**20
"""Piece in which whole files are read."""

FETCH_ATTEMPTS = 4
"""How often a ranged read of a remote file is tried; the file system below has its own retries for what it knows."""

FIRST_WAIT_S = 0.5
"""Between the first two attempts."""


class CorpusStore:
    """Read-only files below a URL, named by paths with `/`, relative to it.

    Args:
        url: a folder, or any fsspec URL of one (`s3://bucket/corpus`, `memory://corpus`, `simplecache::s3://…`).
        options: what the file system wants to know (`anon=True`, …).

    Raises:
        UsageError: no file system answers to the URL.
        MissingExtraError: its library is not installed.
    """

    def __init__(self, url: str, **options: Any):
        self.url = str(url).rstrip("/") or "/"
        self._options = options
        try:
            # Listings must be fresh: a corpus grows while jobs read it.
            self._fs, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **options)
        except ImportError as error:
            raise MissingExtraError(
                f"{redacted(self.url)}: its file system needs a library that is not installed: {error}"
            ) from error
        except ValueError as error:
            raise UsageError(f"{redacted(self.url)}: expected a folder or a URL that fsspec knows; {error}") from error
        protocols = self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)
        self.local = "file" in protocols or "local" in protocols
        self._maps: OrderedDict[str, memoryview] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.url, self._options)

    def where(self, path: str = "") -> str:
        """The path for a person, without credentials that the URL may hold."""
        return redacted(f"{self.url}/{path}" if path else self.url)

    def read(self, path: str) -> bytes:
        """A whole small file.

        Raises:
            FileNotFoundError: there is none.
        """
        if self.local:
            return self._local(path).read_bytes()
        return bytes(self._fs.cat_file(self._full(path)))

    def read_range(self, path: str, offset: int, length: int) -> bytes | memoryview:
        """`length` bytes from `offset`: a view of the mapped file when it is local, else one ranged read.

        Raises:
            CorpusError: there is no such file, or it ends before.
        """
        if length == 0:
            return b""
        try:
            if self.local:
                data: bytes | memoryview = self._map(path)[offset : offset + length]
            else:
                data = self._fetch(path, offset, length)
        except FileNotFoundError as error:
            raise CorpusError(
                f"{self.where(path)}: named by the manifest and not there; `mdfp verify` lists what is missing"
            ) from error
        if len(data) > length:
            raise CorpusError(
                f"{self.where(path)}: asked for {length} bytes, was sent {len(data)}: its server knows no ranges"
            )
        if len(data) != length:
            raise CorpusError(
                f"{self.where(path)}: expected {length} bytes at {offset}, found {len(data)}: cut short; "
                "`mdfp verify` lists every fault"
            )
        return data

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        return self._local(path).is_file() if self.local else bool(self._fs.isfile(self._full(path)))

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder, sorted; empty when the folder is absent or the store cannot list."""
        try:
            found = self._fs.ls(self._full(folder), detail=False)
        except (FileNotFoundError, NotADirectoryError, NotImplementedError):
            return []
        return sorted(str(f).rstrip("/").rsplit("/", 1)[-1] for f in found)

    def pieces(self, path: str) -> Iterator[bytes]:
        """A file of any size, piece by piece.

        Raises:
            FileNotFoundError: there is none.
        """
        with self.open(path) as file:
            while piece := file.read(READ_BYTES):
                yield piece

    def open(self, path: str) -> IO[bytes]:
        """A file to read and seek in.

        Raises:
            FileNotFoundError: there is none.
        """
        return self._local(path).open("rb") if self.local else self._fs.open(self._full(path), "rb")

    def _fetch(self, path: str, offset: int, length: int) -> bytes:
        """One ranged read; again after an answer that was cut short or did not come."""
        for attempt in range(1, FETCH_ATTEMPTS + 1):
            try:
                data = bytes(self._fs.cat_file(self._full(path), start=offset, end=offset + length))
            except (FileNotFoundError, PermissionError):
                raise
            except OSError:
                if attempt == FETCH_ATTEMPTS:
                    raise
            else:
                if len(data) >= length or attempt == FETCH_ATTEMPTS:
                    return data
            time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1) * random.uniform(0.5, 1))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"

    def _local(self, path: str) -> Path:
        return Path(self._root) / path

    def _map(self, path: str) -> memoryview:
        with self._lock:
            if path in self._maps:
                self._maps.move_to_end(path)
                return self._maps[path]
            with self._local(path).open("rb") as file:
                try:
                    view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                except ValueError:  # an empty file cannot be mapped
                    view = memoryview(b"")
            self._maps[path] = view
            while len(self._maps) > MAPPED_FILES:
                # Only forgotten: arrays that still look into it keep the map alive.
                self._maps.popitem(last=False)
            return view


def _restore(url: str, options: dict[str, Any]) -> CorpusStore:
    return CorpusStore(url, **options)
