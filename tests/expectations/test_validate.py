"""Each rule of the suites catches what it is there for, names it, and lets sound records pass."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from expectations.validate import validate_inventory, validate_plan, validate_samples
from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.sample import Grid
from schemas.case import Reject
from schemas.label_table import LabelTable
from schemas.layouts import PerStructureLayout
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Patient, Source


def recipe(**fields) -> Recipe:
    return Recipe.model_validate(
        {
            "corpus": "c",
            "out": "/nowhere",
            "sources": [{"id": "msd-task09-spleen"}],
            "terms": {"accept": ["CC-BY-4.0"]},
            "geometry": {"spacing_mm": [1.5, 1.5, 1.5]},
            **fields,
        }
    )


# Inventory


def test_a_sound_inventory_passes_every_gate_and_warning(make_case, objects_of) -> None:
    cases = [make_case(n) for n in range(3)]
    result = validate_inventory(cases, objects_of(*cases), [])
    assert not result.failures
    assert result.describe() == ""
    assert not result.gate_failed


def test_inventory_gates_stop_and_name_the_row(make_case, objects_of, failed_of, outcome_of) -> None:
    cases, expected = [make_case(0), make_case(1)], {"case-id-unique": "msd-task09-spleen-000"}
    cases.append(make_case(2, case_id="msd-task09-spleen-000"))

    def plant(expectation: str, array: str = "", **fields) -> None:
        case = make_case(len(cases), **fields)
        cases.append(case)
        expected[expectation] = case.case_id + array

    plant("case-id-portable", case_id="spleen.01")
    plant("patient-given", patient="")
    plant("case-has-image", images=(), labels=())
    plant("age-plausible", age_years=101.0)
    plant("days-counted-forward", days_from_first=-3)
    plant("source-split-known", split="testing")
    plant("image-spacing-physical", "/image:ct", header={"spacing_xyz_mm": (0.01, 1.0, 1.0)})
    plant("image-spacing-not-huge", "/image:ct", header={"spacing_xyz_mm": (0.8, 0.8, 250.0)})
    plant("volumes-placed", "/image:ct", header={"spacing_xyz_mm": None})
    plant("shape-not-empty", "/image:ct", header={"shape": (0, 512, 512)})
    result = validate_inventory(cases, objects_of(*dict.fromkeys(cases)), [])

    assert result.gate_failed
    assert failed_of(result, "gate") - {"objects-once"} == set(expected)
    assert {e: outcome_of(result, e).failing[0] for e in expected} == expected


def test_an_unknown_modality_is_named_in_what_was_observed(make_case, objects_of, outcome_of) -> None:
    case = make_case(0)
    case = replace(case, images=(replace(case.images[0], modality="CAT"),))
    outcome = outcome_of(validate_inventory([case], objects_of(case), []), "modality-known")
    assert not outcome.success
    assert outcome.observed == "1 of 1 does not hold: modality CAT"


def test_arrays_need_objects_that_are_not_empty_and_serve_once(make_case, objects_of, failed_of) -> None:
    case = make_case(0)
    image, label = objects_of(case)
    assert failed_of(validate_inventory([case], [image], []), "gate") == {"arrays-have-objects"}
    assert failed_of(validate_inventory([case], [image, replace(label, bytes=0)], []), "gate") == {"objects-not-empty"}
    assert failed_of(validate_inventory([case], [image, image, label], []), "gate") == {"objects-once"}


def test_a_label_of_a_strange_image_is_a_gate(make_case, objects_of, failed_of) -> None:
    case = make_case(0)
    case = replace(case, labels=(replace(case.labels[0], image="mr"),))
    assert failed_of(validate_inventory([case], objects_of(case), []), "gate") == {"label-image-known"}


def test_a_source_without_cases_is_a_gate_and_many_rejects_a_warning(
    make_case, objects_of, failed_of, outcome_of
) -> None:
    case = make_case(0)
    rejects = [Reject("inventory", "lost", None, Reason.UNREADABLE, "no header", None)] * 2
    result = validate_inventory([case], objects_of(case), rejects)
    assert failed_of(result, "gate") == {"source-has-cases"}
    assert outcome_of(result, "few-rejects").failing == ("lost",)


def test_a_flat_2d_image_needs_no_spacing(make_case, objects_of) -> None:
    case = make_case(0, header={"axes": "yx", "shape": (512, 400), "spacing_xyz_mm": None, "affine_ras": None})
    assert not validate_inventory([case], objects_of(case), []).gate_failed


# Plan


def test_a_sound_plan_passes(make_case, plan_of) -> None:
    cases = [make_case(n) for n in range(4)]
    assert not validate_plan(*plan_of(cases, ["train", "train", "val", "test"]), cases).failures


def test_a_patient_in_two_splits_is_a_gate(make_case, plan_of, failed_of, outcome_of) -> None:
    cases = [make_case(0), make_case(1, patient=make_case(0).patient)]
    result = validate_plan(*plan_of(cases, ["train", "test"]), cases)
    assert failed_of(result, "gate") == {"patient-in-one-split", "group-in-one-split"}
    assert outcome_of(result, "patient-in-one-split").failing == (cases[0].patient,)


def test_a_patient_whose_other_split_is_only_a_hole_is_fine(make_case, plan_of) -> None:
    cases = [make_case(0), make_case(1, patient=make_case(0).patient)]
    assignments, shards = plan_of(cases, ["train", "test"])
    assignments[1] = replace(assignments[1], left_out=Reason.DUPLICATE)
    shards[1] = replace(shards[1], holes=(cases[1].case_id,))
    assert not validate_plan(assignments, shards, cases).gate_failed


def test_every_case_is_planned_once_or_left_out_with_a_reason(make_case, plan_of, failed_of, outcome_of) -> None:
    cases = [make_case(n) for n in range(3)]
    assignments, shards = plan_of(cases)
    forgotten = validate_plan(assignments[:2], [replace(shards[0], cases=shards[0].cases[:2])], cases)
    assert failed_of(forgotten, "gate") == {"every-case-decided"}
    assert outcome_of(forgotten, "every-case-decided").failing == (cases[2].case_id,)

    shards = [replace(shards[0], cases=shards[0].cases[:2])]
    nowhere = replace(assignments[2], shard=None, position=None, split=None)
    assert failed_of(validate_plan([*assignments[:2], nowhere], shards, cases), "gate") == {"planned-or-left-out"}
    left_out = replace(nowhere, left_out=Reason.TERMS_REFUSED)
    assert not validate_plan([*assignments[:2], left_out], shards, cases).gate_failed


def test_assignments_and_shards_must_say_the_same(make_case, plan_of, failed_of) -> None:
    cases = [make_case(n) for n in range(2)]
    assignments, shards = plan_of(cases)
    swapped = [replace(shards[0], cases=shards[0].cases[::-1])]
    assert failed_of(validate_plan(assignments, swapped, cases), "gate") == {"assignment-matches-shard"}
    twice = [replace(shards[0], cases=(*shards[0].cases, cases[0].case_id))]
    assert failed_of(validate_plan(assignments, twice, cases), "gate") == {"shard-cases-once"}


def test_shards_are_sane(make_case, plan_of, failed_of) -> None:
    cases = [make_case(n, source=f"s{n}") for n in range(6)]
    assignments, shards = plan_of(cases)
    plants = [
        ("shard-size-possible", "gate", {"estimated_bytes": 0}),
        ("shard-size-sane", "warn", {"estimated_bytes": 3 * 10**9}),
        ("shard-time-sane", "warn", {"estimated_seconds": 700.0}),
        ("fingerprint-form", "gate", {"fingerprint": "1234"}),
        ("shard-holes-inside", "gate", {"holes": ("stranger",)}),
        ("shard-under-its-split", "gate", {"split": "val"}),
    ]
    wrong = [replace(shard, **fields) for shard, (_, _, fields) in zip(shards, plants, strict=True)]
    result = validate_plan(assignments, wrong, cases)
    assert failed_of(result, "gate") == {e for e, severity, _ in plants if severity == "gate"} | {
        "assignment-matches-split"
    }
    assert failed_of(result, "warn") == {e for e, severity, _ in plants if severity == "warn"}


def test_a_sources_own_test_case_in_training_is_a_warning(make_case, plan_of, failed_of) -> None:
    cases = [make_case(0, split="test")]
    assert failed_of(validate_plan(*plan_of(cases), cases), "warn") == {"test-stays-test"}


def source(structures: dict[str, str]) -> Source:
    return Source(
        id="msd-task09-spleen",
        title="Spleen",
        patient=Patient(namespace="msd"),
        layout=PerStructureLayout.model_validate(
            {
                "kind": "per-structure",
                "image": {"name": "ct", "modality": "CT", "path": "{case}/ct.nii.gz"},
                "structures": "{case}/{structure}.nii.gz",
            }
        ),
        labels={"labels": LabelTable(structures=structures, origin="expert")},
    )


def test_a_label_table_beyond_the_palette_is_a_gate(make_case, plan_of, palette, failed_of, outcome_of) -> None:
    cases = [make_case(0)]
    sound = validate_plan(*plan_of(cases), cases, sources=[source({"spleen": "spleen"})], palette=palette)
    assert not sound.gate_failed
    assert outcome_of(sound, "label-map-total").rows == 1
    result = validate_plan(*plan_of(cases), cases, sources=[source({"aorta": "aorta"})], palette=palette)
    assert failed_of(result, "gate") == {"label-map-total"}
    assert outcome_of(result, "label-map-total").failing == ("msd-task09-spleen/labels",)


# Samples


def judge(samples, holes=(), planned=None, **keywords):
    planned = {s.case_id for s in samples} | {h.case_id for h in holes} if planned is None else planned
    return validate_samples(samples, holes, planned, **keywords)


def test_sound_samples_pass_every_gate_and_warning(make_sample, palette) -> None:
    result = judge([make_sample(n) for n in range(3)], palette=palette, recipe=recipe())
    assert not result.failures


def test_lifelike_samples_warn_of_what_was_planted_and_of_nothing_else(samples, holes, palette, failed_of, outcome_of):
    result = judge(samples, holes, palette=palette, recipe=recipe())
    assert failed_of(result, "gate") == set()
    assert failed_of(result, "warn") == {"volume-kept", "nothing-vanished", "left-is-left", "no-build-warnings"}
    assert outcome_of(result, "left-is-left").failing == (f"{samples[34].key}/kidney",)
    assert outcome_of(result, "volume-kept").failing == (f"{samples[20].key}/liver",)
    assert outcome_of(result, "nothing-vanished").failing == (f"{samples[21].key}/liver_tumour",)


def test_planned_is_samples_plus_holes(make_sample, outcome_of, failed_of) -> None:
    samples = [make_sample(n) for n in range(2)]
    hole = Reject("build", "msd-task09-spleen", "lost", Reason.CORRUPT_GZIP, "", None)
    keys = [s.case_id for s in samples]
    assert not judge(samples, [hole], [*keys, "lost"]).gate_failed
    vanished = judge(samples, [], [*keys, "lost"])
    assert failed_of(vanished, "gate") == {"planned-accounted"}
    assert outcome_of(vanished, "planned-accounted").failing == ("lost",)
    assert failed_of(judge(samples, [], keys[:1]), "gate") == {"only-planned"}
    both = replace(hole, case_id=keys[0])
    assert failed_of(judge(samples, [both], keys), "gate") == {"planned-accounted"}


def test_image_gates_name_the_image(make_sample, with_image, failed_of, outcome_of) -> None:
    plants = [
        ("intensity-finite", {}, {"mean": math.nan}),
        ("intensity-finite", {}, {"maximum": math.inf}),
        ("ct-above-floor", {}, {"minimum": -2048.0}),
        ("orientation-canonical", {"stored": Grid((9, 9, 9), (1.5, 1.5, 1.5), "LPS", None)}, {}),
        ("content-hash-form", {"content_hash": "f00"}, {}),
    ]
    samples = [with_image(make_sample(n), intensity, **fields) for n, (_, fields, intensity) in enumerate(plants)]
    result = judge([*samples, make_sample(9)])
    for (expectation, _, _), sample in zip(plants, samples, strict=True):
        assert expectation in failed_of(result, "gate")
        assert f"{sample.key}/ct" in outcome_of(result, expectation).failing
        assert f"{make_sample(9).key}/ct" not in outcome_of(result, expectation).failing


def test_mr_may_go_below_the_floor_of_ct(make_sample, with_image) -> None:
    assert not judge([with_image(make_sample(0, modality="MR"), {"minimum": -5000.0})]).gate_failed


def test_spacing_must_be_the_one_asked_for(make_sample, failed_of) -> None:
    samples = [make_sample(0)]
    other = recipe(geometry={"spacing_mm": [1.5, 1.5, 2.0]})
    assert failed_of(judge(samples, recipe=other), "gate") == {"spacing-as-asked"}
    per_modality = recipe(geometry={"spacing_mm": [1, 1, 1], "modalities": {"CT": {"spacing_mm": [1.5, 1.5, 1.5]}}})
    assert not judge(samples, recipe=per_modality).gate_failed


def test_spacing_asked_for_follows_the_axes_of_the_patient(make_sample, with_image) -> None:
    # Stored on disk as sagittal slices: index z runs along the patient's x.
    affine = (0.0, 0.0, 4.0, -80.0, 1.0, 0.0, 0.0, -90.0, 0.0, 0.5, 0.0, -70.0, 0.0, 0.0, 0.0, 1.0)
    native = Grid((40, 280, 180), (1.0, 0.5, 4.0), "ASR", affine)
    stored_affine = (4.0, 0.0, 0.0, -80.0, 0.0, 1.0, 0.0, -90.0, 0.0, 0.0, 0.5, -70.0, 0.0, 0.0, 0.0, 1.0)
    stored = Grid((280, 180, 40), (4.0, 1.0, 0.5), "RAS", stored_affine)
    sample = with_image(make_sample(0, labels=(), structures=()), native=native, stored=stored)
    sample = replace(sample, members=tuple(m for m in sample.members if m.kind != "label"))
    assert not judge([sample], recipe=recipe(geometry={"spacing_mm": "native"})).failures


def test_equal_pixels_are_stored_once_and_never_in_two_splits(make_sample, with_image, failed_of) -> None:
    first = make_sample(0)
    copy = with_image(make_sample(1), content_hash=first.images[0].content_hash)
    assert failed_of(judge([first, copy]), "gate") == {"content-once"}
    assert not judge([first, copy], recipe=recipe(duplicates="keep")).gate_failed
    leaked = replace(copy, split="test")
    assert failed_of(judge([first, leaked], recipe=recipe(duplicates="keep")), "gate") == {"content-in-one-split"}


def test_a_patient_in_two_splits_across_generations_is_a_gate(make_sample, failed_of) -> None:
    first = make_sample(0)
    second = make_sample(1, split="test", patient=first.patient, generation=2)
    assert "patient-in-one-split" in failed_of(judge([first, second]), "gate")


def test_members_must_be_there_in_order_and_named_after_the_key(make_sample, failed_of) -> None:
    sample = make_sample(0)
    image, label, snapshot = sample.members
    assert failed_of(judge([replace(sample, members=(image, snapshot))]), "gate") == {"members-complete"}
    assert failed_of(judge([replace(sample, members=(image, label))]), "gate") == {"one-json"}
    overlapping = replace(label, offset=image.offset + 1)
    assert failed_of(judge([replace(sample, members=(image, overlapping, snapshot))]), "gate") == {"members-placed"}


def test_every_structure_has_a_state_in_the_newest_generation_only(make_sample, palette, failed_of) -> None:
    short = make_sample(0)
    short = replace(short, structures=short.structures[:-1])
    assert failed_of(judge([short], palette=palette), "gate") == {"every-structure-has-a-state"}
    assert not judge([short, make_sample(1, generation=2)], palette=palette).gate_failed


def test_label_values_are_the_palettes(make_sample, with_structure, palette, failed_of, outcome_of) -> None:
    sample = with_structure(make_sample(0), "liver", value=77)
    result = judge([sample], palette=palette)
    assert failed_of(result, "gate") == {"labels-in-palette"}
    assert outcome_of(result, "labels-in-palette").failing == (f"{sample.key}/liver",)


def test_a_state_that_contradicts_itself_is_a_gate(make_sample, with_structure, failed_of, outcome_of) -> None:
    plants = [
        ("state-consistent", {"state": State.ABSENT}),
        ("state-consistent", {"stored_voxels": 0}),
        ("state-consistent", {"state": State.MERGED}),
        ("box-inside", {"box": (0, 0, 0, 10, 10, 4000)}),
        ("box-inside", {"box": (5, 5, 5, 5, 9, 9)}),
        ("layer-known", {"layer": "second"}),
    ]
    samples = [with_structure(make_sample(n), "liver", **fields) for n, (_, fields) in enumerate(plants)]
    result = judge([*samples, make_sample(9)])
    for (expectation, _), sample in zip(plants, samples, strict=True):
        assert f"{sample.key}/liver" in outcome_of(result, expectation).failing
        assert f"{make_sample(9).key}/liver" not in outcome_of(result, expectation).failing
    assert failed_of(result, "gate") == {"state-consistent", "box-inside", "layer-known"}


def test_an_organ_whose_voxels_all_belong_to_its_tumour_is_present(make_sample, with_structure, outcome_of) -> None:
    nothing = {"native_voxels": 0, "stored_voxels": 0, "native_mm3": 0.0, "stored_mm3": 0.0, "box": None, "layer": None}
    full = with_structure(make_sample(0), "liver", **nothing)
    spleen = with_structure(make_sample(1), "spleen", **nothing)
    outcome = outcome_of(judge([full, spleen]), "state-consistent")
    assert outcome.failing == (f"{spleen.key}/spleen",)


def test_structures_of_few_voxels_need_not_keep_their_volume(make_sample, with_structure, outcome_of) -> None:
    voxel = 1.5**3
    for voxels, holds in ((40, True), (400, False)):
        volume = {"native_mm3": 1.5 * voxels * voxel, "stored_voxels": voxels, "stored_mm3": voxels * voxel}
        sample = with_structure(make_sample(0), "liver_tumour", **volume)
        assert outcome_of(judge([sample]), "volume-kept").success is holds


def test_only_lesions_must_lie_in_what_they_are_located_in(make_sample, with_structure, outcome_of) -> None:
    sample = with_structure(make_sample(0), "liver_tumour", outside_fraction=0.9)
    assert outcome_of(judge([sample]), "lesions-inside").failing == (f"{sample.key}/liver_tumour",)
    assert outcome_of(judge([with_structure(make_sample(0), "spleen", outside_fraction=0.9)]), "lesions-inside").success


def test_a_mask_too_narrow_for_the_palette_is_a_gate(make_sample, with_structure, failed_of) -> None:
    sample = with_structure(make_sample(0), "liver", value=300)
    assert failed_of(judge([sample]), "gate") == {"mask-holds-palette"}


def test_a_source_whose_organs_have_another_size_is_a_warning(
    make_sample, with_structure, failed_of, outcome_of
) -> None:
    samples = [make_sample(n) for n in range(5)]
    for n in range(5):
        other = make_sample(n, source="other")
        volume = 40 * other.structures[0].native_mm3
        samples.append(with_structure(other, "spleen", native_mm3=volume, stored_mm3=volume))
    result = judge(samples)
    assert "sources-agree-on-volume" in failed_of(result, "warn")
    assert set(outcome_of(result, "sources-agree-on-volume").failing) == {"other/spleen", "msd-task09-spleen/spleen"}


# Running


def test_no_network_is_touched_and_no_file_is_left(tmp_path: Path) -> None:
    """In a process of its own, where nothing was imported before sockets were closed."""
    code = """
import socket, sys
def refuse(*args, **kwargs):
    raise AssertionError(f"network: {args}")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from expectations.validate import validate_samples
result = validate_samples([], [], ["a"])
assert result.gate_failed
import os
assert os.environ["GX_ANALYTICS_ENABLED"] == "False"
"""
    home, temporary, work = (tmp_path / name for name in ("home", "tmp", "work"))
    for folder in (home, temporary, work):
        folder.mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("GX_", "XDG_"))},
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    subprocess.run([sys.executable, "-c", code], check=True, cwd=work, env=environment)
    assert [p for folder in (home, work) for p in folder.rglob("*")] == []


def test_sockets_can_be_closed_in_this_process_too(monkeypatch: pytest.MonkeyPatch, make_sample) -> None:
    def refuse(*args, **kwargs):
        raise AssertionError(f"network: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert not judge([make_sample(0)]).gate_failed


def test_an_extra_suite_is_run_and_names_what_fails(tmp_path: Path, make_sample, outcome_of) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "suite: samples\nexpectations:\n  - {id: tiny, table: images, rule: expect_column_values_to_be_between, "
        "column: shape_max, with: {max_value: 100}, where: {modality: CT}, severity: gate, meaning: Small.}\n"
    )
    result = judge([make_sample(0), make_sample(1, modality="MR", source="mr")], extra=[mine])
    tiny = outcome_of(result, "tiny")
    assert (tiny.success, tiny.rows, tiny.failed, tiny.failing) == (False, 1, 1, ("msd-task09-spleen-000/ct",))
    assert tiny.observed == "1 of 1 does not hold: shape_max 240"
    assert "gate: tiny: Small. (1 of 1 does not hold: shape_max 240): msd-task09-spleen-000/ct" in result.describe()


def test_a_rule_that_does_not_fit_its_column_is_a_usage_error(tmp_path: Path, make_sample) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "suite: samples\nexpectations:\n  - {id: odd, table: images, rule: expect_column_values_to_be_between, "
        "column: modality, with: {max_value: 100}, severity: gate, meaning: Odd.}\n"
    )
    with pytest.raises(UsageError, match=r"expectation odd: .* cannot be applied to modality of table 'images'"):
        judge([make_sample(0)], extra=[mine])


def test_failing_ids_are_capped_and_their_number_is_not(make_sample, outcome_of) -> None:
    result = judge([make_sample(n, patient="", split=["train", "val"][n % 2]) for n in range(60)])
    outcome = outcome_of(result, "patient-given")
    assert (outcome.failed, len(outcome.failing)) == (60, 50)
