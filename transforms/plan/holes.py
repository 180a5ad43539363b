"""Cases that could not be made in an earlier generation. They are left out until something they are made of changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mdfp import canonical
from schemas.case import ObjectRecord
from schemas.reasons import Reason
from schemas.source import Source


@dataclass(frozen=True)
class KnownHole:
    """Why a case could not be made, and of what.

    Attributes:
        generation: number of the manifest whose build tried.
        reason: why.
        detail: the same for a person.
        made_of: see `made_of`.
    """

    generation: int
    reason: Reason
    detail: str
    made_of: str

    def verdict(self) -> tuple[Reason, str]:
        """What the plan says of the case."""
        return (
            self.reason,
            f"{self.detail}; so found while building manifest {self.generation} and unchanged since (--retry-holes tries again)",
        )


def made_of(objects: Iterable[ObjectRecord], source: Mapping[str, Any], pixel_version: int) -> str:
    """Digest of what decides whether a case can be made: its files, its source's manifest and the code that reads them.

    A recipe is not part of it: what of it reaches voxels cannot change within a corpus.
    """
    listed = sorted((o.array, o.path, o.bytes, o.version) for o in objects)
    return canonical.digest([listed, source, pixel_version])


def unchanged(
    holes: Mapping[str, KnownHole],
    objects: Iterable[ObjectRecord],
    sources: Mapping[str, Source],
    pixel_version: int,
) -> dict[str, KnownHole]:
    """The holes that trying again would find again: nothing that they are made of has changed.

    Args:
        holes: what could not be made, by case id.
        objects: what the inventory found now.
        sources: manifests as they are now.
        pixel_version: of the code as it is now.
    """
    found: dict[str, list[ObjectRecord]] = {}
    for o in objects:
        if o.case_id in holes:
            found.setdefault(o.case_id, []).append(o)
    plain = {source: sources[source].model_dump(mode="json") for source in {o[0].source for o in found.values()}}
    return {
        case_id: holes[case_id]
        for case_id, mine in found.items()
        if holes[case_id].made_of == made_of(mine, plain[mine[0].source], pixel_version)
    }
