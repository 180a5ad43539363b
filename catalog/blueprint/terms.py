"""Under which licences a data set is known to stand: its row's, those that its manifests state, and those of its origins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from catalog.blueprint.manifest import manifest
from catalog.query import NONE
from schemas.dataset import DataSet


@dataclass(frozen=True)
class Terms:
    """What is stated, and where.

    Attributes:
        row: SPDX id of the catalog's row, or None.
        manifests: manifest -> the licence it states, or None.
        origins: manifest -> the licence, or None, of each data set that its cases were taken from.
    """

    row: str | None
    manifests: dict[str, str | None]
    origins: dict[str, tuple[str | None, ...]] = field(default_factory=dict)

    @property
    def known(self) -> tuple[str, ...]:
        """All licences that are stated anywhere, sorted; more than one is a contradiction."""
        return tuple(sorted({i for i in (self.row, *self.manifests.values()) if i}))

    @property
    def inherited(self) -> tuple[str, ...]:
        """What holds by origin as well, sorted; `none` where one states nothing."""
        return tuple(sorted({i or NONE for licences in self.origins.values() for i in licences}))

    def allowed(self, allow: Sequence[str]) -> bool:
        """Whether every licence stated is on the list, of origins too; nothing stated passes only where it has `none`."""
        return {*(self.known or (NONE,)), *self.inherited} <= set(allow)


def of(row: DataSet, manifests: Sequence[str]) -> Terms:
    """The terms of a data set that these manifests read."""
    read = {i: manifest(i) for i in manifests}
    return Terms(
        row.license,
        {i: m.terms.license for i, m in read.items()},
        {i: tuple(o.terms.license for o in m.origins) for i, m in read.items() if m.origins},
    )
