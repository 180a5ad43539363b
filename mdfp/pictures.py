"""Picture members of a shard, `.png` and `.jpg`, as arrays.

imagecodecs decodes all of them (the `pictures` extra). Without it pillow does, where it loses nothing: it has no colour of
16 bits. Neither is imported before a picture is asked for.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.errors import MissingExtraError, UsageError

EXTENSIONS = ("png", "jpg")
"""Of members that hold a picture."""


def is_picture(name: str) -> bool:
    """Whether a member, or an extension as webdataset names it, is a picture."""
    return name.rpartition(".")[2] in EXTENSIONS


def decode(data: bytes | memoryview) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, c), uint8 or uint16: rows from the top, RGB order.

    Raises:
        ValueError: bytes that do not decode.
        MissingExtraError: no library that could.
    """
    content = bytes(data)
    try:
        import imagecodecs
    except ImportError:
        return _with_pillow(content)
    try:
        png = content.startswith(b"\x89PNG")
        return np.asarray(imagecodecs.png_decode(content) if png else imagecodecs.jpeg8_decode(content))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"not a picture that decodes: {error}") from error


def _with_pillow(content: bytes) -> npt.NDArray[Any]:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError('pictures need a decoder: pip install "mdfp[pictures]"') from error
    # Bit depth and colour type of a PNG header (ISO/IEC 15948, 11.2.2).
    if content.startswith(b"\x89PNG") and content[24] == 16 and content[25] != 0:
        raise UsageError('colour of 16 bits needs imagecodecs: pip install "mdfp[pictures]"')
    try:
        with Image.open(io.BytesIO(content), formats=["PNG", "JPEG"]) as image:
            array = np.asarray(image)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a picture that decodes: {error}") from error
    return array.astype(np.uint16) if array.dtype == np.int32 else array


class Decoded:
    """A decoded picture that is asked for parts as a lazy blosc2 array is: it has one block, the whole."""

    def __init__(self, array: npt.NDArray[Any]):
        self._array = array
        self.shape = array.shape
        self.blocks = array.shape
        self.dtype = array.dtype
        self.ndim = array.ndim

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return self._array[key]

    def get_slice_numpy(self, out: npt.NDArray[Any], corners: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        """Copy the part between two corners, ends exclusive, into `out`."""
        out[...] = self._array[tuple(slice(a, b) for a, b in zip(*corners, strict=True))]
