"""Generated DICOM instances: a slice of known place and pixels, as a file's bytes."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SeriesOf = Callable[..., list[tuple[str, bytes]]]


def _slice_bytes(
    pixels: np.ndarray, *, position: tuple[float, ...] | None, name: str, syntax: uid.UID = uid.ExplicitVRLittleEndian,
    **fields: Any,
) -> bytes:  # fmt: skip
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = uid.CTImageStorage, f"1.2.3.{zlib.crc32(name.encode())}"
    ds.Modality, ds.PatientID, ds.PatientName, ds.StudyDate = "CT", "p1", "Nobody^At All", "20200102"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.9"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.InstanceNumber = 1
    if position is not None:
        ds.ImagePositionPatient = [f"{v:.6f}" for v in position]
    ds.ImageOrientationPatient = list(AXIAL)
    ds.PixelSpacing = [0.8, 0.7]
    ds.SliceThickness = 9
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.dtype.itemsize
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    for keyword, value in fields.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    if "BitsStored" in fields:
        ds.HighBit = fields.get("HighBit", ds.BitsStored - 1)
    big = syntax == uid.ExplicitVRBigEndian
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    if len(ds.PixelData) % 2:
        ds.PixelData += b"\0"
    ds["PixelData"].VR = "OW"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian if syntax.is_encapsulated else syntax
    if syntax.is_encapsulated:
        ds.compress(syntax)
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer, ds, enforce_file_format=True, implicit_vr=syntax == uid.ImplicitVRLittleEndian, little_endian=not big
    )
    return buffer.getvalue()


@pytest.fixture(scope="session")
def slice_bytes() -> Callable[..., bytes]:
    """One instance as a file: slice_bytes(pixels, position=, name=, syntax=, **attributes); None removes one."""
    return _slice_bytes


@pytest.fixture(scope="session")
def series_of() -> SeriesOf:
    """A stack of 4×3-pixel (rows × columns) slices at given z: (path, file) each, pixels of slice n are n*100 + index."""

    def build(zs: Any, *, x_of: Callable[[float], float] = lambda z: -5.0, per_slice: Any = None, **fields: Any) -> Any:
        files = []
        for n, z in enumerate(zs):
            pixels = (n * 100 + np.arange(12)).reshape(4, 3).astype(np.int16)
            own = {**fields, "InstanceNumber": n + 1, **(per_slice(n) if per_slice else {})}
            pixels = own.pop("pixels", pixels)
            name = own.pop("name", f"{n + 1}")
            files.append((f"s/{name}.dcm", _slice_bytes(pixels, position=(x_of(z), 7.0, z), name=name, **own)))
        return files

    return build
