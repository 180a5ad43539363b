"""Several readers: each keeps a layer, a rule fuses them, and states say who saw what."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mdfp.labels import State
from schemas import ontology
from schemas.label_table import LabelTable
from schemas.recipe import Labels
from transforms.labels import palette as palettes
from transforms.labels.coded import IGNORED, Coded
from transforms.labels.label import LabelPart, normalise_labels
from transforms.labels.layers import lay_over
from transforms.labels.readers import RULES, _tagged, fuse
from transforms.volume import Volume

KNOWN = ontology.load()
NODULE = LabelTable(values={0: "background", 1: "lung_nodule"}, ignore=(9,), origin="expert")
LIVER = LabelTable(values={0: "background", 1: "liver", 2: "liver_tumour"}, origin="expert")
SHAPE = (5, 7, 9)


def coded(array: Any) -> Coded:
    """0 background, 1 liver, 2 tumour, 3 ignored."""
    counts = {int(c): int(n) for c, n in zip(*np.unique(array, return_counts=True), strict=True)}
    meaning = [frozenset[str](), frozenset({"liver"}), frozenset({"liver_tumour"}), frozenset({IGNORED})]
    return Coded(array, {c: meaning[c] for c in counts}, counts)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), *[st.integers(1, 4)] * 3), elements=st.integers(0, 3)),
    st.sampled_from(sorted(RULES)),
)
def test_a_rule_counts_readers_voxel_by_voxel(drawn: Any, rule: str) -> None:
    n = len(drawn)
    fused = fuse(lay_over([_tagged(coded(a), i) for i, a in enumerate(drawn)]), n, rule, KNOWN)
    needs = {"union": lambda m: 1, "half": lambda m: (m + 1) // 2, "majority": lambda m: m // 2 + 1}
    any_liver = bool((drawn == 1).any())
    for at in np.ndindex(drawn.shape[1:]):
        said = Counter(int(v) for v in drawn[(slice(None), *at)])
        speaking = n - said[3]
        found = fused.members[int(fused.codes_zyx[at])]
        if not speaking:
            assert found == {IGNORED}
            continue
        needed = needs.get(rule, lambda m: m)(speaking)
        # A tumour lies in the liver: who draws it draws liver there, if anybody draws liver at all.
        votes = {"liver_tumour": said[2], "liver": said[1] + said[2] if any_liver else 0}
        assert found == {s for s, v in votes.items() if v and v >= needed}
    assert sum(fused.counts.values()) == drawn[0].size


def test_ties() -> None:
    assert [drawn for drawn in range(1, 5) if RULES["half"](drawn, 4)] == [2, 3, 4]
    assert [drawn for drawn in range(1, 5) if RULES["majority"](drawn, 4)] == [3, 4]
    assert [drawn for drawn in range(1, 4) if RULES["half"](drawn, 3)] == [2, 3]
    assert [drawn for drawn in range(1, 4) if RULES["majority"](drawn, 3)] == [2, 3]


def box(z: int, *, value: int = 1) -> np.ndarray[Any, Any]:
    array = np.zeros(SHAPE, np.uint8)
    array[z : z + 2, 2:5, 3:6] = value
    return array


NONE = np.zeros(SHAPE, np.uint8)


@pytest.fixture
def read(case_label: Any, image: Any) -> Any:
    """Labels of readers through `normalise_labels`."""

    def made(arrays: Any, table: LabelTable = NODULE, of: Any = None, **wanted: Any) -> Any:
        on = of or image()
        parts = []
        for number, array in enumerate(arrays, start=1):
            label = replace(case_label(table="nodules"), origin=f"reader-{number}")
            parts.append(LabelPart(label, table, ((Volume(array, on.canonical.affine_ras), None),)))
        entries = palettes.build([*table.annotated()])
        return normalise_labels(parts, {"ct": on}, entries, Labels(**wanted))

    return made


def states(result: Any) -> dict[str, list[State]]:
    return {r.reader: [s.state for s in r.structures] for r in result.readings}


def layer(result: Any, name: str) -> Any:
    (mask,) = [m for record, m in result.layers if record.layer == name]
    return mask


def test_readers_are_kept_as_layers_of_their_own(read: Any) -> None:
    result = read([box(0), box(2), NONE, box(1)])
    assert [(r.layer, r.origin) for r, _ in result.layers] == [
        (f"nodules_reader{n}", f"reader-{n}") for n in (1, 2, 3, 4)
    ]
    for number, array in enumerate([box(0), box(2), NONE, box(1)], start=1):
        np.testing.assert_array_equal(layer(result, f"nodules_reader{number}"), array)
    present, absent = [State.PRESENT], [State.ABSENT]
    assert states(result) == {"reader-1": present, "reader-2": present, "reader-3": absent, "reader-4": present}
    (together,) = result.states
    assert (together.state, together.layer, together.origin) == (State.PRESENT, "nodules_reader1", "reader-1")
    assert result.warnings == ("lung_nodule: drawn by 3 of 4 readers",)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("union", (box(0) | box(1) | box(2)) > 0),
        ("half", (box(0) + box(1) + box(2)) >= 2),
        ("majority", (box(0) + box(1) + box(2)) >= 3),
        ("intersection", (box(0) + box(1) + box(2)) >= 4),
    ],
)
def test_the_fused_layer_is_one_more(read: Any, rule: str, expected: Any) -> None:
    result = read([box(0), box(1), box(2), NONE], readers=rule)
    record, mask = result.layers[-1]
    assert (record.layer, record.origin, len(result.layers)) == ("nodules_consensus", f"consensus:{rule}", 5)
    np.testing.assert_array_equal(mask, expected)
    state = State.PRESENT if expected.any() else State.ABSENT
    assert states(result)[f"consensus:{rule}"] == [state]
    (together,) = result.states
    assert (together.state, together.origin) == (state, f"consensus:{rule}")
    assert together.native_voxels == expected.sum()


def test_two_of_four_readers_apart_are_present_to_themselves_and_absent_by_the_rule(read: Any) -> None:
    result = read([box(0), NONE, box(3), NONE], readers="half")
    assert states(result) == {
        "reader-1": [State.PRESENT],
        "reader-2": [State.ABSENT],
        "reader-3": [State.PRESENT],
        "reader-4": [State.ABSENT],
        "consensus:half": [State.ABSENT],
    }
    assert [s.state for s in result.states] == [State.ABSENT]
    assert result.warnings == (
        "lung_nodule: drawn by 2 of 4 readers",
        "lung_nodule: the rule half leaves none of what 2 readers drew",
    )
    assert [s.state for s in read([NONE, NONE]).states] == [State.ABSENT]


def test_the_rule_holds_on_native_voxels(read: Any, image: Any) -> None:
    # Resampled to slices twice as thick: what was fused is resampled, not what was resampled fused.
    on = image(to=(0.8, 0.9, 2.6))
    alone = read([(box(0) + box(1)) >= 2], of=on)
    both = read([box(0), box(1)], of=on, readers="intersection")
    np.testing.assert_array_equal(both.layers[-1][1], alone.layers[0][1])
    assert both.layers[-1][0].content_hash == alone.layers[0][0].content_hash


def test_who_ignores_a_voxel_is_not_counted_there(read: Any) -> None:
    silent = np.full(SHAPE, 9, np.uint8)
    silent[0] = 0
    result = read([box(0), silent], readers="intersection")
    fused = result.layers[-1][1]
    assert not fused[0].any()
    np.testing.assert_array_equal(fused[1:], box(0)[1:])
    result = read([silent, silent], readers="union")
    assert set(np.unique(result.layers[-1][1])) == {0, 255}
    assert [s.state for s in result.states] == [State.PARTIAL]


def test_what_a_reader_did_not_draw_is_unknown_where_the_table_says_so(read: Any) -> None:
    table = NODULE.model_copy(update={"looked_for": "values_present"})
    result = read([box(0), NONE], table, readers="intersection")
    assert states(result) == {
        "reader-1": [State.PRESENT],
        "reader-2": [State.UNKNOWN],
        "consensus:intersection": [State.ABSENT],  # somebody looked, and the rule leaves nothing
    }
    assert [s.state for s in read([NONE, NONE], table).states] == [State.UNKNOWN]


def test_wider_structures_hold_what_lies_in_them(read: Any) -> None:
    organ = np.zeros(SHAPE, np.uint8)
    organ[1:4, 1:6, 1:8] = 1
    one, two = organ.copy(), organ.copy()
    one[1:3, 2:4, 2:4] = 2
    result = read([one, two], LIVER, readers="majority")
    fused = result.layers[-1][1]
    np.testing.assert_array_equal(fused == 1, organ == 1)  # both drew liver there, one of them as tumour
    assert not (fused == 2).any()
    result = read([one, two], LIVER, readers="union")
    np.testing.assert_array_equal(result.layers[-1][1], one)


def test_one_reader_alone_is_the_consensus(read: Any) -> None:
    for rule in RULES:
        result = read([box(1)], readers=rule)
        np.testing.assert_array_equal(result.layers[-1][1], box(1))


def test_a_model_beside_readers_is_another_word(case_label: Any, image: Any) -> None:
    on, arrays = image(), {"reader-1": box(0), "reader-2": NONE, "model": box(2)}
    parts = []
    for origin, array in arrays.items():
        table = NODULE.model_copy(update={"origin": "model"}) if origin == "model" else NODULE
        label = replace(case_label(table=origin[:6]), origin=origin)
        parts.append(LabelPart(label, table, ((Volume(array, on.canonical.affine_ras), None),)))
    entries = palettes.build([*NODULE.annotated()])
    for first, rule in (("reader-1", "keep"), ("consensus:union", "union")):
        result = normalise_labels(parts[::-1], {"ct": on}, entries, Labels(readers=rule))
        assert [s.origin for s in result.states] == [first]
        assert [s.origin for s in result.others] == ["model"]
        assert "model" not in {r.reader for r in result.readings}
