"""A sample as files and a JSON sidecar, for people who look at it in another program."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from mdfp import canonical
from mdfp.convert import to_nibabel
from mdfp.errors import UsageError, require
from mdfp.opened import OpenSample, Space, Values

_VOLUMES = ("zyx", "tzyx")


def export_nifti(
    sample: OpenSample,
    folder: Path | str,
    *,
    space: Space = None,
    values: Values = "stored",
    force: bool = False,
) -> list[Path]:
    """Write `<key>.image.<name>.nii.gz`, `<key>.label.<layer>.nii.gz` or `.classes.`, and `<key>.json` into a folder.

    An image over time is one file with the axes (x, y, z, t); its masks have three axes.
    Pictures, their masks and texts are written under the names of their members, as they are; films as `.npy`. With `space`
    the class mask of a picture is `<key>.classes.<name>.png`.

    Args:
        sample: what to export.
        folder: made when it is not there.
        space: write one class mask of this label space for each image that has labels, instead of the stored layers.
        values: numbers of the images; stored ones carry `scl_slope` and `scl_inter`, so that they read as physical.
        force: write over files of these names.

    Returns:
        The files, the sidecar last.

    Raises:
        UsageError: a file is there already, or the sample has no volume to export.
        MissingExtraError: nibabel is not installed.
        CorpusError: the shard is missing or damaged.
    """
    root = Path(folder)
    key = sample.key
    images: list[tuple[Path, Any]] = []
    names: dict[str, Any] = {}
    others = _as_they_are(sample, root, masks=space is None)
    if any(record.axes in _VOLUMES for record in sample.record.images):
        require("nibabel", "convert")
    for record in sample.record.images:
        if record.axes not in _VOLUMES:
            continue
        affine = sample.affine(record.name)
        path = root / f"{key}.image.{record.name}.nii.gz"
        image = to_nibabel(
            sample.image(record.name, values=values), affine, frame_time_ms=_frame_time_ms(sample, record.name)
        )
        if values == "stored" and (record.scale, record.offset) != (1.0, 0.0):
            image.header.set_slope_inter(record.scale, record.offset)
        images.append((path, image))
        labels = [label.layer for label in sample.record.labels if label.image == record.name]
        if space is not None and labels:
            asked = sample.label_space(space)
            mask = sample.classes(asked, image=record.name)
            images.append((root / f"{key}.classes.{record.name}.nii.gz", to_nibabel(mask, affine)))
            names = {str(i + 1): name for i, name in enumerate(asked.names)} | {"255": "cannot be told"}
        elif space is None:
            for layer in labels:
                images.append((root / f"{key}.label.{layer}.nii.gz", to_nibabel(sample.label(layer), affine)))
    if space is not None:
        masks, more = _class_pictures(sample, root, space)
        others |= masks
        names |= more
    if space is None:
        names = {str(s.value): s.structure for s in sample.record.structures}
    sidecar = root / f"{key}.json"
    if not force and (there := [str(p) for p in (*(p for p, _ in images), *others, sidecar) if p.exists()]):
        raise UsageError(f"{', '.join(there)}: there already; give another folder, or --force to write over them")
    root.mkdir(parents=True, exist_ok=True)
    for path, image in images:
        _save(path, image)
    for path, data in others.items():
        path.write_bytes(data)
    sidecar.write_bytes(canonical.pretty({"values": names, "sample": sample.record}))
    return [*(path for path, _ in images), *others, sidecar]


def _frame_time_ms(sample: OpenSample, image: str) -> float | None:
    """Between the time points of an image, where its file said so."""
    told = sample.annotations(kind="measurement", name="frame_time", image=image)
    number, _, unit = (told[0].value or "").partition(" ") if told else ("", "", "")
    return float(number) if unit == "ms" else None


def _class_pictures(sample: OpenSample, root: Path, space: Space) -> tuple[dict[Path, bytes], dict[str, str]]:
    """Class masks of pictures as PNG, and what their numbers mean."""
    masked = {label.image for label in sample.record.labels}
    found: dict[Path, bytes] = {}
    names: dict[str, str] = {}
    for record in sample.record.images:
        if record.axes not in ("yx", "yxc") or record.name not in masked:
            continue
        require("PIL", "cli")
        from PIL import Image

        asked = sample.label_space(space)
        buffer = io.BytesIO()
        Image.fromarray(sample.classes(asked, image=record.name)).save(buffer, "PNG")
        found[root / f"{sample.key}.classes.{record.name}.png"] = buffer.getvalue()
        names = {str(i + 1): name for i, name in enumerate(asked.names)} | {"255": "cannot be told"}
    return found, names


def _as_they_are(sample: OpenSample, root: Path, *, masks: bool) -> dict[Path, bytes]:
    """Pictures, their masks and texts as their members hold them; a film as `.npy`, axes as in the sidecar."""
    found = {}
    for record in sample.record.images:
        if record.axes in _VOLUMES:
            continue
        if "t" in record.axes:
            buffer = io.BytesIO()
            np.save(buffer, sample.image(record.name, values="stored"), allow_pickle=False)
            found[root / f"{sample.key}.image.{record.name}.npy"] = buffer.getvalue()
        else:
            name, data = sample.member("image", record.name)
            found[root / name] = data
            for layer in (e.layer for e in sample.record.labels if masks and e.image == record.name):
                name, data = sample.member("label", layer)
                found[root / name] = data
    for text in sample.record.texts:
        name, data = sample.member("text", text.name)
        found[root / name] = data
    return found


def _save(path: Path, image: Any) -> None:
    import nibabel

    slope, inter = image.header.get_slope_inter()
    if slope is None or (slope, inter) == (1.0, 0.0):
        nibabel.save(image, path)
        return
    # nibabel would divide by the slope again: stored numbers go out as they are, under a header that scales them.
    import gzip

    header = image.header.copy()
    header.set_data_offset(352)
    data = np.asarray(image.dataobj)
    block = bytes(header.binaryblock)
    with gzip.open(path, "wb") as file:
        file.write(block)
        file.write(bytes(352 - len(block)))
        file.write(data.tobytes(order="F"))
