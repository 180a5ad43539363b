"""Under which licences a data set is known to stand: its row's, and those that its manifests state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from catalog.blueprint.manifest import manifest
from catalog.query import NONE
from schemas.dataset import DataSet


@dataclass(frozen=True)
class Terms:
    """What is stated, and where.

    Attributes:
        row: SPDX id of the catalog's row, or None.
        manifests: manifest -> the licence it states, or None.
    """

    row: str | None
    manifests: dict[str, str | None]

    @property
    def known(self) -> tuple[str, ...]:
        """All licences that are stated anywhere, sorted; more than one is a contradiction."""
        return tuple(sorted({i for i in (self.row, *self.manifests.values()) if i}))

    def allowed(self, allow: Sequence[str]) -> bool:
        """Whether every licence stated is on the list; nothing stated passes only where the list has `none`."""
        return set(self.known) <= set(allow) if self.known else NONE in allow


def of(row: DataSet, manifests: Sequence[str]) -> Terms:
    """The terms of a data set that these manifests read."""
    return Terms(row.license, {i: manifest(i).terms.license for i in manifests})
