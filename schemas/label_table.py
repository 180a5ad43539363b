"""Label tables of source manifests: what the numbers, names or colours of a label mean."""

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

from schemas import ontology, segment_names
from schemas.patterns import Pattern
from schemas.sparse import without
from schemas.suggest import nearest
from schemas.values import colours_as_text, ranges_as_numbers

Origin = Literal["expert", "model", "consensus", "pseudo", "unknown"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LabelTable(_Model):
    """What the numbers (or files) of a label mean. Total: a value that is neither mapped nor ignored is a fault."""

    values: Annotated[dict[int, str], BeforeValidator(ranges_as_numbers)] = Field(
        {},
        description='value of the mask -> structure id or background; "55-70" stands for all whole numbers from 55 to 70',
    )
    structures: dict[str, str] = Field(
        {},
        description="name in the file path -> structure id (per-structure masks); or name of a segment or ROI, in any "
        "case and with * and ?, for segmentations",
    )
    ignore: tuple[int, ...] = Field((), description="values that mean 'no statement here'; read as ignore")
    colours: Annotated[dict[str, str], BeforeValidator(colours_as_text)] = Field(
        {},
        description='colour of a mask in a picture file, "#rrggbb" -> structure id or background; instead of values:',
    )
    ignore_colours: Annotated[tuple[str, ...], BeforeValidator(colours_as_text)] = Field(
        (), description="colours that mean 'no statement here'; read as ignore"
    )
    threshold: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="of masks in picture files: numbers from here on are 1, smaller ones 0; needed for JPEG, whose "
        "compression changes numbers, and good for edges that were smoothed",
    )
    ignore_names: tuple[str, ...] = Field(
        (), description="names of segments and ROIs to look past, in any case and with * and ?, for example EXTERNAL*"
    )
    looked_for: Literal["all", "values_present", "per_case_table"] = Field(
        "all",
        description="all: a mapped structure without voxels is absent; values_present: it is unknown "
        "(the default of a table of segmentations)",
    )
    case_table: Pattern | None = Field(
        None, description="CSV below the root: the case, then a column per structure (1: looked for)"
    )
    all_empty: Literal["absent", "unknown", "fault"] = Field("absent", description="what a mask of zeros means")
    origin: Origin = Field(description="who drew it")
    includes: dict[str, tuple[str, ...]] = Field(
        {},
        description="structure -> what lies in it and is counted as it, where a fact says so: {kidney: [kidney_cyst]}",
    )
    excludes: dict[str, tuple[str, ...]] = Field(
        {}, description="structure -> what lies in or at it and is left out of it, where a fact says so"
    )

    @field_validator("values", "structures", "colours")
    @classmethod
    def _known(cls, table: dict[Any, str]) -> dict[Any, str]:
        for key, structure in table.items():
            if structure != ontology.structures.BACKGROUND:
                ontology.load().check(structure, f"value {key!r}")
        return table

    @field_validator("includes", "excludes")
    @classmethod
    def _contents_known(cls, contents: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for structure, others in contents.items():
            for other in others:
                ontology.load().check(other, f"what {structure} holds")
        return contents

    @model_validator(mode="after")
    def _contents_drawn(self) -> LabelTable:
        for word in ("includes", "excludes"):
            for structure in getattr(self, word):
                if structure not in self.annotated():
                    raise ValueError(
                        f"{word}: speaks of {structure!r}{nearest(structure, self.annotated())}, which this table does "
                        "not draw"
                    )
        for structure, others in self.includes.items():
            if both := set(others) & set(self.excludes.get(structure, ())):
                raise ValueError(f"{structure} both includes and excludes {', '.join(sorted(both))}")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> LabelTable:
        if not self.values and not self.structures and not self.colours:
            raise ValueError(
                "a label table needs values: (numbers -> structures) or structures: (names -> structures), or, for masks "
                "in colour, colours: (#rrggbb -> structures)"
            )
        if both := set(self.ignore) & set(self.values):
            raise ValueError(f"values {sorted(both)} are both mapped and ignored")
        if both_colours := set(self.ignore_colours) & set(self.colours):
            raise ValueError(f"colours {sorted(both_colours)} are both mapped and ignored")
        if self.colours and (self.values or self.structures or self.ignore or self.threshold is not None):
            raise ValueError("a table with colours: has neither values:, structures:, ignore: nor threshold:")
        if self.ignore_colours and not self.colours:
            raise ValueError("ignore_colours: goes with colours:")
        if self.threshold is not None and (self.ignore or set(self.values) - {0, 1}):
            raise ValueError("a table with threshold: maps the values 0 and 1 and ignores none")
        if self.ignore_names:
            segment_names.check(self.structures, self.ignore_names)
        if self.looked_for == "per_case_table" and not self.case_table:
            raise ValueError("looked_for: per_case_table needs case_table: <path of a CSV below the root>")
        return self

    def annotated(self) -> tuple[str, ...]:
        """Structures that this table can name, sorted."""
        named = {*self.values.values(), *self.structures.values(), *self.colours.values()}
        return tuple(sorted(named - {ontology.structures.BACKGROUND}))

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without(handler(self), "colours", "ignore_colours", "threshold", "includes", "excludes")
