"""The people of the world: as different from each other as a fingerprint of their scans sees real people to be.

`examples.phantom.anatomy.person` gives bodies that differ by a few per cent, which is right where volumes and places are
measured and wrong where people are to be told apart: adults differ far more. Here the frame differs by about a tenth
along each axis on its own, subcutaneous fat from 4 to 30 mm, organs by 8 to 25 % along each axis and by up to 9 mm of
place, enhancement by tens of HU; and between the organs there is what a phantom lacks and every abdomen has: ribs, bowel
with gas and with contrast medium, muscles and fat, of which no two people have the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from examples.phantom import anatomy
from examples.phantom.anatomy import EXTENT_RAS_MM, GALLBLADDER, TUMOUR, Draws, Ellipsoid, Person, Point
from examples.phantom.scan import CT_HU, MR_INTENSITY

CLUTTER = 36
"""Things between the organs that no source draws."""

_CLUTTER_CT = {"gas": -700, "bowel": 30, "contrast": 260, "fat pad": -95, "rib": 420, "flesh": 65}
_CLUTTER_MR = {"gas": 30, "bowel": 520, "contrast": 900, "fat pad": 1050, "rib": 180, "flesh": 300}
_GROWTH = {"spleen": 0.25, "stomach": 0.25, "liver": 0.15, GALLBLADDER: 0.25}
"""How far from its usual size an organ may be along each axis; others by 0.12."""

_TRUNK = ("spleen", "kidney_left", "kidney_right")
"""Organs that people may have lost."""


@dataclass(frozen=True)
class Somebody:
    """A person of the world.

    Attributes:
        body: anatomy; `clutter-…` among the organs is drawn by no source.
        extent_ras_mm: field of view that holds the body.
        numbers: HU, or the MR's numbers, of each tissue, by modality.
    """

    body: Person
    extent_ras_mm: Point
    numbers: Mapping[str, Mapping[str, int]]


def somebody(name: str, visit: int = 0) -> Somebody:
    """The person of that name: equal names give equal people.

    Args:
        name: who it is.
        visit: number of the examination. At another one, bowel and its gas lie elsewhere, and breathing has moved organs.
    """
    draws = Draws(f"world {name}")
    lost = [organ for organ in _TRUNK if draws.uniform(0, 1) < 0.06][:1]
    tumour = draws.uniform(9, 15) if draws.uniform(0, 1) < 0.25 else None
    gallbladder = draws.uniform(0, 1) < 0.8
    usual = anatomy.person(name, without=lost, tumour_mm=tumour, gallbladder=gallbladder)
    frame = tuple(draws.uniform(1 - spread, 1 + spread) for spread in (0.16, 0.2, 0.14))
    fat_mm = draws.uniform(4, 30)
    column = draws.uniform(-7, 7)
    moving = Draws(f"world {name} visit {visit}")
    breath = moving.uniform(-12, 12) if visit else 0.0
    organs: dict[str, Ellipsoid] = {}
    for structure, organ in usual.organs.items():
        if structure == TUMOUR:
            organs[structure] = _within(organs["liver"], organ.semi_axes_mm[0], draws)
            continue
        spine = structure.startswith("vertebra")
        spread = 0.08 if spine else _GROWTH.get(structure, 0.12)
        moved = (0.0, 0.0, column) if spine else _displaced(draws, breath)
        grown = [draws.uniform(1 - spread, 1 + spread) for _ in range(3)]
        semi = _point(a * g * f for a, g, f in zip(organ.semi_axes_mm, grown, frame, strict=True))
        organs[structure] = Ellipsoid(_moved(usual, organ.centre_ras_mm, frame, moved), semi)
    torso = (usual.torso_mm[0] * frame[0], usual.torso_mm[1] * frame[1])
    body = replace(
        usual,
        torso_mm=torso,
        muscle_mm=(torso[0] - fat_mm, torso[1] - fat_mm * draws.uniform(0.6, 1.0)),
        organs={**_clutter(usual.centre_ras_mm, torso, frame[2], moving), **organs},
    )
    extent = tuple(e * f for e, f in zip(EXTENT_RAS_MM, frame, strict=True))
    return Somebody(body, (extent[0], extent[1], extent[2]), _numbers(draws))


def _displaced(draws: Draws, breath: float) -> Point:
    right, anterior, superior = (draws.uniform(-9, 9) for _ in range(3))
    return right, anterior, superior + breath


def _within(liver: Ellipsoid, radius: float, draws: Draws) -> Ellipsoid:
    """A round lesion wholly inside an ellipsoid: its middle at less than the rest of the smallest semi-axis."""
    radius = min(radius, 0.6 * min(liver.semi_axes_mm))
    room = 0.9 * (1 - radius / min(liver.semi_axes_mm)) / math.sqrt(3)
    centre = (c + a * draws.uniform(-room, room) for c, a in zip(liver.centre_ras_mm, liver.semi_axes_mm, strict=True))
    return Ellipsoid(_point(centre), (radius, radius, radius))


def _moved(usual: Person, centre: Point, frame: tuple[float, ...], by: tuple[float, ...]) -> Point:
    middle = usual.centre_ras_mm
    return _point(m + (c - m) * f + b for m, c, f, b in zip(middle, centre, frame, by, strict=True))


def _clutter(middle: Point, torso: tuple[float, float], tall: float, draws: Draws) -> dict[str, Ellipsoid]:
    """What lies between the organs, and is painted before them."""
    kinds = tuple(_CLUTTER_CT)
    things = {}
    for number in range(CLUTTER):
        kind = kinds[int(draws.uniform(0, len(kinds)))]
        angle, far = draws.uniform(0, 2 * math.pi), math.sqrt(draws.uniform(0.0, 0.75))
        # Rational points of the circle: no transcendental function, so that numbers are equal on every CPU.
        t = (angle - math.pi) / 1.6
        cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
        up = draws.uniform(-92, 92) * tall
        centre = _point((middle[0] + torso[0] * far * cosine, middle[1] + torso[1] * far * sine, middle[2] + up))
        semi = _point(draws.uniform(7, 26) for _ in range(3))
        things[f"clutter-{number}-{kind}"] = Ellipsoid(centre, semi)
    return things


def _numbers(draws: Draws) -> dict[str, dict[str, int]]:
    """What tissues measure in this person: contrast medium and fat content differ."""
    shift = {tissue: draws.uniform(-1, 1) for tissue in CT_HU if tissue not in ("air", "fat", "muscle")}
    ct = {t: v + round(30 * shift.get(t, 0.0)) for t, v in CT_HU.items()}
    mr = {t: v + round(0.15 * v * shift.get(t, 0.0)) for t, v in MR_INTENSITY.items()}
    for number in range(CLUTTER):
        for kind in _CLUTTER_CT:
            ct[f"clutter-{number}-{kind}"] = _CLUTTER_CT[kind]
            mr[f"clutter-{number}-{kind}"] = _CLUTTER_MR[kind]
    return {"CT": ct, "MR": mr}


def _point(values: Iterable[float]) -> Point:
    x, y, z = (round(v, 3) for v in values)
    return x, y, z
