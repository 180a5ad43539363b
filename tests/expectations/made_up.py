"""Grids, statistics and states that a made-up sample has, as a real one would have them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import numpy as np

from mdfp.labels import State
from mdfp.sample import (
    Grid,
    IntensityStats,
    StructureState,
)

ORGANS = {
    # structure: (middle x, y, z in mm, edges in mm); x grows to the patient's right
    "spleen": ((-100.0, -20.0, 60.0), (70.0, 50.0, 90.0)),
    "liver": ((70.0, 20.0, 60.0), (170.0, 120.0, 140.0)),
    "kidney_left": ((-60.0, -50.0, 0.0), (55.0, 50.0, 110.0)),
    "kidney_right": ((60.0, -50.0, -10.0), (55.0, 50.0, 110.0)),
    "liver_tumour": ((80.0, 30.0, 70.0), (18.0, 16.0, 15.0)),
}
SHAPE_ZYX = (200, 200, 240)
SPACING_XYZ = (1.5, 1.5, 1.5)


def digest(text: str, characters: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:characters]


def affine(
    spacing_xyz: Sequence[float], shape_zyx: Sequence[int], signs: Sequence[int] = (1, 1, 1)
) -> tuple[float, ...]:
    result = np.eye(4)
    for axis in range(3):
        step = spacing_xyz[axis] * signs[axis]
        result[axis, axis] = step
        result[axis, 3] = -step * (shape_zyx[2 - axis] - 1) / 2
    return tuple(float(v) for v in result.ravel())


def grid(shape_zyx: Sequence[int], spacing_xyz: Sequence[float], orientation: str = "RAS") -> Grid:
    signs = [1 if letter in "RAS" else -1 for letter in orientation]
    return Grid(tuple(shape_zyx), tuple(spacing_xyz), orientation, affine(spacing_xyz, shape_zyx, signs))


def statistics(modality: str, rng: random.Random) -> IntensityStats:
    if modality == "CT":
        shift = rng.uniform(-30, 30)
        low, high = -1024.0, rng.uniform(1200, 2900)
        percentiles = [-1024, -1010, -990, -880, -70 + shift, 45 + shift, 120, 380, 700]
        return IntensityStats(low, high, -310 + shift, 460.0, tuple(float(p) for p in percentiles), 12 + shift, 130.0)
    gain = rng.uniform(0.6, 1.8)
    percentiles = [0, 2, 6, 40, 180, 420, 800, 1100, 1250]
    return IntensityStats(
        0.0, 1900 * gain, 250 * gain, 210 * gain, tuple(p * gain for p in percentiles), 400 * gain, 190 * gain
    )


def structure_states(rng: random.Random, looked_for: Sequence[str], *, lesion: bool) -> tuple[StructureState, ...]:
    states = []
    for value, (name, (middle, edges)) in enumerate(ORGANS.items(), start=1):
        known = name in looked_for
        there = known and (lesion or name != "liver_tumour")
        state = State.PRESENT if there else State.ABSENT if known else State.UNKNOWN
        scale = rng.uniform(0.85, 1.15)
        lower = [
            round((m - e * scale / 2) / s + (n - 1) / 2)
            for m, e, s, n in zip(middle, edges, SPACING_XYZ, SHAPE_ZYX[::-1], strict=True)
        ]
        upper = [a + max(1, round(e * scale / s)) for a, e, s in zip(lower, edges, SPACING_XYZ, strict=True)]
        stored = int(np.prod([b - a for a, b in zip(lower, upper, strict=True)]) * 0.5)
        stored_mm3 = stored * float(np.prod(SPACING_XYZ))
        native_mm3 = stored_mm3 * rng.uniform(0.985, 1.015)
        counts = (
            (int(native_mm3 / 0.64), stored, native_mm3, stored_mm3)
            if there
            else (0, 0, 0.0, 0.0)
            if known
            else (None,) * 4
        )
        states.append(
            StructureState(
                structure=name,
                value=value,
                state=state,
                layer="base" if there else None,
                origin="expert" if known else None,
                merged_into=None,
                extent=None,
                native_voxels=counts[0],
                stored_voxels=counts[1],
                native_mm3=counts[2],
                stored_mm3=counts[3],
                box=(*lower[::-1], *upper[::-1]) if there else None,
                blocks=(0, 1) if there else (),
                vanished=False,
                outside_fraction=0.02 if name == "liver_tumour" and there else None,
            )
        )
    return tuple(states)
