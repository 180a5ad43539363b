"""The two things a Siemens mosaic cannot be cut without, from the private CSA image header (0029,1010).

The layout is not published by its maker; it is described by nibabel's documentation ("Siemens CSA header"), by SPM and by
dcm2niix. Little endian:

    version 2 only: SV10, four bytes
    n tags (uint32), 77 (uint32)
    n times: name (64 bytes), vm (int32), vr (4 bytes), syngo type, n items, 77 or 205 (int32 each)
        n items times: four int32; a text, padded to 4 bytes

Version 2, which all scanners since about 2005 write, has the length of a text as the second of the four numbers. Of version 1
two descriptions are about: the length is the first number, less the number of items of the first tag, and an item for which
that comes out below 0 has no text and ends the items of its tag (SPM); or it is the second number as in
version 2 (GDCM). The first under which every tag and item has its 77 or 205 in place is taken. dcm2niix reads no version 1,
and nibabel none whose first tag has items (its issue 817).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from transforms.read import values
from transforms.read.values import Attributes

CSA_BLOCK, CSA_IMAGE_HEADER = 0x00290010, 0x00291010
PRIVATE_TAGS = (CSA_BLOCK, CSA_IMAGE_HEADER)
_CREATOR = "SIEMENS CSA HEADER"
_MAGIC, _CHECKS = b"SV10", (77, 205)
_WANTED = ("NumberOfImagesInMosaic", "SliceNormalVector")
_MAX_TAGS, _MAX_ITEMS = 1000, 1000


@dataclass(frozen=True)
class Mosaic:
    """How the slices of a volume lie in one picture.

    Attributes:
        count: slices; the picture is a square of as many tiles as are needed, the rest are blank.
        normal: direction from each tile to the next, LPS, as the header writes it.
    """

    count: int
    normal: tuple[float, float, float]


def mosaic_of(ds: Attributes) -> Mosaic | None:
    """What the CSA image header says of a mosaic; None where it is missing, damaged or silent."""
    data = values.raw(ds, CSA_IMAGE_HEADER)
    if not isinstance(data, bytes) or values.text(ds, CSA_BLOCK) != _CREATOR:
        return None
    try:
        found = read_csa(data)
        count = int(found["NumberOfImagesInMosaic"][0])
        x, y, z = (float(v) for v in found["SliceNormalVector"][:3])
    except (KeyError, IndexError, ValueError, struct.error):
        return None
    return Mosaic(count, (x, y, z)) if count > 0 else None


def read_csa(data: bytes) -> dict[str, tuple[str, ...]]:
    """The texts of the wanted tags of a CSA header of either version.

    Raises:
        ValueError: it is no CSA header.
        struct.error: it is cut short.
    """
    if data[:4] == _MAGIC:
        return _read(data, 8, _second)
    try:
        return _read(data, 0, _first_less_items)
    except (ValueError, struct.error):
        return _read(data, 0, _second_checked)


_Length = Callable[[tuple[int, int, int, int], int, int], int | None]
"""(the four numbers of an item, items of the first tag, bytes that are left) → length of its text; None: no more items.

Raises ValueError where the numbers make no sense.
"""


def _second(numbers: tuple[int, int, int, int], of_first: int, left: int) -> int:
    length = numbers[1]
    if not 0 <= length <= left:
        raise ValueError(f"expected at most {left} bytes of text, found {length}")
    return length


def _second_checked(numbers: tuple[int, int, int, int], of_first: int, left: int) -> int:
    _check(numbers[2])
    return _second(numbers, of_first, left)


def _first_less_items(numbers: tuple[int, int, int, int], of_first: int, left: int) -> int | None:
    _check(numbers[2])
    length = numbers[0] - of_first
    if length > left:
        raise ValueError(f"expected at most {left} bytes of text, found {length}")
    return length if length >= 0 else None


def _check(number: int) -> None:
    if number not in _CHECKS:
        raise ValueError(f"expected one of {_CHECKS} in a CSA header of version 1, found {number}")


def _read(data: bytes, at: int, length_of: _Length) -> dict[str, tuple[str, ...]]:
    """The texts of the wanted tags, from the number of tags at byte `at` on."""
    tags, check = struct.unpack_from("<II", data, at)
    at += 8
    if not 0 < tags <= _MAX_TAGS or check not in _CHECKS:
        raise ValueError(f"expected 1 to {_MAX_TAGS} tags and one of {_CHECKS}, found {tags} and {check}")
    found: dict[str, tuple[str, ...]] = {}
    of_first = None
    for _ in range(tags):
        name, _, _, _, items, check = struct.unpack_from("<64si4siii", data, at)
        at += 84
        if not 0 <= items <= _MAX_ITEMS:
            raise ValueError(f"expected at most {_MAX_ITEMS} items, found {items}")
        if length_of is not _second:
            _check(check)
        of_first = items if of_first is None else of_first
        texts = []
        for _ in range(items):
            numbers = struct.unpack_from("<4i", data, at)
            at += 16
            length = length_of(numbers, of_first, len(data) - at)
            if length is None:
                break
            texts.append(data[at : at + length].partition(b"\0")[0].decode("ascii", errors="replace").strip())
            at += length + -length % 4
        plain = name.partition(b"\0")[0].decode("ascii", errors="replace")
        if plain in _WANTED:
            found[plain] = tuple(t for t in texts if t)
    return found
