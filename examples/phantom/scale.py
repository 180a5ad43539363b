"""How large a bucket is: bodies, voxels and the number of cases."""

from __future__ import annotations

from dataclasses import dataclass

from examples.phantom.anatomy import EXTENT_RAS_MM, Point


@dataclass(frozen=True)
class Scale:
    """Full size, or a doll's.

    Attributes:
        name: what the command line calls it.
        body: size of people; 1 is 22 cm across.
        in_plane: multiplies spacings along R and A.
        through_plane: multiplies spacings along S.
        patients: people with ordinary scans, unless told otherwise.
    """

    name: str
    body: float
    in_plane: float
    through_plane: float
    patients: int

    @property
    def extent_ras_mm(self) -> Point:
        """Field of view that holds every organ."""
        x, y, z = (e * self.body for e in EXTENT_RAS_MM)
        return x, y, z

    def spacing(self, right: float, anterior: float, superior: float) -> Point:
        """Spacing along R, A, S in mm, from the one at full size."""
        return (
            round(right * self.in_plane, 4),
            round(anterior * self.in_plane, 4),
            round(superior * self.through_plane, 4),
        )


SCALES = {
    # At 1.5 x 1.5 x 3 mm: 160 x 123 x 64 voxels, and 48 x 37 x 24. The doll's voxels stay smaller than the usual output
    # voxel of 1.5 mm, so that a lesion of one voxel vanishes there too.
    "demo": Scale("demo", body=1.0, in_plane=1.0, through_plane=1.0, patients=16),
    "small": Scale("small", body=0.2, in_plane=2 / 3, through_plane=8 / 15, patients=4),
}
