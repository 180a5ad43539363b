"""A bucket whose cases have labels of an expert and of a model, and corpora of it: with both from the start, or one by one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import yaml

from pipelines import run as runs
from pipelines.add_labels import Done, add_labels
from pipelines.build import BuildOptions
from pipelines.runner import Engine
from pipelines.workspace import open_workspace, place_beside
from schemas import added_labels
from transforms.plan.planner import Selection

SHAPE = (14, 16, 10)
"""Voxels along x, y, z of every scan."""

EXPERT = {0: "background", 1: "liver", 2: "kidney", 3: "spleen"}
MODEL = {0: "background", 1: "liver", 2: "kidney_left", 3: "kidney_right", 4: "aorta", 5: "spleen", 6: "liver_tumour"}
MODEL_TABLE = {"origin": "model", "values": MODEL, "ignore": [9]}
STRUCTURES = ("aorta", "kidney", "kidney_left", "kidney_right", "liver", "liver_tumour", "spleen")

LIVER = (slice(2, 7), slice(3, 9), slice(2, 8))
LEFT = (slice(9, 12), slice(3, 6), slice(1, 5))
RIGHT = (slice(9, 12), slice(9, 13), slice(1, 5))
SPLEEN = (slice(3, 6), slice(11, 14), slice(6, 9))
AORTA = (slice(7, 9), slice(6, 8), slice(0, 10))
TUMOUR = (slice(4, 6), slice(4, 6), slice(4, 6))

CASES = {
    "both": ({1: LIVER, 2: (LEFT, RIGHT)}, {1: LIVER, 2: LEFT, 3: RIGHT, 4: AORTA}),
    "differ": ({2: (LEFT, RIGHT), 3: SPLEEN}, {1: LIVER, 5: AORTA, 6: TUMOUR}),
    "expert": ({1: LIVER, 3: SPLEEN}, None),
    "model": (None, {1: LIVER, 2: LEFT, 6: TUMOUR}),
    "none": (None, None),
    "part": ({1: LIVER}, {1: LIVER, 3: RIGHT, 5: SPLEEN}),
    "unsure": ({1: LIVER, 9: SPLEEN}, {2: LEFT, 3: RIGHT, 9: AORTA}),
    "empty": ({}, {}),
    "nothing": ({2: LEFT}, {}),
}
"""Case -> what the expert and the model drew: value -> boxes along x, y, z; None: no label."""

RECIPE = {
    "corpus": "added",
    "out": "-",
    "terms": {"accept": ["own-data", "CC-BY-4.0"]},
    "splits": {"train": 0.7, "val": 0.3},
    "duplicates": "keep",
}


def affine() -> np.ndarray:
    """Axes along L, A, S with unequal steps, a little oblique."""
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0], [0, 0, 1]])
    result = np.eye(4)
    result[:3, :3] = turn @ np.diag([-1.5, 1.25, 2.5])
    result[:3, 3] = (31.5, -17.25, 4.0)
    return result


def drawn(boxes) -> np.ndarray:
    """A mask of values in boxes, later ones over earlier ones."""
    mask = np.zeros(SHAPE, np.uint8)
    for value, box in boxes.items():
        for one in box if isinstance(box[0], tuple) else (box,):
            mask[one] = value
    return mask


def scan(number: int) -> np.ndarray:
    """Air around a body with structure in it: no two are equal."""
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    body = ((x - 6.5) / 6.5) ** 2 + ((y - 7.5) / 7.5) ** 2 <= 1
    inside = 40 + 10 * np.sin(x + number) + 5 * np.cos(y * z)
    return np.where(body & (z > 0), inside, -1000).astype(np.int16)


def save(path: Path, array: np.ndarray, at: np.ndarray | None = None) -> None:
    """A NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine() if at is None else at), path)


def write_bucket(root: Path, cases=CASES) -> None:
    """images/, expert/ and model/ with a file for each case that has one."""
    for number, (name, (expert, model)) in enumerate(cases.items()):
        save(root / "images" / f"{name}.nii.gz", scan(number))
        if expert is not None:
            mask, at = drawn(expert), affine()
            if name == "part":  # the expert looked at some slices only
                mask, first = mask[:, :, 2:7], at @ (0, 0, 2, 1)
                at[:, 3] = first
            save(root / "expert" / f"{name}.nii.gz", mask, at)
        if model is not None:
            save(root / "model" / f"{name}.nii.gz", drawn(model))


def manifest(*tables: str) -> dict:
    """The source, with the labels of the expert, of the model, or of both."""
    known = {
        "expert": {"origin": "expert", "values": EXPERT, "ignore": [9]},
        "model": MODEL_TABLE,
    }
    return {
        "id": "scans",
        "title": "Scans",
        "terms": {"license": "own-data"},
        "public_ids": True,
        "patient": {"namespace": "scans"},
        "layout": {
            "kind": "paired",
            "images": [{"name": "ct", "modality": "CT", "path": "images/{case}.nii.gz"}],
            "labels": [{"table": t, "image": "ct", "path": f"{t}/{{case}}.nii.gz"} for t in tables],
        },
        "labels": {t: known[t] for t in tables},
    }


@dataclass
class Corpus:
    """A corpus that is built and added to.

    Attributes:
        folder: of its recipe, manifest, bucket and corpus.
    """

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "corpus"

    def workspace(self):
        return open_workspace(self.folder / "recipe.yaml", [f"scans={self.folder / 'bucket'}"], str(self.out))

    def build(self, console, **how):
        return runs.run(self.workspace(), Selection(**how), Engine(1), BuildOptions(max_holes=0.9), console)

    def spec(self, **changes):
        content = {
            "layer": "model",
            "title": "A model",
            "root": str(self.folder / "masks"),
            "path": "{key}.nii.gz",
            "labels": MODEL_TABLE,
            "terms": {"license": "CC-BY-4.0"},
        } | changes
        path = self.folder / f"{content['layer']}.yaml"
        path.write_text(yaml.safe_dump(content))
        return added_labels.load(path)

    def add(self, console, engine=None, **changes) -> Done:
        spec = self.spec(**changes)
        place = place_beside(spec.root, spec.layer, self.folder, spec.access)
        return add_labels(self.workspace(), spec, place, engine or Engine(1), BuildOptions(), console)


def make(folder: Path, console, *tables: str, build: bool = True, **recipe) -> Corpus:
    """A corpus with the labels of these tables, and the model's masks beside it, named by key."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bucket(folder / "bucket")
    for name, (_, model) in CASES.items():
        if model is not None:
            save(folder / "masks" / f"scans-{name}.nii.gz", drawn(model))
    (folder / "scans.yaml").write_text(yaml.safe_dump(manifest(*tables)))
    content = RECIPE | {"sources": [{"id": "scans", "manifest": "scans.yaml"}]} | recipe
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    made = Corpus(folder)
    if build:
        made.build(console)
    return made
