"""Makes the tree of one source of `published_pictures.yaml`: pictures of a few pixels, tables and texts as written there."""

from __future__ import annotations

import functools
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pydicom
import yaml
from PIL import Image

from examples.pictures.write import dicom_picture, pixels

CR = "1.2.840.10008.5.1.4.1.1.1"
"""SOP class: Computed Radiography Image Storage."""

ROWS, COLUMNS = 20, 24


@functools.cache
def expected() -> dict[str, dict[str, Any]]:
    """Every entry of the file."""
    content: dict[str, dict[str, Any]] = yaml.safe_load(
        Path(__file__).with_name("published_pictures.yaml").read_text(encoding="utf-8")
    )
    return content


def write(root: Path, content: dict[str, Any]) -> None:
    """Write the tree of a source below `root`."""
    for path in content["pictures"]:
        _put(root / path, _picture(path))
    packed: dict[str, dict[str, str]] = {}
    for path, text in content.get("texts", {}).items():
        archive, inside, member = path.partition(".zip/")
        if inside:
            packed.setdefault(f"{archive}.zip", {})[member] = text
        else:
            # No clock in the header: equal trees are equal bytes.
            _put(root / path, gzip.compress(text.encode(), mtime=0) if path.endswith(".gz") else text.encode())
    for path, members in packed.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for member, text in members.items():
                file.writestr(zipfile.ZipInfo(member), text)
        _put(root / path, buffer.getvalue())
    for path in content.get("skipped", ()):
        _put(root / path, b"twin")


def _picture(path: str) -> bytes:
    if path.endswith(".dicom"):
        stored = pixels(path, ROWS, COLUMNS, 1, 4095)
        more = {
            "BitsStored": 12,
            "HighBit": 11,
            "PhotometricInterpretation": "MONOCHROME1",
            "PixelSpacing": [0.25, 0.125],
        }
        return _stripped(dicom_picture(stored, "CR", path, CR, **more))
    buffer = io.BytesIO()
    Image.fromarray(pixels(path, ROWS, COLUMNS)).save(buffer, "PNG" if path.endswith(".png") else "JPEG")
    return buffer.getvalue()


def _stripped(content: bytes) -> bytes:
    """Without the headers that say what and whose it is: VinDr-CXR keeps little more than those of the pixels."""
    read = pydicom.dcmread(io.BytesIO(content))
    for element in list(read):
        if element.tag.group < 0x0028:
            del read[element.tag]
    buffer = io.BytesIO()
    read.save_as(buffer)
    return buffer.getvalue()


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
