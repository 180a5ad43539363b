"""Writes each data set of the world in its own layout, and says what is true of its cases."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from examples.phantom import files
from examples.phantom.anatomy import Draws, Person
from examples.phantom.dicom_file import RESCALE_INTERCEPT, Series, slice_file
from examples.phantom.scan import ScanGrid, label_map, mask_of
from examples.world import drawn, sources
from examples.world.scans import Scan, frontal, grid_of, rewritten, seen, taken
from examples.world.sources import WorldSource
from examples.world.truth import WorldCase, case_of, states_of
from mdfp.labels import State
from transforms.volume import Volume


class Entry(Protocol):
    """A case to write; see `examples.world.write.Entry`."""

    @property
    def scan(self) -> Scan: ...  # noqa: D102
    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def patient(self) -> int: ...  # noqa: D102
    @property
    def copy(self) -> bool: ...  # noqa: D102


def _picture(source: WorldSource, entry: Entry, tissue: str = "CT") -> tuple[Person, Volume, ScanGrid]:
    """What of the person can be seen, the picture as this source has it, and where its voxels lie."""
    who = entry.scan.who()
    volume = taken(who, entry.scan, source.orientation, tissue)
    if entry.copy:
        # Slices of a series lie along the body: a data set of series re-spaces and crops, and turns as series are turned.
        turn_to = source.orientation if source.layout["kind"] == "dicom" else None
        volume = rewritten(volume, Draws(f"rewritten {source.id} {entry.scan.name}"), turn_to)
    grid = grid_of(volume)
    return seen(who.body, grid), volume, grid


def _numbers(source: WorldSource, volume: Volume) -> npt.NDArray[Any]:
    """What the file holds."""
    hu = volume.array_zyx
    if source.rescaled != (1.0, 0.0):
        gain, bias = source.rescaled
        return (hu * np.float32(gain) + np.float32(bias)).astype(source.dtype)
    slope, inter = source.slope_inter
    return ((hu - inter) / slope).astype(source.dtype) if slope else hu.astype(source.dtype)


def _nifti(source: WorldSource, volume: Volume, grid: ScanGrid) -> bytes:
    return files.gz(files.nifti(_numbers(source, volume), grid, slope_inter=source.slope_inter))


def _labels(source: WorldSource, body: Person, grid: ScanGrid) -> npt.NDArray[np.uint8]:
    return label_map(body, grid, source.numbers())


def _label_file(source: WorldSource, body: Person, grid: ScanGrid) -> bytes:
    return files.gz(files.nifti(_labels(source, body, grid), grid))


def paired_nifti(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """A folder a patient, a folder an examination."""
    cases = []
    for e in entries:
        body, volume, grid = _picture(source, e)
        name = f"exam{e.number:04}"
        image = files.put(root, f"subject{e.patient:03}/{name}/ct.nii.gz", _nifti(source, volume, grid))
        files.put(root, f"subject{e.patient:03}/{name}/organs.nii.gz", _label_file(source, body, grid))
        cases.append(case_of(source.id, name, e.scan, e.copy, [image], states_of(body, source.drawn)))
    return cases


def paired_itk(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """MHA or NRRD, by the source's paths."""
    cases = []
    for e in entries:
        body, volume, grid = _picture(source, e)
        name = f"a{e.number:04}"
        image, label = (source.layout[k][0]["path"].format(case=name) for k in ("images", "labels"))
        files.put_itk(root, image, _numbers(source, volume), grid)
        files.put_itk(root, label, _labels(source, body, grid), grid)
        cases.append(case_of(source.id, name, e.scan, e.copy, [image], states_of(body, source.drawn)))
    return cases


def decathlon(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """Medical Segmentation Decathlon; every eighth image has no label and is a test image."""
    folder, cases, training, test = source.layout["folder"], [], [], []
    for e in entries:
        body, volume, grid = _picture(source, e)
        name = f"world_{e.number:03}"
        unlabelled = e.number % 8 == 0 and not e.copy
        where = "imagesTs" if unlabelled else "imagesTr"
        image = files.put(root, f"{folder}/{where}/{name}.nii.gz", _nifti(source, volume, grid))
        if unlabelled:
            test.append(f"./imagesTs/{name}.nii.gz")
        else:
            files.put(root, f"{folder}/labelsTr/{name}.nii.gz", _label_file(source, body, grid))
            training.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
        told = () if unlabelled else source.drawn
        case = case_of(source.id, name, e.scan, e.copy, [image], states_of(body, told))
        cases.append(replace(case, tests=unlabelled))
    described = {
        "name": "World", "tensorImageSize": "3D", "modality": {"0": "CT"}, "labels": _named(source, number_first=True),
        "numTraining": len(training), "numTest": len(test), "training": training, "test": test,
    }  # fmt: skip
    files.put(root, f"{folder}/dataset.json", json.dumps(described).encode())
    return cases


def nnunet(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """nnU-Net raw data."""
    folder, cases = source.layout["folder"], []
    for e in entries:
        body, volume, grid = _picture(source, e)
        name = f"case_{e.number:04}"
        image = files.put(root, f"{folder}/imagesTr/{name}_0000.nii.gz", _nifti(source, volume, grid))
        files.put(root, f"{folder}/labelsTr/{name}.nii.gz", _label_file(source, body, grid))
        cases.append(case_of(source.id, name, e.scan, e.copy, [image], states_of(body, source.drawn)))
    described = {
        "channel_names": {"0": "CT"}, "labels": _named(source, number_first=False), "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }  # fmt: skip
    files.put(root, f"{folder}/dataset.json", json.dumps(described).encode())
    return cases


def _named(source: WorldSource, *, number_first: bool) -> dict[str, Any]:
    named = {"background": 0} | source.numbers()
    return {str(v): s for s, v in named.items()} if number_first else named


def masks(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """A mask file for each structure that somebody looked for: all, or about two thirds of them."""
    cases = []
    for e in entries:
        body, volume, grid = _picture(source, e)
        name = f"s{e.number:04}"
        draws = Draws(f"looked for {source.id} {e.number}")
        told = [s for s in source.drawn if e.number % 3 == 0 or draws.uniform(0, 1) < 0.67] or ["liver"]
        image = files.put(root, f"{name}/ct.nii.gz", _nifti(source, volume, grid))
        for structure in told:
            content = files.gz(files.nifti(mask_of(body, structure, grid), grid))
            files.put(root, f"{name}/segmentations/{structure}.nii.gz", content)
        cases.append(case_of(source.id, name, e.scan, e.copy, [image], states_of(body, told)))
    return cases


def archives(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """Pairs in zip files of eight cases."""
    cases = []
    for start in range(0, len(entries), 8):
        part, buffer = f"part{start // 8:02}", io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for e in entries[start : start + 8]:
                body, volume, grid = _picture(source, e)
                name = f"z{e.number:04}"
                for file, content in (
                    ("ct", _nifti(source, volume, grid)),
                    ("organs", _label_file(source, body, grid)),
                ):
                    archive.writestr(zipfile.ZipInfo(f"{name}/{file}.nii.gz", (2001, 2, 3, 10, 11, 12)), content)
                path = f"parts/{part}.zip/{name}/ct.nii.gz"
                cases.append(case_of(source.id, name, e.scan, e.copy, [path], states_of(body, source.drawn)))
        files.put(root, f"parts/{part}.zip", buffer.getvalue())
    return cases


def channels(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """Two MR images of one grid a case; the first is dark where the second is bright."""
    cases = []
    for e in entries:
        body, t2, grid = _picture(source, e, "MR")
        name = f"m{e.number:04}"
        t1 = (1400 - t2.array_zyx // 2).astype(np.int16)
        images = [
            files.put(root, f"{name}/{channel}.nii.gz", files.gz(files.nifti(array, grid)))
            for channel, array in (("t1", t1), ("t2", t2.array_zyx))
        ]
        files.put(root, f"{name}/organs.nii.gz", _label_file(source, body, grid))
        cases.append(case_of(source.id, name, e.scan, e.copy, images, states_of(body, source.drawn)))
    return cases


def table(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """Radiographs as PNG, and a row for each: what it shows, and of whom it is."""
    from PIL import Image

    cases, rows = [], []
    codes = {"1": "present", "0": "absent", "-1": "uncertain", "": "unknown"}
    for e in entries:
        draws, buffer = Draws(f"findings {e.number}"), io.BytesIO()
        Image.fromarray(frontal(taken(e.scan.who(), e.scan, "LPS"))).save(buffer, "PNG")
        image = files.put(root, f"x{e.number:04}.png", buffer.getvalue())
        cells = {name: list(codes)[int(draws.uniform(0, 4))] for name in ("Pneumonia", "Edema")}
        rows.append({"File": image, "Patient": _patient_id(source, e.patient)} | cells)
        found = {name.lower(): codes[cell] for name, cell in cells.items()}
        nobody = dict.fromkeys(sources.EVERY_STRUCTURE, State.UNKNOWN)
        cases.append(WorldCase(source.id, image, e.scan.person, e.scan.name, e.copy, (image,), nobody, found))
    sink = io.StringIO()
    writer = csv.DictWriter(sink, ["File", "Patient", "Pneumonia", "Edema"])
    writer.writeheader()
    writer.writerows(rows)
    files.put(root, "rows.csv", sink.getvalue().encode())
    return cases


def _patient_id(source: WorldSource, number: int) -> str:
    """Ids of one namespace are of one kind; UIDs are made from them, so those of others are of another."""
    return f"{(source.namespace or source.id).removeprefix('world-')[0].upper()}{number:04}"


def _series(source: WorldSource, root: Path, entry: Entry) -> tuple[Person, ScanGrid, list[str], list[bytes]]:
    """The files of a series: what is seen, the grid, their paths and contents in the order of slices."""
    body, volume, grid = _picture(source, entry)
    patient, name = _patient_id(source, entry.patient), f"SE{entry.number:04}"
    series = Series(patient, f"{source.id} {patient} {name}", name, "Phantom Works", 1.0)
    stored = (volume.array_zyx - np.int16(RESCALE_INTERCEPT)).astype(np.int16)
    content = [slice_file(series, pixels, grid, k, instance_number=k + 1) for k, pixels in enumerate(stored)]
    paths = [
        files.put(root, f"dicom/{patient}/{name}/IM{(k * 37) % len(content):04}.dcm", c) for k, c in enumerate(content)
    ]
    return body, grid, paths, content


def series_and_maps(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """DICOM series, and label maps in NRRD."""
    cases = []
    for e in entries:
        body, grid, paths, _ = _series(source, root, e)
        files.put_itk(
            root, f"labels/{_patient_id(source, e.patient)}/SE{e.number:04}.nrrd", _labels(source, body, grid), grid
        )
        cases.append(
            case_of(source.id, f"SE{e.number:04}", e.scan, e.copy, sorted(paths), states_of(body, source.drawn))
        )
    return cases


def series_and_seg(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """DICOM series, and a SEG for each."""
    cases = []
    for e in entries:
        body, grid, paths, content = _series(source, root, e)
        there = {s: mask_of(body, s, grid) for s in source.drawn if s in body.organs}
        name = f"SE{e.number:04}"
        files.put(root, f"seg/{name}.dcm", drawn.seg(content, there, f"{source.id} {name}"))
        states = states_of(body, source.drawn, absent_is_said=False)
        cases.append(case_of(source.id, name, e.scan, e.copy, sorted(paths), states))
    return cases


def series_and_contours(source: WorldSource, root: Path, entries: Sequence[Entry]) -> list[WorldCase]:
    """DICOM series, and an RTSTRUCT for each."""
    cases = []
    for e in entries:
        body, grid, paths, content = _series(source, root, e)
        there = {s: body.organs[s] for s in source.drawn if s in body.organs}
        name = f"SE{e.number:04}"
        files.put(root, f"rtstruct/{name}.dcm", drawn.rtstruct(content, there, grid, f"{source.id} {name}"))
        cases.append(case_of(source.id, name, e.scan, e.copy, sorted(paths), states_of(body, source.drawn)))
    return cases


Writer = Callable[[WorldSource, Path, Sequence[Entry]], list[WorldCase]]

WRITERS: dict[str, Writer] = {
    sources.SERIES.id: series_and_maps,
    sources.SEG.id: series_and_seg,
    sources.RTSTRUCT.id: series_and_contours,
    sources.NIFTI.id: paired_nifti,
    sources.MHA.id: paired_itk,
    sources.NRRD.id: paired_itk,
    sources.MSD.id: decathlon,
    sources.NNUNET.id: nnunet,
    sources.MASKS.id: masks,
    sources.ARCHIVES.id: archives,
    sources.CHANNELS.id: channels,
    sources.TABLE.id: table,
}
"""How each source is written."""
