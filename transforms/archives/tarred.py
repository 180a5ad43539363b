"""Tar (POSIX ustar, pax and GNU), plain or in gzip: where each member's bytes lie, by one pass over the headers.

Headers are parsed by the standard library; what it passes over in silence is looked at here: a damaged header in the
middle, an end without the two empty blocks, a member that reaches beyond the end.
"""

from __future__ import annotations

import io
import tarfile

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.archives.inflated import Inflated
from transforms.archives.member import (
    STORED,
    Index,
    Member,
    ReadAt,
    Refused,
    check_count,
    check_size,
    checked_name,
    without_twins,
)
from transforms.rejected import Rejected

_BLOCK = tarfile.BLOCKSIZE
_MAX_HEADER_BYTES = 1 << 20
"""Of a long name or a pax header, which is read whole."""
_AHEAD_BYTES = 1 << 16
"""Read at a time from a plain tar: several small members with their headers in one request."""


def index(read_at: ReadAt, size: int, limits: Limits) -> Index:
    """What a tar holds.

    Costs one pass over its headers: for members larger than 64 KiB one ranged read each.

    Args:
        read_at: gives bytes of the archive.
        size: of the archive.
        limits: what it may hold.

    Raises:
        Rejected: CORRUPT_ARCHIVE, TOO_LARGE.
    """
    return _index(_File(read_at, size), size, limits)


def index_gzip(content: Inflated, limits: Limits) -> Index:
    """What a tar within a gzip stream holds.

    Costs inflating all of it once, checksums looked at.

    Args:
        content: of the stream.
        limits: what it may hold.

    Raises:
        Rejected: CORRUPT_GZIP, CORRUPT_ARCHIVE, TOO_LARGE, EXPANSION.
    """
    found = _index(_File(content.read_at, None), None, limits)
    size = content.finish()
    if any(m.offset + m.bytes > size for m in found.members):
        raise Rejected(Reason.CORRUPT_ARCHIVE, f"the tar ends within a member, after {size} bytes")
    return found


def read(read_at: ReadAt, member: Member, start: int, end: int | None) -> bytes:
    """Bytes [start, end) of a member.

    Raises:
        Rejected: CORRUPT_ARCHIVE, the archive ends within it; CORRUPT_GZIP.
    """
    end = member.bytes if end is None else min(end, member.bytes)
    if end <= start:
        return b""
    data = read_at(member.offset + start, member.offset + end)
    if len(data) != end - start:
        raise Rejected(Reason.CORRUPT_ARCHIVE, "the tar ends within the member")
    return data


def _index(file: _File, size: int | None, limits: Limits) -> Index:
    members: list[tuple[int, Member]] = []
    refused: list[Refused] = []
    number = 0
    try:
        tar = tarfile.TarFile(fileobj=file, errors="surrogateescape", encoding="utf-8")
        while (info := tar.next()) is not None:
            number += 1
            check_count(number, limits)
            tar.members.clear()  # type: ignore[attr-defined] # it would keep a record of each
            if size is not None and info.offset_data + info.size > size:
                raise Rejected(Reason.CORRUPT_ARCHIVE, f"the tar is cut short within member {number}")
            if info.isdir():
                continue
            try:
                members.append((number, _member(info, limits)))
            except Rejected as verdict:
                refused.append(Refused(number, verdict))
        _check_end(tar, file)
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError, AttributeError, KeyError) as error:
        raise Rejected(
            Reason.CORRUPT_ARCHIVE, f"a damaged tar header after member {number} ({type(error).__name__})"
        ) from error
    return without_twins(members, refused)


def _text(name: str) -> str:
    """A name that is not UTF-8 is taken for Latin-1: any bytes are a name then, and each another."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogateescape").decode("latin-1")
    return name


def _member(info: tarfile.TarInfo, limits: Limits) -> Member:
    name = checked_name(_text(info.name), limits)
    if info.issym() or info.islnk() or info.isdev():
        raise Rejected(Reason.UNSAFE_MEMBER, "the member is a link or a device; expected a file")
    if info.issparse():
        raise Rejected(Reason.UNSUPPORTED, "a sparse member; expected a plain file")
    if not info.isreg():
        raise Rejected(Reason.UNSUPPORTED, f"a member of type {info.type!r}; expected a file")
    check_size(info.size, limits)
    return Member(name, info.size, info.offset_data, info.size, STORED)


def _check_end(tar: tarfile.TarFile, file: _File) -> None:
    """The library takes whatever is no header for the end: only an empty block is."""
    file.seek(tar.offset)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK or any(block):
        raise Rejected(Reason.CORRUPT_ARCHIVE, "the tar does not end with an empty block: cut short, or damaged")


class _File(io.RawIOBase):
    """An archive as the file that the library wants: reads ahead a little, and never much."""

    def __init__(self, read_at: ReadAt, size: int | None):
        self._read_at = read_at
        self._end = size
        self._position = 0
        self._ahead = b""
        self._ahead_at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or position < 0:
            raise ValueError(f"expected a position from the start, found {position}")
        self._position = position
        return position

    def read(self, n: int = -1) -> bytes:
        if not 0 <= n <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {n} bytes")
        start = self._position - self._ahead_at
        if not 0 <= start <= start + n <= len(self._ahead):
            end = self._position + max(n, _AHEAD_BYTES)
            self._ahead = self._read_at(self._position, end if self._end is None else min(end, self._end))
            self._ahead_at, start = self._position, 0
        data = self._ahead[start : start + n]
        self._position += len(data)
        return data
