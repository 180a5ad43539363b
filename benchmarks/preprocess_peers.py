"""One library's way through the preprocessing benchmark, in a process of its own.

    python -m benchmarks.preprocess_peers PEER FOLDER SIZE

Each job reads an image and a label from `.nii.gz`, turns them to RAS, brings them to 1.5 mm, clips the image to a window,
remaps the label, and leaves two integer arrays (z, y, x). It is written as that library's users write it. A job runs once
on a tiny pair first, so that neither imports nor compilation are timed; then once on the pair that counts. In between
some memory is touched and given back, by another process: a virtual machine whose host has taken its free memory away
needs seconds of CPU to get a gigabyte back, and that says nothing of the library. The last line printed is a JSON object;
arrays are saved beside the inputs for the comparison, after the clock has stopped.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.preprocess_data import STRUCTURES, TARGET_MM, WINDOW_HU, Pair, make_pair
from mdfp.geometry import LPS_TO_RAS, direction, spacing_xyz_mm
from transforms.normalise.grid import OutputGrid, output_grid

TOUCHED_BYTES = 4 << 30
"""Memory that is touched before the clock starts, or half of what is free: more than any of the libraries needs."""

TOUCH = "import sys; m = bytearray(int(sys.argv[1])); m[::4096] = bytes([1]) * len(m[::4096])"

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]
Job = Callable[[Pair], Arrays]

LUT = np.array([0, *(100 + v for v in range(1, len(STRUCTURES) + 1))], dtype=np.uint8)
"""What each label value becomes, for peers; ours uses its own palette, and is compared through it."""


def target_grid(shape_zyx: tuple[int, int, int], affine_ras: npt.NDArray[np.float64]) -> OutputGrid:
    """The grid all peers that take one are given: ours, of the canonical volume."""
    from transforms.normalise.orientation import canonicalise
    from transforms.volume import Volume

    canonical = canonicalise(Volume(np.broadcast_to(np.int16(0), shape_zyx), affine_ras))
    return output_grid(canonical.shape_zyx, canonical.affine_ras, (TARGET_MM,) * 3, low_pass=False)


def ours(pair: Pair, *, plain: bool) -> Arrays:
    """Everything a build does between fetching and encoding: checks, statistics, hashes, states, records."""
    from mdfp.sample import Acquisition
    from schemas.case import CaseImage, CaseLabel
    from schemas.label_table import LabelTable
    from schemas.recipe import Recipe
    from transforms.labels.label import LabelPart, normalise_labels
    from transforms.labels.palette import build
    from transforms.normalise.image import normalise_image
    from transforms.read.array import PREFIX_BYTES, Blob, read_array, read_header
    from transforms.store import SourceStore

    recipe = Recipe.model_validate(
        {
            "corpus": "benchmark",
            "out": "out",
            "sources": [{"id": "synthetic"}],
            "terms": {"accept": ["own-data"]},
            "geometry": {"spacing_mm": [TARGET_MM] * 3, "low_pass": not plain},
            "labels": {"resample": "nearest" if plain else "vote"},
        }
    )
    table = LabelTable(values={0: "background", **dict(enumerate(STRUCTURES, start=1))}, origin="expert")
    palette = build(STRUCTURES)
    folder = SourceStore(str(pair.image.parent))

    def read(path: Path, name: str) -> tuple[Any, Callable[[], Any]]:
        seen = folder.version(path.name)
        data = folder.read_object(path.name, seen.bytes, seen.version)
        head = read_header(
            "nifti", bytes(data[: PREFIX_BYTES["nifti"]]), name=name, file_bytes=len(data), limits=recipe.limits
        ).header
        return head, lambda: read_array(head, [Blob(path.name, data)], recipe.limits)

    head, volume = read(pair.image, "ct")
    image = normalise_image(volume(), CaseImage(head, "CT", Acquisition()), recipe)
    label_head, label_volume = read(pair.label, "organs")
    part = LabelPart(CaseLabel(label_head, "ct", "organs", "expert"), table, ((label_volume, None),))
    labels = normalise_labels([part], {"ct": image}, palette, recipe.labels)
    windowed = np.clip(image.array_zyx, *WINDOW_HU, out=image.array_zyx)
    return windowed, labels.layers[0][1]


def simpleitk(pair: Pair) -> Arrays:
    """A plain SimpleITK script: one filter for each step of the job."""
    import SimpleITK as sitk  # noqa: N813 (the name its documentation uses)

    image, label = (sitk.DICOMOrient(i, "RAS") for i in _sitk_read(pair))
    like = _sitk_like(image)
    image = sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, -1024.0, sitk.sitkInt16)
    label = sitk.Resample(label, like, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    image = sitk.Clamp(image, sitk.sitkInt16, *WINDOW_HU)
    label = sitk.ChangeLabel(label, {v: float(LUT[v]) for v in range(len(LUT))})
    return sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(label)


def simpleitk_lean(pair: Pair) -> Arrays:
    """The same by someone who knows it well: resampling does the turning, numpy the remapping, nothing is done twice."""
    import SimpleITK as sitk  # noqa: N813

    image, label = _sitk_read(pair)
    like = _sitk_like(image)
    image = sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, -1024.0, sitk.sitkInt16)
    label = sitk.Resample(label, like, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    voxels = sitk.GetArrayFromImage(image)
    return np.clip(voxels, *WINDOW_HU, out=voxels), LUT[sitk.GetArrayViewFromImage(label)]


def reference(pair: Pair) -> Arrays:
    """What the others are compared with: SimpleITK's linear interpolation in double precision, not rounded."""
    import SimpleITK as sitk  # noqa: N813

    image, label = _sitk_read(pair)
    like = _sitk_like(image)
    exact = sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, -1024.0, sitk.sitkFloat64)
    label = sitk.Resample(label, like, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkUInt8)
    return np.clip(sitk.GetArrayFromImage(exact), *WINDOW_HU), LUT[sitk.GetArrayFromImage(label)]


def _sitk_read(pair: Pair) -> tuple[Any, Any]:
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return sitk.ReadImage(str(pair.image)), sitk.ReadImage(str(pair.label))


def _sitk_like(image: Any) -> Any:
    """An image without content on our grid of `image`."""
    import SimpleITK as sitk  # noqa: N813

    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    lps[:3, 3] = image.GetOrigin()
    x, y, z = image.GetSize()
    grid = target_grid((z, y, x), LPS_TO_RAS @ lps)
    affine = LPS_TO_RAS @ grid.affine_ras
    like = sitk.Image(grid.shape_zyx[::-1], sitk.sitkUInt8)
    like.SetSpacing(spacing_xyz_mm(affine))
    like.SetOrigin(affine[:3, 3].tolist())
    like.SetDirection(direction(affine).reshape(-1).tolist())
    return like


def monai(pair: Pair) -> Arrays:
    """MONAI's dictionary transforms; `ResampleToMatchd` is its `Spacingd` given a grid, not a spacing."""
    import torch
    from monai.data import MetaTensor
    from monai.transforms import (
        Compose,
        EnsureChannelFirstd,
        Lambdad,
        LoadImaged,
        MapLabelValued,
        Orientationd,
        ResampleToMatchd,
        ScaleIntensityRanged,
    )

    torch.set_num_threads(1)
    both, (low, high) = ["image", "label"], WINDOW_HU

    def with_grid(sample: dict[str, Any]) -> dict[str, Any]:
        shape = tuple(int(n) for n in sample["image"].shape[1:])
        grid = output_grid(shape[::-1], np.asarray(sample["image"].affine), (TARGET_MM,) * 3, low_pass=False)  # type: ignore[arg-type]
        like = torch.zeros(1).expand(1, *grid.shape_zyx[::-1])
        return {**sample, "like": MetaTensor(like, affine=torch.as_tensor(grid.affine_ras))}

    transforms = Compose(
        [
            LoadImaged(both),
            EnsureChannelFirstd(both),
            Orientationd(both, axcodes="RAS", labels=None),
            with_grid,
            ResampleToMatchd(both, key_dst="like", mode=("bilinear", "nearest"), padding_mode="border"),
            ScaleIntensityRanged("image", a_min=low, a_max=high, b_min=low, b_max=high, clip=True),
            MapLabelValued("label", range(len(LUT)), LUT.tolist(), dtype=np.uint8),
            Lambdad("image", lambda i: torch.round(i).to(torch.int16)),
        ]
    )
    sample = transforms({"image": str(pair.image), "label": str(pair.label)})
    image, label = (np.asarray(sample[key][0]) for key in both)
    return image.transpose(2, 1, 0), label.astype(np.uint8).transpose(2, 1, 0)


def torchio(pair: Pair) -> Arrays:
    """TorchIO's transforms, given our grid."""
    import torch
    import torchio as tio

    torch.set_num_threads(1)
    subject = tio.Subject(image=tio.ScalarImage(pair.image), label=tio.LabelMap(pair.label))
    subject = tio.ToCanonical()(subject)
    shape = tuple(int(n) for n in subject.image.spatial_shape)
    grid = output_grid(shape[::-1], np.asarray(subject.image.affine), (TARGET_MM,) * 3, low_pass=False)  # type: ignore[arg-type]
    transforms = tio.Compose(
        [
            tio.Resample((grid.shape_zyx[::-1], np.asarray(grid.affine_ras))),
            tio.Clamp(*WINDOW_HU),
            tio.RemapLabels({v: int(LUT[v]) for v in range(len(LUT))}),
        ]
    )
    subject = transforms(subject)
    voxels = np.rint(subject.image.data[0].numpy()).astype(np.int16)
    return voxels.transpose(2, 1, 0), subject.label.data[0].numpy().astype(np.uint8).transpose(2, 1, 0)


def nibabel_scipy(pair: Pair) -> Arrays:
    """Nibabel for files and orientation, scipy.ndimage for resampling, on our grid."""
    import nibabel as nib
    from scipy import ndimage

    def resampled(path: Path, order: int, dtype: type) -> npt.NDArray[Any]:
        file = nib.as_closest_canonical(nib.load(path))
        array = np.asanyarray(file.dataobj)
        shape = tuple(int(n) for n in array.shape)
        grid = output_grid(shape[::-1], file.affine, (TARGET_MM,) * 3, low_pass=False)  # type: ignore[arg-type]
        to_index = np.linalg.inv(file.affine) @ grid.affine_ras
        out = ndimage.affine_transform(
            array.astype(np.float32) if order else array,
            np.diag(to_index[:3, :3]),
            to_index[:3, 3],
            output_shape=grid.shape_zyx[::-1],
            order=order,
            mode="nearest",
        )
        return (np.rint(out) if order else out).astype(dtype).transpose(2, 1, 0)

    image = np.clip(resampled(pair.image, 1, np.int16), *WINDOW_HU)
    return image, LUT[resampled(pair.label, 0, np.uint8)]


JOBS: dict[str, Job] = {
    "ours": lambda pair: ours(pair, plain=True),
    "ours-default": lambda pair: ours(pair, plain=False),
    "simpleitk": simpleitk,
    "simpleitk-lean": simpleitk_lean,
    "monai": monai,
    "torchio": torchio,
    "nibabel-scipy": nibabel_scipy,
    "reference": reference,
}


def main(peer: str, folder: Path, size: str) -> None:
    """Run one job and print what it cost."""
    job = JOBS[peer]
    job(make_pair(folder, "warm-up"))
    imports_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pair = make_pair(folder, size)
    free_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    subprocess.run([sys.executable, "-c", TOUCH, str(min(TOUCHED_BYTES, free_bytes // 2))], check=True)
    job(pair)  # preprocessing is case after case: the second one costs what all others will
    wall, cpu = time.perf_counter(), time.process_time()
    image, label = job(pair)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.save(folder / f"{size}-{peer}-image.npy", image)
    np.save(folder / f"{size}-{peer}-label.npy", label)
    print(json.dumps({"cpu_s": cpu, "wall_s": wall, "peak_mb": peak_kb / 1024, "before_mb": imports_kb / 1024}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
