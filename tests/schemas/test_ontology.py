"""The ontology is data; these are its rules."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mdfp.errors import UsageError
from schemas import ontology
from schemas.ontology.structures import BACKGROUND, Ontology, Structure

ALL = ontology.load()
SIDES = ("left", "right")

ONE_SIDED = {
    "atrial_appendage_left": "no data set draws the right one",
    "lung_middle_lobe_right": "the left lung has none",
}


def other_side(name):
    for a, b in (SIDES, SIDES[::-1]):
        if name.endswith(f"_{a}"):
            return f"{name.removesuffix(a)}{b}"
    return None


@pytest.mark.parametrize("structure", ALL.values(), ids=lambda s: s.id)
def test_no_structure_is_its_own_ancestor(structure):
    assert structure.id not in ALL.ancestors(structure.id)
    assert structure.id not in ALL.descendants(structure.id)


@pytest.mark.parametrize("structure", ALL.values(), ids=lambda s: s.id)
def test_sides_are_consistent(structure):
    ending = next((s for s in SIDES if structure.id.endswith(f"_{s}")), None)
    assert structure.side == ending
    for parent in structure.parents:
        # A left thing may be part of a left thing or of a thing without side; never of a right one.
        assert ALL[parent].side in (None, structure.side), f"{structure.id} -> {parent}"
    twin = other_side(structure.id)
    if twin and structure.id not in ONE_SIDED:
        assert twin in ALL, f"{structure.id} has no {twin}"
        assert ALL[twin].snomed_ct == structure.snomed_ct
        assert ALL[twin].kind == structure.kind


@pytest.mark.parametrize("structure", [s for s in ALL.values() if s.side and s.id not in ONE_SIDED], ids=lambda s: s.id)
def test_relations_of_twins_mirror_each_other(structure):
    twin = ALL[other_side(structure.id)]
    for relation in ("is_a", "part_of", "located_in"):
        mirrored = {other_side(p) or p for p in getattr(structure, relation)}
        assert mirrored == set(getattr(twin, relation)), relation


@pytest.mark.parametrize("structure", [s for s in ALL.values() if s.side], ids=lambda s: s.id)
def test_a_sided_structure_has_the_one_without_side_above_it(structure):
    plain = structure.id.rpartition("_")[0]
    assert plain in ALL.ancestors(structure.id)


def test_codes_are_numbers_with_a_meaning():
    for s in ALL.values():
        assert (s.snomed_ct is None) == (s.meaning is None), s.id
        if s.snomed_ct is not None:
            assert s.snomed_ct.isdigit(), s.id
            assert 6 <= len(s.snomed_ct) <= 18, s.id
            assert _verhoeff(s.snomed_ct), (
                f"{s.id}: {s.snomed_ct} is not a SNOMED CT identifier: its check digit is wrong"
            )


def _verhoeff(number):
    """The check of SNOMED CT identifiers (SNOMED International, Release File Specification, check-digit)."""
    rotate = [[(i + j) % 5 if j < 5 else (i + j) % 5 + 5 for j in range(10)] for i in range(5)]
    rotate += [[(i - j) % 5 + 5 if j < 5 else (i - j) % 5 for j in range(10)] for i in range(5, 10)]
    permute = [list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]]
    for _ in range(6):
        permute.append([permute[1][d] for d in permute[-1]])
    check = 0
    for place, digit in enumerate(reversed(number)):
        check = rotate[check][permute[place % 8][int(digit)]]
    return check == 0


def test_one_code_means_one_thing_but_for_its_sides():
    by_code = {}
    for s in ALL.values():
        if s.snomed_ct:
            by_code.setdefault(s.snomed_ct, set()).add(s.id.removesuffix("_left").removesuffix("_right"))
    assert {code: ids for code, ids in by_code.items() if len(ids) > 1} == {}


def test_kinds_are_known_and_lesions_lie_somewhere_or_are_general():
    assert {s.kind for s in ALL.values()} == {"anatomy", "lesion", "device"}
    for s in ALL.values():
        if s.located_in:
            assert s.kind == "lesion" or s.id == "hepatic_vessel", s.id


def test_ids_are_fit_for_keys_and_none_is_background():
    import re

    for name in ALL:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
    assert BACKGROUND not in ALL


def test_rows_are_sorted_and_synonyms_are_nobody_elses():
    with (Path(ontology.structures.__file__).parent / "structures.csv").open(newline="", encoding="utf-8") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert len(ids) == len(set(ids))
    owners = {}
    for s in ALL.values():
        for synonym in s.synonyms:
            assert synonym == synonym.lower().strip(), s.id
            assert synonym not in ALL or synonym == s.id, f"{s.id} and {synonym}"
            owners.setdefault(synonym, set()).add(s.id)
    assert {synonym: ids for synonym, ids in owners.items() if len(ids) > 1} == {}


def test_relations_are_followed_nearest_first():
    assert ALL.ancestors("lung_upper_lobe_left")[:2] == ("lung_upper_lobe", "lung_left")
    assert "lung" in ALL.ancestors("lung_upper_lobe_left")
    assert {"kidney_left", "kidney_cyst_right"} <= set(ALL.descendants("kidney"))


def test_an_unknown_structure_names_the_nearest_by_id_or_synonym():
    with pytest.raises(UsageError, match="here: unknown structure 'kidny_left'; did you mean 'kidney_left'"):
        ALL.check("kidny_left", "here")
    with pytest.raises(UsageError, match="did you mean 'clavicle_left'"):
        ALL.check("clavicula_lef", "here")


def test_an_unknown_parent_is_a_bug_of_the_table():
    orphan = Structure("a", "anatomy", None, None, None, ("b",), (), (), ())
    with pytest.raises(ValueError, match="a names the unknown parent 'b'"):
        Ontology([orphan])
