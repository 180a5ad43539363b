"""The fingerprint of an image: its exact hash, and of a volume the cube and the code that copies of it share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.flat import Flat
from transforms.identity.thumbnail import CELLS, Thumbnail, thumbnail
from transforms.normalise import over_time
from transforms.normalise.content_hash import survey_and_hash
from transforms.normalise.flat import as_zyx
from transforms.normalise.image import working
from transforms.normalise.intensity import CT_FLOOR_HU
from transforms.normalise.orientation import canonicalise
from transforms.volume import TemporalVolume, Volume

VERSION = 1
"""Raised when a fingerprint of equal voxels changes: those of another version are made again."""

BLOCKS_ZYX = (4, 8, 8)
"""Blocks of the cube, one bit each: fewer along S, where slices are most often cut off."""

CODE_BITS = BLOCKS_ZYX[0] * BLOCKS_ZYX[1] * BLOCKS_ZYX[2]


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What is kept of an image.

    Attributes:
        content_hash: of the canonical voxels; equal to that of the sample that the image becomes.
        thumbnail: its cube; None for pictures and films, and for volumes without a picture.
        code: its code, `CODE_BITS` bits; None where there is no cube.
    """

    content_hash: str
    thumbnail: Thumbnail | None
    code: bytes | None


def fingerprint(image: Volume | TemporalVolume | Flat, modality: str = "") -> Fingerprint:
    """The fingerprint of an image as read. Pictures, films and images over time are recognised by equal voxels alone.

    Memory: that of `transforms.identity.thumbnail.thumbnail`.

    Args:
        image: as read.
        modality: DICOM Modality code; of CT nothing lies below -1024 HU but padding.
    """
    if isinstance(image, Flat):
        _, digest = survey_and_hash(as_zyx(image.array), scale=image.scale, offset=image.offset)
        return Fingerprint(digest, None, None)
    if isinstance(image, TemporalVolume):
        moments = working(over_time.canonicalise(image))
        _, digest = over_time.survey_and_hash(moments.array, scale=moments.scale, offset=moments.offset)
        return Fingerprint(digest, None, None)
    canonical = working(canonicalise(image))
    seen, digest = survey_and_hash(canonical.array_zyx, scale=canonical.scale, offset=canonical.offset)
    cube = thumbnail(canonical, seen, CT_FLOOR_HU if modality == "CT" else None)
    return Fingerprint(digest, cube, None if cube is None else code_of(cube.cells_zyx))


def code_of(cells_zyx: npt.NDArray[np.uint8]) -> bytes:
    """One bit for each block of the cube: whether it is brighter than the middle one (Zauner's block mean value hash).

    Bits are dealt out over the code like cards, so that neighbouring blocks, which agree more often than others, do not
    meet in one of the words by which codes are looked up.
    """
    (nz, ny, nx), n = BLOCKS_ZYX, CELLS
    blocks = cells_zyx.reshape(nz, n // nz, ny, n // ny, nx, n // nx).astype(np.int64).sum(axis=(1, 3, 5)).reshape(-1)
    bits = blocks > np.sort(blocks)[CODE_BITS // 2 - 1]
    return np.packbits(bits.reshape(16, 16).T.reshape(-1)).tobytes()
