"""DICOM files and others with a marker in every element that can hold text: what must not come out anywhere."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from pydicom.datadict import DicomDictionary

TEXT_VRS = frozenset("AE AS CS DA DS DT IS LO LT PN SH ST TM UC UI UR UT".split())  # noqa: SIM905 (easier to read)
"""Value representations of PS3.5 6.2 that are text."""

ALLOWED = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "scanner_model",
    "ConvolutionKernel": "kernel",
    "BodyPartExamined": "body_part",
}
"""Elements whose text may come out, and the field of `mdfp.sample.Acquisition` that names each. Nothing else may."""

_NOT_PLANTED = {
    # What decides whether and how the file is read; a marker there makes another kind of file (see `refused`).
    "SOPClassUID", "Modality", "ImageType", "PhotometricInterpretation", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "NumberOfFrames",
    "SpecificCharacterSet", "EchoNumbers", "EchoTime", "DiffusionBValue", "InversionTime",
    # Lengths and ends that the standard gives another meaning.
    "LengthToEnd", "DataSetTrailingPadding",
}  # fmt: skip
_NOT_SEQUENCES = {"ModalityLUTSequence"}
_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT"})


def marker(tag: int, vr: str) -> str:
    """Text that occurs nowhere else, allowed by length and, for UIDs, by its characters."""
    return f"9.{tag}.77" if vr == "UI" else f"Qx{tag:08X}Z"


def element(tag: int, vr: str, value: bytes) -> bytes:
    """Explicit VR little endian (PS3.5 7.1.2)."""
    value += b"\0" * (len(value) % 2) if vr in ("UI", "OB", "UN", "SQ") else b" " * (len(value) % 2)
    head = struct.pack("<2H", tag >> 16, tag & 0xFFFF) + vr.encode()
    if vr.encode() in _LONG:
        return head + struct.pack("<2xI", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def _item(content: bytes) -> bytes:
    return struct.pack("<2HI", 0xFFFE, 0xE000, len(content)) + content


def planted() -> Iterator[tuple[int, str, str, str]]:
    """(tag, VR, keyword, marker) of every text element of the standard's dictionary that can be planted."""
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr in TEXT_VRS and 0x0008_0000 <= tag < 0x7FE0_0000 and keyword not in _NOT_PLANTED:
            yield tag, vr, keyword, marker(tag, vr)


def _meta(syntax: str) -> bytes:
    content = element(0x00020001, "OB", b"\0\1")
    content += element(0x00020002, "UI", b"1.2.840.10008.5.1.4.1.1.2")
    content += element(0x00020003, "UI", marker(0x00020003, "UI").encode())
    content += element(0x00020010, "UI", syntax.encode())
    content += element(0x00020012, "UI", marker(0x00020012, "UI").encode())
    for tag, vr in ((0x00020013, "SH"), (0x00020016, "AE"), (0x00020017, "AE"), (0x00020018, "AE")):
        content += element(tag, vr, marker(tag, vr).encode())
    content += element(0x00020100, "UI", marker(0x00020100, "UI").encode())
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(content))) + content


def dicom(k: int, *, syntax: str = "1.2.840.10008.1.2.1", cut: int = 0, **changes: bytes | None) -> bytes:
    """Slice k of a series in which everything that can be text is a marker.

    Args:
        k: number of the slice.
        syntax: transfer syntax as the file claims it.
        cut: bytes missing at its end.
        changes: elements by keyword with another value; None: left out.
    """
    found: dict[int, tuple[str, bytes]] = {tag: (vr, text.encode()) for tag, vr, _, text in planted()}
    private = b"".join(
        element(0x00091001 + n, vr, marker(0x00091001 + n, vr).encode()) for n, vr in enumerate(sorted(TEXT_VRS))
    )
    inner = element(0x00100010, "PN", b"QxINSEQUENCEZ") + element(0x00104000, "LT", b"QxCOMMENTINSEQZ")
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
        if vr == "SQ" and 0x0008_0000 <= tag < 0x7FE0_0000 and keyword not in _NOT_SEQUENCES:
            found[tag] = ("SQ", _item(inner + element(0x00420010, "ST", marker(tag, "ST").encode())))
    for n, vr in enumerate(sorted(TEXT_VRS)):
        found[0x00091001 + n] = (vr, marker(0x00091001 + n, vr).encode())
    found[0x00090010] = ("LO", b"QxPRIVATECREATORZ")
    found[0x00091040] = ("SQ", _item(private))
    found[0x00091041] = ("UN", b"QxPRIVATEUNKNOWNZ")
    found[0x60003000] = ("OW", b"QxOVERLAYDATAZ" * 4)
    real: dict[str, tuple[int, str, bytes]] = {
        "SOPClassUID": (0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.2"),
        "SOPInstanceUID": (0x00080018, "UI", f"{marker(0x00080018, 'UI')}.{k}".encode()),
        "Modality": (0x00080060, "CS", b"CT"),
        "StudyDate": (0x00080020, "DA", b"18790314"),
        "ImageType": (0x00080008, "CS", b"ORIGINAL\\PRIMARY\\QxIMAGETYPEZ"),
        "ImagePositionPatient": (0x00200032, "DS", f"0\\0\\{2 * k}".encode()),
        "ImageOrientationPatient": (0x00200037, "DS", b"1\\0\\0\\0\\1\\0"),
        "PixelSpacing": (0x00280030, "DS", b"1\\1.5"),
        "PhotometricInterpretation": (0x00280004, "CS", b"MONOCHROME2"),
        "RescaleSlope": (0x00281053, "DS", b"1"),
        "RescaleIntercept": (0x00281052, "DS", b"-1024"),
        "SamplesPerPixel": (0x00280002, "US", struct.pack("<H", 1)),
        "Rows": (0x00280010, "US", struct.pack("<H", 12)),
        "Columns": (0x00280011, "US", struct.pack("<H", 14)),
        "BitsAllocated": (0x00280100, "US", struct.pack("<H", 16)),
        "BitsStored": (0x00280101, "US", struct.pack("<H", 16)),
        "HighBit": (0x00280102, "US", struct.pack("<H", 15)),
        "PixelRepresentation": (0x00280103, "US", struct.pack("<H", 0)),
    }
    for keyword, (tag, vr, value) in real.items():
        changed = changes.get(keyword, value)
        found.pop(tag, None)
        if changed is not None:
            found[tag] = (vr, changed)
    for keyword, change in changes.items():
        if keyword not in real and change is not None:
            tag = next(t for t, entry in DicomDictionary.items() if entry[4] == keyword)
            found[tag] = (DicomDictionary[tag][0], change)
    body = b"".join(element(tag, vr, value) for tag, (vr, value) in sorted(found.items()))
    rng = np.random.default_rng(k)
    pixels = rng.integers(0, 1200, (12, 14)).astype("<u2").tobytes()
    data = _meta(syntax) + body + element(0x7FE00010, "OW", pixels)
    return data[: len(data) - cut]
