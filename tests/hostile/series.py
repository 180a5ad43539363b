"""Inputs made of DICOM: a small sound series, and what archives, anonymisers and attackers do to it."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from schemas.reasons import Reason
from tests.hostile.files import Input

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE, BIG, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
JPEG2000 = "1.2.840.10008.1.2.4.90"
SLICES = 6

Edit = Callable[[Dataset, int], None]


def uid(text: str) -> str:
    """A UID made of text."""
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:15], 'big')}"


def dataset(name: str, k: int) -> Dataset:
    """Slice k of a sound CT."""
    rng = np.random.default_rng([k, *name.encode()])
    y, x = np.mgrid[:16, :20]
    pixels = np.where((x - 10) ** 2 + (y - 8) ** 2 < 30, 1060, 100) + rng.integers(0, 20, y.shape)
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = CT, uid(f"{name} {k}")
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid(f"study {name}"), uid(f"series {name}")
    ds.FrameOfReferenceUID = uid(f"frame {name}")
    ds.Modality, ds.PatientID, ds.PatientName = "CT", name, "Mustermann^Erika"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = k + 1
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [-10, -8, 2.5 * k], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [1.0, 1.25]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.RescaleSlope, ds.RescaleIntercept = "1", "-1024"
    ds.PixelData = pixels.astype("<u2").tobytes()
    return ds


def encoded(ds: Dataset, syntax: str = LITTLE) -> bytes:
    """The file of a data set."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.ImplementationClassUID = UID(uid("writer"))
    ds.file_meta = meta
    sink = io.BytesIO()
    pydicom.dcmwrite(sink, ds, enforce_file_format=True, implicit_vr=False, little_endian=syntax != BIG)
    return sink.getvalue()


def files(name: str, edit: Edit | None = None, *, syntax: str = LITTLE, slices: int = SLICES) -> dict[str, bytes]:
    """A series in a folder of its own."""
    result = {}
    for k in range(slices):
        ds = dataset(name, k)
        if edit:
            edit(ds, k)
        result[f"{name}/{k:03}.dcm"] = encoded(ds, syntax)
    return result


def _set(**values: object) -> Edit:
    def edit(ds: Dataset, k: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return edit


def _at(k: int, **values: object) -> Edit:
    return lambda ds, n: _set(**values)(ds, n) if n == k else None


def _compressed(ds: Dataset, stream: bytes) -> None:
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True


def _jpeg2000(ds: Dataset, k: int) -> None:
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
    _compressed(ds, imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k"))


def _huge_codestream(ds: Dataset, k: int) -> None:
    """A JPEG 2000 codestream whose SIZ marker announces an image of 60000 × 60000 in one tile."""
    stored = np.frombuffer(ds.PixelData, "<u2").reshape(ds.Rows, ds.Columns)
    stream = bytearray(imagecodecs.jpeg2k_encode(stored, level=0, codecformat="j2k"))
    at = stream.index(b"\xff\x51") + 6
    struct.pack_into(">2I", stream, at, 60_000, 60_000)
    struct.pack_into(">2I", stream, at + 16, 60_000, 60_000)
    _compressed(ds, bytes(stream))


def _noise_codestream(ds: Dataset, k: int) -> None:
    _jpeg2000(ds, k)
    stored = np.frombuffer(ds.PixelData, np.uint8).copy()
    stored[-60:-10] = 0xFF
    ds.PixelData = stored.tobytes()


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _changed(name: str, change: Callable[[bytes], bytes], edit: Edit | None = None, **more: object) -> dict[str, bytes]:
    return {p: change(d) for p, d in files(name, edit, **more).items()}  # type: ignore[arg-type]


def _nested(depth: int) -> bytes:
    """Sequences of undefined length within each other, before the pixels."""
    head = encoded(dataset("deep", 0))
    at = head.index(b"\x10\x00\x10\x00PN")  # PatientName: the sequences stand before it
    one = struct.pack("<2H2s2xI", 0x0008, 0x1140, b"SQ", 0xFFFFFFFF) + struct.pack("<2HI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return head[:at] + one * depth + head[at:]


def _deflate_bomb() -> bytes:
    """A deflated data set of 1.1 GB of zeros in a private element."""
    ds = dataset("bomb", 0)
    del ds.PixelData
    head = encoded(ds, DEFLATED)
    start = 144 + int.from_bytes(head[140:144], "little")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [head[:start], squeeze.compress(zlib.decompress(head[start:], -15))]
    parts.append(squeeze.compress(struct.pack("<2H2s2xI", 0x7001, 0x0010, b"OB", 1100 << 20)))
    block = bytes(10 << 20)
    parts += [squeeze.compress(block) for _ in range(110)]
    return b"".join([*parts, squeeze.flush()])


def _doubled(name: str, edit: Edit) -> dict[str, bytes]:
    """A series with one slice twice, the second one changed."""
    result = files(name)
    ds = dataset(name, 2)
    edit(ds, 2)
    return result | {f"{name}/again.dcm": encoded(ds)}


def _without(name: str, *numbers: int) -> dict[str, bytes]:
    kept = files(name, slices=10)
    return {p: d for p, d in kept.items() if p not in {f"{name}/{n:03}.dcm" for n in numbers}}


def _tilted(ds: Dataset, k: int) -> None:
    ds.ImagePositionPatient = [-10, -8 + 3.0 * k, 2.5 * k]  # 50°: more than is deskewed


def _temporal(name: str) -> dict[str, bytes]:
    first = files(name, _set(AcquisitionNumber=1))

    def later(ds: Dataset, k: int) -> None:
        ds.AcquisitionNumber, ds.SOPInstanceUID = 2, uid(f"{name} later {k}")
        ds.PixelData = bytes(len(ds.PixelData))

    return first | {p.replace(".dcm", "-2.dcm"): d for p, d in files(name, later).items()}


def _lut(ds: Dataset, k: int) -> None:
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType, item.LUTData = [2, 0, 16], "HU", bytes(4)
    ds.ModalityLUTSequence = [item]


def _colour(ds: Dataset, k: int) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = bytes(16 * 20 * 3)


def good() -> list[Input]:
    """Sound series: plain, compressed, and under a name of many scripts."""
    return [
        Input("good-series", files("good-series"), None, "series"),
        Input("good-jpeg2000", files("good-jpeg2000", _jpeg2000, syntax=JPEG2000), None, "series"),
        Input("серия 系列\nن", files("серия 系列\nن", _set(PatientID="x")), None, "series"),
    ]


def bad() -> list[Input]:
    """Broken and hostile series, each with the reason by which it must be refused."""
    noise = random.Random(9).randbytes
    frames = {"NumberOfFrames": "1000000", "PixelData": bytes(640)}
    rows: list[tuple[str, Callable[[str], dict[str, bytes]], Reason]] = [
        ("dicom-noise", lambda n: {f"{n}/0.dcm": noise(3000)}, Reason.UNREADABLE),
        ("dicom-empty", lambda n: {f"{n}/0.dcm": b""}, Reason.UNREADABLE),
        ("dicom-cut-in-header", lambda n: _changed(n, lambda d: d[:400]), Reason.NO_PIXELS),
        ("dicom-cut-in-element", lambda n: _changed(n, lambda d: d[:171]), Reason.NO_PIXELS),
        ("dicom-cut-in-pixels", lambda n: _changed(n, lambda d: d[:-100]), Reason.TRUNCATED),
        ("dicom-no-pixels", lambda n: files(n, _set(PixelData=None)), Reason.NO_PIXELS),
        ("dicom-no-rows", lambda n: files(n, _set(Rows=None)), Reason.UNREADABLE),
        ("dicom-rows-lie", lambda n: files(n, _set(Rows=65535, Columns=65535)), Reason.TRUNCATED),
        ("dicom-rows-lie-compressed", lambda n: files(n, lambda d, k: (_jpeg2000(d, k), _set(Rows=65535)(d, k))[0],
                                                      syntax=JPEG2000), Reason.TOO_LARGE),
        ("dicom-no-position", lambda n: files(n, _set(ImagePositionPatient=None)), Reason.INCOMPLETE),
        ("dicom-no-spacing", lambda n: files(n, _set(PixelSpacing=None)), Reason.INCOMPLETE),
        ("dicom-zero-spacing", lambda n: files(n, _set(PixelSpacing=[0, 1])), Reason.BAD_SPACING),
        ("dicom-negative-spacing", lambda n: files(n, _set(PixelSpacing=[1, -1])), Reason.BAD_SPACING),
        ("dicom-zero-orientation", lambda n: files(n, _set(ImageOrientationPatient=[0] * 6)), Reason.BAD_AFFINE),
        ("dicom-one-slice", lambda n: files(n, slices=1), Reason.INCOMPLETE),
        ("dicom-gap", lambda n: _without(n, 4), Reason.MISSING_SLICES),
        ("dicom-irregular", lambda n: files(n, _at(3, ImagePositionPatient=[-10, -8, 8.9])), Reason.IRREGULAR_SPACING),
        ("dicom-tilted", lambda n: files(n, _tilted), Reason.TILTED),
        ("dicom-same-uid", lambda n: _doubled(n, _set(PixelData=bytes(640))), Reason.CONFLICTING_SLICES),
        ("dicom-same-place", lambda n: _doubled(n, _set(PixelData=bytes(640), SOPInstanceUID=uid("other"))),
         Reason.CONFLICTING_SLICES),
        ("dicom-two-patients", lambda n: files(n, _at(2, PatientID="somebody else")), Reason.CONFLICTING_FILES),
        ("dicom-two-times", _temporal, Reason.TEMPORAL),
        ("dicom-frames-lie", lambda n: files(n, _set(**frames)), Reason.MULTIFRAME),
        ("dicom-colour", lambda n: files(n, _colour), Reason.UNSUPPORTED),
        ("dicom-64-bits", lambda n: files(n, _set(BitsAllocated=64)), Reason.UNSUPPORTED),
        ("dicom-bits-lie", lambda n: files(n, _set(BitsStored=30)), Reason.UNREADABLE),
        ("dicom-modality-lut", lambda n: files(n, _lut), Reason.UNSUPPORTED),
        ("dicom-slope-zero", lambda n: files(n, _set(RescaleSlope="0")), Reason.UNREADABLE),
        ("dicom-localizer", lambda n: files(n, _set(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])), Reason.LOCALIZER),
        ("dicom-seg", lambda n: files(n, _set(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")), Reason.UNSUPPORTED),
        ("dicom-syntax-unknown", lambda n: _changed(n, lambda d: d.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0")),
         Reason.UNSUPPORTED),
        ("dicom-syntax-lies", lambda n: _changed(n, lambda d: d.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0")),
         Reason.NO_PIXELS),
        ("dicom-deep", lambda n: {f"{n}/0.dcm": _nested(5000)}, Reason.UNREADABLE),
        ("dicom-deflate-bomb", lambda n: {f"{n}/0.dcm": _deflate_bomb()}, Reason.TOO_LARGE),
        ("dicom-deflate-damaged", lambda n: _changed(n, lambda d: d[:500] + b"\xff" * 40 + d[540:], syntax=DEFLATED),
         Reason.UNREADABLE),
        ("dicom-fragment-cut", lambda n: _changed(n, lambda d: d[:-60], _jpeg2000, syntax=JPEG2000), Reason.TRUNCATED),
        ("dicom-not-jpeg2000", lambda n: files(n, lambda d, k: _compressed(d, noise(900)), syntax=JPEG2000),
         Reason.UNREADABLE),
        ("dicom-codestream-huge", lambda n: files(n, _huge_codestream, syntax=JPEG2000, slices=2), Reason.UNREADABLE),
    ]  # fmt: skip
    return [Input(n, make(n), reason, "series") for n, make, reason in rows]
