"""A shard without some of its samples: the bytes that a build which had left them out would have made."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdfp.errors import CorpusError
from mdfp.sample import Sample
from mdfp.tar import TarWriter


@dataclass(frozen=True)
class Rewritten:
    """What stayed.

    Attributes:
        samples: the records of what stayed, in order, with the places of their members in the new tar; `shard` is still
            the old one's.
        sha256: of the new tar.
        bytes: size of the new tar.
    """

    samples: tuple[Sample, ...]
    sha256: str
    bytes: int


def without(
    tar: Path, samples: Sequence[Sample], gone: Collection[str], into: Path, sidecar: str | None = None
) -> Rewritten:
    """Copy a tar without the members of some samples. Members are copied as they are: nothing is decoded.

    Memory: one member at a time.

    Args:
        tar: local copy of the shard, whose hash was checked.
        samples: its index rows, in order.
        gone: case ids to leave out.
        into: the new tar; must not be there.
        sidecar: path below the corpus of the tar, where it is a sidecar; None: it is the samples' shard. Members that lie
            elsewhere stay in the records as they are.

    Raises:
        CorpusError: the tar ends before a member does.
    """
    kept = []
    with tar.open("rb") as old, into.open("xb") as stream:
        new = TarWriter(stream)
        for sample in samples:
            if sample.case_id in gone:
                continue
            placed = []
            for member in sample.members:
                if member.shard != sidecar:
                    placed.append(member)
                    continue
                old.seek(member.offset)
                data = old.read(member.bytes)
                if len(data) != member.bytes:
                    raise CorpusError(
                        f"{sample.tar_of(member)}#{member.name}: expected {member.bytes} bytes, found {len(data)}"
                    )
                at = new.add(member.name, data)
                placed.append(dataclasses.replace(member, offset=at.offset, bytes=at.bytes))
            kept.append(dataclasses.replace(sample, members=tuple(placed)))
        sha256, size = new.finish()
    return Rewritten(tuple(kept), sha256, size)


def check_sha256(tar: Path, expected: str, name: str) -> None:
    """Make sure that a shard is sound before what is left of it gets a hash of its own.

    Raises:
        CorpusError: it is damaged.
    """
    with tar.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise CorpusError(
            f"{name}: the manifest says sha256 {expected}, found {found}; repair the corpus first, so that damage does not "
            "become part of it"
        )
