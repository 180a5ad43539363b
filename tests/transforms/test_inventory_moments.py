"""Inventory of images over time: kept, split or refused; labels, patients, and what cannot be paired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe
from schemas.source import Source
from transforms import layouts
from transforms.estimate import ArrayCost, estimate
from transforms.inventory import Inventoried
from transforms.inventory_moments import inventory_moments
from transforms.pseudonym import PatientKeys
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
AFFINE = np.diag([-1.5, 1.5, 3.0, 1.0])
SHAPE = (6, 5, 4)


def source(images: Sequence[str] = ("bold",), **more: Any) -> Source:
    content = {
        "id": "toy",
        "title": "Toy",
        "public_ids": True,
        "patient": {"namespace": "toy"},
        "layout": {
            "kind": "paired",
            "images": [{"name": n, "modality": "MR", "path": f"{{case}}/{n}.nii"} for n in images],
            "labels": [{"table": "organs", "image": images[0], "path": "{case}/organs.nii", "required": False}],
        },
        "labels": {"organs": {"origin": "expert", "values": {0: "background", 1: "liver"}}},
    }
    return Source.model_validate({**content, **more})


def write(path: Path, times: int = 1, dtype: Any = np.int16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ones(SHAPE if times == 1 else (*SHAPE, times), dtype), AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def take(root: Path, made: Source | None = None, *, limits: Limits | None = None, **options: Any) -> list[Inventoried]:
    made = made or source()
    store = SourceStore(str(root))
    grouped = layouts.group(made, store.list(), store.read, KEYS)
    assert grouped.rejects == ()
    return [f for c in grouped.cases for f in inventory_moments(c, made, store, KEYS, limits or Limits(), **options)]


def test_refused_by_default_with_the_line_to_add(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    (found,) = take(tmp_path)
    (reject,) = found.rejects
    assert (found.case, reject.reason) == (None, Reason.TEMPORAL)
    assert "3 time points" in reject.detail
    assert "`temporal: keep` or `split`" in reject.detail


def test_kept_with_a_mask_of_three_axes(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    write(tmp_path / "a" / "organs.nii", dtype=np.uint8)
    (found,) = take(tmp_path, temporal="keep")
    (image,), (label,) = found.case.images, found.case.labels
    assert (image.header.axes, image.header.shape, image.header.verdict) == ("tzyx", (3, 4, 5, 6), "temporal")
    assert (label.header.axes, label.header.shape) == ("zyx", (4, 5, 6))
    assert [(f.code, f.where) for f in found.case.findings] == [("temporal", "bold")]
    assert found.case.case_id == "toy-a"


def test_a_mask_over_time_is_no_mask_of_a_kept_image(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    write(tmp_path / "a" / "organs.nii", 3, np.uint8)
    (found,) = take(tmp_path, temporal="keep")
    assert [r.reason for r in found.rejects] == [Reason.LABEL_UNREADABLE]
    (found,) = take(tmp_path, temporal="keep", on_fault="image_only")
    assert found.case.labels == ()


@pytest.mark.parametrize("masks", [1, 3])
def test_split_into_cases_of_one_patient(tmp_path, masks):
    write(tmp_path / "a" / "bold.nii", 3)
    write(tmp_path / "a" / "t1.nii")
    write(tmp_path / "a" / "organs.nii", masks, np.uint8)
    write(tmp_path / "b" / "bold.nii")
    write(tmp_path / "b" / "t1.nii")
    made = source(["bold", "t1"], split={"a": "test"})
    found = take(tmp_path, made, temporal="split")
    cases = [f.case for f in found]
    assert [c.case_id for c in cases] == ["toy-a", "toy-a-t000", "toy-a-t001", "toy-a-t002", "toy-b"]
    assert {c.patient for c in cases[:4]} == {KEYS.patient("toy", "a")}
    assert {c.split for c in cases[:4]} == {"test"}
    assert ([i.header.name for i in cases[0].images], cases[0].labels) == (["t1"], ())
    for t, (case, result) in enumerate(zip(cases[1:4], found[1:], strict=False)):
        (bold,) = case.images
        assert (bold.header.component, bold.header.axes) == (t, "zyx")
        assert case.labels[0].header.component == (t if masks == 3 else None)
        assert [f.detail for f in case.findings if f.code == "temporal"] == [f"time point {t + 1} of 3"]
        assert {o.case_id for o in result.objects} == {case.case_id}
        assert {o.path for o in result.objects} == {"a/bold.nii", "a/organs.nii"}


def test_images_of_different_numbers_of_time_points_are_not_paired(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    write(tmp_path / "a" / "dwi.nii", 4)
    made = source(["bold", "dwi"])
    (found,) = take(tmp_path, made, temporal="split")
    assert found.case is None
    assert [(r.reason, "3 and 4 time points" in r.detail) for r in found.rejects] == [(Reason.TEMPORAL, True)]
    (kept,) = take(tmp_path, made, temporal="keep")
    assert [i.header.shape[0] for i in kept.case.images] == [3, 4]


def test_what_is_wrong_with_the_file_is_told_once(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    path = tmp_path / "a" / "bold.nii"
    path.write_bytes(path.read_bytes()[:-10])
    for temporal in ("keep", "split"):
        (found,) = take(tmp_path, temporal=temporal)
        assert [r.reason for r in found.rejects] == [Reason.TRUNCATED]


def test_limits_hold_for_all_time_points(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    limits = Limits(max_voxels=6 * 5 * 4 * 3 - 1)
    (found,) = take(tmp_path, temporal="keep", limits=limits)
    assert [r.reason for r in found.rejects] == [Reason.TOO_LARGE]
    assert len(take(tmp_path, temporal="split", limits=limits)) == 3


def test_an_excluded_case_stays_one(tmp_path):
    write(tmp_path / "a" / "bold.nii", 3)
    found = take(tmp_path, source(exclude={"a": "twice"}), temporal="split")
    assert [r.reason for f in found for r in f.rejects] == [Reason.EXCLUDED]


def test_the_estimate_counts_every_time_point(tmp_path):
    write(tmp_path / "a" / "bold.nii", 8)
    write(tmp_path / "b" / "bold.nii")
    over, one = (ArrayCost(f.case.images[0].header, "MR") for f in take(tmp_path, temporal="keep"))
    wanted = Recipe.model_validate(RECIPE).geometry
    empty = estimate([], [over], wanted)[1]  # as a label: what stands beside the images
    (_, first), (_, second) = estimate([over], [], wanted), estimate([one], [], wanted)
    assert empty > 0
    assert first - second == pytest.approx(7 * 6 * 5 * 4, abs=2)  # 2 bytes a voxel, half of that when encoded


RECIPE = {"corpus": "a", "out": "o", "sources": [{"id": "x"}], "terms": {"accept": ["own-data"]}}


def test_a_recipe_that_does_not_speak_of_time_reads_as_before():
    plain = Recipe.model_validate(RECIPE).without_locations()
    assert "temporal" not in plain
    assert "temporal" not in plain["sources"][0]
    told = Recipe.model_validate(
        {**RECIPE, "temporal": "keep", "sources": [{"id": "x"}, {"id": "y", "temporal": "split"}]}
    )
    assert told.without_locations()["temporal"] == "keep"
    assert [told.temporal_of(s) for s in ("x", "y")] == ["keep", "split"]
    assert Recipe.model_validate_json(told.model_dump_json()) == told
    with pytest.raises(ValueError, match="'refuse', 'keep' or 'split'"):
        Recipe.model_validate({**RECIPE, "temporal": "drop"})
