"""Plain tar, the same bytes for the same members, and where each member lies.

ustar headers with fixed owner, mode and time. `tarfile`, GNU tar and webdataset read it.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

BLOCK = tarfile.BLOCKSIZE
"""Bytes a tar header takes, and to which members are padded."""

END = bytes(2 * BLOCK)
"""End of archive (POSIX.1-1988): two empty blocks."""


@dataclass(frozen=True)
class TarMember:
    """Where a member's bytes lie in a tar: `data = tar[offset : offset + bytes]`."""

    name: str
    offset: int
    bytes: int


class TarWriter:
    """Appends members to a tar and hashes what it writes, once.

    The file is not closed by this class; without `finish()` it has no end-of-archive and reads as truncated, so an
    exception can never leave something that looks complete.

    Example:
        with open(path, "wb") as f:
            tar = TarWriter(f)
            member = tar.add("key.json", b"{}")
            sha256, size = tar.finish()
    """

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._sha256 = hashlib.sha256()
        self._bytes = 0

    def add(self, name: str, data: bytes) -> TarMember:
        """Append one regular file.

        Raises:
            ValueError: the name does not fit a ustar header (100 characters, ASCII).
        """
        if len(name) > 100 or not name.isascii():
            raise ValueError(f"member names are at most 100 ASCII characters, found {name!r}")
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime, info.uid, info.gid = len(data), 0o644, 0, 0, 0
        info.uname = info.gname = ""
        self._write(info.tobuf(format=tarfile.USTAR_FORMAT))
        member = TarMember(name, self._bytes, len(data))
        self._write(data)
        self._write(bytes(-len(data) % BLOCK))
        return member

    def finish(self) -> tuple[str, int]:
        """Write the end of the archive; returns (sha256 hex, size in bytes) of the whole file."""
        self._write(END)
        return self._sha256.hexdigest(), self._bytes

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self._bytes += len(data)

    @property
    def bytes(self) -> int:
        """Bytes written so far."""
        return self._bytes


def members(file: IO[bytes]) -> Iterator[TarMember]:
    """Members of a seekable tar, in order, without reading their data.

    Raises:
        tarfile.ReadError: not a tar, or cut short.
    """
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            yield TarMember(info.name, info.offset_data, info.size)
