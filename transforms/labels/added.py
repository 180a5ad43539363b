"""One mask that is added to a published sample: read, brought to the stored image's grid, and written into its record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy.typing as npt

from mdfp.manifest import PaletteEntry
from mdfp.sample import Sample, SampleImage, SampleLabel
from schemas import licenses, ontology
from schemas.added_labels import AddedLabels
from schemas.case import ArrayHeader, CaseLabel
from schemas.licenses import UNSTATED
from schemas.reasons import Reason
from schemas.recipe import Recipe
from transforms.confirm import confirm
from transforms.flat import Flat, is_flat
from transforms.labels.agreement import place
from transforms.labels.flat import FlatOnGrid, check_size
from transforms.labels.joined import Includes, joined, with_palette
from transforms.labels.label import BASE, NormalisedLabels, normalise_labels
from transforms.labels.lattices import lattices
from transforms.labels.palette import Palette
from transforms.labels.part import ImageOnGrid, LabelPart
from transforms.labels.picture import picture_part
from transforms.read import array, itk, mask, nifti, raster
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.read.header import ReadHeader
from transforms.rejected import Rejected
from transforms.volume import Volume

LABEL_REASONS = frozenset(
    {Reason.UNMAPPED_LABEL, Reason.LABEL_GRID, Reason.LABEL_NOT_INTEGER, Reason.LABEL_UNREADABLE, Reason.MISSING_LABEL}
)
"""What a mask may be guilty of under its own name; whatever else is wrong with it is LABEL_UNREADABLE."""

T = TypeVar("T")


@dataclass(frozen=True)
class Adding:
    """What holds for all masks of one set. Plain values and look-ups; safe to share between samples of a process.

    Attributes:
        spec: what the masks are.
        recipe: of the corpus.
        palette: of the corpus, with the structures that the masks add.
        includes: source -> facts about its own labels, see `transforms.labels.joined`.
    """

    spec: AddedLabels
    recipe: Recipe
    palette: tuple[PaletteEntry, ...]
    includes: dict[str, Includes] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MaskLayers:
    """A mask on its image's grid.

    Attributes:
        image: name of the image.
        layers: record and stored mask of each layer.
        labels: what is known of the structures.
    """

    image: str
    layers: tuple[tuple[SampleLabel, npt.NDArray[Any]], ...]
    labels: NormalisedLabels


def read_mask(
    record: Sample, image: SampleImage, blobs: Sequence[tuple[Blob, str | None]], adding: Adding
) -> MaskLayers:
    """The mask of one image, from the bytes of its files.

    Memory: the mask as read and as stored; of a mask of several files one of them at a time, and a map of codes.

    Args:
        record: the sample, with an entry for each structure of the palette.
        image: the image.
        blobs: the files, each with the structure that it shows; None for a map of integers.
        adding: what the masks are.

    Raises:
        Rejected: UNMAPPED_LABEL, LABEL_NOT_INTEGER, LABEL_GRID, MISSING_LABEL, LABEL_UNREADABLE.
    """
    try:
        part, lattice = _part(record, image, blobs, adding)
        labels = normalise_labels([part], {image.name: lattice}, adding.palette, adding.recipe.labels)
    except Rejected as fault:
        if fault.reason in LABEL_REASONS:
            raise
        raise Rejected(Reason.LABEL_UNREADABLE, f"{fault.reason}: {fault.detail}") from fault
    named = _renamed(labels, adding.spec.layer_of(image.name))
    return MaskLayers(image.name, named.layers, named)


def with_masks(record: Sample, masks: Sequence[MaskLayers], adding: Adding) -> Sample:
    """The record with what the masks add: layers, states, what was done, terms. Members are the caller's to add."""
    palette = Palette(adding.palette)
    for made in masks:
        structures, others, warnings = joined(record, made.labels.states, adding.spec.layer_of(made.image), palette)
        record = dataclasses.replace(
            record,
            labels=(*record.labels, *(label for label, _ in made.layers)),
            structures=structures,
            others=others,
            done=(*record.done, *made.labels.done),
            warnings=(*record.warnings, *made.labels.warnings, *warnings),
        )
    held = (*licenses.parts(record.license), adding.spec.terms.license or UNSTATED)
    return dataclasses.replace(record, license=licenses.join(held))


def prepared(record: Sample, adding: Adding) -> Sample:
    """The record with an entry for each structure of the palette, before masks are added."""
    return with_palette(record, Palette(adding.palette), ontology.load(), adding.includes.get(record.source, {}))


def _part(
    record: Sample, image: SampleImage, blobs: Sequence[tuple[Blob, str | None]], adding: Adding
) -> tuple[LabelPart, ImageOnGrid]:
    table, limits = adding.spec.labels, adding.recipe.limits
    (first, _), *_ = blobs
    header = _header(first, image, adding)
    case_label = CaseLabel(header, image.name, adding.spec.layer, table.origin)

    def read(blob: Blob) -> Volume | Flat:
        own = header if blob is first else _header(blob, image, adding)
        try:
            found = read_any(own, [blob], limits)
        except Rejected as verdict:
            raise confirm(verdict, own, [blob], limits) from verdict
        assert isinstance(found, (Volume, Flat))  # `_header` lets nothing else pass
        return found

    looked_at = read(first)
    lattice = _lattice(record, image, looked_at, adding.recipe)

    def again(blob: Blob) -> Volume | Flat:
        return looked_at if blob is first else read(blob)

    if isinstance(lattice, FlatOnGrid):

        def pixels(blob: Blob) -> Flat:
            found = again(blob)
            assert isinstance(found, Flat)
            return found

        return picture_part(case_label, table, blobs, pixels, lattice), lattice

    def volume(blob: Blob) -> Callable[[], Volume]:
        def reading() -> Volume:
            found = again(blob)
            assert isinstance(found, Volume)
            return found

        return reading

    return LabelPart(case_label, table, tuple((volume(blob), structure) for blob, structure in blobs)), lattice


def _lattice(record: Sample, image: SampleImage, found: Volume | Flat, recipe: Recipe) -> ImageOnGrid:
    """The grid of the image on which a mask lies.

    Raises:
        Rejected: LABEL_GRID, on none of them.
    """
    against = []
    for name, lattice in lattices(record, image, recipe):
        try:
            if isinstance(found, Flat):
                if isinstance(lattice, FlatOnGrid):
                    check_size(found.array.shape, lattice.native_yx, image.name)
                    return lattice
            elif not isinstance(lattice, FlatOnGrid):
                place(found, lattice.canonical.affine_ras, lattice.canonical.shape_zyx, image.name)
                return lattice
        except Rejected as fault:
            against.append(f"{name} grid: {fault.detail}")
    kind = "a picture" if isinstance(found, Flat) else "a volume"
    raise Rejected(
        Reason.LABEL_GRID, "; ".join(against) or f"the mask is {kind}, its image {image.name!r} has axes {image.axes}"
    )


def _header(blob: Blob, image: SampleImage, adding: Adding) -> ArrayHeader:
    """The header of a mask's file, checked against the limits before memory is taken.

    Raises:
        Rejected: UNSUPPORTED, a format that masks are not read from; LABEL_GRID; else as the format's reader.
    """
    read = _read_header(blob, adding)
    if read.orientation != 1:
        raise Rejected(Reason.LABEL_GRID, "the mask has an orientation tag; its picture is stored upright, without one")
    flat = is_flat(read.header.axes)
    if flat != is_flat(image.axes):
        one, other = ("a picture", "a volume") if flat else ("a volume", "a picture")
        raise Rejected(Reason.LABEL_GRID, f"the mask is {one}, its image {image.name!r} {other}")
    if not flat and read.header.axes != "zyx":
        raise Rejected(Reason.LABEL_GRID, f"a mask has the axes zyx, found {read.header.axes}")
    return read.header


def _read_header(blob: Blob, adding: Adding) -> ReadHeader:
    form, limits, name = array.format_of(blob.path), adding.recipe.limits, adding.spec.layer
    content = blob.content()
    if form in ("nifti", "itk"):
        prefix = bytes(content[: array.PREFIX_BYTES[form]])
        if (form == "itk" and itk.data_file(prefix) is not None) or (form == "nifti" and nifti.data_file(blob.path)):
            raise Rejected(Reason.UNSUPPORTED, "expected header and voxels in one file, found a header of another file")
        read = array.read_header(form, prefix, name=name, file_bytes=len(content), limits=limits)
        if is_flat(read.header.axes):
            raise Rejected(Reason.UNSUPPORTED, "a mask in colour; masks in colour are read from picture files")
        return read
    if form in set(raster.SUFFIXES.values()):
        prefix = bytes(content[: raster.HEADER_PREFIX_BYTES])
        table = adding.spec.labels
        return mask.header(
            prefix, lambda: bytes(content), name=name, file_bytes=len(content), limits=limits, table=table
        )
    raise Rejected(
        Reason.UNSUPPORTED,
        "expected NIfTI, MetaImage or NRRD, or for pictures PNG, TIFF or BMP, by the end of the name",
    )


def _renamed(labels: NormalisedLabels, layer: str) -> NormalisedLabels:
    """The layers of one label under another name than those that a build gives, `base` and `overlap<n>`."""

    def name(built: str) -> str:
        return layer if built == BASE else f"{layer}_{built}"

    return dataclasses.replace(
        labels,
        layers=tuple((dataclasses.replace(r, layer=name(r.layer)), m) for r, m in labels.layers),
        states=tuple(s if s.layer is None else dataclasses.replace(s, layer=name(s.layer)) for s in labels.states),
        done=tuple(d.replace(f"layers: {BASE}", f"layers: {layer}") for d in labels.done),
    )
