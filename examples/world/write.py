"""Who is in which data set, and the data sets themselves. Equal arguments, equal bytes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.phantom.anatomy import Draws
from examples.world.formats import WRITERS
from examples.world.scans import Scan
from examples.world.sources import SERIES, SOURCES, TABLE, WorldSource
from examples.world.truth import WorldCase, WorldTruth


@dataclass(frozen=True)
class Entry:
    """A case to write.

    Attributes:
        scan: whose examination, and which.
        number: number within its source.
        patient: the patient's number within its source; equal for two examinations of one person there.
        copy: whether it is published again from another source.
    """

    scan: Scan
    number: int
    patient: int
    copy: bool


def world(patients: int, shared: int, sources: Sequence[WorldSource], seed: int = 1) -> dict[str, list[Entry]]:
    """Who is where.

    Args:
        patients: how many people there are.
        shared: how many of them are published by two to five of the sources.
        sources: data sets; people who are published once are dealt out by `share`.
        seed: of everything that is drawn.

    Returns:
        Source id -> its cases. One in four of the people who are published once, as paired NIfTI or as series, was
        examined twice there; of each whose series is published once there is a radiograph too, under the same id.
    """
    draws = Draws(f"world {patients} {shared} {len(sources)} {seed}")
    volumes = [s for s in sources if s.copies]
    deal = [s for turn in range(2) for s in sources if s.share > turn]
    found: dict[str, list[Entry]] = defaultdict(list)
    # People of whom there are radiographs alone have other numbers than the clinic's whose series is there too.
    people: dict[str, int] = defaultdict(int, {TABLE.id: 500})

    def add(source: WorldSource, scan: Scan, copy: bool, patient: int | None = None) -> int:
        if patient is None:
            people[source.id] += 1
            patient = people[source.id]
        found[source.id].append(Entry(scan, len(found[source.id]) + 1, patient, copy))
        return patient

    for n in range(patients):
        scan = Scan(f"w{seed}-{n:05}")
        if n < shared:
            home = volumes[n % len(volumes)]
            others = [s for s in volumes if s is not home]
            add(home, scan, copy=False)
            for _ in range(1 + int(draws.uniform(0, min(4, len(others))))):
                add(others.pop(int(draws.uniform(0, len(others)))), scan, copy=True)
            continue
        home = deal[n % len(deal)]
        patient = add(home, scan, copy=False)
        if home.patient == "{patient}" or home is SERIES:
            if draws.uniform(0, 1) < 1 / 4:
                add(home, Scan(scan.person, 1), copy=False, patient=patient)
            if home is SERIES and TABLE in sources:
                add(TABLE, Scan(scan.person, 2), copy=False, patient=patient)
    return dict(found)


def write_world(
    root: Path, *, patients: int = 300, shared: int = 60, sources: Sequence[WorldSource] = SOURCES, seed: int = 1
) -> WorldTruth:
    """Write every source below `root`, each with its manifest beside it, and a recipe of all. Returns the truth.

    The recipe is `root/recipe.yaml`, the corpus goes to `root/corpus`; JSON is YAML.
    """
    cases: list[WorldCase] = []
    entries = world(patients, shared, sources, seed)
    used = [s for s in sources if s.id in entries]
    for source in used:
        cases += WRITERS[source.id](source, root / "raw" / source.id, entries[source.id])
        _json(root / f"{source.id}.yaml", source.manifest())
    _json(root / "recipe.yaml", recipe(used))
    truth = WorldTruth(tuple(cases))
    truth.write(root / "truth.json")
    return truth


def recipe(sources: Sequence[WorldSource]) -> dict[str, object]:
    """The recipe of the fused corpus."""
    return {
        "corpus": "world", "out": "corpus",
        "sources": [{"id": s.id, "manifest": f"{s.id}.yaml", "root": f"raw/{s.id}"} for s in sources],
        "terms": {"accept": ["CC-BY-4.0"]},
        "geometry": {"spacing_mm": [4.0, 4.0, 4.0]},
        "splits": {"by": "patient", "train": 0.7, "val": 0.15, "test": 0.15},
        "shards": {"target_mb": 8},
    }  # fmt: skip


def _json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
