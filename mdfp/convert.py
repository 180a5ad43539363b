"""Volumes for other libraries, each with its own idea of axes and world.

All take `array_zyx`, shape (z, y, x), and `affine_ras`, voxel index (x, y, z) → world mm in RAS, as `OpenSample.image` and
`OpenSample.affine` give them; or an image over time (t, z, y, x), which NIfTI and ITK have as a fourth axis, and MONAI and
TorchIO as channels. The array is copied where the other library wants another order in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mdfp.errors import UsageError, require
from mdfp.geometry import Affine, direction, lps_to_ras, shear_deg, spacing_xyz_mm

SHEAR_DEG = 0.01
"""ITK keeps a direction of unit, orthogonal axes: a volume more slanted than this cannot be said in it (degrees)."""


def _volume(array_zyx: npt.NDArray[Any], affine_ras: Affine | None) -> Affine:
    if array_zyx.ndim not in (3, 4):
        raise UsageError(f"expected a volume (z, y, x), or (t, z, y, x), found shape {array_zyx.shape}")
    if affine_ras is None:
        raise UsageError("the volume has no affine: nothing is known of where its voxels are")
    return np.asarray(affine_ras, dtype=np.float64)


def to_nibabel(array_zyx: npt.NDArray[Any], affine_ras: Affine | None, *, frame_time_ms: float | None = None) -> Any:
    """`nibabel.Nifti1Image`: array (x, y, z) or (x, y, z, t), affine to RAS; sform and qform both say where it lies (scanner).

    Args:
        array_zyx: see the module.
        affine_ras: see the module.
        frame_time_ms: between time points, where it is known; else the header names no unit of time.

    Raises:
        UsageError: not a volume, or none with an affine.
        MissingExtraError: nibabel is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    require("nibabel", "convert")
    import nibabel

    image = nibabel.Nifti1Image(array_zyx.T, affine, dtype=array_zyx.dtype)
    image.header.set_xyzt_units("mm", None if frame_time_ms is None else "msec")
    if frame_time_ms is not None and array_zyx.ndim == 4:
        image.header.set_zooms((*image.header.get_zooms()[:3], frame_time_ms))
    image.set_sform(affine, code=1)
    # A sheared affine has no quaternion; its sform alone is right.
    image.set_qform(affine, code=1 if shear_deg(affine) < SHEAR_DEG else 0, strip_shears=True)
    return image


def to_sitk(array_zyx: npt.NDArray[Any], affine_ras: Affine | None) -> Any:
    """`SimpleITK.Image`: size (x, y, z) or (x, y, z, t), origin and direction in LPS; time with the step 1.

    Raises:
        UsageError: not a volume, none with an affine, or one whose axes are not at right angles.
        MissingExtraError: SimpleITK is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    if (shear := shear_deg(affine)) > SHEAR_DEG:
        raise UsageError(
            f"ITK has no sheared volumes: the axes are {shear:.3f}° off right angles; resample it, or take NIfTI"
        )
    require("SimpleITK", "convert")
    import SimpleITK

    lps = lps_to_ras(affine)  # its own inverse
    axes = array_zyx.ndim
    image = SimpleITK.GetImageFromArray(array_zyx, isVector=False)
    turned = np.eye(axes)
    turned[:3, :3] = direction(lps)
    image.SetSpacing((*spacing_xyz_mm(lps), 1.0)[:axes])
    image.SetOrigin((*(float(v) for v in lps[:3, 3]), 0.0)[:axes])
    image.SetDirection(tuple(float(v) for v in turned.reshape(-1)))
    return image


def to_monai(array_zyx: npt.NDArray[Any], affine_ras: Affine | None) -> Any:
    """`monai.data.MetaTensor` of shape (1, x, y, z), or (t, x, y, z), with the RAS affine, as MONAI's `LoadImage` gives NIfTI.

    Raises:
        UsageError: not a volume, or none with an affine.
        MissingExtraError: MONAI is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    _require("monai")
    import torch
    from monai.data import MetaTensor
    from monai.utils import MetaKeys, SpaceKeys

    data = torch.from_numpy(_channels_first(array_zyx))
    return MetaTensor(data, affine=torch.from_numpy(affine.copy()), meta={MetaKeys.SPACE: SpaceKeys.RAS})


def to_torchio(array_zyx: npt.NDArray[Any], affine_ras: Affine | None, *, label: bool = False) -> Any:
    """`torchio.ScalarImage`, or `LabelMap` for a label: tensor (1, x, y, z) or (t, x, y, z), and the RAS affine.

    Raises:
        UsageError: not a volume, or none with an affine.
        MissingExtraError: TorchIO is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    _require("torchio")
    import torch
    import torchio

    data = torch.from_numpy(_channels_first(array_zyx))
    return (torchio.LabelMap if label else torchio.ScalarImage)(tensor=data, affine=affine)


def _channels_first(array_zyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(1, x, y, z), or (t, x, y, z) of an image over time."""
    channels = array_zyx if array_zyx.ndim == 4 else array_zyx[np.newaxis]
    return np.ascontiguousarray(channels.transpose(0, 3, 2, 1))


def _require(module: str) -> None:
    """As `mdfp.errors.require`, for libraries that no extra of ours installs."""
    from importlib.util import find_spec

    from mdfp.errors import MissingExtraError

    if find_spec(module) is None:
        raise MissingExtraError(f"this needs {module!r}, which is not installed: pip install {module}")
