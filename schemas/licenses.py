"""Names of terms, and what each of them permits and demands.

`licenses.csv` holds a row for each licence, from its own text:

* `commercial`, `redistribution`: whether it permits commercial use; handing copies on;
* `derivatives`: `share` (adapted material may be handed on), `private` (it may be made and not handed on: CC 4.0 with ND,
  section 2(a)(1)), `no` (it may not be made: CC with ND before 4.0, section 3). A sample of a corpus is adapted material:
  its voxels are reordered, resampled, remapped;
* `share_alike`: licences under which adapted material may be handed on, where it must be one of them. Creative Commons
  permits a later version with the same elements (2.0 to 3.0: section 4b; 4.0: section 3(b)), and CC-BY-SA-4.0 to GPL-3.0;
* `attribution`: whether its authors must be named;
* `research_only`: whether it is for research alone;
* `access`: `open`, `registration` (whoever wants the files registers), `agreement` (whoever wants them signs).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mdfp.errors import UsageError
from schemas.suggest import nearest

OWN_DATA = "own-data"
"""Terms of a folder of one's own: nobody else's rights are involved, says its owner, and nobody else was given any."""

UNSTATED = "LicenseRef-unstated"
"""What a licence reads where a data set states none."""

AND = " AND "
"""Between the licences of one case, as in SPDX expressions (SPDX 2.3, annex D): all of them hold."""


class Grants(BaseModel):
    """What terms permit and demand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    commercial: bool = Field(description="whether commercial use is permitted")
    redistribution: bool = Field(description="whether copies may be handed on")
    derivatives: Literal["share", "private", "no"] = Field(
        description="adapted material: share (may be handed on), private (may be made), no; every sample is adapted"
    )
    share_alike: tuple[str, ...] = Field(
        (), description="licences under which adapted material may be handed on, where it must be one of them"
    )
    attribution: bool = Field(True, description="whether its authors must be named")
    research_only: bool = Field(False, description="whether it is for research alone")
    access: Literal["open", "registration", "agreement"] = Field(
        "open", description="open, registration (who wants the files registers), agreement (who wants them signs)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Grants:
        if self.research_only and self.commercial:
            raise ValueError("research_only: true and commercial: true contradict each other")
        if self.derivatives == "share" and not self.redistribution:
            raise ValueError("derivatives: share needs redistribution: true; what may be made and kept is private")
        return self


@cache
def table() -> dict[str, Grants]:
    """What each known licence permits and demands, by id."""
    with (Path(__file__).parent / "licenses.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: _grants(row) for row in csv.DictReader(file)}


@cache
def pages() -> dict[str, str]:
    """The page of each known licence that has one, by id."""
    with (Path(__file__).parent / "licenses.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row["url"] for row in csv.DictReader(file) if row["url"]}


def _grants(row: dict[str, str]) -> Grants:
    flags = ("commercial", "redistribution", "attribution", "research_only")
    return Grants.model_validate(
        {
            **{name: {"yes": True, "no": False}[row[name]] for name in flags},
            "derivatives": row["derivatives"],
            "share_alike": row["share_alike"].split(),
            "access": row["access"],
        }
    )


def check(license_id: str) -> str:
    """`license_id` when it is known or of the form `LicenseRef-…` (SPDX's way to name terms that are not in its list).

    Raises:
        UsageError: neither.
    """
    if license_id in table() or (license_id.startswith("LicenseRef-") and AND not in license_id):
        return license_id
    raise UsageError(
        f"unknown licence {license_id!r}{nearest(license_id, {k.lower(): k for k in table()})}; "
        "use an SPDX id, 'own-data', or LicenseRef-<name> for custom terms"
    )


def join(license_ids: Iterable[str]) -> str:
    """One expression of several licences, each once, in order."""
    return AND.join(dict.fromkeys(license_ids))


def parts(expression: str) -> tuple[str, ...]:
    """The licences of an expression, in order."""
    return tuple(expression.split(AND))
