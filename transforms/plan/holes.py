"""Cases that could not be made in an earlier generation. They are left out until something they are made of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mdfp import canonical
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


def made_of(objects_digest: str, source: Mapping[str, Any], pixel_version: int) -> str:
    """Digest of what decides whether a case can be made: its files, its source's manifest and the code that reads them.

    A recipe is not part of it: what of it reaches voxels cannot change within a corpus.

    Args:
        objects_digest: of its `InventoryRow`.
        source: the source's manifest as plain values.
        pixel_version: of the code.
    """
    return canonical.digest([objects_digest, source, pixel_version])


def unchanged(
    holes: Mapping[str, KnownHole], found: pa.Table, sources: Mapping[str, Source], pixel_version: int
) -> dict[str, KnownHole]:
    """The holes that trying again would find again: nothing that they are made of has changed.

    Args:
        holes: what could not be made, by case id.
        found: what the inventory found of these cases now: case_id, source, objects_digest.
        sources: manifests as they are now.
        pixel_version: of the code as it is now.
    """
    rows = found.select(["case_id", "source", "objects_digest"]).to_pylist()
    plain = {name: sources[name].model_dump(mode="json") for name in {r["source"] for r in rows}}
    return {
        r["case_id"]: holes[r["case_id"]]
        for r in rows
        if holes[r["case_id"]].made_of == made_of(r["objects_digest"], plain[r["source"]], pixel_version)
    }
