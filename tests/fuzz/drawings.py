"""SEG and RTSTRUCT as functions of bytes, and what they may begin from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset

from mdfp import geometry
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.drawn_objects import Scan, outline, rtstruct, seg, written
from transforms.read import drawing
from transforms.read.dicom import HEADER_PREFIX_BYTES, HeaderCutError
from transforms.read.header import array_header
from transforms.rejected import Rejected

_MADE = "1.2.826.0.1.3680043.10.511."
"""Root of the UIDs that highdicom draws by chance."""


def reader(form: str, limits: Limits) -> Callable[[bytes], None]:
    """A SEG or RTSTRUCT (`seg`, `rtstruct`) as the pipelines read one: header from a prefix, then every mask.

    A file that says to be neither is none of this reader's business; its bytes are put before it all the same, for a
    file may change between inventory and build.
    """
    header = _header(form)

    def read(data: bytes) -> None:
        try:
            described = drawing.describe(data[:HEADER_PREFIX_BYTES], path="x", file_bytes=len(data))
        except HeaderCutError:
            described = drawing.describe(data, path="x", file_bytes=len(data))
        drawing.read_union(header, data, limits)
        if described is None:
            raise Rejected(Reason.UNSUPPORTED, "no SEG or RTSTRUCT by its header")

    return read


def _header(form: str) -> ArrayHeader:
    """A label on the grid of the scan that the objects below are drawn on."""
    scan = Scan()
    return array_header(
        name="drawn", format=form, shape_zyx=scan.shape_zyx, affine_ras=geometry.lps_to_ras(scan.affine_lps),
        dtype=np.dtype(np.uint8), scale=1.0, offset=0.0, file_bytes=1,
    )  # fmt: skip


@cache
def _masks() -> np.ndarray:
    """(z, y, x, segment) uint8 of two segments that overlap."""
    return (np.random.default_rng(1).random((*Scan().shape_zyx, 2)) < 0.3).astype(np.uint8)


@cache
def seg_seeds() -> tuple[bytes, ...]:
    """Binary, fractional and label map; native, deflated, compressed. UIDs are fixed: equal calls, equal bytes."""
    scan, masks = Scan(), _masks()
    numbers = np.where(masks[..., 1] > 0, 2, masks[..., 0]).astype(np.uint8)
    implicit = _named(seg(scan, masks, ["a", "b"]))
    implicit.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    deflated = _named(seg(scan, masks, ["a", "b"]))
    deflated.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    made = [
        _named(seg(scan, masks, ["a", "b"])), implicit, deflated,
        _named(seg(scan, masks[..., 0] * 0.7, ["a"], kind="FRACTIONAL")),
        _named(seg(scan, numbers, ["a", "b"], kind="LABELMAP")),
        _named(seg(scan, numbers, ["a", "b"], kind="LABELMAP", syntax=uid.RLELossless)),
    ]  # fmt: skip
    return tuple(map(written, made))


def _named(ds: Dataset) -> Dataset:
    """The object with UIDs, a date and an hour that are the same each time."""
    fixed: dict[str, str] = {}
    for element in ds.iterall():
        if element.VR == "UI" and str(element.value).startswith(_MADE):
            element.value = fixed.setdefault(str(element.value), f"1.2.3.98.{len(fixed) + 1}")
        elif element.VR in ("DA", "TM", "DT") and element.value:
            element.value = {"DA": "20200131", "TM": "101010", "DT": "20200131101010"}[element.VR]
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


@cache
def rtstruct_seeds() -> tuple[bytes, ...]:
    """Contours with a hole, several in a slice, of two ROIs; implicit, explicit and deflated."""
    scan = Scan()
    rois = [
        ("a", [outline(scan, box, z) for z in range(4) for box in ((1, 1, 8, 7), (3, 3, 5, 5))]),
        ("b", [outline(scan, (2, 2, 5, 5), 1), outline(scan, (7, 2, 9, 5), 1)]),
    ]
    syntaxes = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
    return tuple(written(rtstruct(scan, rois, syntax=s)) for s in syntaxes)
