"""The rules of a blueprint: one short YAML, checked against the catalog's vocabularies.

What each rule means for rows that state nothing stands in `catalog.blueprint.rules` and in docs/blueprint.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from catalog import datasets, sources
from catalog.query import NONE
from schemas import licenses, ontology, yaml_file
from schemas.policy import Risk
from schemas.vocabulary import unknown

IMAGING = ("2d", "3d", "4d", "video")
"""Dimensions that have images."""


class BlueprintQuery(BaseModel):
    """What the corpus is to be made of. A rule that is left out does not hold back anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(
        "blueprint", pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="name of the corpus that the recipe builds"
    )
    dimension: str | None = Field(None, description="2d, 3d, 4d or video")
    mixed_dimensions: Literal["include", "exclude"] = Field(
        "include", description="exclude: data sets that have another dimension too are left out"
    )
    modalities: tuple[str, ...] = Field((), description="codes; a data set needs one of them")
    mixed_modalities: Literal["include", "asked", "exclude"] = Field(
        "include", description="asked: all modalities of a data set are among `modalities`; exclude: it has one only"
    )
    tasks: tuple[str, ...] = Field((), description="a data set needs one of them")
    anatomies: tuple[str, ...] = Field((), description="a data set needs one of them")
    structures: tuple[str, ...] = Field(
        (), description="structures that the corpus is to have labels of; says what is covered, leaves nothing out"
    )
    sources: tuple[str, ...] = Field(
        (),
        description="manifests to take whatever the catalog's rows state or lack, also those without a row; their licences "
        "must be acceptable and one of the modalities asked for must be theirs",
    )
    image_only: bool = Field(False, description="labels are not read: pictures and volumes alone, for self-supervision")
    accept_risks: tuple[Risk, ...] = Field(
        (), description="what the recipe's policy accepts, because somebody looked: text, ultrasound, photographs, …"
    )
    licenses: tuple[str, ...] | None = Field(
        None, description="SPDX ids that are acceptable, and `none` for terms that are not known; null: any"
    )
    include_unlabeled: bool = Field(True, description="false: data sets without labels are left out")
    prefer_labeled: bool = Field(False, description="labelled data sets come first, also for the storage budget")
    minimum_images: int | None = Field(None, ge=1, description="least number of images of a data set")
    released_since: int | None = Field(None, ge=1980, le=2100, description="first year of release")
    released_until: int | None = Field(None, ge=1980, le=2100, description="last year of release")
    volumes_as_2d: bool = Field(False, description="volumes count as sources of pictures; with dimension: 2d")
    minimum_datasets_per_modality: int | None = Field(None, ge=1, description="fewer: the modality is left out")
    minimum_organizations_per_modality: int | None = Field(None, ge=1, description="fewer: the modality is left out")
    storage_budget_gb: float | None = Field(
        None, gt=0, description="10^9 bytes that downloads and corpus may take together, by the middle estimate"
    )

    @field_validator("dimension")
    @classmethod
    def _dimension(cls, value: str | None) -> str | None:
        return None if value is None else _known(IMAGING, value)

    @field_validator("modalities", "tasks", "anatomies")
    @classmethod
    def _words(cls, value: tuple[str, ...], info: Any) -> tuple[str, ...]:
        known = datasets.load().vocabularies.words(info.field_name)
        return _once(_known(known, word) for word in value)

    @field_validator("sources")
    @classmethod
    def _sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _once(_known(sources.ids(), word) for word in value)

    @field_validator("accept_risks")
    @classmethod
    def _risks(cls, value: tuple[Risk, ...]) -> tuple[Risk, ...]:
        return tuple(sorted(set(value)))

    @field_validator("structures")
    @classmethod
    def _structures(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _once(ontology.load().check(word, "the ontology") for word in value)

    @field_validator("licenses")
    @classmethod
    def _licenses(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        if not value:
            raise ValueError("an empty list accepts nothing; leave it out, or name licences")
        stated = {d.license for d in datasets.load().datasets if d.license}
        known = (*licenses.table(), *sorted(stated - set(licenses.table())), NONE)
        return _once(w if w.startswith("LicenseRef-") else _known(known, w) for w in value)

    @model_validator(mode="after")
    def _together(self) -> BlueprintQuery:
        if self.volumes_as_2d and self.dimension != "2d":
            raise ValueError(f"volumes_as_2d goes with dimension: 2d, found {self.dimension}")
        if self.mixed_dimensions == "exclude" and self.dimension is None:
            raise ValueError("mixed_dimensions: exclude needs a dimension")
        if self.image_only and self.structures:
            raise ValueError("image_only: true reads no labels, and structures: asks for some")
        if self.mixed_modalities == "asked" and not self.modalities:
            raise ValueError("mixed_modalities: asked needs modalities")
        if self.released_since and self.released_until and self.released_until < self.released_since:
            raise ValueError(
                f"expected released_since before released_until, found {self.released_since}, {self.released_until}"
            )
        return self

    def asked(self) -> dict[str, Any]:
        """The rules that differ from their defaults, as plain values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def load(path: str | Path | None, options: dict[str, Any] | None = None) -> BlueprintQuery:
    """A query from a YAML file, with options that win over its keys.

    Args:
        path: the file; None: options alone.
        options: values by the name of their rule; those that are None were not given.

    Raises:
        UsageError: a key, word or value is wrong; the message names file and line, and the nearest word.
    """
    given = {k: v for k, v in (options or {}).items() if v is not None}
    if path is None:
        return yaml_file.loads(BlueprintQuery, yaml.safe_dump(given), "options")
    found = yaml_file.load(BlueprintQuery, path)
    if not given:
        return found
    content = found.model_dump(mode="json", exclude_unset=True) | given
    return yaml_file.loads(BlueprintQuery, yaml.safe_dump(content), f"{path} with options")


def _known(known: Iterable[str], word: str) -> str:
    """`word` as the vocabulary writes it; letters may be of either case."""
    by_lower = {k.lower(): k for k in known}
    if word.lower() not in by_lower:
        raise ValueError(unknown(word, by_lower))
    return by_lower[word.lower()]


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
