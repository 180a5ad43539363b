"""Every row of the manifest of real test files, read as a build reads it, against what independent tools measured."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mdfp import geometry
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.archive_store import ArchiveStore
from transforms.flat import Flat
from transforms.look import Seen, described, look, pixels
from transforms.normalise.orientation import canonicalise
from transforms.normalise.over_time import Image
from transforms.read import drawing, nifti
from transforms.rejected import Rejected
from transforms.store import ListedObject, SourceStore
from transforms.volume import TemporalVolume, Volume

LIMITS = Limits()
Numbers = npt.NDArray[np.float64]

REFUSED = {
    "dicom/dicom2nifti/siemens-mosaic/MR": Reason.MULTIFRAME,  # without the CSA header, which says how many tiles count
    "dicom/pydicom/MR/MR_small_bigendian.dcm": Reason.INCOMPLETE,  # one slice is no volume
    "dicom/pydicom/CT/CT_small.dcm": Reason.INCOMPLETE,
    "dicom/pydicom/MR/MR_truncated.dcm": Reason.TRUNCATED,
    "dicom/pydicom/SEG/liver_1frame.dcm": Reason.ORPHAN_LABEL,
    "dicom/highdicom/SEG/seg_image_ct_binary_overlap.dcm": Reason.ORPHAN_LABEL,
    "dicom/highdicom/SEG/seg_image_ct_true_fractional.dcm": Reason.ORPHAN_LABEL,
}
"""Rows that are refused, and the one right reason."""

UPRIGHT = {"dicom/dicom2nifti/gantry-tilt/CT": ((4, 521, 512), (0.418, 0.418, 4.851))}
"""A tilted series: the manifest tells of its slices, dcm2niix makes an upright volume of this shape and spacing."""

IN_COLOUR = {"dicom/dicom2nifti/rgb/MR"}
"""A series in colour: no volume, but pictures."""

ACTIVITY = {"dicom/soft-tissue-sarcoma-raw/STS_001/PT"}
"""PET told in Bq/ml by the manifest and read as SUVbw: the same but for one factor."""


@dataclass(frozen=True)
class Row:
    """One row, and what came of it.

    Attributes:
        path: below the folder of test files.
        kind: the manifest's word.
        outcome: what was read, or the reason of its refusal.
        wrong: what differs from the manifest; empty: nothing.
    """

    path: str
    kind: str
    outcome: str
    wrong: tuple[str, ...]


def walk(root: Path) -> Iterator[Row]:
    """All rows, in the manifest's order."""
    with (root / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield _row(root, row)


def _row(root: Path, row: dict[str, str]) -> Row:
    path, kind = row["path"], row["kind"]
    wanted = REFUSED.get(path)
    if wanted is not None:
        found = {str(s.fault.reason) for s in _seen(root, path, read=True) if s.fault is not None}
        wrong = () if found == {str(wanted)} else (f"expected a refusal {wanted}, found {sorted(found)}",)
        return Row(path, kind, f"refused: {', '.join(sorted(found))}", wrong)
    check = _CHECKS.get(kind, _volume)
    outcome, wrong = check(root, row)
    return Row(path, kind, outcome, tuple(wrong))


def _seen(root: Path, path: str, *, read: bool = False) -> list[Seen]:
    """What lies at a path; with `read`, faults that show in the pixels too."""
    place = root / path
    store = SourceStore(str(place if place.is_dir() else place.parent))
    objects: list[ListedObject] = list(store.list()) if place.is_dir() else [store.version(place.name)]
    if place.suffix == ".mhd":
        objects += [o for o in store.list() if o.path.startswith(place.stem) and o.path != place.name]
    found = [s for s in look(store, objects, LIMITS) if s.format != "other"]
    if not read:
        return found
    return [s if s.header is None else _with_fault(s, store) for s in found]


def _with_fault(seen: Seen, store: SourceStore) -> Seen:
    try:
        pixels(seen, store, LIMITS)
    except Rejected as fault:
        return dataclasses.replace(seen, fault=fault)
    return seen


def _one(root: Path, path: str) -> tuple[ArrayHeader, Image | Flat]:
    (seen,) = (s for s in _seen(root, path) if s.header is not None)
    assert seen.header is not None
    place = root / path
    return seen.header, pixels(seen, SourceStore(str(place if place.is_dir() else place.parent)), LIMITS)


def _volume(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    header, volume = _one(root, row["path"])
    assert isinstance(volume, Volume)
    told = f"{_x(header.shape[::-1])}, {_x(header.spacing_xyz_mm or ())} mm, {header.orientation}"
    if row["path"] in UPRIGHT:
        shape, spacing = UPRIGHT[row["path"]]
        same = header.shape == shape and np.allclose(header.spacing_xyz_mm or (), spacing, atol=5e-4)
        return f"{told}, deskewed", [] if same else [f"expected {shape} at {spacing} mm"]
    wrong = _geometry(row, header)
    values = _physical(volume)
    wrong += _statistics(row, values) if row["path"] not in ACTIVITY else _proportional(row, values)
    wrong += _hash(row, values)
    wrong += _labels(row, values)
    return told, wrong


def _geometry(row: dict[str, str], header: ArrayHeader) -> list[str]:
    found = {
        "native_shape": _x(header.shape[::-1]),
        "native_spacing_mm": _x(round(s, 4) for s in header.spacing_xyz_mm or ()),
        "native_orientation": header.orientation,
    }
    wrong = [
        f"{k}: expected {row[k]}, found {v}"
        for k, v in found.items()
        if row[k] and k != "native_spacing_mm" and row[k] != v
    ]
    spacing = [float(s) for s in row["native_spacing_mm"].split("x")]
    if not np.allclose(spacing, header.spacing_xyz_mm or (), atol=1e-3):
        wrong.append(f"spacing: expected {row['native_spacing_mm']}, found {found['native_spacing_mm']}")
    return wrong


def _physical(volume: Volume) -> Numbers:
    """Physical values of the volume turned to RAS, axes (x, y, z)."""
    turned = canonicalise(volume).array_zyx.transpose(2, 1, 0)
    return turned.astype(np.float64) * volume.scale + volume.offset


def _statistics(row: dict[str, str], values: npt.NDArray) -> list[str]:
    found = {"min": values.min(), "max": values.max(), "mean": values.mean(dtype=np.float64)}
    wide = max(1.0, abs(float(row["max"] or 0)))
    return [
        f"{k}: expected {row[k]}, found {v:.8g}"
        for k, v in found.items()
        if row[k] and not math.isclose(float(row[k]), float(v), rel_tol=1e-6, abs_tol=2e-5 * wide)
    ]


def _proportional(row: dict[str, str], values: Numbers) -> list[str]:
    factor = float(row["max"]) / values.max()
    return _statistics(row, values * factor)


def _hash(row: dict[str, str], values: npt.NDArray) -> list[str]:
    if not row["ras_int16_sha256"]:
        return []
    found = hashlib.sha256(np.ascontiguousarray(values).round().astype("<i2").tobytes()).hexdigest()
    return [] if found == row["ras_int16_sha256"] else [f"voxels: expected {row['ras_int16_sha256']}, found {found}"]


def _labels(row: dict[str, str], values: Numbers) -> list[str]:
    if not row["labels_or_frames"].startswith("{"):
        return []
    numbers, counts = np.unique(values, return_counts=True)
    found = {str(int(n)): int(c) for n, c in zip(numbers, counts, strict=True) if n}
    expected = json.loads(row["labels_or_frames"])
    return [] if found == expected else [f"labels: expected {expected}, found {found}"]


def _picture(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    header, flat = _one(root, row["path"])
    assert isinstance(flat, Flat)
    sizes = dict(zip(header.axes, header.shape, strict=True))
    shape = [sizes["x"], sizes["y"], *([sizes.get("t", 1)] if row["native_shape"].count("x") == 2 else [])]
    wrong = [] if _x(shape) == row["native_shape"] else [f"shape: expected {row['native_shape']}, found {_x(shape)}"]
    components = sizes.get("c", 1)
    if row["labels_or_frames"] != f"components={components}":
        wrong.append(f"expected {row['labels_or_frames']}, found {components}")
    if row["native_spacing_mm"] == "none in file" and header.spacing_xyz_mm is not None:
        wrong.append(f"expected no spacing, found {header.spacing_xyz_mm}")
    values = flat.array.astype(np.float64) * flat.scale + flat.offset
    told = [w for w in _statistics(row, values) if not w.startswith("mean")]
    # Means of YBR differ in the second digit: GDCM rounds on the way.
    if not math.isclose(values.mean(), float(row["mean"]), abs_tol=0.02):
        told.append(f"mean: expected {row['mean']}, found {values.mean():.6g}")
    return f"{_x(shape)} pixels, {components} channels", wrong + told


def _plane(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    """One plane of colour in NIfTI is a picture, the one that nibabel reads."""
    import nibabel

    header, flat = _one(root, row["path"])
    assert isinstance(flat, Flat)
    voxels = np.asarray(nibabel.load(root / row["path"]).dataobj)  # type: ignore[attr-defined]
    x, y, _ = voxels.shape
    wrong = [] if _x((x, y, 1)) == row["native_shape"] else [f"shape: expected {row['native_shape']}, found {x}x{y}"]
    same = np.array_equal(flat.array, np.stack([voxels[:, :, 0][n].T for n in voxels.dtype.names], axis=-1))
    wrong += [] if same and header.shape == flat.array.shape else ["the picture is not the one that nibabel reads"]
    return f"{x}x{y} pixels, {flat.array.shape[2]} channels", wrong


def _many(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    """Frames that are two volumes: the manifest tells of all of them together, as stored by its reader."""
    found = [s.header for s in _seen(root, row["path"]) if s.header is not None]
    slices = sum(h.shape[0] for h in found)
    x, y, z = row["native_shape"].split("x")
    same = slices == int(z) and all(h.shape[1:] == (int(y), int(x)) for h in found) and len(found) == 2
    return f"{len(found)} volumes of {slices // max(1, len(found))} slices", [] if same else [
        f"expected 2 of 32 slices, found {found}"
    ]


def _over_time(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    """Read as `temporal: keep` takes it, and normalised on its own grid: the voxels of the shard are compared."""
    (seen,) = (s for s in _seen(root, row["path"]) if s.header is not None)
    assert seen.header is not None
    place = root / row["path"]
    image = pixels(seen, SourceStore(str(place if place.is_dir() else place.parent)), LIMITS)
    assert isinstance(image, TemporalVolume)
    wrong = [] if "temporal" in {f.code for f in seen.findings} else ["no finding says that it is over time"]
    count, *shape_zyx = seen.header.shape
    shape = (*shape_zyx[::-1], count)
    if _x(shape) != row["native_shape"]:
        wrong.append(f"shape: expected {row['native_shape']}, found {_x(shape)}")
    spacing = [float(s) for s in row["native_spacing_mm"].split("x")]
    if not np.allclose(spacing, seen.header.spacing_xyz_mm or (), atol=1e-3):
        wrong.append(f"spacing: expected {row['native_spacing_mm']}, found {seen.header.spacing_xyz_mm}")
    code = geometry.orientation_code(image.affine_ras)
    # dcm2niix turns the rows of what it writes; the voxels in RAS are the same, which the hash says.
    if code != row["native_orientation"] and not row["checked_with"].startswith("dcm2niix"):
        wrong.append(f"orientation: expected {row['native_orientation']}, found {code}")
    record, array = described(seen, image)
    if record.axes != "tzyx" or record.stored.orientation != "RAS":
        wrong.append(f"stored: expected tzyx along R, A, S, found {record.axes}, {record.stored.orientation}")
    values = array.T.astype(np.float64) * record.scale + record.offset
    return f"{_x(shape)} (x, y, z, t), {code}", wrong + _statistics(row, values) + _hash(row, values)


def _drawn(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    """A SEG or RTSTRUCT on the series that it references, which lies beside it."""
    place = root / row["path"]
    image = place.parent.parent / ("image" if row["kind"] == "dicom-rtstruct" else "CT")
    header, _ = _one(root, str(image.relative_to(root)))
    label = dataclasses.replace(header, format="rtstruct" if row["kind"] == "dicom-rtstruct" else "seg")
    opened = drawing.open_drawing(label, place.read_bytes(), LIMITS)
    found = {
        s.name if row["kind"] == "dicom-rtstruct" else str(s.number): int(opened.mask(s.number).sum())
        for s in opened.segments
    }
    expected = json.loads(row["labels_or_frames"])
    return f"{sum(found.values())} voxels", [] if found == expected else [f"expected {expected}, found {found}"]


def _folder_of_masks(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    expected = json.loads(row["labels_or_frames"])
    found = {}
    for path in sorted((root / row["path"]).glob("*.nii.gz")):
        mask = nifti.read(path.read_bytes(), limits=LIMITS)
        if count := int(np.count_nonzero(mask.array_zyx)):
            found[path.name.removesuffix(".nii.gz")] = count
    drawn = {k: v for k, v in expected.items() if v}
    return f"{len(found)} structures", [] if found == drawn else [f"expected {drawn}, found {found}"]


def _archive(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    """Members of an archive, read in place, are the files that lie unpacked beside it."""
    place = root / row["path"]
    name = "oblique" if "oblique" in place.name else "generic-raw"
    unpacked = {
        hashlib.sha256(p.read_bytes()).hexdigest()
        for p in (root / "dicom" / "dicom2nifti" / name).rglob("*")
        if p.is_file()
    }
    store = ArchiveStore(str(place.parent), (place.name,), LIMITS)
    members = [o for o in store.list() if o.path.startswith(f"{place.name}/")]
    found = {hashlib.sha256(store.read_object(o.path, o.bytes, o.version)).hexdigest() for o in members}
    return f"{len(members)} members", [] if found == unpacked else ["members differ from the files beside the archive"]


def _x(numbers: object) -> str:
    return "x".join(f"{n:g}" if isinstance(n, float) else str(n) for n in numbers)  # type: ignore[attr-defined]


def _colour(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    """Secondary captures in colour, each a picture of its own."""
    found = [(s.header.axes, s.header.shape) for s in _seen(root, row["path"]) if s.header is not None]
    x, y, n = (int(v) for v in row["native_shape"].split("x"))
    same = found == [("yxc", (y, x, 3))] * n
    return f"{len(found)} pictures in colour", [] if same else [f"expected {n} pictures of {x}x{y}, found {found}"]


def _series(root: Path, row: dict[str, str]) -> tuple[str, list[str]]:
    if row["path"] in IN_COLOUR:
        return _colour(root, row)
    return _over_time(root, row) if row["native_shape"].count("x") == 3 else _volume(root, row)


_CHECKS: dict[str, Callable[[Path, dict[str, str]], tuple[str, list[str]]]] = {
    "dicom-series": _series, "nifti-4d": _over_time, "dicom-multiframe": _many, "dicom-file": _picture, "png": _picture,
    "jpg": _picture, "nifti-rgb": _plane, "dicom-seg": _drawn, "dicom-rtstruct": _drawn, "nifti-label-dir": _folder_of_masks,
    "archive": _archive,
}  # fmt: skip
