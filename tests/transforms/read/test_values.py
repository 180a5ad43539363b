"""Values of DICOM elements that are not what their VR says."""

from __future__ import annotations

import pytest
from pydicom.valuerep import IS

from transforms.read.values import texts, time_s


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["ORIGINAL", "PRIMARY "], ("ORIGINAL", "PRIMARY")),
        ("ORIGINAL", ("ORIGINAL",)),
        (b"ORIGINAL\\PRIMARY ", ("ORIGINAL", "PRIMARY")),
        (IS("3"), ("3",)),
        ("", ()),
        (b"", ()),
        (None, ()),
    ],
)
def test_texts_are_read_whatever_the_representation(value, expected):
    assert texts({"ImageType": value}, "ImageType") == expected


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120000.5", 43200.5),
        ("12:00", 43200.0),
        ("0\u00b20000", None),
        ("\u0661\u0662", None),
        ("246000", None),
        (None, None),
    ],
)
def test_times_are_of_plain_digits(value, seconds):
    assert time_s(value) == seconds
