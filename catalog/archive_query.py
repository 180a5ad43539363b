"""The rules by which a corpus is planned from an archive's published table: one short YAML, as for `catalog.blueprint.query`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from catalog.idc import Selection
from schemas import licenses, yaml_file


class ArchiveQuery(BaseModel):
    """Which series of the archive, under which terms. A rule that is left out does not hold back anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,19}$", description="name of the corpus; the ids of its sources begin with it"
    )
    fit_3d: bool = Field(False, description="CT fit for 3-D self-supervision (catalog.idc.FIT_FOR_3D)")
    modalities: tuple[str, ...] = Field((), description="DICOM Modality codes")
    body_parts: tuple[str, ...] = Field((), description="values of Body Part Examined")
    collections: tuple[str, ...] = Field((), description="collections of the archive")
    licenses: tuple[str, ...] = Field(
        (), description="SPDX ids; only series under these are selected, and the recipe accepts them"
    )
    min_instances: int | None = Field(None, ge=1, description="least number of instances of a series")
    where: str | None = Field(None, description="a condition in SQL over the columns of the table")

    @field_validator("licenses")
    @classmethod
    def _licenses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(licenses.check(i) for i in value)

    def selection(self) -> Selection:
        """What `catalog.idc.Archive.select` takes."""
        return Selection(**self.model_dump(exclude={"name"}))

    def asked(self) -> dict[str, Any]:
        """The rules that differ from their defaults, as plain values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def load(path: str | Path) -> ArchiveQuery:
    """A query from its YAML file.

    Raises:
        UsageError: missing, or a key or value is wrong; the message names file, line and remedy.
    """
    return yaml_file.load(ArchiveQuery, path)
