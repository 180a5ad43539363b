"""How arrays become bytes in a shard, and back.

A volume is one blosc2 array (`.b2nd`), cut in chunks and blocks so that a crop is decoded without the rest. Any
blosc2 reads it; no pickle is involved. Bytes are a function of the array alone: chunk and block shapes are explicit
(blosc2's defaults follow the CPU's caches) and one thread compresses (several give different bytes in each run).
"""

from __future__ import annotations

from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

CHUNK_VOXELS = 64
"""Edge of a chunk, per axis."""
BLOCK_VOXELS = 32
"""Edge of a block, the unit of decompression, per axis."""


def _edges(shape: tuple[int, ...], edge: int) -> tuple[int, ...]:
    return tuple(min(edge, n) for n in shape)


class VolumeCodec:
    """Arrays of any number of axes as `.b2nd` frames."""

    extension = "b2nd"

    def encode(self, array: npt.NDArray[Any]) -> bytes:
        """Compress losslessly. `array`: any shape without empty axes, any number dtype; stored little-endian.

        Raises:
            ValueError: the array has no elements or no axes.
        """
        if array.ndim == 0 or array.size == 0:
            raise ValueError(f"a member needs at least one element and one axis, found shape {array.shape}")
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        chunks = _edges(little.shape, CHUNK_VOXELS)
        packed = blosc2.asarray(
            little,
            chunks=chunks,
            blocks=_edges(chunks, BLOCK_VOXELS),
            cparams=blosc2.CParams(
                codec=blosc2.Codec.ZSTD, clevel=1, filters=[blosc2.Filter.SHUFFLE], filters_meta=[0], nthreads=1
            ),
            contiguous=True,
        )
        return bytes(packed.to_cframe())

    def decode(self, data: bytes | memoryview) -> npt.NDArray[Any]:
        """The whole array."""
        return np.asarray(self.open(data)[...])

    def open(self, data: bytes | memoryview) -> Any:
        """A lazy array: slicing it decodes only the blocks it touches. `data` must outlive it (no copy is made)."""
        return blosc2.ndarray_from_cframe(data, copy=False)
