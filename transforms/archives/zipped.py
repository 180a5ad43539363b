"""Zip (APPNOTE 6.3): the central directory by ranged reads, one member by one ranged read.

The central directory is the list; a member's local header must repeat its name, so that no two readers can see two
archives in one file. Names are UTF-8 where flagged so or valid as such, else code page 437, as APPNOTE says.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from imagecodecs import DeflateError, deflate_decode

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms import scratch
from transforms.archives.member import (
    DEFLATED,
    STORED,
    Index,
    Member,
    ReadAt,
    Refused,
    check_count,
    check_expansion,
    check_size,
    checked_name,
    without_twins,
)
from transforms.read.inflate import DEFLATE_RATIO
from transforms.rejected import Rejected
from transforms.scratch import Bytes

_END = struct.Struct("<4s4H2LH")  # end of central directory record, 4.3.16
_END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_ENTRY = struct.Struct("<4s6H3L5H2L")  # central directory header, 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # local file header, 4.3.7

_COMMENT_BYTES = 1 << 16
_DIRECTORY_STEP = 4 << 20
_MAX_ENTRY_BYTES = _ENTRY.size + 3 * 0xFFFF
_EXTRA_SLACK = 256
"""Bytes read beyond the name of a local header for its extra field; a longer one costs a second read."""

_FLAG_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # traditional, strong, masked headers
_FLAG_UTF8 = 0x0800
_ZIP64_EXTRA, _NONE32, _NONE16 = 0x0001, 0xFFFFFFFF, 0xFFFF
_UNIX, _MACOS = 3, 19  # systems (4.4.2) that keep a file mode in the upper half of the external attributes


def index(read_at: ReadAt, size: int, limits: Limits) -> Index:
    """What a zip holds.

    Costs two or three ranged reads and memory for the names.

    Args:
        read_at: gives bytes of the archive.
        size: of the archive.
        limits: what an archive may hold.

    Raises:
        Rejected: CORRUPT_ARCHIVE, no central directory, or one that is damaged or whose members overlap; TOO_LARGE, too
            many members; EXPANSION; UNSUPPORTED, an archive in several volumes.
    """
    start, length, count = _directory(read_at, size)
    check_count(count, limits)
    members: list[tuple[int, Member]] = []
    refused: list[Refused] = []
    spans: list[tuple[int, int]] = []
    content = 0
    for number, entry in enumerate(_entries(read_at, start, length), start=1):
        check_count(number, limits)
        raw = _Entry(*entry)
        if raw.stored_bytes:
            spans.append((raw.offset, raw.offset + raw.stored_bytes))
        content += raw.bytes
        if raw.name.endswith("/") and raw.bytes == 0:
            continue
        try:
            members.append((number, raw.member(start, limits)))
        except Rejected as verdict:
            refused.append(Refused(number, verdict))
    _check_apart(spans)
    check_expansion(content, size, limits)
    return without_twins(members, refused)


def _directory(read_at: ReadAt, size: int) -> tuple[int, int, int]:
    """(first byte, length, members) of the central directory."""
    tail_start = max(0, size - _COMMENT_BYTES - _END.size - _END64_LOCATOR.size)
    tail = read_at(tail_start, size)
    at = tail.rfind(b"PK\5\6")
    while at >= 0 and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        at = tail.rfind(b"PK\5\6", 0, at)
    if at < 0:
        raise Rejected(Reason.CORRUPT_ARCHIVE, "the zip has no end of its central directory: cut short, or no zip")
    _, disk, first_disk, _, count, length, start, _ = _END.unpack_from(tail, at)
    locator = at - _END64_LOCATOR.size
    if locator >= 0 and tail[locator : locator + 4] == b"PK\6\7":
        _, disk, end64_at, _ = _END64_LOCATOR.unpack_from(tail, locator)
        record = read_at(end64_at, end64_at + _END64.size) if end64_at < size else b""
        if len(record) < _END64.size or record[:4] != b"PK\6\6":
            raise Rejected(Reason.CORRUPT_ARCHIVE, "the zip's 64-bit end of the central directory is not where it says")
        _, _, _, _, disk, first_disk, _, count, length, start = _END64.unpack(record)
    if disk or first_disk:
        raise Rejected(Reason.UNSUPPORTED, "a zip in several volumes")
    if start + length > tail_start + at:
        raise Rejected(
            Reason.CORRUPT_ARCHIVE, f"the zip's directory of {length} bytes at {start} does not fit in {size} bytes"
        )
    return start, length, count


def _entries(read_at: ReadAt, start: int, length: int) -> Iterator[tuple[tuple[int, ...], bytes, bytes]]:
    """(fields, name, extra field) of each entry of the central directory, read a step at a time."""
    position, end, buffer = start, start + length, b""
    while buffer or position < end:
        if len(buffer) < _MAX_ENTRY_BYTES and position < end:
            step = read_at(position, min(end, position + _DIRECTORY_STEP))
            if not step:
                break
            buffer, position = buffer + step, position + len(step)
        if len(buffer) < _ENTRY.size or buffer[:4] != b"PK\1\2":
            break
        fields = _ENTRY.unpack_from(buffer)
        name_bytes, extra_bytes, comment_bytes = fields[10:13]
        used = _ENTRY.size + name_bytes + extra_bytes + comment_bytes
        if used > len(buffer):
            break
        name_end = _ENTRY.size + name_bytes
        yield fields[1:], buffer[_ENTRY.size : name_end], buffer[name_end : name_end + extra_bytes]
        buffer = buffer[used:]
    else:
        return
    raise Rejected(Reason.CORRUPT_ARCHIVE, "the zip's central directory is cut short or damaged")


class _Entry:
    """An entry of the central directory, its 64-bit fields in place."""

    def __init__(self, fields: tuple[int, ...], name: bytes, extra: bytes):
        made_by, _, self.flags, self.method, _, _, self.crc32, self.stored_bytes, self.bytes = fields[:9]
        _, _, _, disk, _, attributes, self.offset = fields[9:]
        self.name = _text(name, self.flags)
        self.mode = attributes >> 16 if made_by >> 8 in (_UNIX, _MACOS) else 0
        wide = _zip64(extra)
        for field in ("bytes", "stored_bytes", "offset"):
            if getattr(self, field) == _NONE32:
                if len(wide) < 8:
                    raise Rejected(Reason.CORRUPT_ARCHIVE, "an entry of the zip lacks its 64-bit sizes")
                setattr(self, field, int.from_bytes(wide[:8], "little"))
                wide = wide[8:]
        if disk not in (0, _NONE16):
            raise Rejected(Reason.UNSUPPORTED, "a zip in several volumes")

    def member(self, directory_start: int, limits: Limits) -> Member:
        """The member, checked.

        Raises:
            Rejected: why it cannot be read.
        """
        name = checked_name(self.name, limits)
        if self.mode and not stat.S_ISREG(self.mode) and stat.S_IFMT(self.mode):
            raise Rejected(Reason.UNSAFE_MEMBER, "the member is a link or a device; expected a file")
        if self.flags & _FLAG_ENCRYPTED:
            raise Rejected(Reason.ENCRYPTED, "the zip says that the member is encrypted")
        if self.method not in (STORED, DEFLATED):
            raise Rejected(Reason.UNSUPPORTED, f"compression method {self.method}; 0 (stored) and 8 (deflate) are read")
        check_size(self.bytes, limits)
        if self.method == STORED and self.stored_bytes != self.bytes:
            raise Rejected(
                Reason.CORRUPT_ARCHIVE, f"a stored member of {self.bytes} bytes takes {self.stored_bytes} of the zip"
            )
        if self.bytes > DEFLATE_RATIO * (self.stored_bytes + 1):
            raise Rejected(
                Reason.EXPANSION,
                f"a member of {self.bytes} bytes is announced in {self.stored_bytes} bytes of deflate, which can hold "
                f"{DEFLATE_RATIO} times their number",
            )
        if self.offset + _LOCAL.size + self.stored_bytes > directory_start:
            raise Rejected(Reason.CORRUPT_ARCHIVE, "the member's bytes reach beyond the zip's directory")
        return Member(name, self.bytes, self.offset, self.stored_bytes, self.method, self.crc32)


def _text(name: bytes, flags: int) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("utf-8", "replace") if flags & _FLAG_UTF8 else name.decode("cp437")


def _zip64(extra: bytes) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == _ZIP64_EXTRA:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def _check_apart(spans: list[tuple[int, int]]) -> None:
    """Members that share bytes are how a small zip claims to be a huge one."""
    end = -1
    for start, stop in sorted(spans):
        if start < end:
            raise Rejected(Reason.CORRUPT_ARCHIVE, "members of the zip overlap")
        end = stop + _LOCAL.size


def read(read_at: ReadAt, member: Member, start: int, end: int | None) -> Bytes:
    """Bytes [start, end) of a member's content; the whole is checked against its CRC-32.

    A part of a deflated member costs inflating it from its beginning.

    Args:
        read_at: gives bytes of the archive.
        member: from `index`.
        start: first byte.
        end: after the last; None: to the end.

    Raises:
        Rejected: CORRUPT_ARCHIVE, the local header is another member's, or the stream is damaged; BAD_CHECKSUM.
    """
    end = member.bytes if end is None else min(end, member.bytes)
    if end <= start:
        return b""
    whole = start == 0 and end == member.bytes
    if member.method == STORED:
        data: Bytes = _raw(read_at, member, start, end)
    elif whole:
        data = _inflated(_raw(read_at, member, 0, member.stored_bytes), member.bytes)
    else:
        data = _prefix(_raw(read_at, member, 0, min(member.stored_bytes, end + (end >> 8) + 64)), end)[start:]
    if len(data) != end - start:
        raise Rejected(Reason.CORRUPT_ARCHIVE, f"the member announces {member.bytes} bytes and holds fewer")
    if whole and zlib.crc32(data) != member.crc32:
        raise Rejected(Reason.BAD_CHECKSUM, f"the CRC-32 of the member's {member.bytes} bytes is not what the zip says")
    return data


def _raw(read_at: ReadAt, member: Member, start: int, end: int) -> memoryview:
    """Bytes [start, end) of what the zip holds of a member, behind its local header."""
    name = member.name.encode()
    guess = _LOCAL.size + len(name) + _EXTRA_SLACK
    found = read_at(member.offset, member.offset + guess + (end if start < guess else 0))
    if len(found) < _LOCAL.size or found[:4] != b"PK\3\4":
        raise Rejected(Reason.CORRUPT_ARCHIVE, "there is no local header where the zip's directory says")
    fields = _LOCAL.unpack_from(found)
    name_bytes, extra_bytes = fields[-2:]
    local_name = found[_LOCAL.size : _LOCAL.size + name_bytes]
    if _text(local_name, fields[2]).removeprefix("./") != member.name:
        raise Rejected(Reason.CORRUPT_ARCHIVE, "the member's local header has another name than the zip's directory")
    at = _LOCAL.size + name_bytes + extra_bytes
    data = memoryview(found)[at + start : at + end]
    if len(data) < end - start:
        data = memoryview(read_at(member.offset + at + start, member.offset + at + end))
    if len(data) < end - start:
        raise Rejected(Reason.CORRUPT_ARCHIVE, "the zip ends within the member")
    return data


def _inflated(stream: memoryview, content_bytes: int) -> Bytes:
    content = scratch.take(content_bytes)
    try:
        found = deflate_decode(stream, raw=True, out=content.data)  # type: ignore[arg-type] # takes any buffer
    except DeflateError as error:
        raise Rejected(Reason.CORRUPT_ARCHIVE, f"the member's deflate stream is damaged: {error}") from error
    return np.asarray(content[: len(found)]).data.toreadonly()


def _prefix(stream: memoryview, n: int) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(stream, n)
    except zlib.error as error:
        raise Rejected(Reason.CORRUPT_ARCHIVE, f"the member's deflate stream is damaged: {error}") from error
