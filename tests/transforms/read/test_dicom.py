"""DICOM instances: what is kept of the header, and stored values to the last bit."""

from __future__ import annotations

import dataclasses
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from schemas.reasons import Reason
from transforms.read import dicom, dicom_pixels
from transforms.rejected import Rejected

SliceBytes = Callable[..., bytes]
PIXELS = (np.arange(35) * 7 - 100).reshape(5, 7).astype(np.int16)
LARGE = np.tile(PIXELS, (8, 7))  # JPEG 2000 wants more than 32 pixels along an edge
AT = (1.0, 2.0, 3.0)


def opened(data: bytes) -> dicom.Instance:
    return dicom.read_instance(data, path="a/b", file_bytes=len(data))


def refused(function: Callable[[bytes], Any], data: bytes) -> Rejected:
    with pytest.raises(Rejected) as rejected:
        function(data)
    return rejected.value


def object_without_pixels(sop_class: str, **fields: Any) -> bytes:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID = sop_class, "1.2.3.4", "1.2.3"
    for keyword, value in fields.items():
        setattr(ds, keyword, value)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def test_an_instance_holds_what_the_case_needs_and_nothing_else(slice_bytes: SliceBytes) -> None:
    data = slice_bytes(
        PIXELS, position=AT, name="7", PatientAge="093Y", KVP=120, RescaleSlope=2, RescaleIntercept=-1024,
        AcquisitionNumber=4, PixelPaddingValue=-2000, InstitutionName="Hospital", PatientBirthDate="19270101",
    )  # fmt: skip
    i = opened(data)
    assert (i.path, i.file_bytes, i.missing_pixel_bytes) == ("a/b", len(data), 0)
    assert i.image_position_patient == AT
    assert i.pixel_spacing == (0.8, 0.7)
    assert (i.rows, i.columns, i.slope, i.intercept, i.padding) == (5, 7, 2.0, -1024.0, -2000)
    assert (i.age_years, i.kvp, i.acquisition_number, i.image_type) == (
        90.0,
        120.0,
        4,
        ("ORIGINAL", "PRIMARY", "AXIAL"),
    )
    kept = repr(dataclasses.asdict(i))
    for secret in ("Nobody", "Hospital", "1927"):
        assert secret not in kept
    assert pickle.loads(pickle.dumps(i)) == i
    assert len(pickle.dumps(i)) < 2500


def test_a_prefix_of_the_file_is_enough_and_a_shorter_one_asks_for_more(slice_bytes: SliceBytes) -> None:
    data = slice_bytes(np.zeros((64, 64), np.int16), position=AT, name="1")
    whole = opened(data)
    assert dicom.read_instance(data[:2000], path="a/b", file_bytes=len(data)) == whole
    for cut in (200, 500, len(data) - 8192 - 20):
        with pytest.raises(dicom.HeaderCutError):
            dicom.read_instance(data[:cut], path="a/b", file_bytes=len(data))


@pytest.mark.parametrize("junk", [b"", b"hello", bytes(200), b"x" * 128 + b"DICX" + bytes(99)])
def test_what_is_not_dicom_is_unreadable(junk: bytes) -> None:
    assert refused(opened, junk).reason is Reason.UNREADABLE


def test_objects_that_are_no_images_are_refused_each_for_its_reason(slice_bytes: SliceBytes) -> None:
    for sop_class in (
        uid.MediaStorageDirectoryStorage,
        uid.RTStructureSetStorage,
        uid.GrayscaleSoftcopyPresentationStateStorage,
    ):
        assert refused(opened, object_without_pixels(sop_class)).reason is Reason.NO_PIXELS
    for sop_class in (uid.SegmentationStorage, uid.RTDoseStorage):
        data = slice_bytes(PIXELS, position=AT, name="1", SOPClassUID=sop_class)
        assert refused(opened, data).reason is Reason.UNSUPPORTED
    floats = object_without_pixels(uid.ParametricMapStorage, FloatPixelData=b"\0\0\0\0")
    assert refused(opened, floats).reason is Reason.UNSUPPORTED
    nameless = slice_bytes(PIXELS, position=AT, name="1", SeriesInstanceUID=None)
    assert refused(opened, nameless).reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("dtype", "syntax"),
    [
        *(
            (d, s)
            for d in ("u1", "i1", "u2", "i2", "u4", "i4")
            for s in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian)
        ),
        *((d, uid.ExplicitVRBigEndian) for d in ("u2", "i2", "u4", "i4")),
        *((d, s) for d in ("u1", "i1", "u2", "i2") for s in (uid.RLELossless, uid.JPEG2000Lossless)),
    ],
)
def test_stored_values_survive_every_encoding(slice_bytes: SliceBytes, dtype: str, syntax: uid.UID) -> None:
    info = np.iinfo(dtype)
    pixels = np.tile(np.array([[info.min, info.max, 0, 1], [5, 6, info.max - 1, info.min + 1]], dtype=dtype), (24, 8))
    stored = dicom_pixels.pixels(slice_bytes(pixels, position=AT, name="1", syntax=syntax))
    assert stored.array_yx.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored.array_yx, pixels)
    assert (stored.scale, stored.offset, stored.padding) == (1.0, 0.0, None)


def test_plain_pixels_are_a_view_of_the_file(slice_bytes: SliceBytes) -> None:
    assert not dicom_pixels.pixels(slice_bytes(PIXELS, position=AT, name="1")).array_yx.flags.owndata


def test_bits_beyond_those_stored_are_not_pixels(slice_bytes: SliceBytes) -> None:
    raw = np.array([[0x0FFF, 0xF800], [0x8001, 0x07FF]], dtype=np.uint16)
    unsigned = dicom_pixels.pixels(slice_bytes(raw, position=AT, name="1", BitsStored=12)).array_yx
    np.testing.assert_array_equal(unsigned, [[0xFFF, 0x800], [1, 0x7FF]])
    signed = dicom_pixels.pixels(slice_bytes(raw.view(np.int16), position=AT, name="1", BitsStored=12)).array_yx
    np.testing.assert_array_equal(signed, [[-1, -2048], [1, 2047]])
    high = dicom_pixels.pixels(slice_bytes(raw, position=AT, name="1", BitsStored=12, HighBit=15)).array_yx
    np.testing.assert_array_equal(high, raw >> 4)
    impossible = slice_bytes(raw, position=AT, name="1", BitsStored=12, HighBit=5)
    assert refused(dicom_pixels.pixels, impossible).reason is Reason.UNREADABLE


def test_monochrome1_is_mirrored_once_with_its_padding_and_never_in_ct(slice_bytes: SliceBytes) -> None:
    raw = np.array([[0, 1000], [4095, 7]], dtype=np.uint16)
    fields = {"position": AT, "name": "1", "BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}
    mirrored = dicom_pixels.pixels(slice_bytes(raw, Modality="MR", PixelPaddingValue=0, **fields))
    np.testing.assert_array_equal(mirrored.array_yx, 4095 - raw)
    assert mirrored.padding == 4095
    signed = dicom_pixels.pixels(
        slice_bytes(PIXELS, position=AT, name="1", Modality="MR", PhotometricInterpretation="MONOCHROME1")
    )
    np.testing.assert_array_equal(signed.array_yx, -1 - PIXELS)
    np.testing.assert_array_equal(dicom_pixels.pixels(slice_bytes(raw, Modality="CT", **fields)).array_yx, raw)


def test_truncated_pixels_are_seen_at_inventory_and_refused_at_reading(slice_bytes: SliceBytes) -> None:
    data = slice_bytes(PIXELS, position=AT, name="1")
    assert opened(data[:-6]).missing_pixel_bytes == 6
    assert refused(dicom_pixels.pixels, data[:-6]).reason is Reason.TRUNCATED
    for syntax in (uid.RLELossless, uid.JPEG2000Lossless):
        packed = slice_bytes(LARGE, position=AT, name="1", syntax=syntax)
        for cut in (1, 8, 12, 30):
            assert refused(dicom_pixels.pixels, packed[:-cut]).reason is Reason.TRUNCATED


def test_damaged_streams_are_unreadable(slice_bytes: SliceBytes) -> None:
    packed = bytearray(slice_bytes(LARGE, position=AT, name="1", syntax=uid.JPEG2000Lossless))
    start = packed.index(b"\xff\x4f\xff\x51")
    packed[start : start + 20] = bytes(20)
    assert refused(dicom_pixels.pixels, bytes(packed)).reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.UNSUPPORTED),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, Reason.UNSUPPORTED),
        ({"NumberOfFrames": 3}, Reason.MULTIFRAME),
        ({"SOPClassUID": uid.EnhancedCTImageStorage}, Reason.MULTIFRAME),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, Reason.MULTIFRAME),
        ({"ModalityLUTSequence": [Dataset()]}, Reason.UNSUPPORTED),
        ({"RescaleSlope": 0}, Reason.UNREADABLE),
    ],
)
def test_what_is_no_grey_slice_is_refused(slice_bytes: SliceBytes, fields: dict[str, Any], reason: Reason) -> None:
    assert refused(dicom_pixels.pixels, slice_bytes(PIXELS, position=AT, name="1", **fields)).reason is reason


def test_an_unknown_transfer_syntax_is_unsupported(slice_bytes: SliceBytes) -> None:
    data = slice_bytes(PIXELS, position=AT, name="1")
    video = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
    assert "transfer syntax" in refused(opened, video).detail


@pytest.mark.parametrize(
    ("age", "years"),
    [("034Y", 34.0), ("018M", 1.5), ("000D", 0.0), ("120Y", 90.0), ("old", None), ("0²4Y", None), ("", None)],
)
def test_ages_are_years_and_capped(slice_bytes: SliceBytes, age: str, years: float | None) -> None:
    assert opened(slice_bytes(PIXELS, position=AT, name="1", PatientAge=age)).age_years == years


def test_padding_is_a_stored_value_whatever_its_vr(slice_bytes: SliceBytes) -> None:
    for syntax in (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian):
        data = slice_bytes(PIXELS, position=AT, name="1", syntax=syntax, PixelPaddingValue=-2000)
        assert opened(data).padding == -2000
    unsigned = slice_bytes(
        PIXELS.view(np.uint16), position=AT, name="1", syntax=uid.ImplicitVRLittleEndian, PixelPaddingValue=63536
    )
    assert opened(unsigned).padding == 63536


def test_values_that_break_the_standard_reach_no_log_and_no_warning(
    slice_bytes: SliceBytes, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    data = slice_bytes(PIXELS, position=AT, name="1", PatientAge="034Y", KVP="120")
    data = data.replace(b"034Y", b"Jane").replace(b"120 ", b"Jane")
    recwarn.clear()
    caplog.clear()
    i = opened(data)
    assert (i.age_years, i.kvp) == (None, None)
    assert not [w for w in recwarn if "Jane" in str(w.message)]
    assert "Jane" not in caplog.text
