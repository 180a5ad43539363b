"""Volumes for other libraries, each with its own idea of axes and world.

All take `array_zyx`, shape (z, y, x), and `affine_ras`, voxel index (x, y, z) → world mm in RAS, as `OpenSample.image` and
`OpenSample.affine` give them. The array is copied where the other library wants another order in memory.
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
    if array_zyx.ndim != 3:
        raise UsageError(f"expected a volume (z, y, x), found shape {array_zyx.shape}")
    if affine_ras is None:
        raise UsageError("the volume has no affine: nothing is known of where its voxels are")
    return np.asarray(affine_ras, dtype=np.float64)


def to_nibabel(array_zyx: npt.NDArray[Any], affine_ras: Affine | None) -> Any:
    """`nibabel.Nifti1Image`: array (x, y, z), affine to RAS; sform and qform both say where it lies (scanner).

    Raises:
        UsageError: not a volume, or none with an affine.
        MissingExtraError: nibabel is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    require("nibabel", "convert")
    import nibabel

    image = nibabel.Nifti1Image(array_zyx.transpose(2, 1, 0), affine, dtype=array_zyx.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    # A sheared affine has no quaternion; its sform alone is right.
    image.set_qform(affine, code=1 if shear_deg(affine) < SHEAR_DEG else 0, strip_shears=True)
    return image


def to_sitk(array_zyx: npt.NDArray[Any], affine_ras: Affine | None) -> Any:
    """`SimpleITK.Image`: size (x, y, z), origin and direction in LPS.

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
    image = SimpleITK.GetImageFromArray(array_zyx)
    image.SetSpacing(spacing_xyz_mm(lps))
    image.SetOrigin(tuple(float(v) for v in lps[:3, 3]))
    image.SetDirection(tuple(float(v) for v in direction(lps).reshape(-1)))
    return image


def to_monai(array_zyx: npt.NDArray[Any], affine_ras: Affine | None) -> Any:
    """`monai.data.MetaTensor` of shape (1, x, y, z) with the RAS affine, as MONAI's `LoadImage` gives NIfTI.

    Raises:
        UsageError: not a volume, or none with an affine.
        MissingExtraError: MONAI is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    _require("monai")
    import torch
    from monai.data import MetaTensor
    from monai.utils import MetaKeys, SpaceKeys

    data = torch.from_numpy(np.ascontiguousarray(array_zyx.transpose(2, 1, 0))[np.newaxis])
    return MetaTensor(data, affine=torch.from_numpy(affine.copy()), meta={MetaKeys.SPACE: SpaceKeys.RAS})


def to_torchio(array_zyx: npt.NDArray[Any], affine_ras: Affine | None, *, label: bool = False) -> Any:
    """`torchio.ScalarImage`, or `LabelMap` for a label: tensor (1, x, y, z) and the RAS affine.

    Raises:
        UsageError: not a volume, or none with an affine.
        MissingExtraError: TorchIO is not installed.
    """
    affine = _volume(array_zyx, affine_ras)
    _require("torchio")
    import torch
    import torchio

    data = torch.from_numpy(np.ascontiguousarray(array_zyx.transpose(2, 1, 0))[np.newaxis])
    return (torchio.LabelMap if label else torchio.ScalarImage)(tensor=data, affine=affine)


def _require(module: str) -> None:
    """As `mdfp.errors.require`, for libraries that no extra of ours installs."""
    from importlib.util import find_spec

    from mdfp.errors import MissingExtraError

    if find_spec(module) is None:
        raise MissingExtraError(f"this needs {module!r}, which is not installed: pip install {module}")
