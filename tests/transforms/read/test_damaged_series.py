"""Damaged objects of every kind that the doctor reads: refused or read, never another error, and in good time."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from mdfp.errors import MdfpError
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.transforms.read.test_frames import frame, item, mosaic, multiframe
from tests.transforms.read.test_pet import pet_fields
from transforms.read import dicom, series
from transforms.read.temporal import read_temporal
from transforms.rejected import Rejected

PIXELS = np.arange(2304, dtype=np.int16).reshape(48, 48)
DEPTH = 3000


@functools.cache
def kinds(slice_bytes: Callable[..., bytes]) -> dict[str, bytes]:
    """A whole object of each kind."""
    frames = [frame(z, FrameContentSequence=[item(TemporalPositionIndex=t)]) for t in (1, 2) for z in (0.0, 2.0)]
    return {
        "ct": slice_bytes(PIXELS, position=(1, 2, 3), name="1"),
        "big endian": slice_bytes(PIXELS, position=(1, 2, 3), name="1", syntax=uid.ExplicitVRBigEndian),
        "deflated": slice_bytes(PIXELS, position=(1, 2, 3), name="1", syntax=uid.DeflatedExplicitVRLittleEndian),
        "rle": slice_bytes(PIXELS, position=(1, 2, 3), name="1", syntax=uid.RLELossless),
        "pet": slice_bytes(PIXELS, position=(1, 2, 3), name="1", **pet_fields()),
        "implicit pet": slice_bytes(
            PIXELS, position=(1, 2, 3), name="1", syntax=uid.ImplicitVRLittleEndian, **pet_fields()
        ),
        "frames": multiframe(slice_bytes, frames),
        "mosaic": mosaic(slice_bytes, 5),
    }


def go_through(data: bytes) -> None:
    """All that reading does with one object, twice in a series."""
    files = [("a", data), ("b", data)]
    limits = Limits(max_voxels=10**6, max_bytes=10**7)
    for step in (read_volumes, read_temporal):
        try:
            step(files, limits)
        except MdfpError:
            continue


def read_volumes(files: list[tuple[str, bytes]], limits: Limits) -> None:
    instances = [dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]
    for found in series.diagnose(instances).volumes:
        series.read([(p, dict(files)[p]) for p in found.paths], found.header, limits)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["ct", "big endian", "deflated", "rle", "pet", "implicit pet", "frames", "mosaic"])
@settings(deadline=5000, max_examples=40)
@given(draw=st.data())
def test_damage_is_refused_or_harmless(slice_bytes: Callable[..., bytes], kind: str, draw: Any) -> None:
    data = bytearray(kinds(slice_bytes)[kind])
    for _ in range(draw.draw(st.integers(1, 6))):
        at = draw.draw(st.integers(132, len(data) - 1))
        if draw.draw(st.booleans()):
            data[at] = draw.draw(st.integers(0, 255))
        else:
            data[at : at + draw.draw(st.integers(0, 8))] = draw.draw(st.binary(max_size=8))
        if at >= len(data):
            break
    go_through(bytes(data[: draw.draw(st.integers(200, len(data)))]) if draw.draw(st.booleans()) else bytes(data))


@pytest.mark.parametrize("tag", [0x00082218, 0x52009230, 0x00540016])  # one that is stepped over, two that are read
@pytest.mark.parametrize("undefined", [True, False])
def test_sequences_nested_without_end_are_refused_or_stepped_over(
    slice_bytes: Callable[..., bytes], tag: int, undefined: bool
) -> None:
    whole = slice_bytes(PIXELS, position=(1, 2, 3), name="1")
    at = whole.index(b"\x10\x00\x20\x00LO" if tag < 0x00100020 else b"\xe0\x7f\x10\x00OW")
    start = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + b"SQ\0\0"
    if undefined:
        nested = start + b"\xff" * 4 + (b"\xfe\xff\x00\xe0" + b"\xff" * 4 + start + b"\xff" * 4) * DEPTH
    else:
        nested = b""
        for _ in range(DEPTH):
            inner = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(nested)) + nested
            nested = start + struct.pack("<I", len(inner)) + inner
    data = whole[:at] + nested + whole[at:]
    go_through(data)
    if undefined:
        with pytest.raises(Rejected) as rejected:
            dicom.read_instance(data, path="a", file_bytes=len(data))
        assert rejected.value.reason is Reason.UNREADABLE
