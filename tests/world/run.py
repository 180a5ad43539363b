"""Runs a generated world through the real pipelines, and compares what comes out with what the generator knows."""

from __future__ import annotations

import itertools
import json
import os
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq

from examples.world.sources import WorldSource
from examples.world.truth import WorldCase, WorldTruth
from examples.world.write import write_world
from mdfp.labels import State
from mdfp.sample import Sample
from pipelines import fingerprint
from pipelines import run as runs
from pipelines.build import BuildOptions, audit
from pipelines.console import Console
from pipelines.inventory import take_inventory
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from transforms.plan.planner import Plan, Selection
from transforms.plan.published import load as load_published

KEY = "a key of a generated world, long enough"

MIN_RECALL, MIN_PRECISION = 0.99, 0.999


@dataclass(frozen=True)
class Result:
    """What a world came to.

    Attributes:
        patients, shared, sources, cases, copies: how large it is; `copies` are cases whose scan another case has, too.
        samples: samples of the corpus.
        holes: cases that were planned and did not become samples.
        pairs: pairs of cases of one person.
        found: pairs of cases of one component.
        right: pairs that are both.
        split_leaks: people and components that have samples in more than one split.
        wrong_states: (case, structure, found, true).
        wrong_copies: scans of which not exactly the one that the rule names became a sample.
        unaccounted: cases that are neither a sample, nor a hole, nor left out as a copy, and samples that nobody planned.
        checked_states: how many states were compared.
        edges: pairs of the graph by kind.
        seconds: of each stage.
        peak_mb: of this process and its children, the largest.
    """

    patients: int
    shared: int
    sources: int
    cases: int
    copies: int
    samples: int
    holes: int
    pairs: int
    found: int
    right: int
    split_leaks: tuple[str, ...]
    wrong_states: tuple[tuple[str, str, str, str], ...]
    wrong_copies: tuple[str, ...]
    unaccounted: tuple[str, ...]
    checked_states: int
    edges: Mapping[str, int]
    seconds: Mapping[str, float]
    peak_mb: int

    @property
    def recall(self) -> float:
        """Of the pairs of one person, how many the graph holds together."""
        return self.right / self.pairs

    @property
    def precision(self) -> float:
        """Of the pairs that the graph holds together, how many are of one person."""
        return self.right / self.found if self.found else 1.0

    @property
    def failures(self) -> list[str]:
        """What missed its threshold."""
        checks = {
            f"recall {self.recall:.4f} < {MIN_RECALL}": self.recall < MIN_RECALL,
            f"precision {self.precision:.5f} < {MIN_PRECISION}": self.precision < MIN_PRECISION,
            f"{len(self.split_leaks)} people in more than one split": bool(self.split_leaks),
            f"{len(self.wrong_states)} states are wrong": bool(self.wrong_states),
            f"{len(self.wrong_copies)} scans without exactly their one sample": bool(self.wrong_copies),
            f"{len(self.unaccounted)} cases not accounted for": bool(self.unaccounted),
            f"{self.holes} sound cases are holes": bool(self.holes),
        }
        return [text for text, missed in checks.items() if missed]


@mock.patch.dict(os.environ, {"MDFP_PATIENT_KEY": KEY})
def run(folder: Path, sources: Sequence[WorldSource], *, patients: int, shared: int, workers: int = 1) -> Result:
    """Generate a world below a folder, and run it whole: inventory, fingerprint, plan, build, publish, compare."""
    clock, seconds = time.monotonic(), {}

    def lap(stage: str) -> None:
        nonlocal clock
        seconds[stage] = round(time.monotonic() - clock, 1)
        clock = time.monotonic()

    truth = write_world(folder, patients=patients, shared=shared, sources=sources)
    lap("generate")
    workspace = open_workspace(folder / "recipe.yaml")
    console, engine = Console(quiet=True, as_json=True), Engine(workers)
    taken = take_inventory(workspace, engine, console)
    lap("inventory")
    prints = fingerprint.take_fingerprints(workspace, engine, console)
    lap("fingerprint")
    finished = runs.run(workspace, Selection(), engine, BuildOptions(max_holes=1.0), console)
    assert finished is not None, "there is something to build"
    lap("plan, build, publish")
    published = load_published(workspace.corpus)
    assert published is not None, "it is published"
    markers = audit(workspace, finished.built.plan)
    holes = [h for m in markers for h in m.holes]
    at = {(o.source, o.path): o.case_id for o in taken.objects if o.array.startswith("image:")}
    known = {at[c.source, c.image_paths[0]]: c for c in truth.cases if (c.source, c.image_paths[0]) in at}
    lost = [f"{c.source} {c.name}: not in the inventory" for c in truth.cases if (c.source, c.image_paths[0]) not in at]
    assert workspace.corpus.folder is not None
    latest = json.loads((workspace.corpus.folder / fingerprint.LATEST).read_bytes())
    graph = pq.read_table(workspace.corpus.folder / latest["cases"])
    component = dict(zip(graph["case_id"].to_pylist(), graph["component"].to_pylist(), strict=True))
    edges = Counter(pq.read_table(workspace.corpus.folder / latest["edges"])["kind"].to_pylist())
    pairs, found = _pairs({c: k.person for c, k in known.items()}), _pairs({c: component[c] for c in known})
    samples = published.samples
    wrong, checked = _states(samples, known)
    lost += _unaccounted(known, finished.built.plan, samples, [h.case_id for h in holes], prints.faults)
    lap("compare")
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    shown = Counter(c.scan for c in truth.cases)
    return Result(
        patients=len({c.person for c in truth.cases}),
        shared=shared,
        sources=len({c.source for c in truth.cases}),
        cases=len(truth.cases),
        copies=sum(n for n in shown.values() if n > 1),
        samples=len(samples),
        holes=len(holes),
        pairs=len(pairs),
        found=len(found),
        right=len(pairs & found),
        split_leaks=_leaks(samples, known, component),
        wrong_states=wrong,
        wrong_copies=_copies(truth, known, samples),
        unaccounted=tuple(lost),
        checked_states=checked,
        edges=dict(sorted(edges.items())),
        seconds=seconds,
        peak_mb=peak // 1024,
    )


def _pairs(belongs: Mapping[str, str]) -> set[tuple[str, str]]:
    """Pairs of cases that belong to the same."""
    groups: dict[str, list[str]] = defaultdict(list)
    for case_id, of in belongs.items():
        groups[of].append(case_id)
    return {pair for members in groups.values() for pair in itertools.combinations(sorted(members), 2)}


def _leaks(samples: Iterable[Sample], known: Mapping[str, WorldCase], component: Mapping[str, str]) -> tuple[str, ...]:
    """People, and components, whose samples are in more than one split; who tests in a source must test here."""
    splits: dict[str, set[str]] = defaultdict(set)
    for s in samples:
        splits[f"person {known[s.case_id].person}"].add(s.split)
        splits[f"component {component[s.case_id]}"].add(s.split)
        if known[s.case_id].tests:
            splits[f"person {known[s.case_id].person}"].add("test")
    return tuple(sorted(who for who, where in splits.items() if len(where) > 1))


def _states(
    samples: Iterable[Sample], known: Mapping[str, WorldCase]
) -> tuple[tuple[tuple[str, str, str, str], ...], int]:
    """States that differ from the truth, of structures and of findings, and how many were compared."""
    wrong, checked = [], 0
    for s in samples:
        case = known[s.case_id]
        told = {x.structure: str(x.state) for x in s.structures}
        true = {x: str(case.states[x]) for x in told}
        annotated = {a.name: str(a.state) for a in s.annotations if a.kind == "class"}
        told |= {name: annotated.get(name, "unknown") for name in case.findings}
        true |= dict(case.findings)
        checked += len(true)
        wrong += [(f"{case.source} {case.name}", x, told[x], true[x]) for x in true if told[x] != true[x]]
    return tuple(wrong), checked


def _copies(truth: WorldTruth, known: Mapping[str, WorldCase], samples: Iterable[Sample]) -> tuple[str, ...]:
    """Scans of which not the one sample was made that docs/identity.md names: what is labelled, else what tests, else the first."""
    made = {(known[s.case_id].source, known[s.case_id].name) for s in samples}
    by_scan: dict[str, list[WorldCase]] = defaultdict(list)
    for case in truth.cases:
        by_scan[case.scan].append(case)
    wrong = []
    for scan, cases in sorted(by_scan.items()):
        first = min(cases, key=lambda c: (set(c.states.values()) == {State.UNKNOWN}, not c.tests, c.source, c.name))
        kept = [c for c in cases if (c.source, c.name) in made]
        if kept != [first]:
            wrong.append(f"{scan}: {[f'{c.source} {c.name}' for c in kept]}, expected {first.source} {first.name}")
    return tuple(wrong)


def _unaccounted(
    known: Mapping[str, WorldCase],
    plan: Plan,
    samples: Iterable[Sample],
    holes: Sequence[str],
    faults: Mapping[str, int],
) -> list[str]:
    """Cases that got lost on the way: planned must be samples and holes, and the rest left out as copies."""
    planned = Counter(c for s in plan.shards for c in s.cases)
    became = Counter([s.case_id for s in samples]) + Counter(holes)
    copies = {a.case_id for a in plan.left_out() if a.left_out == Reason.DUPLICATE}
    lost = [
        f"{c}: planned {planned[c]} times, came out {became[c]} times"
        for c in planned | became
        if planned[c] != became[c]
    ]
    lost += [f"{c}: neither planned nor left out as a copy" for c in known if (c in copies) == (c in planned)]
    return lost + [f"{n} images without a fingerprint: {reason}" for reason, n in faults.items()]
