"""Slices of a finished volume sample, each a sample of its own: pictures, masks and what is known of each slice.

The volume stays what is planned, built and accounted for: a case is read and normalised once, checked as every volume is,
and then gives one sample for each chosen slice, all with its case id, patient, split, group and fold. Pixels are those of
the stored volume, not interpolated; numbers too, but for a constant: PNG holds unsigned numbers, so signed ones move up and
`offset` moves down by as much.

| plane    | columns go to | rows go to | slices are numbered towards |
| -------- | ------------- | ---------- | --------------------------- |
| axial    | left          | posterior  | superior                    |
| coronal  | left          | inferior   | anterior                    |
| sagittal | posterior     | inferior   | right                       |

This is the radiological way: the patient's right is on the left of the picture. Directions are the axes of the stored volume,
each the one closest to its name; an oblique volume gives oblique pictures, and `affine_ras` says how they lie: pixel
(x, y, 0) to world mm, the third column the step to the next slice of the volume.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from mdfp.labels import IGNORE, State
from mdfp.sample import Grid, Sample, SampleAnnotation, SampleImage, SampleLabel
from schemas import ontology
from schemas.reasons import Reason
from schemas.slices import Slices
from transforms.flat import is_flat
from transforms.labels.on_slice import Plane, states_on_slice
from transforms.normalise.intensity import CT_FLOOR_HU
from transforms.normalise.statistics import body_threshold, measure
from transforms.rejected import Rejected

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Axis of a stored volume (z, y, x) across each plane."""

KEY_CHARACTERS = 80
"""A key has no more; those of longer cases are shortened, with a digest of the case id."""


@dataclass(frozen=True, eq=False)
class SlicedSample:
    """One slice.

    Attributes:
        record: its index row, without a place in a shard.
        pictures: pixels (y, x) of each image, by name, uint8 or uint16.
        masks: pixels (y, x) of each label layer, by name.
    """

    record: Sample
    pictures: Mapping[str, npt.NDArray[Any]]
    masks: Mapping[str, npt.NDArray[Any]]


def to_slice(record: Sample) -> bool:
    """Whether a sample is of volumes: one of pictures or films stays as it is.

    Raises:
        Rejected: UNSUPPORTED, it has volumes and pictures; TEMPORAL, an image over time.
    """
    axes = [i.axes for i in record.images]
    if over_time := [i.name for i in record.images if i.axes == "tzyx"]:
        raise Rejected(
            Reason.TEMPORAL, f"expected a volume to cut slices from, found the image over time {over_time[0]!r}"
        )
    flat = [i.name for i in record.images if is_flat(i.axes)]
    if flat and len(flat) < len(axes):
        raise Rejected(
            Reason.UNSUPPORTED,
            f"expected volumes or pictures, found both in one case: {flat[0]!r} is a picture and has no slices",
        )
    return not flat


def cut(
    record: Sample,
    images: Mapping[str, npt.NDArray[Any]],
    layers: Sequence[tuple[SampleLabel, npt.NDArray[Any]]],
    wanted: Slices,
) -> Iterator[SlicedSample]:
    """The slices of a volume sample, in the order of their numbers. Everything is checked before the first is made.

    Memory: one slice, beside the volume.

    Args:
        record: of the volume, whole.
        images: stored values (z, y, x), by name.
        layers: stored masks (z, y, x).
        wanted: which slices.

    Raises:
        Rejected: UNSUPPORTED, images on several grids, or acquired in several planes where that decides; NO_SLICE, none is
            kept.
    """
    grid = _one_grid(record.images)
    axis = _axis(record.images, wanted)
    shape = (grid.shape[0], grid.shape[1], grid.shape[2])
    assert grid.spacing_xyz_mm is not None  # every volume has one
    positions = wanted.positions(shape[axis], grid.spacing_xyz_mm[2 - axis])
    kept = [n for n in positions if _keeps(n, axis, record, layers, wanted)]
    if not kept:
        raise Rejected(
            Reason.NO_SLICE,
            f"expected slices to keep ({wanted.keep}), found none among the {len(positions)} of {shape[axis]} that were looked at",
        )
    numbers = wanted.spread(kept)
    return (_slice(record, images, layers, Plane(axis, n, shape)) for n in numbers)


def slice_key(case_id: str, axis: int, index: int) -> str:
    """Key of a slice: `<case id>-z0123`, the axis of the stored volume and the number along it."""
    suffix = f"-{'zyx'[axis]}{index:04d}"
    if len(case_id) + len(suffix) > KEY_CHARACTERS:
        digest = hashlib.sha256(case_id.encode()).hexdigest()[:16]
        case_id = f"{case_id[: KEY_CHARACTERS - len(suffix) - len(digest) - 1]}-{digest}"
    return case_id + suffix


def picture_affine(volume_ras: geometry.Affine, plane: Plane) -> geometry.Affine:
    """Pixel (x, y) of a picture, z = 0, to world mm; the third column is the step to the volume's next slice."""
    across = 2 - plane.axis  # in the order x, y, z of affines
    columns, rows = (a for a in range(3) if a != across)
    shape_xyz = plane.shape_zyx[::-1]
    index = np.zeros((4, 4))
    index[3, 3] = 1
    for picture_axis, volume_axis in enumerate((columns, rows)):
        index[volume_axis, picture_axis] = -1
        index[volume_axis, 3] = shape_xyz[volume_axis] - 1
    index[across, 2] = 1
    index[across, 3] = plane.index
    return np.asarray(np.asarray(volume_ras, dtype=np.float64) @ index)


def _one_grid(images: Sequence[SampleImage]) -> Grid:
    grids = {(i.stored.shape, i.stored.affine_ras): i.stored for i in images}
    if len(grids) > 1:
        shown = ", ".join(f"{i.name} {i.stored.shape}" for i in images)
        raise Rejected(
            Reason.UNSUPPORTED,
            f"slices of several images need one grid, found {shown}; let the recipe say geometry.grid: {{reference: …}}",
        )
    return next(iter(grids.values()))


def _axis(images: Sequence[SampleImage], wanted: Slices) -> int:
    if wanted.along != "acquisition":
        return AXES[wanted.along]
    found = sorted({str(i.acquisition_axis) for i in images})
    if len(found) > 1:
        raise Rejected(
            Reason.UNSUPPORTED,
            f"expected images acquired in one plane, found slices along {', '.join(found)}; let the recipe name a plane",
        )
    return "zyx".index(found[0])


def _keeps(
    number: int, axis: int, record: Sample, layers: Sequence[tuple[SampleLabel, npt.NDArray[Any]]], wanted: Slices
) -> bool:
    if wanted.keep == "foreground":
        planes = [np.take(mask, number, axis=axis) for _, mask in layers]
        return any(bool(((p != 0) & (p != IGNORE[p.dtype.name])).any()) for p in planes)
    if wanted.keep == "body":
        boxes = [i.body_box for i in record.images if i.body_box is not None]
        return any(box[axis] <= number < box[axis + 3] for box in boxes)
    return True


def _slice(
    record: Sample,
    images: Mapping[str, npt.NDArray[Any]],
    layers: Sequence[tuple[SampleLabel, npt.NDArray[Any]]],
    plane: Plane,
) -> SlicedSample:
    masks = {label.layer: plane.of(mask) for label, mask in layers}
    pictures, described = {}, []
    for image in record.images:
        pixels, one = _picture(image, plane.of(images[image.name]), plane)
        pictures[image.name] = pixels
        described.append(one)
    known = ontology.load()
    name = next(n for n, axis in AXES.items() if axis == plane.axis)
    told = f"{name} slice {plane.index} of {plane.shape_zyx[plane.axis]}, numbered from 0 along {'zyx'[plane.axis]}"
    cut_record = dataclasses.replace(
        record,
        key=slice_key(record.case_id, plane.axis, plane.index),
        images=tuple(described),
        structures=states_on_slice(record.structures, masks, plane, known),
        annotations=tuple(a for one in record.annotations for a in _annotation(one, record, plane)),
        done=(*record.done, told),
        readings=tuple(
            dataclasses.replace(
                r, structures=states_on_slice(r.structures, {n: masks[n] for n in r.layers}, plane, known)
            )
            for r in record.readings
        ),
    )
    return SlicedSample(cut_record, pictures, masks)


def _picture(image: SampleImage, stored_yx: npt.NDArray[Any], plane: Plane) -> tuple[npt.NDArray[Any], SampleImage]:
    """The pixels as PNG holds them, and their record."""
    measured = measure(stored_yx[np.newaxis], body_threshold(image.modality), scale=image.scale, offset=image.offset)
    pixels, shift = stored_yx, 0
    if stored_yx.dtype.kind == "i":
        # One constant for a whole corpus: CT in HU has its floor, other signed numbers that of their type.
        in_hu = image.unit == "HU" and (image.scale, image.offset) == (1.0, 0.0)
        shift = int(-CT_FLOOR_HU) if in_hu else -int(np.iinfo(stored_yx.dtype).min)
        pixels = (stored_yx.astype(np.int32) + shift).astype(np.uint16)
    volume = np.array(image.stored.affine_ras, dtype=np.float64).reshape(4, 4)
    affine = picture_affine(volume, plane)
    assert image.stored.spacing_xyz_mm is not None
    spacing = tuple(s for a, s in enumerate(image.stored.spacing_xyz_mm) if a != 2 - plane.axis)
    letters = [a for a in "xyz" if a != "zyx"[plane.axis]]  # the picture's x and y are these of the volume
    along = image.acquisition_axis
    return pixels, dataclasses.replace(
        image,
        axes="yx",
        dtype=pixels.dtype.name,
        offset=image.offset - shift * image.scale,
        stored=Grid(pixels.shape, spacing, geometry.orientation_code(affine), tuple(float(v) for v in affine.ravel())),
        acquisition_axis="xy"[letters.index(along)] if along in letters else None,
        stored_intensity=measured.stats,
        body_box=None,
    )


def _annotation(annotation: SampleAnnotation, record: Sample, plane: Plane) -> Iterator[SampleAnnotation]:
    """An annotation of the volume as it is on one slice; none where it lies elsewhere.

    Points and boxes stay on the slices they touch. What is said of a whole volume is not said of each slice, unless it is
    that something is absent: else it becomes a statement on the study.
    """
    if annotation.index_xyz:
        points = np.array(annotation.index_xyz, dtype=np.float64).reshape(-1, 3)
        across = 2 - plane.axis
        if not points[:, across].min() - 0.5 <= plane.index < points[:, across].max() + 0.5:
            return
        kept = [a for a in range(3) if a != across]
        shape_xyz = plane.shape_zyx[::-1]
        index = np.zeros_like(points)
        for picture_axis, a in enumerate(kept):
            index[:, picture_axis] = np.sort(shape_xyz[a] - 1 - points[:, a])
        image = record.images[0] if annotation.image is None else record.image(annotation.image)
        affine = picture_affine(np.array(image.stored.affine_ras, dtype=np.float64).reshape(4, 4), plane)
        world = geometry.apply(affine, index)
        yield dataclasses.replace(
            annotation, index_xyz=tuple(map(float, index.ravel())), world_ras_mm=tuple(map(float, world.ravel()))
        )
    elif annotation.level in ("study", "patient") or annotation.state == State.ABSENT:
        yield annotation
    else:
        yield dataclasses.replace(annotation, level="study", image=None)
