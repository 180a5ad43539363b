"""Source manifests: where a data set's files lie, what its labels mean, under which terms it came.

Described, not programmed: a data set in a known layout needs a YAML file and no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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

from mdfp.errors import UsageError
from schemas import ontology, patterns, segment_names, yaml_file
from schemas.policy import Risk
from schemas.suggest import nearest
from schemas.table_layout import STRUCTURE_FIELD, FolderLabel, FoldersLayout, TableLayout
from schemas.terms import DataOrigin, Terms
from schemas.values import colours_as_text, ranges_as_numbers

Origin = Literal["expert", "model", "consensus", "pseudo", "unknown"]
LayoutKind = Literal["dicom", "paired", "msd", "nnunet", "per-structure", "table", "folders"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _pattern(value: str) -> str:
    patterns.compile_pattern(value)
    return value


Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A path below the source's root, with named fields; see `schemas.patterns`."""


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


class ImageChannel(_Model):
    """What an image is."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,24}$", description="name within the sample: ct, t1, flair")
    modality: str = Field(pattern=r"^[A-Z]{2,8}$", description="DICOM Modality code: CT, MR, PT")
    sequence: str | None = Field(None, description="MR sequence or weighting")
    contrast_phase: str | None = Field(None, description="contrast phase, when one holds for the whole data set")


class ImageFiles(ImageChannel):
    """An image and where its files lie."""

    path: Pattern = Field(description="for example imagesTr/{case}_0000.nii.gz")
    optional: bool = Field(
        False, description="whether a case may lack it; else a case without it is a fault (missing_file)"
    )

    def channel(self) -> ImageChannel:
        """What the image is, without its files."""
        return ImageChannel(**self.model_dump(exclude={"path", "optional"}))


class LabelFiles(_Model):
    """A label and where its files lie."""

    table: str = Field(description="name of a table under labels:")
    image: str = Field(description="name of the image it belongs to")
    path: Pattern = Field(description="for example labelsTr/{case}.nii.gz")
    required: bool = Field(
        False, description="whether a case without it is a fault (missing_label) or simply unlabelled"
    )
    reader: int | None = Field(
        None,
        ge=1,
        le=99,
        description="number of the reader who drew it, where several drew the same: each keeps a layer of their own",
    )
    slices: Literal["file_names"] | None = Field(
        None,
        description="the files are pictures, one for each instance of a DICOM series; file_names: the first by name is "
        "of the first instance by name, and so on, rows and columns as they lie",
    )
    every: bool = Field(
        False,
        description="with slices: the label is of every volume of its fields (two phases that share one), not of one",
    )

    @property
    def several(self) -> bool:
        """Whether each structure has a mask file of its own."""
        return STRUCTURE_FIELD in patterns.fields(self.path)

    @model_validator(mode="after")
    def _slices_alone(self) -> LabelFiles:
        if self.every and self.slices is None:
            raise ValueError("every: true is for labels with slices:")
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "slices", "every", "reader")


def _without(content: dict[str, Any], *fields: str) -> dict[str, Any]:
    """Fields left out where they say nothing: plans of manifests without them read as they did."""
    return {k: v for k, v in content.items() if k not in fields or v}


def label_names(labels: Sequence[LabelFiles | FolderLabel]) -> tuple[str, ...]:
    """Name of each label within a case: its table's and its reader's number; then its image's, then a number, to be its own."""
    readers = [f.reader if isinstance(f, LabelFiles) else None for f in labels]
    names = [f.table if r is None else f"{f.table}_reader{r}" for f, r in zip(labels, readers, strict=True)]
    if len(set(names)) < len(names):
        named = [(n, f.image if isinstance(f, LabelFiles) else "mask") for n, f in zip(names, labels, strict=True)]
        names = [n if names.count(n) == 1 else f"{n}_{image}" for n, image in named]
    if len(set(names)) < len(names):
        names = [n if names.count(n) == 1 else f"{n}_{number}" for number, n in enumerate(names, start=1)]
    return tuple(names)


class Segmentations(_Model):
    """DICOM objects that draw on the series they reference: each becomes a label of that series' case."""

    table: str = Field(description="name of a table under labels: that maps names of segments and ROIs (structures:)")
    kinds: tuple[Literal["SEG", "RTSTRUCT"], ...] = Field(
        ("SEG", "RTSTRUCT"), min_length=1, description="which objects to take: SEG, RTSTRUCT"
    )


class ReaderMarks(_Model):
    """Files of marks that several readers made on a series: each reader becomes a label, and marks become annotations."""

    format: Literal["lidc"] = Field(description="lidc: the XML files of LIDC-IDRI")
    path: Pattern = Field("**/*.xml", description="which files")
    table: str = Field(description="name of a table under labels: that says what a nodule is: structures: {nodule: …}")


class DicomLayout(_Model):
    """DICOM instances anywhere below the root, grouped by SeriesInstanceUID; every series is a case."""

    kind: Literal["dicom"]
    path: Pattern = Field("**", description="which files; its fields may name the case for labels, e.g. {case}/CT/**")
    modalities: tuple[str, ...] = Field((), description="keep these DICOM modalities; none: all")
    labels: tuple[LabelFiles, ...] = Field((), description="label files in other formats, joined by the fields of path")
    segmentations: Segmentations | None = Field(
        None, description="SEG and RTSTRUCT objects among the files of path, as labels: {table: <name under labels:>}"
    )
    marks: ReaderMarks | None = Field(
        None, description="files of several readers' marks, joined by SeriesInstanceUID: {format: lidc, path:, table:}"
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where there are none: plans of manifests without them read as they did.
        content = handler(self)
        return {k: v for k, v in content.items() if k != "marks" or v is not None}

    @model_validator(mode="after")
    def _joined(self) -> DicomLayout:
        shared = set(patterns.fields(self.path))
        for label in self.labels:
            shared &= set(patterns.fields(label.path))
        if any(label.several for label in self.labels):
            raise ValueError(
                f"a label with the field {{{STRUCTURE_FIELD}}} is for kind: paired, folders and per-structure"
            )
        if self.labels and not shared:
            raise ValueError(
                "path and the labels' paths share no field, for example {case}/CT/** and {case}/liver.nrrd"
            )
        if self.labels and self.marks and not shared <= set(patterns.fields(self.marks.path)):
            raise ValueError(f"marks.path {self.marks.path!r} lacks one of the fields {sorted(shared)} of the labels")
        return self

    def tables(self) -> tuple[str, ...]:
        """Names of the label tables that it draws with: of files, of segmentations, of marks."""
        drawn = (entry.table for entry in (self.segmentations, self.marks) if entry is not None)
        return tuple(dict.fromkeys((*(f.table for f in self.labels), *drawn)))


class PairedLayout(_Model):
    """Images and labels joined by the fields of their paths. Images whose fields are equal belong to one case.

    A file that several patterns match belongs to the one with the most literal text, so `{case}_seg.nii.gz` and
    `{case}.nii.gz` do not need an expression. Fields that only some patterns have do not take part in the join.
    A label whose path has the field `{structure}` is one mask file for each of its table's `structures:`.
    """

    kind: Literal["paired"]
    images: tuple[ImageFiles, ...] = Field(min_length=1)
    labels: tuple[LabelFiles, ...] = ()

    @model_validator(mode="after")
    def _joined(self) -> PairedLayout:
        names = [i.name for i in self.images]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"images named twice: {twice}")
        for label in self.labels:
            if label.image not in names:
                raise ValueError(
                    f"a label is of the image {label.image!r}{nearest(label.image, names)}; images: has {names}"
                )
            if label.slices:
                raise ValueError("slices: is for labels of kind: dicom, where each picture is of one instance")
        everything = [i.path for i in self.images] + [f.path for f in self.labels]
        if not set.intersection(*(set(patterns.fields(p)) for p in everything)):
            raise ValueError(
                f"the patterns share no field, for example {{case}}, by which files could be joined: {everything}"
            )
        return self


class MsdLayout(_Model):
    """Medical Segmentation Decathlon: dataset.json lists image and label of each training case, and the test images."""

    kind: Literal["msd"]
    folder: str = Field("", description="folder of dataset.json below the root")
    channels: tuple[ImageChannel, ...] = Field(min_length=1, description="one per channel of dataset.json, in order")
    table: str = Field("labels", description="name of the table under labels:")
    test_images: bool = Field(True, description="take the unlabelled test images too")


class NnunetLayout(_Model):
    """nnU-Net raw data: dataset.json, imagesTr/<case>_<channel, 4 digits>, labelsTr/<case>."""

    kind: Literal["nnunet"]
    folder: str = Field("", description="folder of dataset.json below the root")
    channels: tuple[ImageChannel, ...] = Field(min_length=1, description="one per channel_names entry, in order")
    table: str = Field("labels", description="name of the table under labels:")
    test_images: bool = Field(True, description="take imagesTs too")


class PerStructureLayout(_Model):
    """One binary mask file per structure beside each image."""

    kind: Literal["per-structure"]
    image: ImageFiles = Field(description="the image that the masks belong to")
    more_images: tuple[ImageFiles, ...] = Field((), description="further images of the case, on grids of their own")
    structures: Pattern = Field(
        description="mask files, with a field {structure}: {case}/segmentations/{structure}.nii.gz"
    )
    table: str = Field("labels", description="name of the table under labels:")


Layout = Annotated[
    DicomLayout | PairedLayout | MsdLayout | NnunetLayout | PerStructureLayout | TableLayout | FoldersLayout,
    Field(discriminator="kind"),
]


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
        return _without(handler(self), "colours", "ignore_colours", "threshold", "includes", "excludes")


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
