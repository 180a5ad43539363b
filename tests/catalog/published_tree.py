"""Makes the tree of one source of `published_layouts.yaml`, and says what must come out of it.

Volumes are tiny. Every structure of a label gets voxels of its own, those of the left side where x is negative in RAS,
those of the right side where it is positive. File axes point to L, P, S with three different spacings, so that an axis or
a side that is swapped on the way shows.
"""

from __future__ import annotations

import functools
import io
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import yaml
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from schemas import ontology

SHAPE_XYZ = (10, 9, 8)
AFFINE_RAS = np.array([[-2.0, 0, 0, 9], [0, -1.5, 0, 6], [0, 0, 2.5, -10], [0, 0, 0, 1]])
"""x runs from 9 to -9 mm, past 0 and never on it."""

World = frozenset[tuple[float, float, float]]
"""Centres of voxels in mm, RAS."""


@dataclass(frozen=True)
class Expected:
    """One source as it is published.

    Attributes:
        content: its entry in the file.
        tables: table -> value -> structure; for masks in files of their own, empty.
        masks: name of a mask file -> structure.
    """

    content: dict[str, Any]
    tables: dict[str, dict[int, str]]
    masks: dict[str, str]

    @property
    def cases(self) -> dict[str, dict[str, Any]]:
        return self.content["cases"]

    @property
    def excluded(self) -> dict[str, dict[str, Any]]:
        return self.content.get("excluded", {})

    @property
    def rejected(self) -> dict[str, str]:
        return self.content.get("rejected", {})

    def modality(self, image: str) -> str:
        named = self.content["modality"]
        return named if isinstance(named, str) else named[image]

    def label(self, case: dict[str, Any], name: str) -> tuple[str, str, str]:
        """(table, image, file) of a label of a case."""
        of = case["labels"][name]
        image, path = of if isinstance(of, list) else (next(iter(case["images"])), of)
        return case.get("table", {}).get(name, name), image, path


@dataclass
class Tree:
    """What was written.

    Attributes:
        drawn: (file, volume in it) -> structure -> where its voxels are.
        means: (file, volume in it) -> the mean of that image, by which it is told from all others.
        skipped: files that must be looked past.
    """

    drawn: dict[tuple[str, int | None], dict[str, World]] = field(default_factory=dict)
    means: dict[tuple[str, int | None], float] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)


@functools.cache
def expected() -> dict[str, Expected]:
    """Every entry of the file."""
    content = yaml.safe_load(Path(__file__).with_name("published_layouts.yaml").read_text())
    return {
        name: Expected(c, {t: _values(v) for t, v in c["tables"].items()}, _masks(c.get("masks", {})))
        for name, c in content.items()
    }


def _values(written: Any) -> dict[int, str]:
    if isinstance(written, list):
        return dict(enumerate(written, start=1))
    result: dict[int, str] = {}
    for key, structure in written.items():
        if key == "fdi":
            quadrants = {1: "upper_right", 2: "upper_left", 3: "lower_left", 4: "lower_right"}
            result |= {
                q * 10 + n: f"{t}_{side}" for q, side in quadrants.items() for n, t in enumerate(structure, start=1)
            }
            continue
        first, _, last = str(key).partition("-")
        result |= dict.fromkeys(range(int(first), int(last or first) + 1), structure)
    return result


def _masks(written: dict[str, Any]) -> dict[str, str]:
    result = {}
    for name, structure in written.items():
        if name == "ribs":
            for n in range(1, structure + 1):
                result |= {f"rib_{side}_{n}": f"rib_{n}_{side}" for side in ("left", "right")}
        elif name == "vertebrae" and structure != name:
            result |= {f"vertebrae_{level}": f"vertebra_{level.lower()}" for level in structure.split()}
        else:
            result[name] = structure
    return result


def write(root: Path, source: Expected) -> Tree:
    """Write the tree of a source below `root`."""
    tree = Tree()
    images: dict[str, dict[int | None, np.ndarray]] = {}
    labels: dict[str, dict[int | None, np.ndarray]] = {}
    for case in (*source.cases.values(), *source.excluded.values()):
        paths = list(case["images"].values())
        for number, path in enumerate(paths):
            volume = case.get("frame", number if paths.count(path) > 1 else None)
            seed = zlib.crc32(f"{path} {volume}".encode())
            voxels = np.random.default_rng(seed).integers(0, 1000, SHAPE_XYZ).astype(np.int16)
            tree.means[path, volume] = float(voxels.mean())
            images.setdefault(path, {})[volume] = voxels
        for name in case.get("labels", {}):
            table, _, path = source.label(case, name)
            if source.masks:
                _draw_masks(root, source, case, path, tree)
            else:
                lacks = set(case.get("absent", ())) | set(case.get("unknown", ()))
                volume = case.get("frame")
                values = {v: s for v, s in source.tables[table].items() if s not in lacks}
                voxels, drawn = paint(values)
                labels.setdefault(path, {})[volume] = voxels
                tree.drawn[path, volume] = drawn
    unit_sform = bool(source.content.get("unit_sform"))
    for path, volumes in (images | labels).items():
        if "{n" in path:
            _save_slices(root, path, volumes[None], source)
        else:
            _save(root / path, volumes, unit_sform)
    for path in (*source.rejected, *source.content.get("skipped", ())):
        _save(root / path, {None: np.ones(SHAPE_XYZ, np.uint8)}, unit_sform)
    for path, text in source.content.get("texts", {}).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    tree.skipped |= set(source.content.get("skipped", ()))
    for path in files(list(images)[:1] + list(labels)[:1])[:2]:
        twin = (root / path).with_name(f"._{Path(path).name}")
        twin.write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")
        tree.skipped.add(str(twin.relative_to(root)))
    return tree


def paint(values: dict[int, str]) -> tuple[np.ndarray, dict[str, World]]:
    """A map of integers (x, y, z), and where each structure is in it."""
    known = ontology.load()
    x = AFFINE_RAS[0, 0] * np.arange(SHAPE_XYZ[0]) + AFFINE_RAS[0, 3]
    free = {
        side: iter(np.argwhere(np.broadcast_to(there[:, None, None], SHAPE_XYZ)).tolist())
        for side, there in {"left": x < 0, "right": x > 0}.items()
    }
    voxels = np.zeros(SHAPE_XYZ, np.uint8)
    drawn: dict[str, set[tuple[float, float, float]]] = {}
    for number, (value, structure) in enumerate(values.items()):
        side = known[structure].side or ("left", "right")[number % 2]
        for _ in range(1 + number % 3):
            index = next(free[side])
            voxels[tuple(index)] = value
            drawn.setdefault(structure, set()).add(world(index))
    return voxels, {s: frozenset(w) for s, w in drawn.items()}


def world(index_xyz: Any, affine_ras: np.ndarray = AFFINE_RAS) -> tuple[float, float, float]:
    """Where the centre of a voxel is, to a thousandth of a mm."""
    x, y, z = np.round(affine_ras[:3, :3] @ np.asarray(index_xyz, float) + affine_ras[:3, 3], 3) + 0.0
    return float(x), float(y), float(z)


def _draw_masks(root: Path, source: Expected, case: dict[str, Any], path: str, tree: Tree) -> None:
    """A mask for each structure; an empty one for what is absent, none for what is unknown."""
    absent, unknown = set(case.get("absent", ())), set(case.get("unknown", ()))
    names = {n: s for n, s in source.masks.items() if s not in unknown}
    drawn_names = {n: s for n, s in names.items() if s not in absent and not case.get("nothing")}
    voxels, drawn = paint(dict(enumerate(drawn_names.values(), start=1)))
    tree.drawn[path, None] = drawn
    for name in names:
        value = list(drawn_names).index(name) + 1 if name in drawn_names else 255
        _save(root / path.format(mask=name), {None: (voxels == value).astype(np.uint8)}, False)


def files(paths: list[str]) -> list[str]:
    """Paths with those of one file a slice written out."""
    slices = range(SHAPE_XYZ[2])
    return [p for path in paths for p in ([path.format(n=n) for n in slices] if "{n" in path else [path])]


def _save_slices(root: Path, path: str, voxels: np.ndarray, source: Expected) -> None:
    """A file for each slice: DICOM instances, or pictures of their masks."""
    planes = voxels.T  # z from below, rows to P, columns to L
    series = re.sub("InPhase|OutPhase", "", path)
    for n in range(len(planes)):
        z = len(planes) - 1 - n if source.content.get("order") == "down" else n
        (root / path.format(n=n)).parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        if path.endswith(".png"):
            Image.fromarray(planes[z].astype(np.uint8)).save(buffer, "PNG")
        else:
            _instance(planes[z], z, n, series, path, source).save_as(buffer, enforce_file_format=True)
        (root / path.format(n=n)).write_bytes(buffer.getvalue())


def _instance(plane: np.ndarray, z: int, number: int, series: str, path: str, source: Expected) -> FileDataset:
    """One slice on the grid of AFFINE_RAS."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = MRImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path, str(z)])
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[series])
    ds.StudyInstanceUID, ds.FrameOfReferenceUID, ds.PatientID = "1.9", "1.7", "anonymous"
    ds.Modality, ds.InstanceNumber, ds.ImageType = str(source.content["modality"]), number + 1, ["ORIGINAL", "PRIMARY"]
    ds.EchoTime = 2.3 if "OutPhase" in path else 4.6
    ds.ImagePositionPatient = [-9.0, -6.0, -10 + 2.5 * z]
    ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], [1.5, 2.0]
    ds.SliceThickness, (ds.Rows, ds.Columns) = 5, plane.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    ds.PixelData = np.ascontiguousarray(plane, "<i2").tobytes()
    return ds


def _save(path: Path, volumes: dict[int | None, np.ndarray], unit_sform: bool) -> None:
    """One volume, or several along a fourth axis; volumes that nobody named are zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = next(iter(volumes.values()))
    voxels = first
    if None not in volumes:
        last = max(n for n in volumes if n is not None)
        voxels = np.stack([volumes.get(n, np.zeros_like(first)) for n in range(last + 1)], axis=-1)
    if re.search(r"\.nii(\.gz)?$", path.name):
        image = nibabel.Nifti1Image(voxels, AFFINE_RAS)
        image.header.set_xyzt_units("mm")
        image.set_qform(AFFINE_RAS, 1)
        if unit_sform:
            zooms = image.header.get_zooms()
            image.set_sform(np.diag([1.0, 1, 1, 1]), 1)
            image.header.set_zooms(zooms)
        nibabel.save(image, path)
        return
    itk = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    itk.SetSpacing([2.0, 1.5, 2.5])
    itk.SetOrigin([-9.0, -6.0, -10.0])  # LPS; with axes along L, P, S it is the grid of AFFINE_RAS
    SimpleITK.WriteImage(itk, str(path))
