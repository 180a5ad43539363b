"""Whose terms a recipe accepts: licences by name, profiles of use, and exceptions that somebody answers for."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from schemas import licenses
from schemas.suggest import nearest

Profile = Literal["commercial", "redistributable", "research-only"]
"""What the corpus is for.

commercial: a company may train on it. redistributable: it may be handed on to anybody, under the terms of its parts.
research-only: non-commercial research within one organisation.
"""

PROFILES: tuple[str, ...] = get_args(Profile)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TermsOverride(_Model):
    """A source that is taken although the gate refuses it. The manifest and ATTRIBUTION.md say so."""

    source: str = Field(description="id of the source, as under sources:")
    reason: str = Field(
        min_length=10, description="on what ground, for those who read the corpus: a permission, its date, its number"
    )


class TermsGate(_Model):
    """Whose terms are acceptable. Fails closed."""

    accept: tuple[str, ...] = Field((), description="SPDX ids, LicenseRef-…, own-data; with a profile: only these")
    profile: tuple[Profile, ...] = Field(
        (), description="commercial, redistributable or research-only, or a list of which all must hold"
    )
    unknown: Literal["refuse", "accept"] = Field("refuse", description="what to do with a source that states no terms")
    agreed: tuple[str, ...] = Field((), description="licences (LicenseRef-…) whose agreement was signed")
    override: tuple[TermsOverride, ...] = Field((), description="exceptions: [{source: id, reason: text}]")

    @field_validator("accept", "agreed")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(licenses.check(v) for v in value)

    @field_validator("profile", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        for name in names if isinstance(names, list | tuple) else ():
            if name not in PROFILES:
                raise ValueError(f"expected {', '.join(PROFILES)}, found {name!r}{nearest(str(name), PROFILES)}")
        return names

    @model_validator(mode="after")
    def _says_something(self) -> TermsGate:
        if not self.profile and "accept" not in self.model_fields_set:
            raise ValueError(f"give accept: [licences], or profile: one of {', '.join(PROFILES)}")
        if self.profile and self.unknown == "accept":
            raise ValueError(
                "no profile lets unknown terms in; leave unknown: out, and name each such source under override: "
                "[{source: id, reason: text}]"
            )
        named = [o.source for o in self.override]
        if twice := sorted({s for s in named if named.count(s) > 1}):
            raise ValueError(f"override: names {twice} twice")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where they are not asked for: plans and manifests of recipes that name licences read as they did.
        return {k: v for k, v in handler(self).items() if k not in ("profile", "agreed", "override") or v}
