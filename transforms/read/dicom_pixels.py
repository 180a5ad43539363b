"""The pixels of one grey DICOM instance, as stored values (PS3.5 8.1.1), and how they become physical ones."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import uid

from schemas.reasons import Reason
from transforms.read import isolated, terms
from transforms.read.decoders import dicom_pixels
from transforms.read.deflated import plain_of
from transforms.read.dicom import ENHANCED, NATIVE, UNDEFINED_LENGTH, Instance, Opened, open_instance
from transforms.rejected import Rejected
from transforms.scratch import Bytes

_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_CALIBRATED = ("CT", "PT")


@dataclass(frozen=True, eq=False)
class StoredSlice:
    """Pixels of an instance.

    Attributes:
        array_yx: shape (rows, columns), stored values, native byte order; may be a read-only view of the file.
        scale: physical = stored * scale + offset.
        offset: see scale.
        padding: stored value that marks pixels outside the scan, or None.
    """

    array_yx: npt.NDArray[Any]
    scale: float
    offset: float
    padding: int | None


def pixels(data: Bytes, opened: Opened | None = None) -> StoredSlice:
    """Pixels of a single-frame grey instance, and how they become physical values.

    Args:
        data: the whole file.
        opened: from `open_instance`, where the caller has it already.

    Raises:
        Rejected: MULTIFRAME, several frames or a mosaic, for which see `frames`; else as `stored_frames` does.
    """
    opened = opened or open_instance(data, path="", file_bytes=len(data))
    check_readable(opened.instance)
    return finished(stored_frames(data, opened)[0], opened.instance)


def stored_frames(data: Bytes, opened: Opened) -> npt.NDArray[Any]:
    """Pixels of a grey instance as its file holds them: shape (frames, rows, columns), for `finished` to make values of.

    Args:
        data: the whole file; the array may be a read-only view of it.
        opened: from `open_instance`.

    Raises:
        Rejected: TRUNCATED, fewer pixels than announced; UNREADABLE, they cannot be decoded; UNSUPPORTED, colour, 1 or
            64 bits, a modality LUT.
    """
    instance, syntax = opened.instance, opened.transfer_syntax
    check_grey(instance)
    if instance.missing_pixel_bytes:
        raise Rejected(Reason.TRUNCATED, f"the pixels are {instance.missing_pixel_bytes} bytes short")
    big = syntax == uid.ExplicitVRBigEndian
    shape = (instance.number_of_frames, instance.rows, instance.columns)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        data, syntax = plain_of(data) or data, uid.ExplicitVRLittleEndian
    if syntax in NATIVE and not (big and instance.bits_allocated == 8):  # there pairs of bytes may be swapped
        dtype = instance.dtype.newbyteorder(">" if big else "<")
        needed = math.prod(shape) * dtype.itemsize
        found = (
            0 if opened.pixel_length == UNDEFINED_LENGTH else min(opened.pixel_length, len(data) - opened.pixel_offset)
        )
        if found < needed:  # another length than that of the frames, or none that a native syntax has
            raise Rejected(Reason.TRUNCATED, f"expected {needed} bytes of pixels, found {max(0, found)}")
        stored = np.frombuffer(data, dtype, count=math.prod(shape), offset=opened.pixel_offset)
        return stored.astype(instance.dtype, copy=False).reshape(shape)
    return _decoded(data, opened, shape)


def finished(stored_yx: npt.NDArray[Any], instance: Instance) -> StoredSlice:
    """One slice of stored values, from the words that its file holds.

    Stored values are as PS3.5 8.1.1 defines them: BitsStored bits ending at HighBit, sign-extended where
    PixelRepresentation is 1; other bits are not pixels. MONOCHROME1 (low is bright) is mirrored within the range of the
    stored bits, here and nowhere else, except in CT and PET, whose numbers are HU and activity however they are
    displayed.

    Raises:
        Rejected: UNREADABLE, the bits do not fit in the word.
    """
    stored = stored_bits(stored_yx, instance)
    padding = instance.padding
    if instance.photometric_interpretation == "MONOCHROME1" and instance.modality not in _CALIBRATED:
        # The sum of the lowest and the highest value: (0, 2**n - 1) or (-2**(n-1), 2**(n-1) - 1).
        both_ends = -1 if instance.pixel_representation else (1 << instance.bits_stored) - 1
        stored = (both_ends - stored.astype(np.int64)).astype(stored.dtype)
        padding = None if padding is None else both_ends - padding
    return StoredSlice(stored, instance.slope, instance.intercept, padding)


def check_readable(instance: Instance) -> None:
    """Refuse an instance whose pixels this version does not turn into a slice.

    Raises:
        Rejected: MULTIFRAME, several frames or a Siemens mosaic of them; UNSUPPORTED as `check_grey`.
    """
    if instance.number_of_frames > 1 or instance.sop_class_uid in ENHANCED:
        raise Rejected(Reason.MULTIFRAME, f"a multi-frame object of {instance.number_of_frames} frames")
    if "MOSAIC" in instance.image_type:
        raise Rejected(Reason.MULTIFRAME, "a Siemens mosaic: one instance shows all slices side by side")
    check_grey(instance)


def check_grey(instance: Instance) -> None:
    """Refuse pixels that are no grey numbers, in one frame or in many.

    Raises:
        Rejected: UNSUPPORTED, colour, 1 or 64 bits, a modality LUT.
    """
    if instance.samples_per_pixel != 1 or not instance.photometric_interpretation.startswith("MONOCHROME"):
        kind = instance.photometric_interpretation
        shown = kind if kind in terms.PHOTOMETRIC else "another PhotometricInterpretation"
        raise Rejected(Reason.UNSUPPORTED, f"colour: {instance.samples_per_pixel} samples per pixel, {shown}")
    if instance.bits_allocated not in (8, 16, 32):
        raise Rejected(Reason.UNSUPPORTED, f"{instance.bits_allocated} bits a pixel; 8, 16 and 32 are read")
    if instance.has_modality_lut:
        raise Rejected(Reason.UNSUPPORTED, "a modality LUT instead of RescaleSlope and RescaleIntercept")


def _decoded(data: Bytes, opened: Opened, shape: tuple[int, int, int]) -> npt.NDArray[Any]:
    instance, syntax = opened.instance, opened.transfer_syntax
    if opened.pixel_length == UNDEFINED_LENGTH:
        check_fragments(data, opened.pixel_offset)
    # Decoders in C and C++ of what a stranger compressed: in a process of their own, with limits.
    stored = (
        isolated.run("transforms.read.decoders:dicom_pixels", data)
        if syntax.is_encapsulated
        else dicom_pixels(bytes(data))
    )
    if stored.shape != (shape if shape[0] > 1 else shape[1:]):
        raise Rejected(Reason.UNREADABLE, f"expected {shape} pixels, the stream holds {stored.shape}")
    return stored.reshape(shape).astype(instance.dtype, copy=False)


def check_fragments(data: Bytes, offset: int) -> None:
    """Every fragment of encapsulated pixels must be whole (PS3.5 A.4): decoders fill what is missing with a guess."""
    while True:
        if offset + 8 > len(data):
            raise Rejected(Reason.TRUNCATED, "the encapsulated pixels have no end: the file is cut short")
        group, element, length = struct.unpack_from("<HHI", data, offset)
        tag = group << 16 | element
        if tag == _DELIMITER:
            return
        if tag != _ITEM or offset + 8 + length > len(data):
            raise Rejected(Reason.TRUNCATED, "a fragment of the encapsulated pixels is cut short")
        offset += 8 + length


def stored_bits(stored: npt.NDArray[Any], instance: Instance) -> npt.NDArray[Any]:
    """The BitsStored bits that end at HighBit of each word, sign-extended in signed ones (PS3.5 8.1.1).

    Raises:
        Rejected: UNREADABLE, the bits do not fit in the word.
    """
    above = instance.bits_allocated - 1 - instance.high_bit
    below = instance.high_bit + 1 - instance.bits_stored
    if above < 0 or below < 0:
        raise Rejected(
            Reason.UNREADABLE,
            f"{instance.bits_stored} bits ending at bit {instance.high_bit} do not fit in {instance.bits_allocated}",
        )
    if above + below == 0:
        return stored
    # Up, so that the highest bit is the sign, and down again: arithmetic for signed, filling zeros for unsigned.
    return (stored << above) >> (above + below)
