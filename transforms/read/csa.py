"""The two things a Siemens mosaic cannot be cut without, from the private CSA image header (0029,1010).

The layout is not published by its maker; it is described by nibabel's documentation ("Siemens CSA header") and by
dcm2niix. Little endian; only its second version, which all scanners since about 2005 write:

    SV10, four bytes, n tags (uint32), 77 (uint32)
    n times: name (64 bytes), vm (int32), vr (4 bytes), syngo type, n items, 77 or 205 (int32 each)
        n items times: four int32, of which the second is the length of the text; the text, padded to 4 bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from transforms.read import values
from transforms.read.values import Attributes

CSA_BLOCK, CSA_IMAGE_HEADER = 0x00290010, 0x00291010
PRIVATE_TAGS = (CSA_BLOCK, CSA_IMAGE_HEADER)
_CREATOR = "SIEMENS CSA HEADER"
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
    """The texts of the wanted tags of a CSA header.

    Raises:
        ValueError: it is no CSA header.
        struct.error: it is cut short.
    """
    if data[:4] != b"SV10":
        raise ValueError("no CSA header of version 2")
    tags, _ = struct.unpack_from("<II", data, 8)
    at = 16
    if not 0 < tags <= _MAX_TAGS:
        raise ValueError(f"expected 1 to {_MAX_TAGS} tags, found {tags}")
    found: dict[str, tuple[str, ...]] = {}
    for _ in range(tags):
        name, _, _, _, items, _ = struct.unpack_from("<64si4siii", data, at)
        at += 84
        if not 0 <= items <= _MAX_ITEMS:
            raise ValueError(f"expected at most {_MAX_ITEMS} items, found {items}")
        texts = []
        for _ in range(items):
            _, length, _, _ = struct.unpack_from("<4i", data, at)
            at += 16
            if not 0 <= length <= len(data) - at:
                raise ValueError(f"expected at most {len(data) - at} bytes of text, found {length}")
            texts.append(data[at : at + length].partition(b"\0")[0].decode("ascii", errors="replace").strip())
            at += length + -length % 4
        plain = name.partition(b"\0")[0].decode("ascii", errors="replace")
        if plain in _WANTED:
            found[plain] = tuple(t for t in texts if t)
    return found
