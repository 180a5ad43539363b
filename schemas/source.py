"""Source manifests: where a data set's files lie, what its labels mean, under which terms it came.

Described, not programmed: a data set in a known layout needs a YAML file and no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mdfp.errors import UsageError
from schemas import patterns, segment_names, yaml_file
from schemas.label_table import LabelTable
from schemas.layouts import DicomLayout, LabelFiles, Layout, MsdLayout, NnunetLayout, PerStructureLayout, ReaderMarks
from schemas.patterns import Pattern
from schemas.policy import Risk
from schemas.terms import DataOrigin, Terms


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Person(_Model):
    """Somebody whom another source knows too."""

    namespace: str = Field(description="the other source's namespace")
    id: str = Field(description="template over the layout's fields that gives the other source's id")


class Patient(_Model):
    """Who a case belongs to."""

    namespace: str = Field(
        description="equal for sources whose patient ids name the same people; else the source's own id"
    )
    id: str | None = Field(
        None, description="template over the layout's fields, for example {case}; default: the case, or DICOM PatientID"
    )
    shared: dict[Pattern, Person] = Field(
        {}, description="cases (patterns over the case name) that are people of another namespace, under its ids"
    )


class SplitTable(_Model):
    """A table below the root in which the source assigns its cases to splits."""

    path: Pattern = Field(description="CSV below the root; comma, semicolon or tab; the first line names the columns")
    case: str = Field(description="column that holds the case's name")
    split: str = Field("split", description="column that holds train, val or test; anything else means no split")


class FrameTable(_Model):
    """A table below the root that says which frames of a 4-D file are annotated; each of them is a case."""

    path: Pattern = Field(description="CSV below the root; comma, semicolon or tab; the first line names the columns")
    column: str = Field(description="column that holds the case's name")
    case: str = Field("{case}", description="template over the layout's fields that gives the name in that column")
    frames: dict[str, str] = Field(
        min_length=1, description="name of a frame -> column that holds its number, from 0; the name ends the case's"
    )


class Source(_Model):
    """One data set that can be read: `catalog/sources/<id>.yaml`, or a file of one's own."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$", description="name in recipes, shards and keys")
    title: str = Field(description="the data set's own name")
    catalog: str | None = Field(None, description="id in the catalog of data sets")
    terms: Terms = Field(Terms(), description="under which terms it came")
    origins: tuple[DataOrigin, ...] = Field(
        (), description="data sets that cases of this one were taken from: their terms hold for these cases too"
    )
    not_origins: dict[str, str] = Field(
        {}, description="data sets that the catalog's overlap facts take for origins and that are none: id -> why"
    )
    public_ids: bool = Field(
        False, description="whether its file and case names are public and may appear in keys and reports"
    )
    patient: Patient
    layout: Layout
    labels: dict[str, LabelTable] = Field({}, description="label tables by name")
    split: dict[str, str] = Field(
        {},
        description="cases (patterns over the case name) that the source itself assigns: pattern -> train, val, test",
    )
    split_table: SplitTable | None = Field(
        None, description="the same, from a table that came with the data; split: wins"
    )
    frames: FrameTable | None = Field(None, description="which frames of 4-D files are taken, from a table")
    nifti_placement: Literal["standard", "qform"] = Field(
        "standard", description="qform: it places the voxels, for files whose sform is known to be wrong"
    )
    exclude: dict[str, str] = Field({}, description="cases to leave out: case name -> why")
    geometry_override: dict[str, tuple[float, float, float]] = Field(
        {}, description="case name -> spacing x, y, z in mm that is right where the header's is known to be wrong"
    )
    known_issues: tuple[str, ...] = Field((), description="faults of the data set, for people")
    risks: tuple[Risk, ...] = Field(
        (), description="what its data may hold beyond what its modalities say: burned_in, faces; see schemas.policy"
    )
    inventory: Literal["full", "deferred"] = Field("full", description="read every header, or trust a published table")
    archives: bool | tuple[Pattern, ...] = Field(
        False,
        description="archives whose members are objects (a.zip/case/ct.nii.gz): true (all zip, tar, tar.gz) or a list of patterns",
    )
    skip: tuple[Pattern, ...] = Field(("**/._*", "._*"), description="files to look past, for example macOS twins")

    @model_validator(mode="before")
    @classmethod
    def _drawn_is_looked_for(cls, content: Any) -> Any:
        """A table of segmentations says nothing of what was not drawn, unless the manifest says so."""
        try:
            name = content["layout"]["segmentations"]["table"]
            table = content["labels"][name]
            if "looked_for" in table:
                return content
            tables = {**content["labels"], name: {**table, "looked_for": "values_present"}}
        except (KeyError, TypeError):
            return content  # what is wrong is said by the fields themselves
        return {**content, "labels": tables}

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where none are named: plans of manifests without them read as they did.
        content = handler(self)
        return {k: v for k, v in content.items() if k not in ("risks", "origins", "not_origins") or v}

    @field_validator("origins")
    @classmethod
    def _origins_once(cls, value: tuple[DataOrigin, ...]) -> tuple[DataOrigin, ...]:
        ids = [o.id for o in value]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"origins named twice: {twice}")
        return value

    @model_validator(mode="after")
    def _origin_or_not(self) -> Source:
        if both := sorted({o.id for o in self.origins} & set(self.not_origins)):
            raise ValueError(f"origins and not_origins both name {both}")
        if silent := [i for i, why in self.not_origins.items() if len(why.split()) < 3]:
            raise ValueError(f"not_origins: say in words why {silent[0]} is no origin")
        return self

    @model_validator(mode="after")
    def _deferrable(self) -> Source:
        layout = self.layout
        if self.inventory == "deferred":
            drawn = isinstance(layout, DicomLayout) and (
                layout.labels or layout.segmentations or patterns.fields(layout.path)
            )
            if not isinstance(layout, DicomLayout) or drawn:
                raise ValueError("inventory: deferred is for kind: dicom whose path has no fields, without labels")
            if self.patient.id or self.patient.shared or self.split or self.split_table or self.archives:
                raise ValueError(
                    "inventory: deferred takes patients from its table: leave out patient.id, patient.shared, split, split_table, archives"
                )
        return self

    @model_validator(mode="after")
    def _tables_exist(self) -> Source:
        layout = self.layout
        if self.frames and layout.kind != "paired":
            raise ValueError(f"frames: is for kind: paired, found {layout.kind}")
        if isinstance(layout, DicomLayout) and self.split_table:
            raise ValueError("split_table: is for layouts of files; a series has no name in a table. Use split:")
        used = [f.table for f in getattr(layout, "labels", ())]
        _check_readers(getattr(layout, "labels", ()))
        marks = layout.marks if isinstance(layout, DicomLayout) else None
        if marks is not None:
            used.append(marks.table)
        if isinstance(layout, (MsdLayout, NnunetLayout)) and self.labels:
            used.append(layout.table)
        if isinstance(layout, PerStructureLayout):
            used.append(layout.table)
            if "structure" not in patterns.fields(layout.structures):
                raise ValueError("layout.structures needs a field {structure}")
            if not set(patterns.fields(layout.structures)) & set(patterns.fields(layout.image.path)):
                raise ValueError("layout.image.path and layout.structures share no field, for example {case}")
            names = [i.name for i in (layout.image, *layout.more_images)]
            if twice := sorted({n for n in names if names.count(n) > 1}):
                raise ValueError(f"images named twice: {twice}")
            joined = set(patterns.fields(layout.structures)) & set(patterns.fields(layout.image.path))
            for image in layout.more_images:
                if not joined <= set(patterns.fields(image.path)):
                    raise ValueError(f"more_images: {image.path!r} lacks one of the fields {sorted(joined)}")
        drawn = layout.segmentations if isinstance(layout, DicomLayout) else None
        if drawn is not None:
            used.append(drawn.table)
        for table in used:
            if table not in self.labels:
                raise ValueError(
                    f"the layout names the label table {table!r}, labels: has {sorted(self.labels) or 'none'}"
                )
        for label in getattr(layout, "labels", ()):
            if label.several and not self.labels[label.table].structures:
                raise ValueError(
                    f"a label of one mask file for each structure needs structures: (names -> structures) in its table "
                    f"{label.table!r}"
                )
        if drawn is not None:
            _check_drawn(drawn.table, self.labels[drawn.table])
        if marks is not None:
            _check_marks(marks, self.labels[marks.table])
            if used.count(marks.table) > 1:
                raise ValueError(
                    f"the table {marks.table!r} of marks: is used by other labels too; give it one of its own"
                )
        return self

    def annotated(self) -> tuple[str, ...]:
        """Structures that any of its tables can name, sorted."""
        return tuple(sorted({s for table in self.labels.values() for s in table.annotated()}))


def _check_drawn(name: str, table: LabelTable) -> None:
    """Refuse a table that cannot say what the segments of SEG and RTSTRUCT are."""
    if table.values or table.ignore or not table.structures:
        raise ValueError(
            f"segmentations: are drawn by name, so the table {name!r} has structures: (names of segments -> structures, "
            'for example "GTV*": tumour_unspecified) and ignore_names:, and neither values: nor ignore:'
        )
    if table.looked_for == "per_case_table":
        raise ValueError(f"the table {name!r} of segmentations: has looked_for: all or values_present")
    segment_names.check(table.structures, table.ignore_names)


def _check_readers(labels: Sequence[object]) -> None:
    """Refuse labels of which it is not clear who drew them."""
    drawn: dict[tuple[str, str], list[int | None]] = {}
    for label in labels:
        if isinstance(label, LabelFiles):
            drawn.setdefault((label.table, label.image), []).append(label.reader)
    for (table, image), readers in drawn.items():
        numbers = [r for r in readers if r is not None]
        if twice := sorted({n for n in numbers if numbers.count(n) > 1}):
            raise ValueError(
                f"reader: {twice[0]} is given to two labels of the table {table!r} and the image {image!r}"
            )
        if numbers and len(numbers) < len(readers):
            raise ValueError(
                f"reader: is given to some labels of the table {table!r} and the image {image!r}; number all"
            )


def _check_marks(marks: ReaderMarks, table: LabelTable) -> None:
    """Refuse a table that cannot say what a nodule is."""
    if table.values or table.ignore or table.ignore_names or set(table.structures) != {"nodule"}:
        raise ValueError(
            f"marks: of the format {marks.format} draw nodules, so the table {marks.table!r} has structures: "
            "{nodule: <structure>} and neither values: nor ignore: nor ignore_names:"
        )
    if table.looked_for == "per_case_table":
        raise ValueError(f"the table {marks.table!r} of marks: has looked_for: all or values_present")


def load(path: str | Path) -> Source:
    """A source manifest from its YAML file.

    Raises:
        UsageError: missing or wrong; the message names file, line and remedy.
    """
    source = yaml_file.load(Source, path)
    if Path(path).stem != source.id and Path(path).parent.name == "sources":
        raise UsageError(f"{path}: id {source.id!r} must be the file's name")
    return source
