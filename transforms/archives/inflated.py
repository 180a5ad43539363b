"""Random access to the content of a gzip stream: one pass, remembered at intervals, and nothing written anywhere.

zlib can copy the state of an inflater (about 50 KB: window and tables). One copy every so many bytes of content lets any
place be reached by inflating at most one interval. The interval doubles when there are too many copies, so memory is
bounded whatever the stream's length: 512 copies are 25 MB.
"""

from __future__ import annotations

import threading
import zlib
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.archives.member import ReadAt, check_expansion
from transforms.rejected import Rejected

INTERVAL_BYTES = 4 << 20
"""Content between two copies, to begin with."""

MAX_COPIES = 512
"""Copies that are kept."""

READ_BYTES = 1 << 20
"""Bytes of the stream that are fetched at a time."""

_OUT_BYTES = 1 << 20
_GZIP_WINDOW = 31


@dataclass
class _Cursor:
    """An inflater in the middle of the stream.

    Attributes:
        content: bytes of content it has given.
        fetched: bytes of the stream it was given.
        inflater: of the current gzip member.
        waiting: bytes it was given and has not used.
        members: gzip members that are finished.
    """

    content: int
    fetched: int
    inflater: Any
    waiting: bytes
    members: int

    def copy(self) -> _Cursor:
        return _Cursor(self.content, self.fetched, self.inflater.copy(), self.waiting, self.members)


def _first() -> _Cursor:
    return _Cursor(0, 0, zlib.decompressobj(_GZIP_WINDOW), b"", 0)


class Inflated:
    """The content of a gzip stream, addressed by position. Threads may share it.

    Args:
        read_at: gives bytes of the stream.
        size: of the stream.
        limits: what it may hold.
        interval_bytes: content between two remembered places; for tests.
    """

    def __init__(self, read_at: ReadAt, size: int, limits: Limits, *, interval_bytes: int = INTERVAL_BYTES):
        self._read_at = read_at
        self._size = size
        self._limits = limits
        self._interval = interval_bytes
        self._copies: list[_Cursor] = [_first()]
        self._cursor = _first()
        self._lock = threading.Lock()

    def read_at(self, start: int, end: int) -> bytes:
        """Bytes [start, end) of the content, fewer where it ends before.

        Raises:
            Rejected: CORRUPT_GZIP, EXPANSION.
        """
        with self._lock:
            self._seek(start)
            parts = []
            while self._cursor.content < end:
                part = self._step(min(_OUT_BYTES, end - self._cursor.content))
                if part is None:
                    break
                parts.append(part)
            return b"".join(parts)

    def finish(self) -> int:
        """Inflate what has not been, so that every checksum of the stream is looked at; returns the content's length.

        Raises:
            Rejected: CORRUPT_GZIP, EXPANSION.
        """
        with self._lock:
            if self._copies[-1].content > self._cursor.content:
                self._cursor = self._copies[-1].copy()
            while self._step(_OUT_BYTES) is not None:
                pass
            return self._cursor.content

    def _seek(self, position: int) -> None:
        nearest = self._copies[bisect_right([c.content for c in self._copies], position) - 1]
        if self._cursor.content > position or self._cursor.content < nearest.content:
            self._cursor = nearest.copy()
        while (
            self._cursor.content < position and self._step(min(_OUT_BYTES, position - self._cursor.content)) is not None
        ):
            pass

    def _step(self, at_most: int) -> bytes | None:
        """Up to so many bytes of content, perhaps none yet; None at the end."""
        c = self._cursor
        if c.inflater.eof:
            c.waiting = c.inflater.unused_data
            if not c.waiting and c.fetched < self._size:
                self._fetch()
            if not c.waiting.strip(b"\0") and c.fetched >= self._size:
                return None
            if c.waiting[:1] == b"\0":  # padding, which gzip allows after the last member
                c.waiting = c.waiting.lstrip(b"\0")
                if c.waiting:
                    raise Rejected(Reason.CORRUPT_GZIP, f"bytes that are not gzip follow member {c.members + 1}")
                c.inflater = _Padding()
                return b""
            c.inflater, c.members = zlib.decompressobj(_GZIP_WINDOW), c.members + 1
        if not c.waiting and c.fetched < self._size:
            self._fetch()
        if not c.waiting:
            raise Rejected(Reason.CORRUPT_GZIP, f"the stream is cut short after {c.content} bytes of content")
        try:
            part: bytes = c.inflater.decompress(c.waiting, at_most)
        except zlib.error as error:
            raise Rejected(Reason.CORRUPT_GZIP, f"{error}, after {c.content} bytes of content") from error
        c.waiting = c.inflater.unconsumed_tail
        c.content += len(part)
        check_expansion(c.content, self._size, self._limits)
        if c.content >= self._copies[-1].content + self._interval and not c.inflater.eof:
            self._remember()
        return part

    def _fetch(self) -> None:
        c = self._cursor
        c.waiting = self._read_at(c.fetched, min(self._size, c.fetched + READ_BYTES))
        if not c.waiting:
            raise Rejected(Reason.CORRUPT_GZIP, f"expected {self._size} bytes of stream, found {c.fetched}")
        c.fetched += len(c.waiting)

    def _remember(self) -> None:
        self._copies.append(self._cursor.copy())
        if len(self._copies) > MAX_COPIES:
            self._copies = self._copies[::2]
            self._interval *= 2


class _Padding:
    """Stands for an inflater behind the last member: at its end, with nothing left over."""

    eof = True
    unused_data = b""

    def copy(self) -> _Padding:
        return self
