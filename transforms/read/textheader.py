"""What the two formats with a text header, MetaImage and NRRD, have in common."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from mdfp.geometry import Affine
from schemas.reasons import Reason
from transforms.rejected import Rejected

_MAX_INTEGER = 2**63 - 1
_NUMBER = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?|nan|inf")
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, eq=False)
class TextHeader:
    """A volume as its text header describes it.

    Attributes:
        shape_zyx: voxels along z, y, x.
        dtype: number type as in the file, byte order included.
        affine_ras: index (x, y, z) → mm, RAS world; not yet checked.
        data_file: name of the file beside this one that holds the voxels; None where they follow the header.
        data_offset: first byte of the (encoded) voxels in the file that holds them.
        encoding: raw, zlib, gzip or bzip2.
        skip: bytes of the decoded data before the first voxel; -1: the voxels are its last bytes.
        time_points: volumes that follow each other.
        step_ms: from each to the next; None where it is not said.
    """

    shape_zyx: tuple[int, int, int]
    dtype: np.dtype
    affine_ras: Affine
    data_file: str | None
    data_offset: int
    encoding: str
    skip: int
    time_points: int = 1
    step_ms: float | None = None


def shown(text: str | None, known: Collection[str] = ()) -> str:
    """What a message may show of a field: a number or a word that the format knows; no other text of a stranger.

    Args:
        text: the field's value, None where it is missing.
        known: words of the format.
    """
    if text is None or not text:
        return "nothing"
    words = text.split()
    sound = text.lower() in known or text in known or all(_NUMBER.fullmatch(w) for w in words)
    return text if sound and len(text) <= _SHOWN_CHARACTERS else "something else"


def numbers(text: str, field: str, *, count: int | None = None) -> list[float]:
    """The numbers of a field.

    Raises:
        Rejected: UNREADABLE, the field holds something else, or another count.
    """
    try:
        values = [float(v) for v in text.split()]
    except ValueError as error:
        raise Rejected(Reason.UNREADABLE, f"{field} holds something that is not a number") from error
    if not values or count not in (None, len(values)):
        raise Rejected(Reason.UNREADABLE, f"{field} holds {len(values)} numbers, expected {count or 'some'}")
    return values


def integers(text: str, field: str) -> list[int]:
    """The whole numbers of a field.

    Raises:
        Rejected: UNREADABLE, the field holds something else.
    """
    try:
        values = [int(v) for v in text.split()]
    except ValueError as error:
        raise Rejected(Reason.UNREADABLE, f"{field} holds something that is not a whole number") from error
    if any(abs(v) > _MAX_INTEGER for v in values):
        raise Rejected(Reason.UNREADABLE, f"{field} holds a number of more than 63 bits")
    if not values:
        raise Rejected(Reason.UNREADABLE, f"{field} is missing or empty")
    return values


def check_data_file(name: str) -> str:
    """The name of a detached data file, which must lie beside its header.

    A header comes from a stranger: it may not name files elsewhere.

    Raises:
        Rejected: UNSUPPORTED, a path, a pattern or a list.
    """
    if not name or "/" in name or "\\" in name or "%" in name or name in (".", "..") or name.split()[0] == "LIST":
        raise Rejected(
            Reason.UNSUPPORTED, "voxels in several files or in another folder; one file beside the header is read"
        )
    return name
