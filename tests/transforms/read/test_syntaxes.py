"""Every transfer syntax of grey slices: encoded by another library, decoded by us, compared with the array it came from."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate

from schemas.recipe import Limits
from transforms.read import deflated, dicom, dicom_pixels, series
from transforms.rejected import Rejected

imagecodecs = pytest.importorskip("imagecodecs")

ROWS, COLUMNS = 48, 40
Encode = Callable[[np.ndarray], bytes]


def slice_of(bits: int, signed: bool = False) -> np.ndarray:
    """A smooth slope with a little noise, over the whole range of so many bits; every row and column differs."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    unit = (y * COLUMNS + x) / (ROWS * COLUMNS - 1)
    noise = np.random.default_rng(5).normal(0, 0.004, unit.shape)
    stored = np.rint(np.clip(unit + noise, 0, 1) * (2**bits - 1)).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    return stored.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


def jpeg(**options: Any) -> Encode:
    return lambda a: imagecodecs.jpeg8_encode(a, **options)


def ljpeg(predictor: int) -> Encode:
    return lambda a: imagecodecs.jpeg8_encode(
        a, lossless=True, predictor=predictor, bitspersample=16 if a.itemsize == 2 else 8
    )


LOSSLESS: list[tuple[str, uid.UID, Encode | None, int, bool]] = [
    *((f"deflated {b}", uid.DeflatedExplicitVRLittleEndian, None, b, s) for b, s in ((8, False), (12, False), (16, True))),
    *((f"big endian {b}", uid.ExplicitVRBigEndian, None, b, s) for b, s in ((8, False), (8, True), (12, False), (16, True))),
    *((f"RLE {b}", uid.RLELossless, None, b, s) for b, s in ((8, False), (12, False), (16, True))),
    *((f"JPEG lossless {b}, predictor {p}", uid.JPEGLossless, ljpeg(p), b, False) for b in (8, 16) for p in (1, 4, 7)),
    *((f"JPEG lossless SV1 {b}", uid.JPEGLosslessSV1, ljpeg(1), b, False) for b in (8, 16)),
    *(
        (f"JPEG-LS {b}", uid.JPEGLSLossless, lambda a: imagecodecs.jpegls_encode(a, level=0), b, False)
        for b in (8, 12, 16)
    ),
    *(
        (f"JPEG 2000 {b}", syntax, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True), b, s)
        for syntax in (uid.JPEG2000Lossless, uid.JPEG2000)
        for b, s in ((8, False), (12, False), (16, False), (16, True))
    ),
    *(
        (f"HTJ2K {b}", syntax, lambda a: imagecodecs.htj2k_encode(a, reversible=True), b, s)
        for syntax in (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
        for b, s in ((8, False), (12, False), (16, False), (16, True))
    ),
]  # fmt: skip
LOSSY: list[tuple[str, uid.UID, Encode, int, float]] = [
    ("JPEG baseline", uid.JPEGBaseline8Bit, jpeg(level=95), 8, 3.0),
    ("JPEG extended", uid.JPEGExtended12Bit, jpeg(level=95, bitspersample=12), 12, 48.0),
    ("JPEG-LS near", uid.JPEGLSNearLossless, lambda a: imagecodecs.jpegls_encode(a, level=2), 8, 2.0),
    (
        "JPEG 2000",
        uid.JPEG2000,
        lambda a: imagecodecs.jpeg2k_encode(a, level=75, codecformat="j2k", bitspersample=12),
        12,
        40.0,
    ),
]


def encoded(
    slice_bytes: Callable[..., bytes], pixels: np.ndarray, syntax: uid.UID, encode: Encode | None, *, bits: int,
    z: float = 0.0, **fields: Any,
) -> bytes:  # fmt: skip
    """A slice whose pixels are written by `encode`, or by pydicom where there is none."""
    native = syntax if encode is None and not syntax.is_encapsulated else uid.ExplicitVRLittleEndian
    data = slice_bytes(pixels, position=(0, 0, z), name=str(z), syntax=native, BitsStored=bits, **fields)
    ds = pydicom.dcmread(io.BytesIO(data))
    if not syntax.is_encapsulated:
        if syntax == uid.ExplicitVRBigEndian and bits <= 8:
            ds["PixelData"].VR = "OB"  # as OW the bytes of each pair would change places
    elif encode is None:
        ds.compress(syntax)
    else:
        ds.PixelData = encapsulate([encode(pixels)])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("syntax", "encode", "bits", "signed"), [r[1:] for r in LOSSLESS], ids=[r[0] for r in LOSSLESS]
)
def test_lossless_encodings_give_the_array_back(
    slice_bytes: Callable[..., bytes], syntax: uid.UID, encode: Encode | None, bits: int, signed: bool
) -> None:
    pixels = slice_of(bits, signed)
    data = encoded(slice_bytes, pixels, syntax, encode, bits=bits)
    assert pydicom.dcmread(io.BytesIO(data)).file_meta.TransferSyntaxUID == syntax
    instance = dicom.read_instance(data, path="a", file_bytes=len(data))
    assert not instance.lossy
    stored = dicom_pixels.pixels(data)
    assert stored.array_yx.dtype == pixels.dtype
    np.testing.assert_array_equal(stored.array_yx, pixels)


@pytest.mark.parametrize(("syntax", "encode", "bits", "within"), [r[1:] for r in LOSSY], ids=[r[0] for r in LOSSY])
def test_lossy_encodings_are_near_and_marked(
    slice_bytes: Callable[..., bytes], syntax: uid.UID, encode: Encode, bits: int, within: float
) -> None:
    pixels = slice_of(bits)
    files = [
        (str(z), encoded(slice_bytes, pixels, syntax, encode, bits=bits, z=z, LossyImageCompression="01"))
        for z in (0.0, 2.0)
    ]
    (found,) = series.diagnose([dicom.read_instance(d, path=p, file_bytes=len(d)) for p, d in files]).volumes
    assert [(f.code, f.detail) for f in found.findings] == [("lossy", "2 of 2 slices were compressed with loss")]
    volume = series.read(files, found.header, Limits())
    apart = np.abs(volume.array_zyx.astype(float) - pixels)
    assert 0 < apart.max() <= within


def test_what_always_loses_needs_no_attribute_and_what_lost_once_has_lost(slice_bytes: Callable[..., bytes]) -> None:
    pixels = slice_of(8)
    baseline = encoded(slice_bytes, pixels, uid.JPEGBaseline8Bit, jpeg(level=95), bits=8)
    plain = encoded(slice_bytes, pixels, uid.ExplicitVRLittleEndian, None, bits=8, LossyImageCompression="01")
    for data in (baseline, plain):
        assert dicom.read_instance(data, path="a", file_bytes=len(data)).lossy


class TestDeflated:
    def deflated(self, slice_bytes: Callable[..., bytes], pixels: np.ndarray) -> bytes:
        return slice_bytes(pixels, position=(0, 0, 0), name="1", syntax=uid.DeflatedExplicitVRLittleEndian)

    def test_a_prefix_gives_the_header_of_the_whole(self, slice_bytes: Callable[..., bytes]) -> None:
        noise = np.random.default_rng(1).integers(-900, 900, (300, 300)).astype(np.int16)
        data = self.deflated(slice_bytes, noise)
        assert len(data) > dicom.HEADER_PREFIX_BYTES
        whole = dicom.read_instance(data, path="a", file_bytes=len(data))
        prefix = data[: dicom.HEADER_PREFIX_BYTES]
        assert dicom.read_instance(prefix, path="a", file_bytes=len(data)) == whole
        assert whole.missing_pixel_bytes == 0
        with pytest.raises(dicom.HeaderCutError):
            dicom.read_instance(data[:400], path="a", file_bytes=len(data))

    def test_a_stream_that_is_cut_or_damaged_is_refused(self, slice_bytes: Callable[..., bytes]) -> None:
        noise = np.random.default_rng(1).integers(-900, 900, (300, 300)).astype(np.int16)
        data = self.deflated(slice_bytes, noise)
        cut = data[:-50_000]
        assert dicom.read_instance(cut, path="a", file_bytes=len(cut)).missing_pixel_bytes > 0
        with pytest.raises(Rejected, match="truncated"):
            dicom_pixels.pixels(cut)
        start = deflated._start_of_deflated(data)
        assert start is not None
        damaged = data[:start] + b"\x07" + data[start + 1 :]  # a block of the type that deflate has not
        with pytest.raises(Rejected, match="unreadable"):
            dicom_pixels.pixels(damaged)

    def test_a_bomb_is_too_large(self, slice_bytes: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> None:
        data = self.deflated(slice_bytes, np.zeros((1000, 1000), np.int16))
        assert len(data) < 5000
        assert not dicom_pixels.pixels(data).array_yx.any()
        monkeypatch.setattr(deflated, "MAX_INFLATED_BYTES", 1_000_000)
        with pytest.raises(Rejected, match="too_large"):
            dicom.read_instance(data, path="a", file_bytes=len(data))


BREAKING_OFF = [
    ("JPEG baseline", uid.JPEGBaseline8Bit, jpeg(level=95), 8),
    ("JPEG extended", uid.JPEGExtended12Bit, jpeg(level=95), 8),
    ("JPEG extended 12", uid.JPEGExtended12Bit, jpeg(level=95, bitspersample=12), 12),
    *((f"JPEG lossless {b}, predictor {p}", uid.JPEGLossless, ljpeg(p), b) for b in (8, 16) for p in (1, 7)),
    ("JPEG-LS", uid.JPEGLSLossless, lambda a: imagecodecs.jpegls_encode(a, level=0), 8),
    ("JPEG-LS 16", uid.JPEGLSLossless, lambda a: imagecodecs.jpegls_encode(a, level=0), 16),
    ("JPEG-LS near", uid.JPEGLSNearLossless, lambda a: imagecodecs.jpegls_encode(a, level=2), 8),
    ("JPEG 2000", uid.JPEG2000Lossless, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k", reversible=True), 12),
    ("HTJ2K", uid.HTJ2KLossless, lambda a: imagecodecs.htj2k_encode(a, reversible=True), 12),
]  # fmt: skip


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(("syntax", "encode", "bits"), [r[1:] for r in BREAKING_OFF], ids=[r[0] for r in BREAKING_OFF])
def test_a_frame_that_breaks_off_is_refused(
    slice_bytes: Callable[..., bytes], syntax: uid.UID, encode: Encode, bits: int, part: float, ended: bool
) -> None:
    """In a fragment of the right length, so that nothing but its bits tells; with an end marker and without."""
    pixels = slice_of(bits)

    def cut(a: np.ndarray) -> bytes:
        stream = encode(a)
        return stream[: int(len(stream) * part)].rstrip(b"\xff") + (b"\xff\xd9" if ended else b"")

    whole, broken = (encoded(slice_bytes, pixels, syntax, e, bits=bits) for e in (encode, cut))
    assert dicom_pixels.pixels(whole).array_yx.shape == pixels.shape
    with pytest.raises(Rejected):
        dicom_pixels.pixels(broken)
