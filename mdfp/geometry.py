"""Where voxels are: affines, orientation codes, and the one place where LPS meets RAS.

Conventions, for the whole project:

* a volume in memory is `volume_zyx`: C order, z slowest;
* `affine_ras` is a 4×4 float64 that maps the index (i, j, k) = (x, y, z) of a voxel centre to world mm, where the
  world axes point to the patient's Right, Anterior and Superior (RAS+). NIfTI is RAS; DICOM and ITK are LPS;
* spacings and shapes named `_xyz` are in index order x, y, z; shapes named `_zyx` follow the array;
* an orientation code such as `"LPS"` names the direction that the x, y and z axes point *to*.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
"""4×4, voxel index (x, y, z) → world mm."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Left-multiplied to an affine it turns an LPS world into a RAS one, and back: it is its own inverse."""

_POSITIVE = "RAS"
_NEGATIVE = "LPI"


def lps_to_ras(affine_lps: Affine) -> Affine:
    """The same voxel-to-world map with a RAS world instead of an LPS one (or the reverse).

    DICOM PS3.3 C.7.6.2.1.1 and ITK use LPS; NIfTI-1 uses RAS.
    """
    return LPS_TO_RAS @ np.asarray(affine_lps, dtype=np.float64)


def spacing_xyz_mm(affine_ras: Affine) -> tuple[float, float, float]:
    """Distance in mm between neighbouring voxel centres along index axes x, y, z (column norms of the affine).

    Computed without BLAS, whose results differ between CPUs.
    """
    a = np.asarray(affine_ras, dtype=np.float64)
    x, y, z = (float(np.sqrt(a[0, c] * a[0, c] + a[1, c] * a[1, c] + a[2, c] * a[2, c])) for c in range(3))
    return x, y, z


def direction(affine_ras: Affine) -> npt.NDArray[np.float64]:
    """3×3 with unit columns: the world direction of each index axis.

    Raises:
        ValueError: a column has no length.
    """
    a = np.asarray(affine_ras, dtype=np.float64)
    spacing = np.array(spacing_xyz_mm(a))
    if not np.all(spacing > 0):
        raise ValueError(f"affine has an axis without length: spacing {tuple(spacing)} mm")
    return a[:3, :3] / spacing


def compose(direction_ras: npt.ArrayLike, spacing_xyz: npt.ArrayLike, origin_ras: npt.ArrayLike) -> Affine:
    """Affine from unit direction columns (3×3), spacing (x, y, z in mm) and the world position of voxel 0's centre."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(direction_ras, dtype=np.float64) * np.asarray(spacing_xyz, dtype=np.float64)
    affine[:3, 3] = np.asarray(origin_ras, dtype=np.float64)
    return affine


def apply(affine: Affine, index_xyz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """World positions (…, 3) in mm of voxel indices (…, 3), which may be fractional."""
    index = np.asarray(index_xyz, dtype=np.float64)
    a = np.asarray(affine, dtype=np.float64)
    # Written out: matmul goes through BLAS, whose last bit depends on the CPU.
    return np.stack(
        [a[r, 0] * index[..., 0] + a[r, 1] * index[..., 1] + a[r, 2] * index[..., 2] + a[r, 3] for r in range(3)],
        axis=-1,
    )


def closest_axes(affine_ras: Affine) -> tuple[tuple[int, int], ...]:
    """For each index axis x, y, z: the world axis (0 R, 1 A, 2 S) it runs along most, and the sign.

    Axes are assigned in the order of decreasing alignment. Within `TIE` of each other an axis that is already in its
    place (x along R, y along A, z along S) chooses first, then the lower index axis, then the lower world axis. An
    orientation near 45° therefore has one stated answer, and turning a volume to its closest axes twice is turning once.

    Raises:
        ValueError: an axis has no length.
    """
    d = direction(affine_ras)
    result: dict[int, tuple[int, int]] = {}
    candidates = [(-round(abs(float(d[w, i])) / TIE), i != w, i, w) for i in range(3) for w in range(3)]
    taken: set[int] = set()
    for _, _, index_axis, world_axis in sorted(candidates):
        if index_axis in result or world_axis in taken:
            continue
        result[index_axis] = (world_axis, 1 if d[world_axis, index_axis] >= 0 else -1)
        taken.add(world_axis)
    return tuple(result[i] for i in range(3))


ANGLE_DECIMALS = 6
"""Angles are rounded to a millionth of a degree: the last bit of arc functions differs between systems."""

TIE = 1e-4
"""Direction cosines closer than this count as equal when axes are assigned (dimensionless)."""


def orientation_code(affine_ras: Affine) -> str:
    """Code of the directions that x, y, z point to, for example `"LPS"` for a usual axial DICOM volume."""
    return "".join((_POSITIVE if sign > 0 else _NEGATIVE)[world] for world, sign in closest_axes(affine_ras))


def obliquity_deg(affine_ras: Affine) -> float:
    """Largest angle in degrees between an index axis and the world axis it is closest to; 0 for a straight volume."""
    d = direction(affine_ras)
    cosines = [abs(float(d[world, i])) for i, (world, _) in enumerate(closest_axes(affine_ras))]
    return round(math.degrees(math.acos(min(1.0, *cosines))), ANGLE_DECIMALS)


def shear_deg(affine_ras: Affine) -> float:
    """How far, in degrees, the index axes are from being at right angles; 0 for an orthogonal volume."""
    d = direction(affine_ras)
    worst = 0.0
    for a, b in ((0, 1), (0, 2), (1, 2)):
        cosine = float(d[0, a] * d[0, b] + d[1, a] * d[1, b] + d[2, a] * d[2, b])
        worst = max(worst, abs(math.degrees(math.asin(max(-1.0, min(1.0, cosine))))))
    return round(worst, ANGLE_DECIMALS)


def inverse(affine: Affine) -> Affine:
    """The affine that maps world mm back to voxel indices. Written out (cofactors), without BLAS.

    Raises:
        ValueError: the affine is singular.
    """
    a = np.asarray(affine, dtype=np.float64)
    m, t = a[:3, :3], a[:3, 3]
    cofactors = np.array(
        [
            [
                m[(r + 1) % 3, (c + 1) % 3] * m[(r + 2) % 3, (c + 2) % 3]
                - m[(r + 1) % 3, (c + 2) % 3] * m[(r + 2) % 3, (c + 1) % 3]
                for r in range(3)
            ]
            for c in range(3)
        ]
    )
    determinant = float(m[0, 0] * cofactors[0, 0] + m[0, 1] * cofactors[1, 0] + m[0, 2] * cofactors[2, 0])
    if determinant == 0:
        raise ValueError("affine is singular: its axes lie in one plane")
    result = np.eye(4)
    result[:3, :3] = cofactors / determinant
    result[:3, 3] = -(result[:3, 0] * t[0] + result[:3, 1] * t[1] + result[:3, 2] * t[2])
    return result
