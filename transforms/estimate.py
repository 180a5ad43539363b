"""What a case will cost: CPU seconds of the build and bytes in a shard, from headers alone.

Good to about a factor of two; used to size shards, to spread work, and to say before the build what will be spent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mdfp import geometry
from schemas.case import ArrayHeader
from schemas.recipe import Geometry, ReferenceGrid
from transforms.flat import is_flat
from transforms.normalise.grid import target_spacing
from transforms.normalise.taps import output_size
from transforms.read.header import OVER_TIME, at_one_moment

INFLATE_S_PER_BYTE = 0.4 / 160e6
"""libdeflate on a 512×512×300 int16 CT, one core of 2.5 GHz, per byte that comes out."""

RESAMPLE_S_PER_VOXEL = 0.3 / 79e6
"""The fused pass (flip, taps, clamp), per voxel read: the same CT to 1.5 mm."""

VOTE_S_PER_VOXEL = 0.4 / 79e6
"""Remapping, counting and the coverage vote of a label, per voxel read."""

ENCODE_S_PER_BYTE = 1 / 400e6
"""blosc2, shuffle and zstd-1, per stored byte before compression."""

INSTANCE_S = 0.003
"""Parsing one DICOM instance."""

IMAGE_RATIO = 2.0
"""How many times smaller an encoded image is: CT with much air reaches 3.5 to 4, cropped CT and MR 1.6 to 2."""

LABEL_RATIO = 100.0
"""The same of a mask."""

STORED_IMAGE_BYTES = 2
"""Bytes of a stored voxel: int16."""

SNAPSHOT_BYTES = 20_000
"""JSON and tar headers of a sample; a palette of 120 structures takes 33 kB, one of ten 6 kB."""


FLAT_SNAPSHOT_BYTES = 4_000
"""The same of a sample of pictures, whose structures are few or none."""

FLAT_RATIO = 2.0
"""How many times smaller a PNG or a film's frames are than their values: photographs 1.5 to 2, radiographs 2 to 3."""

FLAT_S_PER_VALUE = 1 / 12e6
"""Decoding, describing and encoding a picture as PNG, per value: the encoder takes most of it."""


@dataclass(frozen=True)
class ArrayCost:
    """What the estimate needs to know of one array.

    Attributes:
        header: its header; of one file, where several are alike.
        modality: of the image, or of the label's image: decides the target spacing.
        files: how many such files there are (masks of a per-structure label; 1 for a DICOM series).
        instances: objects that are parsed one by one (a DICOM series), else 0.
    """

    header: ArrayHeader
    modality: str
    files: int = 1
    instances: int = 0


def estimate(images: Sequence[ArrayCost], labels: Sequence[ArrayCost], wanted: Geometry) -> tuple[float, int]:
    """(CPU seconds, bytes in the shard) of a case.

    Args:
        images: its images.
        labels: its labels.
        wanted: the recipe's geometry.
    """
    seconds = 0.0
    grid = _shared(images, wanted)
    flat = [i for i in images if is_flat(i.header.axes)]
    stored = float(SNAPSHOT_BYTES if len(flat) < len(images) or labels else FLAT_SNAPSHOT_BYTES)
    for picture in flat:
        values, kept = math.prod(picture.header.shape), _kept(picture.header, wanted)
        seconds += values * FLAT_S_PER_VALUE
        if picture.header.format == "jpeg" and kept == 1:
            stored += picture.header.bytes
        else:
            stored += values * kept * np.dtype(picture.header.dtype).itemsize / FLAT_RATIO
    for image in (i for i in images if not is_flat(i.header.axes)):
        voxels, out = math.prod(image.header.shape), _output_voxels(grid or image, wanted)
        if grid is not None:
            out = _times(image.header) * out // _times(grid.header)
        inflated = voxels * np.dtype(image.header.dtype).itemsize
        seconds += inflated * INFLATE_S_PER_BYTE + voxels * RESAMPLE_S_PER_VOXEL + image.instances * INSTANCE_S
        seconds += out * STORED_IMAGE_BYTES * ENCODE_S_PER_BYTE
        stored += out * STORED_IMAGE_BYTES / IMAGE_RATIO
    for label in labels:
        voxels, out = math.prod(label.header.shape), _output_voxels(grid or label, wanted)
        out = out if grid is None else out // _times(grid.header)
        inflated = voxels * np.dtype(label.header.dtype).itemsize
        seconds += label.files * (inflated * INFLATE_S_PER_BYTE + voxels * VOTE_S_PER_VOXEL)
        seconds += out * ENCODE_S_PER_BYTE
        stored += out / LABEL_RATIO
    return round(seconds, 3), int(stored)


def _times(header: ArrayHeader) -> int:
    return header.shape[0] if header.axes == OVER_TIME else 1


def _shared(images: Sequence[ArrayCost], wanted: Geometry) -> ArrayCost | None:
    """The image on whose grid all of the case are stored, where the recipe asks for that and there is one."""
    if not isinstance(wanted.grid, ReferenceGrid):
        return None
    return next((i for i in images if i.modality == wanted.grid.reference), None)


def _kept(header: ArrayHeader, wanted: Geometry) -> float:
    """Fraction of a picture's values that its longest side leaves."""
    longest = max(n for axis, n in zip(header.axes, header.shape, strict=True) if axis in "yx")
    return 1.0 if wanted.longest_side is None else min(1.0, wanted.longest_side / longest) ** 2


def _output_voxels(array: ArrayCost, wanted: Geometry) -> int:
    """Voxels of the output grid, at all times; those of the input where the header gives no geometry."""
    header = array.header
    if header.axes == OVER_TIME:
        moment = replace(array, header=at_one_moment(header))
        return header.shape[0] * _output_voxels(moment, wanted)
    if header.affine_ras is None or header.spacing_xyz_mm is None or len(header.shape) != 3:
        return math.prod(header.shape)
    affine = np.array(header.affine_ras, dtype=np.float64).reshape(4, 4)
    size, spacing = [0, 0, 0], [0.0, 0.0, 0.0]
    for index_axis, (world_axis, _) in enumerate(geometry.closest_axes(affine)):
        size[world_axis] = header.shape[::-1][index_axis]
        spacing[world_axis] = header.spacing_xyz_mm[index_axis]
    native = (spacing[0], spacing[1], spacing[2])
    out = target_spacing(native, wanted.spacing_for(array.modality), upsample=wanted.upsample == "allow")
    return math.prod(output_size(n, s, t) for n, s, t in zip(size, spacing, out, strict=True))
