"""The recipe over real files: every manifest fits what lies there, and the inventory says what independent tools say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalog import sources
from schemas import recipe as recipes
from schemas.recipe import Limits
from transforms import layouts
from transforms.inventory import inventory_case
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.pseudonym import PatientKeys
from transforms.store import SourceStore

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "real-testdata.yaml"
KEYS = PatientKeys(b"a secret of tests, 32 bytes long")

EXPECTED = {
    # shape x, y, z, spacing in mm and orientation as the test data's list of independent measurements has them
    "sts-dicom-sts_003_ct": ("CT", (154, 158, 51), (0.9766, 0.9766, 3.27), "LPS", 1),
    "sts-dicom-sts_003_mr_t1": ("MR", (121, 138, 47), (0.9766, 0.9766, 3.27), "LPS", 1),
    "soft-tissue-sarcoma-sts_003_ct": ("CT", (154, 158, 51), (0.9766, 0.9766, 3.27), "LPS", 1),
    "soft-tissue-sarcoma-sts_003_mr_t1": ("MR", (121, 138, 47), (0.9766, 0.9766, 3.27), "LPS", 1),
    "soft-tissue-sarcoma-sts_003_pet": ("PT", (29, 30, 51), (5.4688, 5.4688, 3.27), "LPS", 1),
    "sts-metaimage-sts_003_ct": ("CT", (154, 158, 51), (0.9766, 0.9766, 3.27), "LPS", 0),
    "sts-metaimage-sts_003_pet": ("PT", (29, 30, 51), (5.4688, 5.4688, 3.27), "LPS", 1),
    "dcmqi-liver-dcmqi-liver": ("CT", (512, 512, 3), (0.8105, 0.8105, 1.0), "LPS", 1),
    "pyradiomics-brain-brain1": ("MR", (256, 256, 25), (0.7812, 0.7812, 6.5), "LAS", 1),
    "totalsegmentator-like-s0001": ("CT", (122, 101, 30), (3.0, 3.0, 3.0), "RAS", 1),
    "monai-anatomical-anatomical": ("MR", (33, 41, 25), (2.0, 2.0, 2.0), "LAS", 0),
}


def test_the_recipe_and_its_manifests_load():
    recipe = recipes.load(RECIPE)
    found = sources.resolve_all(recipe, RECIPE.parent)
    assert all(s.terms.license in recipe.terms.accept for s in found.values())


@pytest.mark.real
@pytest.mark.skipif("MDFP_TESTDATA" not in os.environ, reason="MDFP_TESTDATA does not name the folder of real files")
def test_the_inventory_of_real_files_is_what_other_tools_measured():
    recipe = recipes.load(RECIPE)
    found, grouped_rejects = [], []
    for use in recipe.sources:
        source = sources.resolve(use, RECIPE.parent)
        store = SourceStore(use.root.replace("${MDFP_TESTDATA}", os.environ["MDFP_TESTDATA"]))
        grouped = layouts.group(source, store.list(), store.read, KEYS)
        assert grouped.counts.balanced()
        grouped_rejects += grouped.rejects
        found += [inventory_case(c, source, store, KEYS, Limits()) for c in grouped.cases]
        groups = {}
        for file in grouped.headers:
            read = read_header(file, store)
            groups.setdefault(group_key(read), []).append(read)
        for group in groups.values():
            found += inventory_series(group, source, store, KEYS, Limits())

    assert grouped_rejects == []
    assert [x for r in found for x in r.rejects] == []
    cases = {r.case.case_id: r.case for r in found if r.case is not None}
    assert sorted(cases) == sorted(EXPECTED)
    for name, (modality, shape_xyz, spacing, orientation, labels) in EXPECTED.items():
        (image,) = cases[name].images
        assert image.modality == modality, name
        assert image.header.shape[::-1] == shape_xyz, name
        assert image.header.spacing_xyz_mm == pytest.approx(spacing, abs=1e-4), name
        assert image.header.orientation == orientation, name
        assert len(cases[name].labels) == labels, name
    assert len({c.patient for n, c in cases.items() if "sts_003" in n}) == 1
