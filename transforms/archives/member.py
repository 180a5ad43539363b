"""One member of an archive: where its bytes lie, and the rules that its name, kind and size must obey.

An archive comes from a stranger. Its members are addressed by offset and never written to a path; names are still held
to the rules of a path, because they become paths of objects that layouts, records and people see.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.rejected import Rejected

ReadAt = Callable[[int, int], bytes]
"""Bytes [start, end) of an archive, fewer where it ends before."""

ENDS = {".zip": "zip", ".tar": "tar", ".tar.gz": "tgz", ".tgz": "tgz"}
"""Ends of the names of archives that are read, in lower case, and the kind of each."""

_OTHER_ENDS = (".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")

FREE_BYTES = 256 << 20
"""An archive may hold this much, whatever its own size: only beyond does `Limits.max_expansion` count."""

STORED, DEFLATED = 0, 8
"""How a member's bytes are kept; the numbers are those of zip."""


@dataclass(frozen=True)
class Member:
    """A member that can be read.

    Attributes:
        name: its path within the archive, with forward slashes.
        bytes: size of its content.
        offset: where it begins: its local header in a zip, its content in a tar (in the inflated tar of a tar.gz).
        stored_bytes: size of what the archive holds of it.
        method: STORED or DEFLATED.
        crc32: of its content; None where the archive has none.
    """

    name: str
    bytes: int
    offset: int
    stored_bytes: int
    method: int = STORED
    crc32: int | None = None


@dataclass(frozen=True)
class Refused:
    """A member that cannot be read, and why.

    Attributes:
        number: its place in the archive, from 1. Its name is not repeated: it may be what is wrong with it.
        verdict: why.
    """

    number: int
    verdict: Rejected


@dataclass(frozen=True)
class Index:
    """What an archive holds, in its own order; folders are left out."""

    members: tuple[Member, ...]
    refused: tuple[Refused, ...]


def kind_of(path: str) -> str | None:
    """zip, tar or tgz by the end of an object's name; None for what is no archive."""
    name = PurePosixPath(path).name.lower()
    return next((kind for end, kind in ENDS.items() if name.endswith(end) and name != end), None)


def checked_name(name: str, limits: Limits) -> str:
    """The name of a member as the path of an object: as it is, without `./` in front.

    Names of any script, with spaces and line breaks, are allowed.

    Raises:
        Rejected: TOO_LARGE, longer than the limits allow; UNSAFE_MEMBER, an absolute path, a drive letter, a backslash,
            a NUL, an empty part or a part that is `.` or `..`; UNSUPPORTED, an archive within the archive.
    """
    if len(name) > limits.max_path_length:
        raise Rejected(
            Reason.TOO_LARGE,
            f"the member's name has {len(name)} characters; the recipe's limits allow {limits.max_path_length}",
        )
    while name.startswith("./"):
        name = name[2:]
    wrong = None
    if name.startswith("/"):
        wrong = "begins with a slash"
    elif re.match(r"[A-Za-z]:", name):
        wrong = "begins with a drive letter"
    elif "\\" in name or "\0" in name:
        wrong = "holds a backslash or a NUL"
    elif any(part in ("", ".", "..") for part in name.split("/")):
        wrong = "has a part that is empty, . or .."
    if wrong:
        raise Rejected(Reason.UNSAFE_MEMBER, f"the member's name {wrong}; expected a path within the archive")
    if kind_of(name) or name.lower().endswith(_OTHER_ENDS):
        raise Rejected(Reason.UNSUPPORTED, "an archive within an archive; one level is read")
    return name


def check_size(member_bytes: int, limits: Limits) -> None:
    """Refuse a member by the size that the archive announces.

    Raises:
        Rejected: TOO_LARGE.
    """
    if member_bytes > limits.max_bytes:
        raise Rejected(
            Reason.TOO_LARGE,
            f"the archive announces a member of {member_bytes} bytes; the recipe's limits allow {limits.max_bytes}",
        )


def check_count(count: int, limits: Limits) -> None:
    """Refuse an archive by the number of its members.

    Raises:
        Rejected: TOO_LARGE.
    """
    if count > limits.max_members:
        raise Rejected(
            Reason.TOO_LARGE, f"the archive has {count} members or more; the recipe's limits allow {limits.max_members}"
        )


def check_expansion(content_bytes: int, archive_bytes: int, limits: Limits) -> None:
    """Refuse an archive whose content is far larger than itself.

    Raises:
        Rejected: EXPANSION.
    """
    if content_bytes > FREE_BYTES and content_bytes > limits.max_expansion * archive_bytes:
        raise Rejected(
            Reason.EXPANSION,
            f"{archive_bytes} bytes of archive hold {content_bytes} bytes or more; the recipe's limits allow "
            f"{limits.max_expansion:g} to one beyond {FREE_BYTES} bytes",
        )


def without_twins(members: list[tuple[int, Member]], refused: list[Refused]) -> Index:
    """The index, members that share a name refused, all of them: none is more right than the others.

    Args:
        members: each with its number.
        refused: those refused already.
    """
    count: dict[str, int] = {}
    for _, member in members:
        count[member.name] = count.get(member.name, 0) + 1
    twins = [
        Refused(n, Rejected(Reason.CONFLICTING_FILES, f"{count[m.name]} members of the archive have one name"))
        for n, m in members
        if count[m.name] > 1
    ]
    kept = tuple(m for _, m in members if count[m.name] == 1)
    return Index(kept, tuple(sorted([*refused, *twins], key=lambda r: r.number)))
