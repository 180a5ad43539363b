"""TIFF files of one page (TIFF 6.0): header, pixels. Grey and RGB of 8 or 16 bits a sample."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from transforms.read import isolated
from transforms.rejected import Rejected

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4}
_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION = 256, 257, 258, 259, 262, 274
_SAMPLES, _PLANAR, _FORMAT = 277, 284, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _INDICES, _YCBCR = 0, 1, 2, 3, 6
_MAX_ENTRIES = 4096


@dataclass(frozen=True)
class TiffHeader:
    """The first directory of a TIFF file.

    Attributes:
        rows: as stored, before `orientation`.
        columns: as stored.
        channels: 1 grey, 3 RGB, 2 and 4 the same with alpha.
        bits: of a decoded sample, 8 or 16.
        orientation: tag 274, 1 to 8, with the meaning of EXIF's.
        inverted: low is bright (WhiteIsZero).
        palette: samples are indices of a palette.
        stored_bits: of a sample in the file: `bits`, or 1.
    """

    rows: int
    columns: int
    channels: int
    bits: int
    orientation: int
    inverted: bool
    palette: bool = False
    stored_bits: int = 8


def header(prefix: bytes, *, whole: bool, mask: bool = False) -> TiffHeader | None:
    """The header from the first bytes of a file; None when it needs more of them: a directory often lies at the end.

    Args:
        prefix: first bytes.
        whole: they are all of the file.
        mask: it is read for its numbers: grey of 1 bit, and indices of a palette of 8 bits, are taken too.

    Raises:
        Rejected: UNREADABLE, no TIFF; TRUNCATED; MULTIFRAME, several pages; UNSUPPORTED, BigTIFF, a palette, other bits.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(prefix[:2]))
    if order is None or len(prefix) < 8:
        raise Rejected(Reason.UNREADABLE, "not TIFF: the file does not begin with II or MM")
    version, start = struct.unpack_from(order + "HI", prefix, 2)
    if version != 42:
        raise Rejected(Reason.UNSUPPORTED, f"TIFF version {version}; 42 is read")
    try:
        tags, following = _directory(prefix, order, start)
    except (struct.error, IndexError) as error:
        if not whole:
            return None
        raise Rejected(Reason.TRUNCATED, "the TIFF file ends before its directory") from error
    if following:
        raise Rejected(Reason.MULTIFRAME, "a TIFF file of several pages; one is read")
    return _checked(tags, mask)


def _directory(data: bytes, order: str, start: int) -> tuple[dict[int, tuple[int, ...]], int]:
    (entries,) = struct.unpack_from(order + "H", data, start)
    if entries > _MAX_ENTRIES:
        raise Rejected(Reason.UNREADABLE, f"a TIFF directory of {entries} entries")
    tags: dict[int, tuple[int, ...]] = {}
    for number in range(entries):
        tag, kind, count = struct.unpack_from(order + "HHI", data, start + 2 + 12 * number)
        if tag not in (_WIDTH, _LENGTH, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _FORMAT) or kind not in (1, 3, 4):
            continue
        if not 0 < count <= 16:
            raise Rejected(Reason.UNREADABLE, f"{count} values of TIFF tag {tag}")
        at = start + 2 + 12 * number + 8
        if count * _SIZES[kind] > 4:
            (at,) = struct.unpack_from(order + "I", data, at)
        tags[tag] = struct.unpack_from(f"{order}{count}{'BBBHI'[kind]}", data, at)
    (following,) = struct.unpack_from(order + "I", data, start + 2 + 12 * entries)
    return tags, following


def _checked(tags: dict[int, tuple[int, ...]], mask: bool) -> TiffHeader:
    rows, columns = tags.get(_LENGTH, (0,))[0], tags.get(_WIDTH, (0,))[0]
    if not rows or not columns:
        raise Rejected(Reason.UNREADABLE, "a TIFF file without width or length")
    channels, photometric = tags.get(_SAMPLES, (1,))[0], tags.get(_PHOTOMETRIC, (_BLACK_IS_ZERO,))[0]
    bits = set(tags.get(_BITS, (1,)))
    one_bit = mask and bits == {1} and channels == 1
    if (bits not in ({8}, {16}) and not one_bit) or set(tags.get(_FORMAT, (1,))) != {1}:
        raise Rejected(
            Reason.UNSUPPORTED, f"TIFF samples of {sorted(bits)} bits; unsigned integers of 8 or 16 are read"
        )
    grey = photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO) and channels in (1, 2)
    indices = mask and photometric == _INDICES and channels == 1 and bits == {8}
    if not grey and not indices and not (photometric in (_RGB, _YCBCR) and channels in (3, 4)):
        raise Rejected(
            Reason.UNSUPPORTED,
            f"TIFF of photometric interpretation {photometric} with {channels} samples; grey and RGB are read",
        )
    turned = tags.get(_ORIENTATION, (1,))[0]
    (stored_bits,) = bits
    return TiffHeader(
        rows, columns, channels, max(8, stored_bits), turned if 1 <= turned <= 8 else 1, photometric == _WHITE_IS_ZERO,
        indices, stored_bits,
    )  # fmt: skip


def decode(data: bytes, found: TiffHeader) -> npt.NDArray[Any]:
    """Pixels (y, x) or (y, x, c), uint8 or uint16, not turned; WhiteIsZero is mirrored here and nowhere else.

    Of 1 bit the numbers are 0 and 1; indices of a palette stay indices.

    Raises:
        Rejected: UNREADABLE, the strips cannot be decoded or hold something else than announced; TRUNCATED, the JPEG stream
            of a strip breaks off.
    """
    array = isolated.run("transforms.read.decoders:tiff", data)
    if found.stored_bits == 1 and array.dtype == np.bool_:
        array = array.astype(np.uint8)
    expected = (found.rows, found.columns, *((found.channels,) if found.channels > 1 else ()))
    if array.shape != expected or array.dtype.itemsize * 8 != found.bits:
        raise Rejected(
            Reason.UNREADABLE, f"expected {expected} pixels of {found.bits} bits, the strips hold {array.shape}"
        )
    if found.stored_bits == 1:
        return array ^ 1 if found.inverted else array
    return np.invert(array) if found.inverted and found.channels == 1 else array
