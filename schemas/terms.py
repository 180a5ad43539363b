"""Terms as a source manifest states them: of the data set itself, and of those that its cases came from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from schemas import licenses, patterns
from schemas.licenses import UNSTATED, Grants


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _pattern(value: str) -> str:
    patterns.compile_pattern(value)
    return value


class Terms(_Model):
    """Under which terms the data may be used."""

    license: str | None = Field(
        None, description="SPDX id, LicenseRef-<name>, or own-data; leave out when none is stated"
    )
    url: str | None = Field(None, description="page where the terms stand")
    citation: tuple[str, ...] = Field((), description="works to cite")
    grants: Grants | None = Field(
        None,
        description="what a LicenseRef-<name> permits and demands, where somebody has read it; profiles ask for it",
    )

    @field_validator("license")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return None if value is None else licenses.check(value)

    @model_validator(mode="after")
    def _custom(self) -> Terms:
        if self.grants and (self.license is None or self.license in licenses.table() or self.license == UNSTATED):
            raise ValueError(
                f"grants: spells out terms of one's own, license: LicenseRef-<name>; found license: {self.license}"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where they are not spelled out: plans of manifests without them read as they did.
        return {k: v for k, v in handler(self).items() if k != "grants" or v is not None}


class DataOrigin(_Model):
    """A data set from which cases were taken over: its terms hold for them too."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$", description="name of the data set, as the catalog has it")
    title: str = Field(description="the data set's own name")
    what: Literal["images", "labels", "both"] = Field("images", description="what was taken over")
    terms: Terms = Field(Terms(), description="its terms; leave license out when none is stated")
    cases: tuple[Annotated[str, BeforeValidator(_pattern)], ...] = Field(
        (), description="which cases (patterns over the case name); none: any case may be one of them"
    )

    def gave(self, case: str) -> bool:
        """Whether a case of that name may have come from here."""
        return not self.cases or any(patterns.match(p, case) is not None for p in self.cases)


def license_of(terms: Terms, origins: tuple[DataOrigin, ...], case: str) -> str | None:
    """The licence of a case: its data set's and those of all its origins, joined by AND.

    Args:
        terms: of the data set.
        origins: data sets that its cases were taken from.
        case: the case's name.

    Returns:
        An id, an expression `CC-BY-4.0 AND LicenseRef-unstated`, or None when nobody states any.
    """
    stated = [terms.license, *(o.terms.license for o in origins if o.gave(case))]
    expression = licenses.join(each or UNSTATED for each in stated)
    return None if expression == UNSTATED else expression
