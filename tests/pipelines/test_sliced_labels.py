"""Labels that are one picture for each slice of a DICOM series: which is of which, and what is refused."""

from __future__ import annotations

import io
import shutil

import nibabel
import numpy as np
import pytest
from PIL import Image

import mdfp
from catalog import sources
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.catalog import published_tree
from transforms import layouts
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.inventory_slices import natural
from transforms.plan.planner import Selection
from transforms.pseudonym import PatientKeys
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
GROUND = "Train_Sets/CT/1/Ground"
SERIES = "Train_Sets/CT/1/DICOM_anon"


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    made = {}
    for name in ("chaos-ct", "chaos-mr"):
        root = tmp_path_factory.mktemp(name)
        made[name] = root, published_tree.write(root, published_tree.expected()[name])
    return made


@pytest.fixture
def ct(trees, tmp_path):
    return shutil.copytree(trees["chaos-ct"][0], tmp_path / "ct")


def fault(root):
    """Why the first case of the CT tree has no label."""
    source, store = sources.load("chaos-ct"), SourceStore(str(root))
    grouped = layouts.group(source, list(store.list()), store.read, KEYS)
    groups = {}
    for file in grouped.headers:
        if file.object.path.startswith("Train_Sets/CT/1/"):
            read = read_header(file, store)
            groups.setdefault(group_key(read), []).append(read)
    (found,) = [f for g in groups.values() for f in inventory_series(g, source, store, KEYS, Limits())]
    assert found.case is None
    return found.rejects[0]


def put(path, array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())


def test_a_picture_too_few_is_a_fault(ct):
    (ct / GROUND / "liver_GT_003.png").unlink()
    found = fault(ct)
    assert (found.reason, "expected a picture for each of 8 slices, found 7" in found.detail) == (
        Reason.LABEL_GRID,
        True,
    )


def test_names_that_do_not_run_along_the_slices_tell_no_order(ct):
    first, second = ct / SERIES / "i0002,0000b.dcm", ct / SERIES / "i0006,0000b.dcm"
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    found = fault(ct)
    assert (found.reason, "do not run along" in found.detail) == (Reason.LABEL_GRID, True)


def test_a_picture_of_another_size_is_a_fault(ct):
    put(ct / GROUND / "liver_GT_003.png", np.zeros((10, 9), np.uint8))
    found = fault(ct)
    assert (found.reason, "10×9" in found.detail or "9×10" in found.detail) == (Reason.LABEL_GRID, True)


def test_a_picture_that_is_none_is_a_fault(ct):
    (ct / GROUND / "liver_GT_003.png").write_bytes(b"\x89PNG")
    assert fault(ct).reason == Reason.LABEL_UNREADABLE


def test_names_sort_as_people_number_them():
    names = ["a10.png", "a9.png", "a01.png", "b1.png"]
    assert sorted(names, key=natural) == ["a01.png", "a9.png", "a10.png", "b1.png"]


@pytest.fixture(scope="module")
def corpus(trees, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (root, _) = trees["chaos-ct"]
    between = shutil.copytree(root, folder / "ct")
    put(between / "Train_Sets/CT/22/Ground/liver_GT_002.png", np.full((9, 10), 7, np.uint8))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "corpus: chaos\nout: out\nsources: [{id: chaos-ct}, {id: chaos-mr}]\nterms: {accept: [], unknown: accept}\n"
        "geometry: {orientation: RAS, spacing_mm: native}\nsplits: {by: patient, train: 1.0, val: 0.0}\n"
        "labels: {space: [liver, spleen, kidney_left, kidney_right]}\n"
    )
    roots = [f"chaos-ct={between}", f"chaos-mr={trees['chaos-mr'][0]}"]
    workspace = open_workspace(recipe, roots, str(folder / "out"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), Console(quiet=True, as_json=True))
    return workspace, mdfp.open(str(folder / "out"))


def test_masks_reach_the_shard_where_they_were_drawn(corpus, trees):
    _, opened = corpus
    assert verify(opened) == []
    keys = {s.key for s in opened.samples}
    assert keys == {
        "chaos-ct-1", "chaos-ct-3", "chaos-mr-1_t1dual", "chaos-mr-1_t1dual-2", "chaos-mr-1_t2spir",
        "chaos-mr-40_t2spir",
    }  # fmt: skip
    for name, case in (("chaos-ct", "1"), ("chaos-mr", "1_t1dual"), ("chaos-mr", "1_t1dual-2")):
        sample = opened.sample(f"{name}-{case}")
        path = next(iter(published_tree.expected()[name].cases[case]["labels"].values()))
        for structure, where in trees[name][1].drawn[path, None].items():
            mask = sample.label() == next(e.value for e in opened.palette if e.structure == structure)
            affine = sample.affine()
            assert {published_tree.world(i[::-1], affine) for i in np.argwhere(mask)} == where, structure
    assert opened.sample("chaos-ct-3").record.labels == ()


def test_two_phases_share_one_label(corpus):
    _, opened = corpus
    first, second = (opened.sample(f"chaos-mr-1_t1dual{n}") for n in ("", "-2"))
    np.testing.assert_array_equal(first.label(), second.label())
    assert first.record.labels[0].content_hash == second.record.labels[0].content_hash
    assert (first.image() != second.image()).any()
    assert first.record.patient == second.record.patient


def test_a_value_between_the_ranges_is_a_hole(corpus):
    workspace, opened = corpus
    assert [(h.source, h.reason) for h in opened.manifest.holes] == [("chaos-ct", Reason.UNMAPPED_LABEL)]
    assert not [r for r in read_latest(workspace).rejects if r.source == "chaos-mr"]


def test_the_label_is_the_one_that_nibabel_makes_of_the_stack(corpus, trees):
    """A stack in the series' own order under the affine of DICOM (PS3.3 C.7.6.2.1.1), turned by nibabel."""
    _, opened = corpus
    root, _ = trees["chaos-ct"]
    planes = [np.asarray(Image.open(p)) for p in sorted((root / GROUND).glob("liver_GT_*.png"))]
    stack = np.stack(planes).transpose(2, 1, 0)  # x, y, slice; the first name is the uppermost slice
    affine = np.array([[-2.0, 0, 0, 9], [0, -1.5, 0, 6], [0, 0, -2.5, -10 + 2.5 * 7], [0, 0, 0, 1]])
    turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(stack, affine))
    sample = opened.sample("chaos-ct-1")
    np.testing.assert_array_equal(np.asarray(turned.dataobj) > 0, sample.classes(["liver"]).T == 1)
    np.testing.assert_allclose(turned.affine, sample.affine(), atol=1e-6)
