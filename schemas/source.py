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
from schemas import licenses, ontology, patterns, segment_names, yaml_file
from schemas.policy import Risk
from schemas.suggest import nearest
from schemas.table_layout import FoldersLayout, TableLayout

Origin = Literal["expert", "model", "consensus", "pseudo", "unknown"]
LayoutKind = Literal["dicom", "paired", "msd", "nnunet", "per-structure", "table", "folders"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _pattern(value: str) -> str:
    patterns.compile_pattern(value)
    return value


Pattern = Annotated[str, BeforeValidator(_pattern)]
"""A path below the source's root, with named fields; see `schemas.patterns`."""


class Terms(_Model):
    """Under which terms the data may be used."""

    license: str | None = Field(
        None, description="SPDX id, LicenseRef-<name>, or own-data; leave out when none is stated"
    )
    url: str | None = Field(None, description="page where the terms stand")
    citation: tuple[str, ...] = Field((), description="works to cite")

    @field_validator("license")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return None if value is None else licenses.check(value)


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


def label_names(labels: Sequence[LabelFiles]) -> tuple[str, ...]:
    """Name of each label within a case: its table's; with its image's, and then a number, where those are not its own."""
    names = [f.table for f in labels]
    if len(set(names)) < len(names):
        names = [n if names.count(n) == 1 else f"{n}_{f.image}" for n, f in zip(names, labels, strict=True)]
    if len(set(names)) < len(names):
        names = [n if names.count(n) == 1 else f"{n}_{number}" for number, n in enumerate(names, start=1)]
    return tuple(names)


class Segmentations(_Model):
    """DICOM objects that draw on the series they reference: each becomes a label of that series' case."""

    table: str = Field(description="name of a table under labels: that maps names of segments and ROIs (structures:)")
    kinds: tuple[Literal["SEG", "RTSTRUCT"], ...] = Field(
        ("SEG", "RTSTRUCT"), min_length=1, description="which objects to take: SEG, RTSTRUCT"
    )


class DicomLayout(_Model):
    """DICOM instances anywhere below the root, grouped by SeriesInstanceUID; every series is a case."""

    kind: Literal["dicom"]
    path: Pattern = Field("**", description="which files; its fields may name the case for labels, e.g. {case}/CT/**")
    modalities: tuple[str, ...] = Field((), description="keep these DICOM modalities; none: all")
    labels: tuple[LabelFiles, ...] = Field((), description="label files in other formats, joined by the fields of path")
    segmentations: Segmentations | None = Field(
        None, description="SEG and RTSTRUCT objects among the files of path, as labels: {table: <name under labels:>}"
    )

    @model_validator(mode="after")
    def _joined(self) -> DicomLayout:
        shared = set(patterns.fields(self.path))
        for label in self.labels:
            shared &= set(patterns.fields(label.path))
        if self.labels and not shared:
            raise ValueError(
                "path and the labels' paths share no field, for example {case}/CT/** and {case}/liver.nrrd"
            )
        return self


class PairedLayout(_Model):
    """Images and labels joined by the fields of their paths. Images whose fields are equal belong to one case.

    A file that several patterns match belongs to the one with the most literal text, so `{case}_seg.nii.gz` and
    `{case}.nii.gz` do not need an expression. Fields that only some patterns have do not take part in the join.
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

    values: dict[int, str] = Field({}, description="value of the mask -> structure id or background")
    structures: dict[str, str] = Field(
        {},
        description="name in the file path -> structure id (per-structure masks); or name of a segment or ROI, in any "
        "case and with * and ?, for segmentations",
    )
    ignore: tuple[int, ...] = Field((), description="values that mean 'no statement here'; read as ignore")
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

    @field_validator("values", "structures")
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

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Left out where nothing is stated: plans of tables without them read as they did.
        content = handler(self)
        return {k: v for k, v in content.items() if k not in ("includes", "excludes") or v}

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
        if not self.values and not self.structures:
            raise ValueError("a label table needs values: (numbers -> structures) or structures: (names -> structures)")
        if both := set(self.ignore) & set(self.values):
            raise ValueError(f"values {sorted(both)} are both mapped and ignored")
        if self.ignore_names:
            segment_names.check(self.structures, self.ignore_names)
        if self.looked_for == "per_case_table" and not self.case_table:
            raise ValueError("looked_for: per_case_table needs case_table: <path of a CSV below the root>")
        return self

    def annotated(self) -> tuple[str, ...]:
        """Structures that this table can name, sorted."""
        named = set(self.values.values()) | set(self.structures.values())
        return tuple(sorted(named - {ontology.structures.BACKGROUND}))


class Source(_Model):
    """One data set that can be read: `catalog/sources/<id>.yaml`, or a file of one's own."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,39}$", description="name in recipes, shards and keys")
    title: str = Field(description="the data set's own name")
    catalog: str | None = Field(None, description="id in the catalog of data sets")
    terms: Terms = Field(Terms(), description="under which terms it came")
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
        return {k: v for k, v in content.items() if k != "risks" or v}

    @model_validator(mode="after")
    def _tables_exist(self) -> Source:
        layout = self.layout
        if self.frames and layout.kind != "paired":
            raise ValueError(f"frames: is for kind: paired, found {layout.kind}")
        if isinstance(layout, DicomLayout) and self.split_table:
            raise ValueError("split_table: is for layouts of files; a series has no name in a table. Use split:")
        used = [f.table for f in getattr(layout, "labels", ())]
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
        if drawn is not None:
            _check_drawn(drawn.table, self.labels[drawn.table])
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


def load(path: str | Path) -> Source:
    """A source manifest from its YAML file.

    Raises:
        UsageError: missing or wrong; the message names file, line and remedy.
    """
    source = yaml_file.load(Source, path)
    if Path(path).stem != source.id and Path(path).parent.name == "sources":
        raise UsageError(f"{path}: id {source.id!r} must be the file's name")
    return source
