"""Real files through the whole pipeline, nothing resampled: the shards hold what independent tools measured."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

import mdfp
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from transforms.plan.planner import Selection

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA names no folder of real files"),
]

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "real-testdata.yaml"


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """The example's sources, stored as they are."""
    folder = tmp_path_factory.mktemp("real")
    content = yaml.safe_load(RECIPE.read_text())
    content |= {"geometry": {"spacing_mm": "native"}, "intensity": "native"}
    for use in content["sources"]:
        if "manifest" in use:
            use["manifest"] = str(RECIPE.parent / use["manifest"])
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    workspace = open_workspace(folder / "recipe.yaml", (), str(folder / "corpus"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(), Console(quiet=True, as_json=True))
    return workspace, read_latest(workspace), mdfp.open(str(folder / "corpus"))


def test_stored_voxels_are_those_of_the_manifest(native):
    workspace, plan, corpus = native
    root = Path(os.environ["MDFP_TESTDATA"])
    with (root / "MANIFEST.csv").open(newline="", encoding="utf-8") as file:
        expected = {r["path"]: r["ras_int16_sha256"] for r in csv.DictReader(file) if r["ras_int16_sha256"]}
    checked = set()
    for sample in corpus.samples:
        first = next(o for o in plan.objects if o.case_id == sample.case_id and o.array.startswith("image:"))
        path = (Path(workspace.roots[first.source]) / first.path).relative_to(root)
        wanted = expected.get(str(path)) or expected.get(str(path.parent))
        if wanted is None:
            continue  # voxels that are no integers: the manifest has statistics of them, and the readers' tests use those
        opened = corpus.sample(sample.key)
        physical = opened.image(values="physical")
        xyz = np.ascontiguousarray(physical.transpose(2, 1, 0)).astype("<i2")
        assert np.array_equal(xyz, physical.transpose(2, 1, 0))
        assert hashlib.sha256(xyz.tobytes()).hexdigest() == wanted, sample.key
        checked.add(sample.source)
    assert len(checked) >= 6


def test_label_counts_are_those_of_the_manifest(native):
    _, _, corpus = native
    counts = {
        sample.key: sum(s.native_voxels or 0 for s in sample.structures if s.structure == "tumour_unspecified")
        for sample in corpus.samples
    }
    assert counts["soft-tissue-sarcoma-sts_003_ct"] == 25693
    assert counts["soft-tissue-sarcoma-sts_003_mr_t1"] == 25693
    assert counts["soft-tissue-sarcoma-sts_003_pet"] == 817
    assert counts["sts-metaimage-sts_003_pet"] == 817  # its label has permuted axes
    assert counts["pyradiomics-brain-brain1"] == 4137
