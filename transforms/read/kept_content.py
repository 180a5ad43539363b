"""What a compressed file holds, inflated once for all who read a part of it: time points or channels of one file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Content = npt.NDArray[np.uint8]

KEPT_BYTES = 1 << 30
"""Content longer than this is not kept: it is inflated again for each that reads a part of it."""


@dataclass(eq=False)
class KeptContent:
    """A place for the inflated content of one file. Empty at first, and again after `forget`.

    Attributes:
        content: the bytes, read-only; None while nothing is kept.
    """

    content: Content | None = None

    def once(self, inflated: Callable[[], Content]) -> Content:
        """What is kept, or else what `inflated` gives, which is kept from now on where it is not too long.

        Callers must read the content of one and the same stream, of which they expect the same.
        """
        if self.content is not None:
            return self.content
        made = inflated()
        if len(made) <= KEPT_BYTES:
            made.flags.writeable = False  # the next reader finds it as it was
            self.content = made
        return made

    def forget(self) -> None:
        """Keep nothing; those who hold the content keep theirs."""
        self.content = None

    @property
    def bytes(self) -> int:
        """Of the content that is kept."""
        content = self.content
        return 0 if content is None else len(content)


def once(kept: KeptContent | None, inflated: Callable[[], Content]) -> Content:
    """`kept.once`; without a place to keep it what `inflated` gives."""
    return inflated() if kept is None else kept.once(inflated)
