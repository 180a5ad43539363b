"""The fast header scan says what pydicom says, or leaves the file to it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.dataset import Dataset

from mdfp.errors import MdfpError
from transforms.read import dicom, fast_header

ROOT = Path(os.environ.get("MDFP_TESTDATA", "/nonexistent"))
PIXELS = np.arange(20, dtype=np.int16).reshape(4, 5)
SYNTAXES = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)


class Nothing:
    """A scanner that leaves everything to pydicom."""

    def scan(self, data: bytes) -> None:
        return None


def both(data: bytes) -> tuple[Any, Any]:
    """What the two ways say, an error as its text."""
    said = []
    scanner = dicom._SCANNER
    for way in (scanner, Nothing()):
        dicom._SCANNER = way  # type: ignore[assignment]
        try:
            said.append(dicom.open_instance(data, path="p", file_bytes=len(data)))
        except MdfpError as error:
            said.append(f"{type(error).__name__}: {error}")
        finally:
            dicom._SCANNER = scanner
    return said[0], said[1]


def is_fast(data: bytes) -> bool:
    return dicom._SCANNER.scan(data) is not None


def sequence(depth: int) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.Modality, item.Rows = "inner", "MR", 99  # attributes that are asked for, but not in here
    if depth:
        item.ConceptCodeSequence = sequence(depth - 1)
    return [item, item]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_are_stepped_over(slice_bytes: Callable[..., bytes], syntax: uid.UID, undefined: bool) -> None:
    data = slice_bytes(PIXELS, position=(1, 2, 3), name="1", syntax=syntax, AnatomicRegionSequence=sequence(3))
    ds = pydicom.dcmread(io.BytesIO(data))

    def mark(sequence: Any) -> None:
        sequence.is_undefined_length = undefined
        for item in sequence.value:
            item.is_undefined_length_sequence_item = undefined
            for element in item:
                if element.VR == "SQ":
                    mark(element)

    mark(ds["AnatomicRegionSequence"])
    buffer = io.BytesIO()
    ds.save_as(buffer)
    assert is_fast(buffer.getvalue())
    fast, slow = both(buffer.getvalue())
    assert fast == slow
    assert fast.instance.rows == 4


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\"), max_size=12)
NUMBER = st.one_of(st.integers(-9999, 9999).map(str), st.floats(-1e5, 1e5).map(lambda v: f"{v:.6g}"), st.just(""))


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(SYNTAXES),
    st.fixed_dictionaries(
        {},
        optional={
            "PatientID": TEXT, "Manufacturer": TEXT, "BodyPartExamined": TEXT, "KVP": NUMBER, "EchoTime": NUMBER,
            "ConvolutionKernel": st.lists(TEXT, min_size=1, max_size=3), "ImageType": st.lists(TEXT, max_size=4),
            "PixelPaddingValue": st.integers(-32768, 32767), "DiffusionBValue": st.floats(0, 5000),
            "PatientAge": st.sampled_from(["034Y", "7", ""]), "RescaleSlope": NUMBER, "NumberOfFrames": st.integers(0, 3),
            "PixelSpacing": st.lists(st.integers(1, 5), min_size=1, max_size=3), "InstanceNumber": st.integers(-5, 5),
            "InstitutionName": TEXT, "ImageLaterality": st.sampled_from(["L", "R", ""]),
        },
    ),
)  # fmt: skip
def test_ordinary_headers_are_read_alike(
    slice_bytes: Callable[..., bytes], syntax: uid.UID, fields: dict[str, Any]
) -> None:
    data = slice_bytes(PIXELS, position=(1.5, -2, 3), name="1", syntax=syntax, **fields)
    assert is_fast(data)
    fast, slow = both(data)
    assert fast == slow


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(SYNTAXES), st.data())
def test_damaged_headers_are_judged_alike(slice_bytes: Callable[..., bytes], syntax: uid.UID, draw: Any) -> None:
    whole = slice_bytes(PIXELS, position=(1, 2, 3), name="1", syntax=syntax, AnatomicRegionSequence=sequence(1))
    data = bytearray(whole)
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(128, len(data) - 1))] = draw.draw(st.integers(0, 255))
    cut = draw.draw(st.integers(100, len(data)))
    for damaged in (bytes(data), bytes(data[:cut])):
        scanned = dicom._SCANNER.scan(damaged)
        fast, slow = both(damaged)
        if scanned is not None and not isinstance(slow, str):
            # What both read, both read alike, but for values that break the standard, of which each makes its own.
            assert (fast.transfer_syntax, fast.pixel_offset, fast.pixel_length) == (
                slow.transfer_syntax, slow.pixel_offset, slow.pixel_length,
            )  # fmt: skip
        if scanned is None:
            assert fast == slow


@pytest.mark.parametrize(
    "fields",
    [
        {"Modality": "PT"},
        {"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]},
        {"ModalityLUTSequence": [Dataset()]},
        {"SpecificCharacterSet": "ISO_IR 192", "Manufacturer": "Müller"},
        {"SpecificCharacterSet": "ISO 2022 IR 87", "Manufacturer": "\x1b$B;3\x1b(B"},
    ],
)
def test_what_is_out_of_the_ordinary_is_left_to_pydicom(
    slice_bytes: Callable[..., bytes], fields: dict[str, Any]
) -> None:
    data = slice_bytes(PIXELS, position=(1, 2, 3), name="1", **fields)
    assert not is_fast(data)
    fast, slow = both(data)
    assert fast == slow


@pytest.mark.parametrize("syntax", [uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(slice_bytes: Callable[..., bytes], syntax: uid.UID) -> None:
    assert not is_fast(slice_bytes(PIXELS, position=(1, 2, 3), name="1", syntax=syntax))


def test_sequences_nested_without_end_are_left_to_pydicom() -> None:
    nested = b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x40\x00\x75\x02SQ\x00\x00\xff\xff\xff\xff" * 5000
    with pytest.raises(fast_header._OddError):
        fast_header._after_sequence(nested, 0, True, 0)


@pytest.mark.real
@pytest.mark.skipif(
    not (ROOT / "MANIFEST.csv").is_file(), reason="MDFP_TESTDATA does not name the folder of real files"
)
@pytest.mark.filterwarnings("ignore")
def test_real_headers_are_read_alike() -> None:
    count, quick = 0, 0
    for path in sorted(p for p in (ROOT / "dicom").rglob("*") if p.is_file()):
        data = path.read_bytes()
        for given_bytes in (data, data[: dicom.HEADER_PREFIX_BYTES]):
            fast, slow = both(given_bytes)
            assert fast == slow, path
        count, quick = count + 1, quick + is_fast(data)
    assert count > 300
    assert quick > 200
