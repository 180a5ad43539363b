"""What a recipe says of how its corpus is read and presented: it never rewrites a sample."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Temperature(_Model):
    """Between equal (0) and proportional (1): a group of n samples weighs n to that power."""

    temperature: float = Field(ge=0, le=1, description="0 is equal, 1 is proportional")


class Sampling(_Model):
    """How often the train split's samples come up in an epoch; see docs/sampling.md."""

    by: Literal["source", "modality", "anatomy"] = Field(description="what the groups are")
    rule: Literal["proportional", "equal"] | Temperature = Field(
        "proportional", description="proportional, equal, or {temperature: 0.5}"
    )
    caps: dict[str, int | float] = Field(
        {},
        description="at most so much of a data set in an epoch: {id: 0.2} a share, {id: 500} a number of samples",
    )
    anatomy: dict[str, str] = Field(
        {}, description="with by: anatomy, that of sources whose files do not say (DICOM BodyPartExamined): {id: word}"
    )

    @field_validator("caps")
    @classmethod
    def _sensible(cls, value: dict[str, int | float]) -> dict[str, int | float]:
        for source, cap in value.items():
            if isinstance(cap, float) and not 0 < cap <= 1:
                raise ValueError(f"{source}: a share lies above 0 and is at most 1.0, a number is whole; found {cap}")
            if isinstance(cap, int) and cap < 1:
                raise ValueError(f"{source}: a number of samples is at least 1, found {cap}; exclude it under sources:")
        return value

    @model_validator(mode="after")
    def _needed(self) -> Sampling:
        if self.anatomy and self.by != "anatomy":
            raise ValueError(f"anatomy: belongs to by: anatomy, found by: {self.by}")
        return self

    @property
    def exponent(self) -> float:
        """The power of a group's size that it weighs."""
        return self.rule.temperature if isinstance(self.rule, Temperature) else float(self.rule == "proportional")


class Sites(_Model):
    """One view of the corpus for each site, for federated training; see docs/sampling.md."""

    by: Literal["source", "site"] = Field(
        description="source: a data set is a site; site: the institution that a case's source names in its own tables"
    )


class About(_Model):
    """What croissant.json says of the corpus, and nobody but its maker knows."""

    description: str | None = Field(None, description="what it is, in a sentence or two")
    url: str | None = Field(None, description="its page")
    creators: tuple[str, ...] = Field((), description="organisations or people who made it")
    published: datetime.date | None = Field(None, description="when it was published, YYYY-MM-DD")

    @field_validator("url")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError(f"expected https://…, found {value!r}")
        return value


def unset(content: dict[str, Any]) -> dict[str, Any]:
    """A recipe's content without the sections of this module that it does not have, as it read before there were any."""
    return {k: v for k, v in content.items() if k not in ("sampling", "sites", "about") or v is not None}
