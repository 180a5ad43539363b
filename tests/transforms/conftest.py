"""A tiny world: four pairs of NIfTI files, their inventory, and a plan to build them by."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from schemas.recipe import Limits, Recipe
from schemas.source import Source
from transforms.build_shards import sample_maker
from transforms.inventory import inventory_case
from transforms.layouts.group import group
from transforms.plan import files
from transforms.plan.files import PlanReader
from transforms.plan.planner import Inventory, Plan, make_plan
from transforms.pseudonym import PatientKeys
from transforms.shard import ShardBuilder
from transforms.store import CorpusStore, SourceStore

SOURCE = Source.model_validate(
    {
        "id": "tiny",
        "title": "Four pairs",
        "terms": {"license": "own-data"},
        "public_ids": True,
        "patient": {"namespace": "tiny"},
        "layout": {
            "kind": "paired",
            "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}],
            "labels": [{"table": "organs", "image": "ct", "path": "{case}_seg.nii.gz"}],
        },
        "labels": {"organs": {"origin": "expert", "values": {0: "background", 1: "liver", 2: "spleen"}}},
    }
)


@dataclass(frozen=True)
class World:
    """Where everything is, and what was planned."""

    root: Path
    source: SourceStore
    corpus: CorpusStore
    scratch: Path
    plan: Plan
    reader: PlanReader

    def builder(self, **changes: object) -> ShardBuilder:
        builder = ShardBuilder(sample_maker(self.reader), {"tiny": self.source}, self.corpus, self.scratch, attempts=1)
        return dataclasses.replace(builder, **changes)

    def file(self, case: int, label: bool = False) -> Path:
        return self.root / f"c{case}{'_seg' if label else ''}.nii.gz"


def write_pair(root: Path, number: int) -> None:
    x, y, z = np.mgrid[0:24, 0:20, 0:9]
    image = (((x - 12) ** 2 + (y - 10) ** 2 + number < 80) * 1040 - 1000 + z * 3).astype(np.int16)
    label = np.zeros(x.shape, np.uint8)
    label[5:12, 5:15, 2:8], label[14:18, 8:13, 3:6] = 1, 2
    affine = np.array([[-2.0, 0, 0, 40], [0, -2, 0, 30], [0, 0, 3, -7], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(image, affine), root / f"c{number}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, affine), root / f"c{number}_seg.nii.gz")


@pytest.fixture
def make_world(tmp_path):
    """Four cases in one shard of the train split; arguments are sections of the recipe.

    `places(root)` gives other stores than local ones for the files and the corpus, once the files are there.
    """

    def make(places=None, **changes) -> World:
        root, scratch = tmp_path / "raw", tmp_path / "scratch"
        if not root.exists():
            root.mkdir()
            scratch.mkdir()
            for number in range(4):
                write_pair(root, number)
        recipe = Recipe.model_validate(
            {
                "corpus": "tiny",
                "out": "-",
                "sources": [{"id": "tiny"}],
                "terms": {"accept": ["own-data"]},
                "geometry": {"spacing_mm": [3, 3, 3]},
                "splits": {"train": 1.0, "val": 0.0},
            }
            | changes
        )
        source, corpus = places(root) if places else (SourceStore(str(root)), CorpusStore(str(tmp_path / "corpus")))
        keys = PatientKeys(b"a key of sixteen bytes")
        grouped = group(SOURCE, list(source.list()), source.read, keys)
        found = [inventory_case(c, SOURCE, source, keys, Limits()) for c in grouped.cases]
        cases = tuple(f.case for f in found if f.case is not None)
        objects = tuple(o for f in found for o in f.objects)
        plan = make_plan(recipe, {"tiny": SOURCE}, Inventory(cases, objects, (), keys.fingerprint), None)
        return World(root, source, corpus, scratch, plan, PlanReader(corpus, files.write(plan, corpus)))

    return make


@pytest.fixture
def world(make_world) -> World:
    return make_world()
