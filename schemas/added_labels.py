"""Labels that are added to a published corpus: where their files lie, which sample each is of, what their numbers mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas import patterns, yaml_file
from schemas.place import Access
from schemas.source import LabelTable
from schemas.table_layout import STRUCTURE_FIELD
from schemas.terms import Terms

FIELDS = ("key", "case", "source", "image", STRUCTURE_FIELD)
"""What a path may name: a sample by its key or its case id, its source, one of its images, a structure of the table."""


def _pattern(value: str) -> str:
    patterns.compile_pattern(value)
    return value


Pattern = Annotated[str, BeforeValidator(_pattern)]


class AddedLabels(BaseModel):
    """One set of masks, of all or some samples of a corpus, by one hand."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layer: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,23}$", description="what the layer is called in samples, for example totalseg"
    )
    title: str = Field(description="who or what made the masks: a model with its version, a reader")
    root: str = Field(
        description="where the files lie: a folder, relative to this file, or any URL that the builder reads"
    )
    access: Access = Field(
        Access(), description="how the bucket of root is entered: {anonymous: true} or {requester_pays: true}"
    )
    path: Pattern = Field(
        description="the files below root: {key} or {case} names the sample, as in the corpus's index; {source}, {image} and "
        "{structure} may stand beside it: {key}.nii.gz, {source}/{key}/{structure}.nii.gz"
    )
    image: str | None = Field(
        None,
        description="name of the image that the masks are of, where samples have several and the path does not say",
    )
    labels: LabelTable = Field(description="what the values of the masks mean, and who made them (origin)")
    terms: Terms = Field(Terms(), description="under which terms the masks came; leave license out when none is stated")
    skip: tuple[Pattern, ...] = Field(("**/._*", "._*"), description="files to look past, for example macOS twins")

    @property
    def several(self) -> bool:
        """Whether each structure has a mask file of its own."""
        return STRUCTURE_FIELD in patterns.fields(self.path)

    def layer_of(self, image: str) -> str:
        """Name of the layer of a mask of this image: with the image's name where the path names images."""
        return f"{self.layer}_{image}" if "image" in patterns.fields(self.path) else self.layer

    @model_validator(mode="after")
    def _named(self) -> AddedLabels:
        fields = patterns.fields(self.path)
        if strange := [f for f in fields if f not in FIELDS]:
            raise ValueError(
                f"path: the field {{{strange[0]}}} is not known; a path may name {{{'}, {'.join(FIELDS)}}}, and * stands for "
                "what does not matter"
            )
        if ("key" in fields) == ("case" in fields):
            raise ValueError("path: names the sample by {key} or by {case}, one of them, for example {key}.nii.gz")
        if "image" in fields and self.image is not None:
            raise ValueError("image: is named by the field {image} of the path already; leave one of them out")
        if self.layer == "base" or self.layer.startswith("overlap"):
            raise ValueError(f"layer: {self.layer} is what a build calls its own layers; choose another name")
        return self

    @model_validator(mode="after")
    def _readable(self) -> AddedLabels:
        table = self.labels
        if self.several and not table.structures:
            raise ValueError("a path with {structure} needs structures: (names -> structures) under labels:")
        if not self.several and not (table.values or table.colours):
            raise ValueError(
                "labels: needs values: (numbers -> structures), or a path with {structure} and structures:"
            )
        if table.looked_for == "per_case_table":
            raise ValueError("labels.looked_for: added labels have all or values_present; there is no table of cases")
        if self.terms.grants is not None:
            raise ValueError(
                "terms.grants: terms of one's own are spelled out in the manifest of a source of the recipe"
            )
        return self

    def without_locations(self) -> dict[str, Any]:
        """Its content without the places where things lie: equal wherever it is run."""
        return self.model_dump(mode="json", exclude={"root", "access"})


def load(path: str | Path) -> AddedLabels:
    """The description of added labels from its YAML file.

    Raises:
        UsageError: missing or wrong; the message names file, line and remedy.
    """
    return yaml_file.load(AddedLabels, path)
