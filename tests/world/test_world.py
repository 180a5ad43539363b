"""A small generated world, run whole: who is who, which split, which state; and the laws of its generator."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest

from examples.phantom.anatomy import Draws
from examples.phantom.scan import inside
from examples.world.people import somebody
from examples.world.scans import Scan, grid_of, rewritten, seen, taken
from examples.world.sources import EVERY_STRUCTURE, SERIES, SOURCES, TABLE
from examples.world.truth import states_of
from examples.world.write import world, write_world
from mdfp import geometry
from mdfp.labels import State
from schemas.source import Source
from tests.world.run import Result, run
from transforms.identity.align import SAME_IMAGE, likeness, prepare
from transforms.identity.fingerprint import fingerprint

pytest.importorskip("highdicom", reason="writes the SEG objects; pip install -e '.[dev]'")


@pytest.fixture(scope="module")
def result(tmp_path_factory) -> Result:
    return run(tmp_path_factory.mktemp("world"), SOURCES[:6], patients=40, shared=10)


def test_the_graph_holds_together_who_is_one_and_nobody_else(result):
    assert result.pairs > 40
    assert (result.recall, result.precision) == (1.0, 1.0)
    assert {"exact", "near", "patient"} <= set(result.edges)


def test_nobody_is_in_two_splits_and_each_scan_is_one_sample(result):
    assert not result.split_leaks
    assert not result.wrong_copies


def test_every_state_is_the_generators_and_no_case_is_lost(result):
    assert result.checked_states > 500
    assert not result.wrong_states
    assert not result.unaccounted
    assert result.holes == 0
    assert not result.failures


def test_a_missed_threshold_is_a_failure(result):
    bad = dataclasses.replace(result, right=result.right - 1, wrong_states=(("a", "b", "c", "d"),), split_leaks=("x",))
    assert len(bad.failures) == 4  # recall and precision both


def test_equal_arguments_give_equal_bytes(tmp_path):
    def digests(folder):
        files = sorted(f for f in folder.rglob("*") if f.is_file())
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    for name in ("one", "two"):
        write_world(tmp_path / name, patients=14, shared=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert {"raw/world-table/rows.csv", "truth.json"} <= set(digests(tmp_path / "one"))


def test_the_world_is_what_was_asked_for():
    entries = world(300, 60, SOURCES)
    assert len(entries) == len(SOURCES) == 12
    assert len({s.layout["kind"] for s in SOURCES}) == 6
    people = Counter(p for cases in entries.values() for p in {c.scan.person for c in cases})
    scans = Counter(c.scan for cases in entries.values() for c in cases)
    assert len(people) == 300
    several = {s: n for s, n in scans.items() if n > 1}
    assert len(several) == 60
    assert set(several.values()) == {2, 3, 4, 5}
    clinic = {c.scan.person for c in entries[TABLE.id]} & {c.scan.person for c in entries[SERIES.id]}
    assert len([p for p, n in people.items() if n > 1]) == 60 + len(clinic)
    for source in SOURCES:
        Source.model_validate(source.manifest())


def test_label_tables_differ_between_sources():
    tables = [tuple(sorted(s.numbers().items())) for s in SOURCES if s.table]
    assert len(set(tables)) == len(tables) == 11
    assert set(EVERY_STRUCTURE) == {s for source in SOURCES for s in source.drawn}


@pytest.mark.parametrize("seed", range(4))
def test_a_rewritten_scan_keeps_every_organ_in_its_place(seed):
    scan = Scan(f"somebody {seed}")
    who = scan.who()
    first = taken(who, scan, "LPS")
    again = rewritten(first, Draws(f"law {seed}"), None)
    for structure in ("liver", "aorta", "vertebra_l1"):
        hu = []
        for volume in (first, again):
            box, mask = inside(_core(who.body.organs[structure]), grid_of(volume))
            hu.append(float(np.median(volume.array_zyx[box][mask])))
        assert hu[0] == pytest.approx(hu[1], abs=20), structure
    assert geometry.orientation_code(again.affine_ras) is not None


def _core(organ):
    return dataclasses.replace(organ, semi_axes_mm=tuple(a * 0.5 for a in organ.semi_axes_mm))


def test_people_differ_by_more_than_copies_do():
    """Without this precision would be won by the generator: the gap must be there and must not be all there is."""
    prints = [_prepared(taken(somebody(f"p{n}"), Scan(f"p{n}"), "LPS")) for n in range(8)]
    apart = [likeness(a, b).score for a, b in itertools.combinations(prints, 2)]
    visits = [
        likeness(prints[n], _prepared(taken(somebody(f"p{n}", 1), Scan(f"p{n}", 1), "LPS"))).score for n in range(8)
    ]
    copies = [
        likeness(
            prints[n], _prepared(rewritten(taken(somebody(f"p{n}"), Scan(f"p{n}"), "LPS"), Draws(str(n)), None))
        ).score
        for n in range(8)
    ]
    assert max(apart) < max(visits) < SAME_IMAGE <= min(copies)
    assert max(apart) > 0.5  # all are torsos: alike, and not noise


def _prepared(volume):
    cube = fingerprint(volume, "CT").thumbnail
    assert cube is not None
    return prepare(cube)


def test_states_follow_from_what_is_drawn_and_what_is_there():
    body = somebody("p1").body
    without = dataclasses.replace(body, organs={s: o for s, o in body.organs.items() if s != "spleen"})
    drawn = ("liver", "kidney", "spleen")
    states = states_of(without, drawn)
    assert states["spleen"] == State.ABSENT
    assert (states["kidney"], states["kidney_left"]) == (State.PRESENT, State.MERGED)
    assert states["aorta"] == State.UNKNOWN
    assert states_of(without, ("liver", "spleen"), absent_is_said=False)["spleen"] == State.UNKNOWN
    assert set(states) == set(EVERY_STRUCTURE)


def test_what_lies_outside_the_picture_is_not_seen():
    who = somebody("p2")
    volume = taken(who, Scan("p2"), "LPS")
    whole = grid_of(volume)
    half = dataclasses.replace(whole, shape_zyx=(20, *whole.shape_zyx[1:]))
    assert "lung_left" in seen(who.body, whole).organs
    assert "lung_left" not in seen(who.body, half).organs
    assert not [s for s in seen(who.body, whole).organs if s.startswith("clutter")]
