"""A source some of whose objects are archives: their members are objects of their own, read in place.

`data.zip/patient1/ct.nii.gz` is the member `patient1/ct.nii.gz` of the object `data.zip`: to patterns an archive is a
folder. The version of a member holds the version of its archive and where its bytes lie, so that whoever has a listing
reads a member without looking at the archive's directory again: `<archive's version>!zip:<offset>:<stored bytes>:…`.

What cannot be read is listed too, with a version that says why (`refusal_of`); grouping turns it into a reject.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from schemas import patterns
from schemas.place import Place
from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from transforms.archives import member as members
from transforms.archives import tarred, zipped
from transforms.archives.inflated import Inflated
from transforms.archives.member import Index, Member
from transforms.refusal import refusal_of, refused
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.store import ListedObject, SourceStore

_Objects = list[ListedObject]

_MEMBER = re.compile(r"(.*)!(zip|tar|tgz):([0-9a-f]+):([0-9a-f]+):([0-9a-f]+):([0-9a-f]+):([0-9a-f]+):([0-9a-f]*)")
_KEPT = 4
"""Archives of which a process remembers what it found: directories, and places within gzip streams."""


def open_source(place: str | Place, source: Source, limits: Limits) -> SourceStore:
    """The bucket or folder of a source, archives read in place where its manifest asks for it.

    Raises:
        UsageError: as `SourceStore` does.
    """
    if source.archives in (False, ()):
        return SourceStore(place)
    return ArchiveStore(place, () if isinstance(source.archives, bool) else source.archives, limits)


@dataclass(frozen=True)
class _Found:
    """Where a member lies.

    Attributes:
        archive: the archive's path.
        version: the archive's version.
        kind: zip, tar or tgz.
        member: where it lies within.
    """

    archive: str
    version: str
    kind: str
    member: Member


class ArchiveStore(SourceStore):
    """A source's store in which archives are folders.

    Args:
        place: where, and how it is entered.
        asked: patterns of the archives to look into; none: all whose names end as archives do.
        limits: what an archive may hold.
        backend: for tests, as of `SourceStore`.

    Raises:
        UsageError: as `SourceStore` does.
    """

    def __init__(self, place: str | Place, asked: Sequence[str], limits: Limits, backend: Any = None):
        super().__init__(place, backend)
        self._asked = tuple(asked)
        self._limits = limits
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return {k: v for k, v in state.items() if k not in ("_indexes", "_streams", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._indexes: dict[tuple[str, str], Index] = {}
        self._streams: dict[tuple[str, str], Inflated] = {}
        self._lock = threading.Lock()

    def is_archive(self, path: str) -> bool:
        """Whether an object is an archive to look into."""
        if members.kind_of(path) is None:
            return False
        return not self._asked or any(patterns.match(p, path) is not None for p in self._asked)

    def list(self) -> Iterator[ListedObject]:
        """All objects, sorted by path; instead of an archive its members. Every archive's directory is read.

        Raises:
            OSError: what may pass.
        """
        listed = list(super().list())
        taken = {o.path for o in listed}
        result = [o for o in listed if not self.is_archive(o.path)]
        for found in self.each(self._members, [o for o in listed if self.is_archive(o.path)]):
            for inner in found:
                if inner.path in taken and refusal_of(inner) is None:
                    inner = refused(inner.path, inner.bytes, _SAME_PATH)
                result.append(inner)
        return iter(sorted(result, key=lambda o: (o.path, o.version)))

    def read(self, path: str, start: int = 0, end: int | None = None, *, version: str | None = None) -> bytes:
        """As `SourceStore.read`, of members too.

        Raises:
            Rejected: as `SourceStore.read`; CORRUPT_ARCHIVE, CORRUPT_GZIP, BAD_CHECKSUM.
            OSError: what may pass.
        """
        found = self._find(path, version)
        if found is None:
            return super().read(path, start, end, version=version)
        return bytes(self._read_member(found, start, end))

    def read_object(self, path: str, size: int, version: str) -> Bytes:
        """As `SourceStore.read_object`, of members too: whole, and checked where the archive has a checksum.

        Raises:
            Rejected: as `read`.
            OSError: what may pass.
        """
        found = self._find(path, version)
        return super().read_object(path, size, version) if found is None else self._read_member(found, 0, None)

    def version(self, path: str) -> ListedObject:
        """What a listing would say of one object now; of a member by the directory of its archive.

        Raises:
            Rejected: MISSING_FILE.
        """
        if (archive := self._archive_of(path)) is None:
            return super().version(path)
        now = super().version(archive)
        for inner in self._members(now):
            if inner.path == path and refusal_of(inner) is None:
                return inner
        raise Rejected(Reason.MISSING_FILE, "the archive has no such member, or has it twice")

    def local(self, path: str) -> Any:
        """The file itself when the store is local and the object is no member; else None."""
        return None if self.folder is None or self._archive_of(path) is not None else super().local(path)

    def _archive_of(self, path: str) -> str | None:
        """The archive that a path leads into, by its name and by being an object."""
        parts = path.split("/")
        for n in range(1, len(parts)):
            archive = "/".join(parts[:n])
            if self.is_archive(archive) and self._is_object(archive):
                return archive
        return None

    def _is_object(self, path: str) -> bool:
        if self.folder is not None:
            return (self.folder / path).is_file()
        try:
            super().version(path)
        except Rejected:
            return False
        return True

    def _find(self, path: str, version: str | None) -> _Found | None:
        """The member that a path means, None for an object that is none."""
        if version is None:
            if self._archive_of(path) is None:
                return None
            version = self.version(path).version
        if (placed := _MEMBER.fullmatch(version)) is None:
            return None
        of_archive, kind, *numbers, checksum = placed.groups()
        length, offset, stored_bytes, content_bytes, method = (int(n, 16) for n in numbers)
        crc32 = int(checksum, 16) if checksum else None
        member = Member(path[length + 1 :], content_bytes, offset, stored_bytes, method, crc32)
        return _Found(path[:length], of_archive, kind, member)

    def _read_member(self, found: _Found, start: int, end: int | None) -> Bytes:
        if found.kind == "zip":
            return zipped.read(self._reader(found.archive, found.version), found.member, start, end)
        if found.kind == "tgz":
            content = self._stream(found.archive, found.version)
            return tarred.read(content.read_at, found.member, start, end)
        return tarred.read(self._reader(found.archive, found.version), found.member, start, end)

    def _reader(self, archive: str, version: str) -> members.ReadAt:
        return partial(self._read_archive, archive, version)

    def _read_archive(self, archive: str, version: str, start: int, end: int) -> bytes:
        return super().read(archive, start, end, version=version)

    def _stream(self, archive: str, version: str, size: int | None = None) -> Inflated:
        with self._lock:
            key = (archive, version)
            if key not in self._streams:
                if size is None:
                    size = super().version(archive).bytes
                _make_room(self._streams)
                self._streams[key] = Inflated(self._reader(archive, version), size, self._limits)
            return self._streams[key]

    def _members(self, archive: ListedObject) -> _Objects:
        """The members of an archive as a listing shows them; the archive itself, refused, where it cannot be read."""
        try:
            index = self._index(archive)
        except Rejected as verdict:
            if verdict.reason in (Reason.MISSING_FILE, Reason.SOURCE_CHANGED):
                raise
            return [refused(archive.path, archive.bytes, verdict)]
        kind = members.kind_of(archive.path)
        result = []
        for m in index.members:
            crc32 = "" if m.crc32 is None else f"{m.crc32:x}"
            place = f"{kind}:{len(archive.path):x}:{m.offset:x}:{m.stored_bytes:x}:{m.bytes:x}:{m.method:x}:{crc32}"
            version = f"{archive.version}!{place}"
            result.append(ListedObject(f"{archive.path}/{m.name}", m.bytes, version, archive.modified))
        return result + [refused(f"{archive.path}/member {r.number}", 0, r.verdict) for r in index.refused]

    def _index(self, archive: ListedObject) -> Index:
        key = (archive.path, archive.version)
        known = self._indexes.get(key)
        if known is not None:
            return known
        kind = members.kind_of(archive.path)
        if kind == "zip":
            found = zipped.index(self._reader(*key), archive.bytes, self._limits)
        elif kind == "tar":
            found = tarred.index(self._reader(*key), archive.bytes, self._limits)
        else:
            found = tarred.index_gzip(self._stream(*key, archive.bytes), self._limits)
        with self._lock:
            _make_room(self._indexes)
            self._indexes[key] = found
        return found


_SAME_PATH = Rejected(Reason.CONFLICTING_FILES, "an object beside the archive has the path of the member")


def _make_room(kept: dict[tuple[str, str], Any]) -> None:
    while len(kept) >= _KEPT:
        del kept[next(iter(kept))]
