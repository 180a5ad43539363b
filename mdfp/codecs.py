"""How arrays become bytes in a shard, and back.

A volume is one blosc2 array (`.b2nd`), cut in chunks and blocks so that a crop is decoded without the rest. Any
blosc2 reads it; no pickle is involved. Bytes are a function of the array alone: chunk and block shapes are explicit
(blosc2's defaults follow the CPU's caches) and one thread compresses (several give different bytes in each run).

The constants were chosen by measurement (blosc2 4.14, one thread of a 2.5 GHz Xeon, CPU time; 200×273×273 CT-like
int16 volume that gzip compresses 2.9 times, its uint8 mask of 15 organs; crops are 96³ at random places):

| array | filter, codec | chunk/block | ratio | encode MB/s | decode MB/s | crop ms |
| --- | --- | --- | --- | --- | --- | --- |
| image | shuffle, zstd-1 | 64/32 | 3.8 | 323 | 1053 | 2.4 |
| image | shuffle, zstd-1 | **96/32** | 3.8 | 576 | 1114 | 2.4 |
| image | shuffle, zstd-1 | 64/16 | 3.9 | 309 | 911 | 2.4 |
| image | shuffle, zstd-1 | 32/32 (noisier volume) | 2.4 | 133 | 805 | 3.0 |
| image | bitshuffle, zstd-1 | 96/32 | 3.7 | 460 | 945 | 3.2 |
| image | shuffle, bytedelta, zstd-1 | 96/32 | 4.0 | 578 | 1147 | 2.4 |
| image | bitshuffle, lz4-1 | 64/32 (noisier volume) | 2.1 | 413 | 1147 | 1.6 |
| mask | none, zstd-1 | **96/32** | 216 | 1115 | 2736 | 0.46 |
| mask | shuffle, zstd-1 | 96/32 | 216 | 777 | 1229 | 1.40 |
| mask | bitshuffle, zstd-1 | 96/32 | 321 | 1084 | 1790 | 0.88 |

lz4 reads faster and takes 15-50 % more room (research said 2.8 against 3.8); bytedelta saves 5 % and is a plug-in that
other builds of blosc2 may lack; chunks below 96 spend their time in set-up, 0.4 ms each. Smaller blocks waste less of what
a crop touches and cost more for each: with the blocks of a visit's crops decoded once (`mdfp.pieces`), 16×32×32, 24³ and
32³ give the same crops per second to a tenth, and so do lz4 masks, four times as large.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import blosc2
import numpy as np
import numpy.typing as npt

CHUNK_VOXELS = 96
"""Edge of a chunk, per axis: the unit of compression set-up."""
BLOCK_VOXELS = 32
"""Edge of a block, the unit of decompression, per axis."""


def _edges(shape: tuple[int, ...], edge: int) -> tuple[int, ...]:
    """Edges along the last three axes; one frame at a time along any axis before them."""
    return tuple(min(edge, n) if axis >= len(shape) - 3 else 1 for axis, n in enumerate(shape))


@contextlib.contextmanager
def _without_blosc_variables() -> Iterator[None]:
    """Take BLOSC_* out of the environment for a while: the C library lets them win over what it is called with."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("BLOSC_")}
    try:
        yield
    finally:
        os.environ.update(taken)


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
        # Shuffling single bytes moves nothing and costs two thirds of the time to read a mask.
        shuffle = blosc2.Filter.SHUFFLE if little.itemsize > 1 else blosc2.Filter.NOFILTER
        with _without_blosc_variables():
            packed = blosc2.empty(
                little.shape,
                little.dtype,
                chunks=chunks,
                blocks=_edges(chunks, BLOCK_VOXELS),
                cparams=blosc2.CParams(
                    codec=blosc2.Codec.ZSTD,
                    clevel=1,
                    filters=[shuffle],
                    filters_meta=[0],
                    splitmode=blosc2.SplitMode.ALWAYS_SPLIT,
                    nthreads=1,
                ),
                # A frame's header holds both numbers of threads; left out, this one is the machine's number of cores.
                dparams=blosc2.DParams(nthreads=1),
                contiguous=True,
            )
            # The same bytes as of `blosc2.asarray`, which goes over the chunks of a large array in Python, in a fifth less time.
            packed[...] = little
            return bytes(packed.to_cframe())

    def decode(self, data: bytes | memoryview) -> npt.NDArray[Any]:
        """The whole array."""
        return np.asarray(self.open(data)[...])

    def open(self, data: bytes | memoryview) -> Any:
        """A lazy array: slicing it decodes only the blocks it touches, with one thread.

        `data` must outlive it (no copy is made). Bytes that are no blosc2 array raise RuntimeError or ValueError.
        """
        return blosc2.ndarray_from_cframe(data, copy=False)
