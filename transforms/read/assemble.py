"""From the objects of a series to voxels: slices decoded, duplicates settled, values physical, the grid regular."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read import clusters, dicom, dicom_pixels, frames
from transforms.read.deskew import deskewed
from transforms.read.dicom import Instance
from transforms.read.dicom_pixels import StoredSlice
from transforms.read.header import check_extent, check_frames
from transforms.read.pet import PetFields, suv_factors
from transforms.read.stack import Stack, check_plane
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

PROJECTIONS = frozenset({"CR", "DX", "MG", "PX", "IO", "XA", "RF", "US", "IVUS", "OP", "ES", "XC", "GM", "SM", "DMS"})
"""Modalities whose instances are pictures or films, not slices."""


def slices_of(instance: Instance) -> tuple[Instance, ...]:
    """The slices of an object that can be slices of a volume: itself, its frames or its tiles.

    Raises:
        Rejected: LOCALIZER; NOT_A_VOLUME, a projection; as `dicom_pixels.check_readable`, `frames.expand` and `stack.check_plane`.
    """
    if instance.frames or frames.is_mosaic(instance):
        dicom_pixels.check_grey(instance)
    else:
        dicom_pixels.check_readable(instance)
    if instance.modality in PROJECTIONS and "LOCALIZER" not in instance.image_type:
        raise Rejected(Reason.NOT_A_VOLUME, f"modality {instance.modality}: pictures, not slices of a volume")
    pieces = frames.expand(instance)
    for piece in (instance, *pieces):
        if "LOCALIZER" in piece.image_type:
            raise Rejected(Reason.LOCALIZER, "ImageType says LOCALIZER")
    for piece in pieces:
        check_plane(piece)
    return pieces


def to_suv(slices: Sequence[Instance]) -> tuple[tuple[Instance, ...], str]:
    """The slices of a PET volume with the rescale that gives SUVbw, and which way was taken; others as they are.

    Raises:
        Rejected: NO_SUV.
    """
    if slices[0].modality != "PT":
        return tuple(slices), ""
    way = suv_factors([i.pet or PetFields() for i in slices])
    scaled = (
        replace(i, slope=i.slope * f, intercept=i.intercept * f) for i, f in zip(slices, way.factors, strict=True)
    )
    return tuple(scaled), way.note


class Objects:
    """The files of a volume, opened; the pixels of an object of many slices are decoded once."""

    def __init__(self, files: Sequence[tuple[str, Bytes]], limits: Limits) -> None:
        """Open (path, whole file) of each object.

        Raises:
            Rejected: as `dicom.open_instance` does.
        """
        self._data = dict(files)
        self._opened = {p: dicom.open_instance(c, path=p, file_bytes=len(c)) for p, c in files}
        self._limits = limits
        self._held: dict[str, npt.NDArray] = {}

    def slices(self) -> list[Instance]:
        """All slices of all objects, in an order that does not depend on that of the files."""
        opened = sorted((o.instance for o in self._opened.values()), key=lambda i: (i.sop_instance_uid, i.path))
        for instance in opened:
            check_frames(instance.number_of_frames, self._limits)
        return [piece for instance in opened for piece in slices_of(instance)]

    def pixels(self, piece: Instance) -> StoredSlice:
        """The pixels of a slice, with its rescale.

        Raises:
            Rejected: as `dicom_pixels.stored_frames` does; TOO_LARGE, all frames of the object together.
        """
        data, opened = self._data[piece.path], self._opened[piece.path]
        if piece.frame is None:
            return dicom_pixels.finished(dicom_pixels.stored_frames(data, opened)[0], piece)
        if piece.path not in self._held:
            whole = opened.instance
            taken = whole.number_of_frames * whole.rows * whole.columns * whole.dtype.itemsize
            if taken > self._limits.max_bytes:
                detail = f"all frames take {taken} bytes in memory; the recipe's limits allow {self._limits.max_bytes}"
                raise Rejected(Reason.TOO_LARGE, detail)
            self._held[piece.path] = dicom_pixels.stored_frames(data, opened)
        return dicom_pixels.finished(frames.cut(self._held[piece.path], piece), piece)


def partitions(slices: Sequence[Instance], *, temporal: bool = False) -> list[clusters.Part]:
    """The volumes that slices are, by geometry and then by content; or else those that are series over time."""
    pieces = (p for part in clusters.by_geometry(slices) for p in clusters.by_content(part, over_time=True))
    return [p for p in pieces if p.temporal == temporal]


def stored_dtype(slices: Sequence[Instance]) -> np.dtype:
    """A number type that holds the stored values of all slices."""
    return np.result_type(*{i.dtype for i in slices})


def assembled(stack: Stack, objects: Objects, limits: Limits) -> Volume:
    """The volume of a measured stack on its regular, upright grid.

    Raises:
        Rejected: CONFLICTING_SLICES, slices at one position differ; TOO_LARGE; as `Objects.pixels` does.
    """
    everything = [i for slot in stack.slots for i in slot]
    uniform = len({(i.slope, i.intercept) for i in everything}) == 1
    check_extent(stack.shape, (stored_dtype(everything) if uniform else np.dtype(np.float64)).itemsize, limits)
    array, padding = stacked(stack, objects)
    if stack.skew is not None:
        array = deskewed(array, stack.skew, padding)
    if stack.irregular:
        array = _onto_grid(array, stack, padding)
    if not uniform:
        array = _narrow(array)
    scale, offset = (everything[0].slope, everything[0].intercept) if uniform else (1.0, 0.0)
    return Volume(array, stack.affine_ras, scale, offset, padding)


def stacked(stack: Stack, objects: Objects) -> tuple[npt.NDArray, float | None]:
    """The slices as they are, one for each position, and the value of padding.

    Shape (positions, rows, columns): stored values where one slope and intercept hold for all slices, else physical ones in
    float64. Neither deskewed nor resampled.
    """
    everything = [i for slot in stack.slots for i in slot]
    first = everything[0]
    uniform = len({(i.slope, i.intercept) for i in everything}) == 1
    dtype = stored_dtype(everything) if uniform else np.dtype(np.float64)
    array = np.empty((len(stack.slots), first.rows, first.columns), dtype)
    paddings: set[int | None] = set()
    for z, slot in enumerate(stack.slots):
        stored = _settled([objects.pixels(i) for i in slot], stack.offsets_mm[z])
        paddings.add(stored.padding)
        array[z] = stored.array_yx if uniform else stored.array_yx * stored.scale + stored.offset
    common = paddings.pop() if uniform and len(paddings) == 1 else None
    return array, None if common is None else float(common)


def _settled(slot: Sequence[StoredSlice], at_mm: float) -> StoredSlice:
    """The one slice of a position: the first of several with the same pixels."""
    first = slot[0]
    for second in slot[1:]:
        same = (first.scale, first.offset) == (second.scale, second.offset) and np.array_equal(
            first.array_yx, second.array_yx
        )
        if not same:
            different = int((first.array_yx != second.array_yx).sum())
            raise Rejected(
                Reason.CONFLICTING_SLICES,
                f"{len(slot)} slices lie at one position, {at_mm:.3f} mm from the first; {different} of "
                f"{math.prod(first.array_yx.shape)} pixels differ",
            )
    return first


def _onto_grid(array: npt.NDArray, stack: Stack, padding: float | None) -> npt.NDArray:
    """Slices at measured positions, interpolated linearly to the regular grid; integers rounded half to even.

    Where one of the two neighbours is padding the nearer one is taken: padding is no intensity.
    """
    result = np.empty_like(array)
    positions = stack.offsets_mm
    for z, target in enumerate(stack.regular_mm):
        low = int(np.clip(np.searchsorted(positions, target, side="right") - 1, 0, len(positions) - 2))
        weight = float(np.clip((target - positions[low]) / (positions[low + 1] - positions[low]), 0.0, 1.0))
        near = low + (weight > 0.5)
        mixed = array[low] * (1.0 - weight) + array[low + 1] * weight
        if np.issubdtype(array.dtype, np.integer):
            mixed = np.rint(mixed)
        if padding is not None:
            mixed = np.where((array[low] == padding) | (array[low + 1] == padding), array[near], mixed)
        result[z] = mixed
    return result


def _narrow(array: npt.NDArray[np.float64]) -> npt.NDArray:
    narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array) else array
