"""Whose body it is: where the organs of a phantom person lie, how large they are, and what they measure.

Every organ is an ellipsoid along the patient's axes, so its volume and centroid are known exactly. Organs of one person
do not overlap, with two exceptions made on purpose: a tumour lies wholly inside the liver, and a gallbladder, where a
person is given one, lies half in it. World positions are mm, RAS: the patient's left is x < 0.

Numbers are drawn from PCG64's raw output, seeded by a digest of the person's name: equal names give equal bodies on any
machine and with any version of numpy.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float, float]

EXTENT_RAS_MM: Point = (240.0, 184.0, 192.0)
"""Field of view along R, A, S that holds every organ of a full-size person."""

_TORSO_MM = (112.0, 86.0)
_MUSCLE_MM = (101.0, 77.0)
_PLACES: Mapping[str, tuple[Point, Point]] = {
    # structure: centre, semi-axes; mm from the middle of the body, RAS
    "lung_left": ((-56.0, 0.0, 50.0), (28.0, 44.0, 38.0)),
    "lung_right": ((56.0, 0.0, 50.0), (30.0, 44.0, 38.0)),
    "liver": ((46.0, 8.0, -20.0), (44.0, 48.0, 22.0)),
    "spleen": ((-68.0, -12.0, -15.0), (22.0, 30.0, 18.0)),
    "stomach": ((-30.0, 34.0, -20.0), (22.0, 22.0, 22.0)),
    "kidney_left": ((-44.0, -42.0, -64.0), (22.0, 18.0, 27.0)),
    "kidney_right": ((44.0, -44.0, -64.0), (19.0, 16.0, 26.0)),
    "aorta": ((-11.0, -20.0, -20.0), (11.5, 11.5, 60.0)),
    "vertebra_t12": ((0.0, -56.0, 6.0), (17.0, 15.0, 16.0)),
    "vertebra_l1": ((0.0, -56.0, -28.0), (17.0, 15.0, 16.0)),
    "vertebra_l2": ((0.0, -56.0, -62.0), (17.0, 15.0, 16.0)),
}
_GALLBLADDER: tuple[Point, Point] = ((28.0, 40.0, -36.0), (10.0, 10.0, 18.0))
_TUMOUR_OFFSET_MM: Point = (9.0, -6.0, 2.0)

ORGANS = tuple(_PLACES)
"""Structures that every person has unless they were taken out."""

TUMOUR = "liver_tumour"
GALLBLADDER = "gallbladder"


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid along the world axes.

    Attributes:
        centre_ras_mm: its middle, which is its centroid.
        semi_axes_mm: half its size along R, A, S.
    """

    centre_ras_mm: Point
    semi_axes_mm: Point

    @property
    def mm3(self) -> float:
        """Its volume."""
        a, b, c = self.semi_axes_mm
        return 4.0 / 3.0 * math.pi * a * b * c


@dataclass(frozen=True)
class Person:
    """A body.

    Attributes:
        name: who it is; also the seed.
        centre_ras_mm: middle of the torso in the scanner's world.
        torso_mm: semi-axes along R and A of the skin; the torso goes on beyond the scan along S.
        muscle_mm: the same of the inner side of the fat.
        organs: where each structure is, in the order in which they are painted: what lies inside another comes later.
    """

    name: str
    centre_ras_mm: Point
    torso_mm: tuple[float, float]
    muscle_mm: tuple[float, float]
    organs: Mapping[str, Ellipsoid]


class Draws:
    """Uniform numbers that depend on a name and on nothing else."""

    def __init__(self, name: str):
        self.bits = np.random.PCG64(int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big"))

    def uniform(self, low: float, high: float) -> float:
        """The next number in [low, high)."""
        return low + (high - low) * (int(self.bits.random_raw()) >> 11) * 2.0**-53


def person(
    name: str,
    *,
    size: float = 1.0,
    without: Collection[str] = (),
    tumour_mm: float | None = None,
    gallbladder: bool = False,
) -> Person:
    """The person of that name.

    Args:
        name: equal names give equal bodies, whatever the other arguments leave out or add.
        size: 1 for a person of 22 cm across; every length is multiplied by it.
        without: organs that were taken out.
        tumour_mm: radius of a round tumour inside the liver at size 1; None for none.
        gallbladder: whether there is one, partly sunk into the liver.
    """
    draws = Draws(name)
    across, deep = (draws.uniform(0.97, 1.03) for _ in range(2))
    # Not at the isocentre, but never so far off that the left kidney's x could turn positive.
    shift = (draws.uniform(-8, 8), draws.uniform(-20, 20), draws.uniform(-450, -150))
    column = (draws.uniform(-1.5, 1.5), draws.uniform(-1, 1), draws.uniform(-1, 1)), draws.uniform(0.97, 1.03)
    organs: dict[str, Ellipsoid] = {}
    for structure, place in (*_PLACES.items(), (GALLBLADDER, _GALLBLADDER)):
        if structure.startswith("vertebra"):
            moved, grown = column[0], (column[1],) * 3
        else:
            moved = (draws.uniform(-2.5, 2.5), draws.uniform(-2.5, 2.5), draws.uniform(-2.5, 2.5))
            grown = (draws.uniform(0.95, 1.05), draws.uniform(0.95, 1.05), draws.uniform(0.95, 1.05))
        centre = _point((c + m + s) * size for c, m, s in zip(place[0], moved, shift, strict=True))
        organs[structure] = Ellipsoid(centre, _point(a * g * size for a, g in zip(place[1], grown, strict=True)))
    if tumour_mm is not None:
        middle = organs["liver"].centre_ras_mm
        centre = _point(m + o * size for m, o in zip(middle, _TUMOUR_OFFSET_MM, strict=True))
        organs[TUMOUR] = Ellipsoid(centre, _point((tumour_mm * size,) * 3))
    left_out = {*without, *(() if gallbladder else (GALLBLADDER,))}
    return Person(
        name=name,
        centre_ras_mm=_point(s * size for s in shift),
        torso_mm=(_TORSO_MM[0] * across * size, _TORSO_MM[1] * deep * size),
        muscle_mm=(_MUSCLE_MM[0] * across * size, _MUSCLE_MM[1] * deep * size),
        organs={structure: organ for structure, organ in organs.items() if structure not in left_out},
    )


def _point(values: Iterable[float]) -> Point:
    x, y, z = (round(v, 3) for v in values)
    return x, y, z
