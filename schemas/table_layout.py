"""Layouts of pictures and reports: a table with a row for each, and trees with a folder for each class.

    layout:
      kind: table
      path: train.csv
      images: [{name: xray, modality: DX, file: "images/{Image Index}"}]
      findings:
        - {columns: [Pneumonia, Edema], values: {"1": present, "0": absent, "-1": uncertain, "": unknown}}
      texts: [{name: report, kind: report, column: Report}]

`{Column}` in a template is the row's cell. What a cell means is in the manifest, totally: a value without a meaning is a
fault of its row (`bad_annotation`).

A table may be several files of one form: in `labels_{part:train|test}.csv` the field `part` is a column of their rows. A path
ending in `.gz` is inflated first. `fields:` takes further columns out of the text of one.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

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

from schemas import patterns

FindingState = Literal["present", "absent", "uncertain", "unknown"]
Level = Literal["image", "study", "patient"]
Made = Literal["expert", "model", "consensus", "pseudo", "unknown"]

_COLUMN = re.compile(r"\{([^{}]*)\}")

STRUCTURE_FIELD = "structure"
"""Field of a label's path that names the structure whose mask a file holds."""


def columns_of(template: str) -> tuple[str, ...]:
    """Columns that a template names, in order."""
    return tuple(_COLUMN.findall(template))


def fill(template: str, row: dict[str, str]) -> str:
    """A template with the row's cells; an empty cell leaves nothing.

    Raises:
        KeyError: a column that the row does not have.
    """
    return _COLUMN.sub(lambda m: row[m[1]], template)


def _template(value: Any) -> Any:
    if not isinstance(value, str) or not columns_of(value):
        raise ValueError(f"a template names a column in braces, for example images/{{file}}.png; found {value!r}")
    if any(not c for c in columns_of(value)):
        raise ValueError(f"empty braces in {value!r}: name a column")
    return value


def _texts_as_keys(value: Any) -> Any:
    # YAML reads 1, -1.0 and no key at all as numbers and null; a table's cells are text.
    if isinstance(value, dict):
        return {("" if k is None else str(k)): v for k, v in value.items()}
    return value


def _named_file(template: str) -> str:
    """A template of a file: `*` and `**` only in its folders, so that files can be looked up by their names."""
    if "*" in template.rsplit("/", 1)[-1] or "?" in template:
        raise ValueError(f"a file's own name has no wildcards (its folders may have * and **); found {template!r}")
    return template


Template = Annotated[str, BeforeValidator(_template)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,24}$")]
Meanings = Annotated[dict[str, FindingState], BeforeValidator(_texts_as_keys)]
Names = Annotated[dict[str, str], BeforeValidator(_texts_as_keys)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where they say nothing: plans of manifests without them read as they did.
        content: dict[str, Any] = handler(self)
        silent = _SILENT.get(type(self).__name__, {})
        return {k: v for k, v in content.items() if k not in silent or (v or None) != silent[k]}


_SILENT: dict[str, dict[str, Any]] = {
    "TableLayout": {"labels": None, "fields": None, "split_lists": None},
    "FoldersLayout": {"labels": None},
    "TableFindings": {"several": "fault"},
    "TableList": {"unnamed": "fault", "absent_if": None},
    "TableText": {"table": None},
    "Cell": {"table": None},
}
"""Model -> fields that a plan leaves out where they have this value; None: nothing, or an empty list."""


class TableImage(_Model):
    """An image of each row."""

    name: Name = Field(description="name within the sample: xray, photo, frontal")
    modality: str = Field(pattern=r"^[A-Z]{2,8}$", description="DICOM Modality code: DX, US, XC, OP")
    file: Template = Field(
        description="path below the root, columns in braces: images/{id}.png; its folders may have * and **"
    )
    optional: bool = Field(False, description="whether a row may lack it: an empty cell, or no such file")

    @field_validator("file")
    @classmethod
    def _file_name(cls, value: str) -> str:
        return _named_file(value)


class TableLabel(_Model):
    """The mask of an image of each row: one file, or a file for each structure."""

    table: str = Field(description="name of a table under labels:")
    image: Name | None = Field(None, description="image it is of; may be left out when there is one")
    file: Template | None = Field(None, description="path of the mask below the root: masks/{id}.png")
    files: dict[str, Template] = Field(
        {}, description="name in the table's structures: -> path of its mask: {disc: masks/{id}_disc.png}"
    )
    required: bool = Field(
        False, description="whether a row without it is a fault (missing_label) or simply unlabelled"
    )

    @model_validator(mode="after")
    def _one(self) -> TableLabel:
        if (self.file is None) == (not self.files):
            raise ValueError("a label lies in file: (one mask) or in files: (a mask for each structure), one of them")
        return self

    @property
    def several(self) -> bool:
        """Whether each structure has a mask file of its own."""
        return bool(self.files)

    @property
    def templates(self) -> tuple[tuple[str | None, str], ...]:
        """(name in the table's structures, path) of each file; the name is None where one file holds all."""
        return ((None, self.file),) if self.file else tuple(self.files.items())


class _OfTable(_Model):
    table: str | None = Field(
        None, description="another table below the root, joined by the columns of case:; default: the layout's own"
    )
    origin: Made = Field("unknown", description="who made it: expert, model, consensus, pseudo")


class TableClass(_OfTable):
    """One class of each row, of classes that exclude each other."""

    column: str = Field(description="column that holds the class")
    name: str = Field(description="what is classified: diagnosis, view, grade")
    values: Names = Field({}, description="cell -> class; none: cells are the classes themselves")
    level: Level = "image"


class TableFindings(_OfTable):
    """A column for each finding, with a state in its cells."""

    columns: tuple[str, ...] = Field((), description="columns, which name the findings")
    named: dict[str, str] = Field({}, description="column -> name of its finding, where they differ")
    values: Meanings = Field(description='cell -> state: {"1": present, "0": absent, "-1": uncertain, "": unknown}')
    several: Literal["fault", "uncertain"] = Field(
        "fault",
        description="rows of one case that differ: fault, or uncertain, where each row is what one of several readers said",
    )
    level: Level = "image"

    @model_validator(mode="after")
    def _some(self) -> TableFindings:
        if not self.columns and not self.named:
            raise ValueError("findings need columns: [names] or named: {column: finding}")
        return self


class TableList(_OfTable):
    """Findings listed in one cell: `Effusion|Mass`."""

    column: str = Field(description="column that holds the list")
    separator: str = Field("|", min_length=1)
    names: Names = Field(description="entry -> finding; an entry that is none of them is a fault")
    nothing: tuple[str, ...] = Field((), description="entries that name no finding: No Finding")
    absent_if: tuple[str, ...] = Field(
        (),
        description="entries that say that none of the findings is there: normal; then all are absent, whatever others:",
    )
    unnamed: Literal["fault", "ignore"] = Field(
        "fault", description="an entry that is in none of the lists: fault, or ignore, for lists of many more terms"
    )
    others: FindingState = Field("absent", description="state of the findings that are not listed")
    level: Level = "image"


class _Placed(_OfTable):
    """What lies somewhere on a picture."""

    image: Name | None = Field(None, description="image it lies on; may be left out when there is one")
    name: str | None = Field(None, description="what is there, for all rows")
    column: str | None = Field(None, description="column that holds it, instead of name:")
    names: Names = Field({}, description="cell of column: -> name; none: cells are the names themselves")
    unit: Literal["pixels", "fraction"] = Field("pixels", description="pixels, or fractions of width and height")
    measured: Literal["edges", "centres"] = Field(
        "edges", description="edges: 0 is the left edge of the first pixel; centres: 0 is its middle"
    )

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if (self.name is None) == (self.column is None):
            raise ValueError("give either name: (the same for all rows) or column: (where the name stands)")
        return self


class TableBoxes(_Placed):
    """A box in each row, with sides along the picture's."""

    corner: tuple[str, str] = Field(
        description="columns of x and y of the upper left corner, or of the centre (centred)"
    )
    size: tuple[str, str] | None = Field(None, description="columns of width and height")
    opposite: tuple[str, str] | None = Field(None, description="columns of x and y of the lower right corner")
    centred: bool = Field(False, description="corner: is the centre of the box (YOLO)")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.size is None) == (self.opposite is None):
            raise ValueError("a box needs size: [width, height] or opposite: [x, y], one of them")
        if self.centred and self.size is None:
            raise ValueError("centred: true needs size: [width, height]")
        return self


class TablePoints(_Placed):
    """A point in each row."""

    at: tuple[str, str] = Field(description="columns of x and y")


class TableMeasurement(_OfTable):
    """A number in a cell; grades in words are classes."""

    column: str = Field(description="column that holds it; an empty cell is no measurement")
    name: str = Field(description="what is measured: ejection_fraction")
    unit: str | None = Field(None, description="appended to the value: %, mm")
    level: Level = "image"


class TableText(_Model):
    """A report or caption: in a cell, or in a file that a cell names."""

    name: Name = Field(description="name within the sample: report, caption")
    kind: Literal["report", "caption", "findings", "impression"] = "report"
    language: str | None = Field(None, description="BCP 47 tag: en, de-AT")
    column: str | None = Field(None, description="column that holds the text itself")
    file: Template | None = Field(
        None, description="path of a .txt file below the root, columns in braces; its folders may have * and **"
    )
    table: str | None = Field(None, description="another table, joined by the columns of case:, that has the column")
    optional: bool = Field(True, description="whether a row may lack it")

    @model_validator(mode="after")
    def _one(self) -> TableText:
        if (self.column is None) == (self.file is None):
            raise ValueError("a text stands in column: or in file:, one of them")
        if self.table is not None and self.column is None:
            raise ValueError("table: goes with column:, which it holds")
        if self.file is not None:
            _named_file(self.file)
        return self


class Cell(_Model):
    """A column, and what its cells mean where they are not the words asked for."""

    column: str
    values: Names = Field({}, description="cell -> what it means")
    table: str | None = Field(None, description="another table, joined by the columns of case:, that has the column")


def _cell(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


OneCell = Annotated[Cell | None, BeforeValidator(_cell, json_schema_input_type=Cell | str | None)]
"""A column by its name alone, or with what its cells mean."""


class TableFields(_Model):
    """Columns that stand in the text of another: `train/patient00001/study1/view1_frontal.jpg`."""

    column: str = Field(description="column that holds the text")
    pattern: str = Field(
        description="its form: **/{patient}/{study}/{view}.jpg; the fields are columns, empty where a text has another form"
    )

    @field_validator("pattern")
    @classmethod
    def _pattern(cls, value: str) -> str:
        if not patterns.fields(value):
            raise ValueError(
                f"expected a pattern with fields, for example **/{{patient}}/{{view}}.jpg; found {value!r}"
            )
        return value


class SplitLists(_Model):
    """Files that list, a line each, what is in which split."""

    column: str = Field(description="column whose cells the lists name")
    files: dict[Literal["train", "val", "test"], str] = Field(
        min_length=1, description="split -> path of its list below the root: {test: test_list.txt}"
    )


class TableLayout(_Model):
    """A CSV or Parquet table with paths, classes, findings, boxes, texts; rows of one case are taken together."""

    kind: Literal["table"]
    path: str = Field(
        description="the table below the root: .csv, .tsv or .parquet, also .csv.gz; a pattern with fields for several files"
    )
    fields: tuple[TableFields, ...] = Field((), description="columns that stand in the text of another")
    case: Template | None = Field(
        None, description="which rows are one case: {StudyID}; default: the columns of the first image's file"
    )
    images: tuple[TableImage, ...] = Field(min_length=1)
    labels: tuple[TableLabel, ...] = ()
    classes: tuple[TableClass, ...] = ()
    findings: tuple[TableFindings | TableList, ...] = ()
    boxes: tuple[TableBoxes, ...] = ()
    points: tuple[TablePoints, ...] = ()
    measurements: tuple[TableMeasurement, ...] = ()
    texts: tuple[TableText, ...] = ()
    split: OneCell = Field(None, description="column of train, val or test")
    split_lists: SplitLists | None = Field(None, description="lists of what is in which split: {column:, files:}")
    sex: OneCell = Field(None, description="column of F, M or O")
    age: OneCell = Field(None, description="column of the age in years")
    site: OneCell = Field(None, description="column of the institution")

    @model_validator(mode="after")
    def _fits(self) -> TableLayout:
        names = [i.name for i in self.images]
        if self.split is not None and self.split_lists is not None:
            raise ValueError("a split stands in split: (a column) or in split_lists:, one of them")
        for what, found in (("images", names), ("texts", [t.name for t in self.texts])):
            if twice := sorted({n for n in found if found.count(n) > 1}):
                raise ValueError(f"{what} named twice: {twice}")
        placed: tuple[TableBoxes | TablePoints, ...] = (*self.boxes, *self.points)
        for entry in placed:
            if entry.image is None and len(names) > 1:
                raise ValueError(f"a box or point needs image:, one of {names}")
            if entry.image is not None and entry.image not in names:
                raise ValueError(f"a box or point lies on the image {entry.image!r}; images: has {names}")
        for label in self.labels:
            if label.image is None and len(names) > 1:
                raise ValueError(f"a label needs image:, one of {names}")
            if label.image is not None and label.image not in names:
                raise ValueError(f"a label is of the image {label.image!r}; images: has {names}")
        return self

    @property
    def case_template(self) -> str:
        """What tells cases apart."""
        return self.case or self.images[0].file


class FoldersLayout(_Model):
    """A file for each case, whose class is a field of its path: {diagnosis}/{case}.jpg."""

    kind: Literal["folders"]
    image: FolderImage
    labels: tuple[FolderLabel, ...] = Field((), description="masks of the image, joined by the fields of their paths")
    classes: tuple[FolderClass, ...] = ()
    split: str | None = Field(None, description="field that holds train, val or test")

    @model_validator(mode="after")
    def _fits(self) -> FoldersLayout:
        known = patterns.fields(self.image.path)
        for field in [c.field for c in self.classes] + ([self.split] if self.split else []):
            if field not in known:
                raise ValueError(f"the field {field!r} is not in the path {self.image.path!r}, which has {list(known)}")
        if not self.classes and not self.labels:
            raise ValueError("folders need classes: (fields of the path) or labels: (masks)")
        for label in self.labels:
            if not set(patterns.fields(label.path)) & set(known):
                raise ValueError(f"the paths {self.image.path!r} and {label.path!r} share no field")
        return self


class FolderLabel(_Model):
    """The mask of each image: one file, or, where its path has the field {structure}, one for each structure."""

    table: str = Field(description="name of a table under labels:")
    path: str = Field(description="pattern that shares fields with the image's: {class}/{case}_mask.png")
    required: bool = Field(
        False, description="whether an image without it is a fault (missing_label) or simply unlabelled"
    )

    @field_validator("path")
    @classmethod
    def _pattern(cls, value: str) -> str:
        patterns.compile_pattern(value)
        return value

    @property
    def several(self) -> bool:
        """Whether each structure has a mask file of its own."""
        return STRUCTURE_FIELD in patterns.fields(self.path)


class FolderImage(_Model):
    """The image of each case."""

    name: Name = Field(description="name within the sample")
    modality: str = Field(pattern=r"^[A-Z]{2,8}$", description="DICOM Modality code")
    path: str = Field(description="pattern with fields, {class}/{case}.png")

    @field_validator("path")
    @classmethod
    def _pattern(cls, value: str) -> str:
        patterns.compile_pattern(value)
        return value


class FolderClass(_Model):
    """A field of the path that names a class."""

    field: str = Field(description="field of the path: diagnosis")
    name: str = Field(description="what is classified")
    values: Names = Field({}, description="folder -> class; none: folders are the classes themselves")
    origin: Made = "unknown"
    level: Level = "image"


FoldersLayout.model_rebuild()
