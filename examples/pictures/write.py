"""Writes the phantom pictures: shapes on a textured ground, a function of their source and number."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x14\0\0\0\x1a\0\0\0\0\0\0\0PLANTED-PATIENT-NAME"
"""An EXIF block that names a person, as a camera's Make tag."""


def write_all(folder: Path) -> None:
    """Every source below `folder`, under its id."""
    for name, write in SOURCES.items():
        write(folder / name)


def pixels(name: str, rows: int, columns: int, channels: int = 1, top: int = 255) -> npt.NDArray[Any]:
    """A picture that is a function of its name."""
    rng = np.random.default_rng(list(name.encode()))
    y, x = np.mgrid[0:rows, 0:columns]
    ground = 0.3 + 0.2 * np.sin(x / (4 + 9 * rng.random())) * np.cos(y / (4 + 9 * rng.random()))
    cy, cx, r = rows * (0.3 + 0.4 * rng.random()), columns * (0.3 + 0.4 * rng.random()), min(rows, columns) / 5
    ground[(y - cy) ** 2 + (x - cx) ** 2 < r * r] += 0.4
    picture = np.stack([ground * (0.6 + 0.4 * rng.random()) for _ in range(channels)], axis=-1)
    picture += rng.normal(0, 0.02, picture.shape)
    numbers = np.clip(picture * top, 0, top).astype(np.uint8 if top < 256 else np.uint16)
    return numbers[..., 0] if channels == 1 else numbers


def _jpeg(array: npt.NDArray[Any], exif: bytes = EXIF) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=90, exif=exif, comment=b"PLANTED-COMMENT")
    return buffer.getvalue()


def _png(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _table(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(c for row in rows for c in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        table.writerows(rows)


def skin(folder: Path) -> None:
    """A folder for each class; JPEG photographs with names in their EXIF."""
    for number in range(12):
        kind = ("mel", "nv", "bkl")[number % 3]
        name = f"P{number // 2:02d}_{number:03d}"
        _put(folder / "photos" / kind / f"{name}.jpg", _jpeg(pixels(f"skin{number}", 90, 120, 3)))
    _put(folder / "photos" / "nv" / "P09_900.jpg", _jpeg(pixels("cut", 90, 120, 3))[:900])


def fundus(folder: Path) -> None:
    """A CSV with one class a row; colour PNG."""
    rows = []
    for number in range(10):
        name = f"eye{number:03d}"
        _put(folder / "img" / f"{name}.png", _png(pixels(name, 64, 80, 3)))
        person = {"subject": f"s{number // 2}", "sex": "FM"[number % 2], "age": 30 + 8 * number}
        rows.append({"id": name, "grade": number % 3, **person})
    rows.append({"id": "eye404", "grade": 1, "subject": "s99", "sex": "F", "age": 50})  # its file is not there
    _table(folder / "labels.csv", rows)


CHEST_STATES = ("1.0", "0.0", "-1.0", "")


def chest(folder: Path) -> None:
    """A column for each finding: 1, 0, -1 (uncertain) or nothing (not mentioned). 8-bit grey JPEG."""
    rows = []
    for number in range(12):
        path = f"train/p{number // 2:03d}/view{number}.jpg"
        _put(folder / path, _jpeg(pixels(f"chest{number}", 70, 60)))
        cells = {f: CHEST_STATES[(number + n) % 4] for n, f in enumerate(("Pneumonia", "Edema", "Lung Lesion"))}
        rows.append({"Path": path, "PatientID": f"p{number // 2:03d}", **cells})
    _put(folder / "train/p900/view900.jpg", _jpeg(pixels("chest900", 70, 60)))
    rows.append({"Path": "train/p900/view900.jpg", "PatientID": "p900", "Pneumonia": "7"})  # 7 means nothing
    _table(folder / "train.csv", rows)


def nodules(folder: Path) -> None:
    """16-bit grey PNG, and a second table with boxes in pixels."""
    rows, boxes = [], []
    for number in range(8):
        name = f"n{number}"
        _put(folder / "png" / f"{name}.png", _png(pixels(name, 100, 140, 1, 4095)))
        rows.append({"image": name, "patient": f"q{number}", "finding": "nodule" if number % 2 else "none"})
        if number % 2:
            boxes.append({"image": name, "x": 10 + number, "y": 20, "w": 30, "h": 40, "type": "nodule"})
    _put(folder / "png" / "n9.png", _png(pixels("n9", 100, 140, 1, 4095))[:-30])
    rows.append({"image": "n9", "patient": "q9", "finding": "none"})
    _table(folder / "cases.csv", rows)
    _table(folder / "boxes.csv", boxes)


def dicom_picture(array: npt.NDArray[Any], modality: str, uid: str, sop_class: str, **more: Any) -> bytes:
    """A DICOM instance of a picture or film, explicit little endian."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[uid, "instance"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=[uid, "study"])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[uid, "series"])
    ds.Modality, ds.PatientName, ds.PatientID = modality, "PLANTED^NAME", f"id-{uid}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    colour = array.ndim >= 3 and array.shape[-1] == 3
    spatial = array.shape[-3:-1] if colour else array.shape[-2:]
    ds.Rows, ds.Columns = spatial
    frames = array.shape[0] if array.ndim == (4 if colour else 3) else 1
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8 * array.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 1 if array.dtype.kind == "i" else 0
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    ds.PixelData = array.tobytes() + b"\0" * (array.nbytes % 2)
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


DX = "1.2.840.10008.5.1.4.1.1.1.1"
US_CINE = "1.2.840.10008.5.1.4.1.1.3.1"


def radiographs(folder: Path) -> None:
    """DICOM DX, MONOCHROME1 with a VOI window, and a CSV with a class."""
    rows = []
    for number in range(6):
        array = pixels(f"dx{number}", 80, 64, 1, 1023)
        data = dicom_picture(
            array, "DX", f"dx{number}", DX, BitsStored=10, HighBit=9, PhotometricInterpretation="MONOCHROME1",
            WindowCenter=512, WindowWidth=401, ImagerPixelSpacing=[0.2, 0.2], BodyPartExamined="HAND",
        )  # fmt: skip
        _put(folder / f"dx{number}.dcm", data)
        rows.append({"file": f"dx{number}", "fracture": "yes" if number % 2 else "no", "patient": f"r{number}"})
    rows.append({"file": "dx9", "fracture": "no", "patient": "r9"})
    _put(folder / "dx9.dcm", dicom_picture(pixels("dx9", 80, 64, 1, 1023), "DX", "dx9", DX)[:-500])
    _table(folder / "fractures.csv", rows)


def reports(folder: Path) -> None:
    """Two views of a study, a report in a file, an impression in a cell."""
    rows = []
    for number in range(8):
        for view in ("frontal", "lateral"):
            _put(folder / "files" / f"s{number}_{view}.jpg", _jpeg(pixels(f"report{number}{view}", 72, 60)))
        text = f"The heart is of normal size. Größe unverändert. Study {number}."
        _put(folder / "reports" / f"s{number}.txt", text.encode())
        split = "train" if number < 6 else "test"
        words = f"No change, {number}."
        rows.append({"study": f"s{number}", "subject": f"u{number // 2}", "impression": words, "split": split})
    _put(folder / "reports" / "s7.txt", b"caf\xe9 in another encoding")
    _table(folder / "studies.csv", rows)


def cine(folder: Path) -> None:
    """Ultrasound films, grey and colour, as multi-frame DICOM."""
    for number in range(4):
        shape = [pixels(f"us{number}-{frame}", 48, 64, 3 if number % 2 else 1) for frame in range(6)]
        data = dicom_picture(np.stack(shape), "US", f"us{number}", US_CINE, FrameTime=40)
        _put(folder / f"us{number}.dcm", data)
    _put(folder / "us9.dcm", dicom_picture(np.stack([pixels("us9", 48, 64)] * 6), "US", "us9", US_CINE)[:-5000])


def films(folder: Path) -> None:
    """Echocardiograms as AVI without loss, and a CSV with a measurement."""
    import av

    rows = []
    for number in range(4):
        path = folder / "videos" / f"v{number}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format="avi") as out:
            stream = out.add_stream("ffv1", rate=50)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
            for frame in range(8):
                image = av.VideoFrame.from_ndarray(pixels(f"film{number}-{frame}", 48, 64), format="gray")
                out.mux(stream.encode(image))
            out.mux(stream.encode())
        rows.append({"file": f"v{number}", "ef": 40.5 + number, "split": ("TRAIN", "VAL", "TEST", "TRAIN")[number]})
    _put(folder / "videos" / "v9.avi", (folder / "videos" / "v0.avi").read_bytes()[:400])
    _table(folder / "FileList.csv", [*rows, {"file": "v9", "ef": 50, "split": "TRAIN"}])


def discs(folder: Path) -> None:
    """Fundus pictures with a mask file for each structure: 1-bit PNG of disc and cup, which overlap; a CSV joins them."""
    rows = []
    for number in range(6):
        name = f"fundus{number}"
        image, shapes = drawn(name, 64, 80, 3)
        _put(folder / "images" / f"{name}.png", _png(image))
        disc, cup = (f"masks/{name}_{part}.png" for part in ("disc", "cup"))
        if number != 5:  # nobody drew on the last one
            _put(folder / disc, _png(shapes == 1 if number == 4 else shapes > 0))
            _put(folder / cup, _png(np.zeros_like(shapes, bool) if number == 4 else shapes == 2))
        rows.append({"id": name, "subject": f"s{number // 2}", "disc": disc, "cup": cup if number != 5 else ""})
    _table(folder / "cases.csv", rows)


def lesions(folder: Path) -> None:
    """Dermoscopy in a folder for each class, JPEG, each with a grey mask of 0 and 255 beside it; one mask is of another size."""
    for number in range(6):
        kind, name = ("mel", "nv")[number % 2], f"skin{number}"
        image, shapes = drawn(name, 90, 120, 3)
        _put(folder / kind / f"{name}.jpg", _jpeg(image))
        _put(folder / kind / f"{name}_mask.png", _png((255 * (shapes > 0)).astype(np.uint8)))
    image, shapes = drawn("skin9", 90, 120, 3)
    _put(folder / "nv" / "skin9.jpg", _jpeg(image))
    _put(folder / "nv" / "skin9_mask.png", _png((255 * (shapes > 0)).astype(np.uint8)[:, :100]))


CELL_COLOURS = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
"""Of background, nuclei, and what the annotators could not tell."""


def cells(folder: Path) -> None:
    """Microscopy with masks in colour, TIFF and PNG, joined by their names."""
    for number in range(5):
        image, shapes = drawn(f"cells{number}", 70, 60)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "TIFF")
        _put(folder / "raw" / f"c{number}.tif", buffer.getvalue())
        _put(folder / "masks" / f"c{number}.png", _png(np.array(CELL_COLOURS, np.uint8)[shapes]))


def drawn(name: str, rows: int, columns: int, channels: int = 1) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """A picture with two shapes, one within the other, and where they are: 0 nothing, 1 the outer, 2 the inner one."""
    rng = np.random.default_rng([1, *name.encode()])
    y, x = np.mgrid[0:rows, 0:columns]
    cy, cx, r = rows * (0.4 + 0.2 * rng.random()), columns * (0.4 + 0.2 * rng.random()), min(rows, columns) / 4
    distance = ((y - cy) / r) ** 2 + ((x - cx) / (1.2 * r)) ** 2
    shapes = (distance < 1).astype(np.uint8) + (distance < 0.3)
    image = pixels(name, rows, columns, channels).astype(np.int16)
    lift = np.array([0, 40, 80], np.int16)[shapes]
    image = np.clip(image + (lift[..., np.newaxis] if channels > 1 else lift), 0, 255).astype(np.uint8)
    return image, shapes.astype(np.uint8)


SOURCES: dict[str, Callable[[Path], None]] = {
    "phantom-skin": skin,
    "phantom-fundus": fundus,
    "phantom-chest": chest,
    "phantom-nodules": nodules,
    "phantom-radiographs": radiographs,
    "phantom-reports": reports,
    "phantom-cine": cine,
    "phantom-films": films,
    "phantom-discs": discs,
    "phantom-lesions": lesions,
    "phantom-cells": cells,
}
"""What writes each source."""
