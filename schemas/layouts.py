"""Layouts of source manifests: where images and labels lie, and which of them belong together.

Those of tables and of folders for each class are in `schemas.table_layout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from schemas import patterns
from schemas.patterns import Pattern
from schemas.sparse import without
from schemas.suggest import nearest
from schemas.table_layout import STRUCTURE_FIELD, FolderLabel, FoldersLayout, TableLayout

LayoutKind = Literal["dicom", "paired", "msd", "nnunet", "per-structure", "table", "folders"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
        return without(handler(self), "slices", "every", "reader")


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
