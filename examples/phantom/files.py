"""Write volumes as strangers publish them: NIfTI-1, and through ITK MHA and NRRD. Equal input gives equal bytes.

NIfTI is written out by hand, after https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h, because faults are planted
in its header, and so that another implementation can be asked whether it reads what was meant.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.phantom.scan import ScanGrid
from mdfp import geometry

_DATATYPES = {"uint8": 2, "int16": 4, "int32": 8, "float32": 16, "float64": 64, "uint16": 512}
_HEADER_BYTES = 348
_VOX_OFFSET = 352
_MILLIMETRES = 2
_SCANNER_ANATOMICAL = 1

PIXDIM_OFFSET = 76
"""Byte of a NIfTI-1 header where eight float32 begin: qfac, then the spacings."""


def nifti(
    volume_zyx: npt.NDArray[Any],
    grid: ScanGrid,
    *,
    slope_inter: tuple[float, float] = (0.0, 0.0),
    qform: bool = True,
    sform: bool = True,
) -> bytes:
    """A NIfTI-1 file, not compressed, little-endian.

    Args:
        volume_zyx: voxels as stored.
        grid: where they lie.
        slope_inter: physical = stored * slope + inter; a slope of 0 says that there is none.
        qform: whether to write the position as quaternion, offset and spacings.
        sform: whether to write it as an affine.
    """
    array = np.ascontiguousarray(volume_zyx)
    z, y, x = array.shape
    spacing = geometry.spacing_xyz_mm(grid.affine_ras)
    quaternion, qfac = _quaternion(geometry.direction(grid.affine_ras))
    origin = tuple(float(v) for v in grid.affine_ras[:3, 3])
    header = bytearray(_VOX_OFFSET)
    struct.pack_into("<i", header, 0, _HEADER_BYTES)
    struct.pack_into("<8h", header, 40, 3, x, y, z, 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _DATATYPES[array.dtype.name], array.dtype.itemsize * 8)
    struct.pack_into("<8f", header, PIXDIM_OFFSET, qfac, *spacing, 0, 0, 0, 0)
    struct.pack_into("<3f", header, 108, _VOX_OFFSET, *slope_inter)
    struct.pack_into("<B", header, 123, _MILLIMETRES)
    struct.pack_into("<2h", header, 252, _SCANNER_ANATOMICAL * qform, _SCANNER_ANATOMICAL * sform)
    if qform:
        struct.pack_into("<6f", header, 256, *quaternion, *origin)
    if sform:
        struct.pack_into("<12f", header, 280, *(float(v) for v in grid.affine_ras[:3].ravel()))
    struct.pack_into("<4s", header, 344, b"n+1\0")
    return bytes(header) + array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _quaternion(direction: npt.NDArray[np.float64]) -> tuple[tuple[float, float, float], float]:
    """(b, c, d) and qfac of unit axes; nifti1.h, "orientation via quaternion"."""
    d = [[float(v) for v in row] for row in direction]
    determinant = (
        d[0][0] * (d[1][1] * d[2][2] - d[1][2] * d[2][1])
        - d[0][1] * (d[1][0] * d[2][2] - d[1][2] * d[2][0])
        + d[0][2] * (d[1][0] * d[2][1] - d[1][1] * d[2][0])
    )
    qfac = 1.0 if determinant > 0 else -1.0
    for row in d:
        row[2] *= qfac
    # Four times the square of each part; the largest is safe to divide by. Minus zero is clipped before the root.
    squares = [
        1 + d[0][0] + d[1][1] + d[2][2],
        1 + d[0][0] - d[1][1] - d[2][2],
        1 - d[0][0] + d[1][1] - d[2][2],
        1 - d[0][0] - d[1][1] + d[2][2],
    ]
    largest = squares.index(max(squares))
    four = 2 * math.sqrt(squares[largest])
    a, b, c, e = (
        (four / 4, (d[2][1] - d[1][2]) / four, (d[0][2] - d[2][0]) / four, (d[1][0] - d[0][1]) / four),
        ((d[2][1] - d[1][2]) / four, four / 4, (d[0][1] + d[1][0]) / four, (d[0][2] + d[2][0]) / four),
        ((d[0][2] - d[2][0]) / four, (d[0][1] + d[1][0]) / four, four / 4, (d[1][2] + d[2][1]) / four),
        ((d[1][0] - d[0][1]) / four, (d[0][2] + d[2][0]) / four, (d[1][2] + d[2][1]) / four, four / 4),
    )[largest]
    sign = -1.0 if a < 0 else 1.0
    return (sign * b, sign * c, sign * e), qfac


def gz(content: bytes) -> bytes:
    """`content` compressed, without name or time in the header."""
    return gzip.compress(content, compresslevel=1, mtime=0)


def put(root: Path, path: str, content: bytes) -> str:
    """Write a file below a root, and give its path back."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return path


def put_itk(root: Path, path: str, volume_zyx: npt.NDArray[Any], grid: ScanGrid, *, compress: bool = True) -> str:
    """Write MHA or NRRD, by the path's end, with ITK; its world is LPS. Gives the path back."""
    import SimpleITK as sitk  # noqa: N813

    image = sitk.GetImageFromArray(volume_zyx)
    affine_lps = geometry.lps_to_ras(grid.affine_ras)
    image.SetSpacing(geometry.spacing_xyz_mm(grid.affine_ras))
    image.SetDirection([float(v) for v in geometry.direction(affine_lps).ravel()])
    image.SetOrigin([float(v) for v in affine_lps[:3, 3]])
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(target), useCompression=compress)
    return path
