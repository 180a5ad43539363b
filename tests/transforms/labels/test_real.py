"""Real labels: a folder of 117 masks, and the same scan as one map of integers."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdfp.labels import State
from schemas import ontology
from schemas.label_table import LabelTable
from schemas.recipe import Labels, Limits
from transforms.labels import palette as palettes
from transforms.labels.label import LabelPart, normalise_labels
from transforms.normalise.grid import output_grid
from transforms.normalise.orientation import canonicalise
from transforms.read import nifti
from transforms.volume import Volume

ROOT = os.environ.get("MDFP_TESTDATA")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(ROOT is None, reason="MDFP_TESTDATA names no folder of real test data"),
]
FOLDER = "nifti/totalsegmentator-like/s0001"


class OnGrid:
    def __init__(self, volume: Volume, to: tuple[float, float, float]):
        self.canonical = canonicalise(volume)
        affine = self.canonical.affine_ras
        self.grid = output_grid(self.canonical.shape_zyx, affine, to, low_pass=True)


def read(path: Path) -> Volume:
    return nifti.read(path.read_bytes(), limits=Limits())


def counts_in_manifest(path: str) -> dict[str, int]:
    with (Path(ROOT or "") / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        row = next(r for r in csv.DictReader(file) if r["path"] == path)
    counts: dict[str, int] = json.loads(row["labels_or_frames"])
    return counts


@pytest.fixture
def masks() -> dict[str, Path]:
    """Mask files by the structure that their names are a synonym of."""
    known = ontology.load()
    by_name = {name: s.id for s in known.values() for name in (s.id, *s.synonyms)}
    files = sorted((Path(ROOT or "") / FOLDER / "segmentations").glob("*.nii.gz"))
    return {
        by_name[f.name.removesuffix(".nii.gz").lower()]: f
        for f in files
        if f.name.removesuffix(".nii.gz").lower() in by_name
    }


def test_a_folder_of_masks_becomes_one_layer_with_the_voxels_of_each_file(
    masks: dict[str, Path], case_label: Callable[..., Any]
) -> None:
    image = OnGrid(read(Path(ROOT or "") / FOLDER / "ct.nii.gz"), (3.0, 3.0, 3.0))
    table = LabelTable(origin="model", structures={s: s for s in masks})
    given = tuple((lambda f=f: read(f), s) for s, f in masks.items())
    part = LabelPart(case_label(), table, given)  # type: ignore[arg-type]
    result = normalise_labels([part], {"ct": image}, palettes.build(masks), Labels())
    ((record, stored),) = result.layers
    assert record.grid_offset_voxels < 0.001
    published = counts_in_manifest(f"{FOLDER}/segmentations")
    for state in result.states:
        name = masks[state.structure].name.removesuffix(".nii.gz")
        voxels = published.get(name, 0)
        assert state.state == (State.PRESENT if voxels else State.ABSENT), name
        assert state.native_voxels == state.stored_voxels == voxels == np.count_nonzero(stored == state.value), name
    assert len(masks) > 110


def test_sides_of_a_real_scan_lie_on_their_sides(masks: dict[str, Path], case_label: Callable[..., Any]) -> None:
    image = OnGrid(read(Path(ROOT or "") / FOLDER / "ct.nii.gz"), (4.0, 4.0, 4.0))
    some = {s: masks[s] for s in ("kidney_left", "kidney_right", "liver", "spleen")}
    table = LabelTable(origin="model", structures={s: s for s in some})
    part = LabelPart(case_label(), table, tuple((read(f), s) for s, f in some.items()))
    result = normalise_labels([part], {"ct": image}, palettes.build([*some, "kidney"]), Labels())
    middle = {s.structure: (s.box[2] + s.box[5]) / 2 for s in result.states if s.box}
    # x grows to the patient's right.
    assert middle["kidney_left"] < middle["kidney_right"]
    assert middle["spleen"] < middle["liver"]
    kidney = next(s for s in result.states if s.structure == "kidney")
    assert (kidney.state, kidney.layer) == (State.PRESENT, None)
