"""Slices: volumes as sources of pictures, as a recipe asks for them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Slices(BaseModel):
    """Every chosen slice of a normalised volume becomes a picture with its masks, a sample of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    along: Literal["axial", "coronal", "sagittal", "acquisition"] = Field(
        description="the plane of the pictures; acquisition: the plane in which the volume was acquired"
    )
    every: int | None = Field(
        None, ge=1, description="take every n-th slice; 1 where neither this nor every_mm is given"
    )
    every_mm: float | None = Field(None, gt=0, description="take slices about so many mm apart, by the stored spacing")
    keep: Literal["all", "foreground", "body"] = Field(
        "all",
        description="all; foreground: slices with any labelled structure; body: slices that cross the body's box",
    )
    at_most: int | None = Field(None, ge=1, description="slices of one volume, spread evenly over those that are kept")

    @model_validator(mode="after")
    def _one_step(self) -> Slices:
        if self.every is not None and self.every_mm is not None:
            raise ValueError("give either every: (slices) or every_mm: (mm), not both")
        return self

    def positions(self, slices: int, spacing_mm: float) -> range:
        """The slices that a step leaves of a stored volume, before `keep` and `at_most`: centred, so that both ends lose alike.

        Args:
            slices: of the stored volume across the plane.
            spacing_mm: between them.
        """
        step = self.every or 1
        if self.every_mm is not None:
            step = max(1, int(self.every_mm / spacing_mm + 0.5))
        return range((slices - 1) % step // 2, slices, step)

    def spread(self, kept: list[int]) -> list[int]:
        """At most `at_most` of the kept slices, evenly over them: of n the ones in the middle of as many equal parts."""
        n = self.at_most
        if n is None or len(kept) <= n:
            return kept
        return [kept[(2 * i + 1) * len(kept) // (2 * n)] for i in range(n)]
