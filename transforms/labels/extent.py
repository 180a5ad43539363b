"""How much there is of each structure in a mask, and where: voxels, box, blocks of the codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from mdfp.codecs import BLOCK_VOXELS
from transforms.labels.memory import Layout, contiguous, one_value

_CHUNK_WORDS = 64
"""Codes that are looked at together: 512 bytes, a row of a usual label."""


@dataclass(frozen=True)
class Extent:
    """Where one value of a mask lies.

    Attributes:
        voxels: how many.
        box: z0, y0, x0, z1, y1, x1, ends exclusive.
        blocks: blocks of edge `BLOCK_VOXELS` that hold it, as ascending index in C order of the grid of blocks.
    """

    voxels: int
    box: tuple[int, ...]
    blocks: tuple[int, ...]


def extents(mask_zyx: npt.NDArray[Any]) -> dict[int, Extent]:
    """Extent of each value in a mask of unsigned integers, 0 left out."""
    n_blocks = tuple(-(-n // BLOCK_VOXELS) for n in mask_zyx.shape)
    largest = int(mask_zyx.max())
    # The ignore marker is far above the structures: values are numbered densely, so that the tables stay small.
    present = np.flatnonzero(tally(mask_zyx))
    number = np.zeros(largest + 1, dtype=np.int64)
    number[present] = np.arange(len(present))
    voxels = np.zeros(len(present), dtype=np.int64)
    box = np.empty((len(present), 6), dtype=np.int64)
    box[:, :3], box[:, 3:] = mask_zyx.shape, 0
    occupied = np.zeros((int(np.prod(n_blocks)), len(present)), dtype=np.bool_)
    _extents(contiguous(mask_zyx), number, BLOCK_VOXELS, voxels, box, occupied)
    return {
        int(value): Extent(
            int(voxels[i]), tuple(int(b) for b in box[i]), tuple(int(b) for b in np.flatnonzero(occupied[:, i]))
        )
        for i, value in enumerate(present)
        if value != 0
    }


def tally(codes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How often each value occurs in an array of uint8 or uint16 of any strides: (256,) or (65536,) counts."""
    flat = contiguous(Layout.of(codes).to_memory(codes)).reshape(-1)
    bits = 8 * flat.itemsize
    counts = np.zeros(1 << bits, dtype=np.int64)
    whole = len(flat) - len(flat) % (64 // bits)
    _tally(flat[:whole], flat[:whole].view(np.uint64), bits, counts)
    for value in flat[whole:]:
        counts[value] += 1
    return counts


@numba.njit(cache=True, nogil=True)
def _tally(codes, words, bits, counts):  # type: ignore[no-untyped-def]
    """Count codes; `words` are the same codes, 64 bits at a time."""
    per_word = 64 // bits
    for start in range(0, len(words), _CHUNK_WORDS):
        stop = min(start + _CHUNK_WORDS, len(words))
        chunk = codes[start * per_word : stop * per_word]
        if one_value(chunk):
            counts[chunk[0]] += len(chunk)
        else:
            _tally_words(words[start:stop], bits, counts)


@numba.njit(cache=True, nogil=True)
def _tally_words(words, bits, counts):  # type: ignore[no-untyped-def]
    """Count the values packed in 64-bit words. Labels repeat themselves: equal words in a row are counted as one."""
    mask = np.uint64((1 << bits) - 1)
    step = np.uint64(bits)
    last = words[0]
    run = 0
    for i in range(len(words) + 1):
        if i < len(words) and words[i] == last:
            run += 1
            continue
        word = last
        for _ in range(64 // bits):
            counts[word & mask] += run
            word >>= step
        if i < len(words):
            last = words[i]
            run = 1


@numba.njit(cache=True, nogil=True)
def _extents(mask, number, edge, voxels, box, occupied):  # type: ignore[no-untyped-def]
    nz, ny, nx = mask.shape
    blocks_y, blocks_x = -(-ny // edge), -(-nx // edge)
    for z in range(nz):
        for y in range(ny):
            if mask[z, y, 0] == 0 and one_value(mask[z, y]):
                continue
            row_block = ((z // edge) * blocks_y + y // edge) * blocks_x
            start = 0
            while start < nx:
                value = mask[z, y, start]
                stop = start + 1
                while stop < nx and mask[z, y, stop] == value:
                    stop += 1
                if value != 0:
                    i = number[value]
                    voxels[i] += stop - start
                    box[i, 0] = min(box[i, 0], z)
                    box[i, 1] = min(box[i, 1], y)
                    box[i, 2] = min(box[i, 2], start)
                    box[i, 3] = max(box[i, 3], z + 1)
                    box[i, 4] = max(box[i, 4], y + 1)
                    box[i, 5] = max(box[i, 5], stop)
                    for block in range(start // edge, (stop - 1) // edge + 1):
                        occupied[row_block + block, i] = True
                start = stop
