"""What stored numbers mean: the image's unit, or 0..1 for a network."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.sample import Normalisation, SampleImage

SCALED_AT_ONCE = 2**17
"""Voxels that are scaled together: half a megabyte as float32, a quarter of a core's own cache."""


class Scaling:
    """Stored numbers as physical ones, or clipped and mapped to 0..1 by the image's default normalisation.

    An image whose normalisation is `none`, or has no width, gives physical numbers or zeros respectively.
    """

    def __init__(self, record: SampleImage, *, normalise: bool):
        scale, offset = record.scale, record.offset
        n: Normalisation = record.normalisation
        self.clip = normalise and n.kind != "none"
        if self.clip:
            width = n.upper - n.lower
            scale, offset = (scale / width, (offset - n.lower) / width) if width > 0 else (0.0, 0.0)
        self.scale, self.offset = scale, offset

    def apply(self, stored: npt.NDArray[Any], out: npt.NDArray[np.float32]) -> None:
        """Put what the numbers mean into `out`, float32 of the same shape.

        All steps but the last work on a part that stays in the cache: `out` is new memory, and is gone over once.
        """
        rows = max(1, SCALED_AT_ONCE // max(1, stored[:1].size))
        for first in range(0, len(stored), rows):
            self._apply(stored[first : first + rows], out[first : first + rows])

    def _apply(self, stored: npt.NDArray[Any], out: npt.NDArray[np.float32]) -> None:
        if stored.itemsize <= 2 or stored.dtype == np.float32:
            part = stored.astype(np.float32)
            if (self.scale, self.offset) != (1.0, 0.0):
                part *= np.float32(self.scale)
                part += np.float32(self.offset)
        else:
            part = (stored * self.scale + self.offset).astype(np.float32)
        if self.clip:
            np.clip(part, 0.0, 1.0, out=part)
        out[...] = part
