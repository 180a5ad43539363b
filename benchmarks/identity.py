"""Fingerprints: what they recognise, and how long a hundred thousand of them take to join.

    python -m benchmarks.identity                       # both parts, some minutes
    python -m benchmarks.identity --count 20000 --people 20

Part one scans phantom people, writes each scan in many ways (`examples.phantom.variations`), and asks whether it is
recognised among all others: recall for each way, and precision over everything that is no copy, second scans of the same
person among them. Part two joins fingerprints of made-up bodies: broad ones, a cluster that was registered to one
template, and copies; pairs of codes are compared with brute force on a sample.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from numba import njit

from examples.phantom.anatomy import person
from examples.phantom.scale import SCALES
from examples.phantom.scan import CT_HU, render, scan_grid
from examples.phantom.variations import VARIATIONS
from mdfp import arrow
from schemas.identity import FingerprintRow
from transforms.identity.align import likeness, prepare
from transforms.identity.fingerprint import code_of, fingerprint
from transforms.identity.matching import RADIUS, match
from transforms.identity.near_codes import near_pairs
from transforms.identity.table import ROWS_PER_GROUP, FingerprintFile, Fingerprints, table_of
from transforms.identity.thumbnail import CELLS
from transforms.volume import Volume

SPACING_MM = (1.5, 1.5, 3.0)

SECOND_PHASE_HU = {"liver": 60, "spleen": 55, "kidney_left": 30, "kidney_right": 30, "aorta": 40}

ORGANS = 9
"""Of a made-up body."""

KNOTS = 6
"""Of the uneven torso of a made-up body, along each axis."""

COPIES = 0.2
"""Fraction of the made-up fingerprints that are copies: up to 8 % of the slices cut off, and noise."""

REGISTERED = 0.01
"""Fraction that was registered to one template, as brains often are: alike, and each another patient."""


def scan(name: str, *, scale: str = "demo", seed: str = "", values: dict[str, int] | None = None) -> Volume:
    """A CT of a phantom person.

    Args:
        name: who.
        scale: of `examples.phantom.scale`.
        seed: of the noise: another one is another scan.
        values: HU of tissues that differ from the usual.
    """
    size = SCALES[scale]
    body = person(name, size=size.body)
    grid = scan_grid(body.centre_ras_mm, size.extent_ras_mm, size.spacing(*SPACING_MM), "LPS")
    picture = render(body, grid, {**CT_HU, **(values or {})}, seed=f"{name} {seed}", floor=-1024)
    return Volume(picture, grid.affine_ras)


def recognised(people: int, scale: str) -> dict[str, object]:
    """Recall for each variation and precision over all that are no copies, of so many people."""
    prints = [fingerprint(scan(f"person {n}", scale=scale)) for n in range(people)]
    cubes = [prepare(p.thumbnail) for p in prints if p.thumbnail is not None]
    codes = np.array([np.frombuffer(p.code or b"", np.uint8) for p in prints])

    def found(volume: Volume) -> list[int]:
        other = fingerprint(volume)
        if other.code is None or other.thumbnail is None:
            return []
        distance = np.bitwise_count(codes ^ np.frombuffer(other.code, np.uint8)).sum(axis=1)
        near = np.flatnonzero(distance <= RADIUS).tolist()
        cube = prepare(other.thumbnail)
        return [n for n in near if prints[n].content_hash == other.content_hash or likeness(cubes[n], cube).same_image]

    recall: dict[str, float] = {}
    right, wrong, compared = 0, 0, 0
    for name, variation in VARIATIONS.items():
        hits = [found(variation(scan(f"person {n}", scale=scale))) for n in range(people)]
        recall[name] = sum(n in hit for n, hit in enumerate(hits)) / people
        right += sum(n in hit for n, hit in enumerate(hits))
        wrong += sum(len(set(hit) - {n}) for n, hit in enumerate(hits))
        compared += people * (people - 1)
    others = {"second scan": {}, "other phase": SECOND_PHASE_HU}
    taken_for_one = {
        what: sum(n in found(scan(f"person {n}", scale=scale, seed=what, values=values)) for n in range(people))
        / people
        for what, values in others.items()
    }
    return {
        "people": people, "scale": scale, "recall": recall, "precision": right / max(1, right + wrong), "wrong_pairs": wrong,
        "pairs_of_different_people": compared, "taken_for_one": taken_for_one,
    }  # fmt: skip


def write_made_up(count: int, path: Path, seed: int = 0) -> None:
    """Write fingerprint rows of made-up bodies; a copy's `detail` names the row that it is a copy of."""
    draws = np.random.default_rng(seed)
    originals = round(count * (1 - COPIES))
    registered = round(count * REGISTERED)
    organs = np.stack([_organs(draws) for _ in range(originals)])
    knots = draws.normal(0, 40, (originals, KNOTS, KNOTS, KNOTS))
    organs[:registered] = organs[0] + draws.normal(0, 0.1, (registered, *organs.shape[1:]))
    organs[:registered, 0] = organs[0, 0]
    knots[:registered] = knots[0] + draws.normal(0, 25, (registered, *knots.shape[1:]))
    with pq.ParquetWriter(path, arrow.arrow_schema(FingerprintRow), compression="zstd") as writer:
        for start in range(0, count, ROWS_PER_GROUP):
            numbers = range(start, min(count, start + ROWS_PER_GROUP))
            writer.write_table(table_of(_made_up(n, organs, knots, draws) for n in numbers))


def _made_up(
    n: int, organs: npt.NDArray[np.float64], knots: npt.NDArray[np.float64], draws: np.random.Generator
) -> FingerprintRow:
    originals = len(organs)
    of = n if n < originals else int(draws.integers(originals))
    cut = 0.0 if n < originals else draws.uniform(0, 0.08)
    cells = _cube(organs[of], knots[of], cut) + draws.integers(-2, 3, (CELLS, CELLS, CELLS))
    packed = np.clip(cells, 0, 255).astype(np.uint8)
    x, y, z = (float(v) for v in organs[of, 0, 3:6])
    return FingerprintRow(
        source="made-up",
        case_id=f"c{n:07d}",
        image="ct",
        modality="CT",
        key="",
        content_hash=f"{n:032x}",
        code=code_of(packed),
        cells=packed.tobytes(),
        box_mm=(round(300 * x, 2), round(200 * y, 2), round(400 * z * (1 - cut), 2)),
        voxels_xyz=(512, 512, 300),
        fault=None,
        detail="" if n < originals else f"c{of:07d}",
    )


def _organs(draws: np.random.Generator) -> npt.NDArray[np.float64]:
    """(organs + 1, 7): centre and semi-axes along x, y, z in halves of the field of view, and a rank; the torso first."""
    found = np.empty((ORGANS + 1, 7))
    found[:, :3] = draws.uniform(-0.6, 0.6, (ORGANS + 1, 3))
    found[:, 3:6] = draws.uniform(0.1, 0.5, (ORGANS + 1, 3))
    found[:, 6] = draws.uniform(0, 255, ORGANS + 1)
    found[0] = (0, 0, 0, *draws.uniform(0.8, 1.2, 3), draws.uniform(60, 140))
    return found


@njit(cache=True)
def _cube(organs, knots, cut):  # type: ignore[no-untyped-def]
    """The cube of a body whose upper end was cut off: soft ellipsoids in an uneven torso that goes on beyond both ends."""
    n = CELLS
    out = np.zeros((n, n, n))
    steps = KNOTS - 1.0
    for i in range(n):
        z = -1.0 + (i + 0.5) * 2.0 / n * (1.0 - cut)
        at_z = min(int((z + 1) / 2 * steps), KNOTS - 2)
        part_z = (z + 1) / 2 * steps - at_z
        for j in range(n):
            y = -1.0 + (j + 0.5) * 2.0 / n
            at_y = min(int((y + 1) / 2 * steps), KNOTS - 2)
            part_y = (y + 1) / 2 * steps - at_y
            for k in range(n):
                x = -1.0 + (k + 0.5) * 2.0 / n
                if x * x + y * y > 1.0:
                    continue
                at_x = min(int((x + 1) / 2 * steps), KNOTS - 2)
                part_x = (x + 1) / 2 * steps - at_x
                value = organs[0, 6]
                for dz in range(2):
                    for dy in range(2):
                        for dx in range(2):
                            weight = (part_z if dz else 1 - part_z) * (part_y if dy else 1 - part_y)
                            value += knots[at_z + dz, at_y + dy, at_x + dx] * weight * (part_x if dx else 1 - part_x)
                for o in range(1, organs.shape[0]):
                    d = 0.0
                    for axis, position in ((0, x), (1, y), (2, z)):
                        d += ((position - organs[o, axis]) / organs[o, 3 + axis]) ** 2
                    if d < 1.4:
                        value += (organs[o, 6] - value) * min(1.0, (1.4 - d) / 0.8)
                out[i, j, k] = value
    return out


def joined(path: Path) -> dict[str, object]:
    """Join the fingerprints of a file: seconds, memory, what was found, and whether codes agree with brute force."""
    file = FingerprintFile(str(path), str(path))
    prints = Fingerprints([file], [np.ones(file.light.num_rows, np.bool_)])
    hashes, codes, ids, of = (prints.light[n].to_pylist() for n in ("content_hash", "code", "case_id", "detail"))
    match(hashes[:2], codes[:2], prints.cubes)  # compiles
    packed = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1)
    start, cpu = time.perf_counter(), time.process_time()
    found = match(hashes, codes, prints.cubes)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    root = {c: o or c for c, o in zip(ids, of, strict=True)}
    name = dict(zip(hashes, ids, strict=True))
    pairs = [(name[m.hash_a], name[m.hash_b]) for m in found.matches]
    true = [(a, b) for a, b in pairs if root[a] == root[b]]
    copies = {c for c, o in root.items() if c != o}
    linked = {c for pair in true for c in pair}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sample = np.random.default_rng(1).choice(len(codes), min(len(codes), 300), replace=False)
    return {
        "count": len(codes),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "peak_mb": round(peak / 1024),
        "candidates": found.candidates,
        "matches": len(pairs),
        "recall": round(len(copies & linked) / max(1, len(copies)), 5),
        "precision": round(len(true) / max(1, len(pairs)), 5),
        "equal_to_brute_force": _agrees(packed, sample),
    }


def _joined_apart(count: int) -> dict[str, object]:
    """`joined` in a process of its own, so that memory is that of joining."""
    with tempfile.TemporaryDirectory(prefix="mdfp-identity-") as folder:
        path = Path(folder) / "fingerprints.parquet"
        write_made_up(count, path)
        command = [sys.executable, "-m", "benchmarks.identity", "--join", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _agrees(packed: npt.NDArray[np.uint8], sample: Sequence[int] | npt.NDArray[np.int64]) -> bool:
    """Whether the pairs of these rows are those that comparing each with all gives."""
    words = packed.view(np.uint64)
    found = near_pairs(packed, RADIUS)
    chosen = np.isin(found, sample).any(axis=1)
    got = set(map(tuple, found[chosen].tolist()))
    want: set[tuple[int, ...]] = set()
    for row in np.asarray(sample).tolist():
        near = np.flatnonzero(np.bitwise_count(words ^ words[row]).sum(axis=1) <= RADIUS)
        want |= {(min(row, other), max(row, other)) for other in near.tolist() if other != row}
    return got == want


def main() -> None:
    """Print both tables, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=60, help="phantom people; 0: skip the first part")
    parser.add_argument("--scale", choices=sorted(SCALES), default="demo", help="size of their scans")
    parser.add_argument("--count", type=int, default=100_000, help="fingerprints to join; 0: skip the second part")
    parser.add_argument("--join", type=Path, metavar="FILE", help="only join the fingerprints of a file")
    options = parser.parse_args()
    if options.join:
        print(json.dumps(joined(options.join)))
        return
    result: dict[str, object] = {}
    if options.people:
        seen = recognised(options.people, options.scale)
        result["recognised"] = seen
        print(f"{'written another way':36} recall of {options.people}")
        for name, value in seen["recall"].items():  # type: ignore[attr-defined]
            print(f"{name:36} {value:.3f}")
        print(
            f"precision {seen['precision']:.5f}: {seen['wrong_pairs']} of {seen['pairs_of_different_people']} pairs wrong"
        )
        print(f"taken for one image though it is another: {seen['taken_for_one']}")
    if options.count:
        result["joined"] = _joined_apart(options.count)
        for key, value in result["joined"].items():  # type: ignore[attr-defined]
            print(f"{key:36} {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
