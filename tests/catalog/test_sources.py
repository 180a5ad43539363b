"""Every manifest of the catalog against a generated tree in that data set's published layout."""

from __future__ import annotations

import json
import re

import nibabel as nib
import numpy as np
import pytest

from catalog import page, sources
from mdfp.errors import UsageError
from schemas import ontology, patterns
from schemas.reasons import Reason
from schemas.recipe import Limits, Recipe, SourceUse
from transforms import layouts
from transforms.inventory import inventory_case
from transforms.pseudonym import PatientKeys
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
AFFINE = np.diag([-0.8, -0.7, 2.5, 1.0])


def nifti(path, values=(0, 1), dtype=np.uint8):
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.resize(np.array(values, dtype), (4, 5, 6))
    image = nib.Nifti1Image(voxels, AFFINE)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def twin(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X")


def inventory(root, source):
    """(grouping, everything inventoried), after checking that no object was lost."""
    store = SourceStore(str(root))
    listing = list(store.list())
    grouped = layouts.group(source, listing, store.read, KEYS)
    assert grouped.counts.listed == len(listing)
    assert grouped.counts.balanced()
    found = [inventory_case(c, source, store, KEYS, Limits()) for c in grouped.cases]
    assert sum(len(r.objects) for r in found) == grouped.counts.in_cases
    return grouped, found


def decathlon(root, task, stem, train, test):
    """A task of the Decathlon as its archive unpacks: dataset.json, folders, and a macOS twin of every file."""
    folder = root / task
    for n in (*train, *test):
        part = "Tr" if n in train else "Ts"
        nifti(folder / f"images{part}" / f"{stem}_{n}.nii.gz", dtype=np.int16)
        twin(folder / f"images{part}" / f"{stem}_{n}.nii.gz")
    for n in train:
        nifti(folder / "labelsTr" / f"{stem}_{n}.nii.gz")
        twin(folder / "labelsTr" / f"{stem}_{n}.nii.gz")
    described = {
        "name": stem,
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background"},
        "numTraining": len(train),
        "numTest": len(test),
        "training": [
            {"image": f"./imagesTr/{stem}_{n}.nii.gz", "label": f"./labelsTr/{stem}_{n}.nii.gz"} for n in train
        ],
        "test": [f"./imagesTs/{stem}_{n}.nii.gz" for n in test],
    }
    (folder / "dataset.json").write_text(json.dumps(described))
    twin(folder / "dataset.json")
    return folder


class TestCatalog:
    def test_every_manifest_loads_and_bears_its_files_name(self):
        assert sources.ids()
        for source_id in sources.ids():
            assert sources.load(source_id).id == source_id

    def test_an_unknown_id_names_the_nearest(self):
        with pytest.raises(UsageError, match="unknown source 'msd-task9-spleen'; did you mean 'msd-task09-spleen'"):
            sources.load("msd-task9-spleen")

    def test_a_recipe_may_bring_its_own_manifest(self, tmp_path):
        text = "id: mine\ntitle: Mine\npatient: {namespace: mine}\nlayout: {kind: dicom}\n"
        (tmp_path / "mine.yaml").write_text(text)
        recipe = Recipe.model_validate(
            {
                "corpus": "c",
                "out": "o",
                "sources": [{"id": "mine", "manifest": "mine.yaml"}, {"id": "msd-task09-spleen"}],
                "terms": {"accept": ["own-data"]},
            }
        )
        assert list(sources.resolve_all(recipe, tmp_path)) == ["mine", "msd-task09-spleen"]
        with pytest.raises(UsageError, match=r"mine.yaml: has the id 'mine', the recipe asks for 'other'"):
            sources.resolve(SourceUse(id="other", manifest="mine.yaml"), tmp_path)
        with pytest.raises(UsageError, match=r"none.yaml: cannot be read"):
            sources.resolve(SourceUse(id="other", manifest="none.yaml"), tmp_path)


@pytest.mark.parametrize(
    ("source_id", "task", "stem", "structures"),
    [
        ("msd-task09-spleen", "Task09_Spleen", "spleen", {0: "background", 1: "spleen"}),
        ("msd-task03-liver", "Task03_Liver", "liver", {0: "background", 1: "liver", 2: "liver_tumour"}),
    ],
)
class TestDecathlon:
    def test_pairs_test_images_and_twins(self, tmp_path, source_id, task, stem, structures):
        decathlon(tmp_path, task, stem, train=(2, 10), test=(1,))
        source = sources.load(source_id)
        grouped, found = inventory(tmp_path, source)
        assert [r.case.case_id for r in found] == [f"{source_id}-{stem}_{n}" for n in (1, 10, 2)]
        assert [r.case.split for r in found] == ["test", "train", "train"]
        assert [len(r.case.labels) for r in found] == [0, 1, 1]
        for r in found[1:]:
            image, label = (o.path for o in r.objects)
            assert label == image.replace("imagesTr", "labelsTr")
        assert grouped.rejects == ()
        assert (grouped.counts.skipped, grouped.counts.side) == (6, 1)
        assert source.labels["labels"].values == structures

    def test_the_root_may_be_the_tasks_folder(self, tmp_path, source_id, task, stem, structures):
        folder = decathlon(tmp_path, task, stem, train=(2,), test=())
        assert len(inventory(folder, sources.load(source_id))[1]) == 1

    def test_a_missing_label_rejects_its_case_alone(self, tmp_path, source_id, task, stem, structures):
        folder = decathlon(tmp_path, task, stem, train=(2, 10), test=())
        (folder / "labelsTr" / f"{stem}_2.nii.gz").unlink()
        _, found = inventory(tmp_path, sources.load(source_id))
        assert [r.case is None for r in found] == [False, True]
        assert [x.reason for r in found for x in r.rejects] == [Reason.MISSING_LABEL]


class TestTotalSegmentator:
    @pytest.fixture
    def source(self):
        return sources.load("totalsegmentator-ct-v2")

    @pytest.fixture(params=["Totalsegmentator_dataset_v201", ""], ids=["with top folder", "without"])
    def tree(self, request, tmp_path, source):
        top = tmp_path / request.param
        for case in ("s0000", "s0001", "s0002"):
            nifti(top / case / "ct.nii.gz", dtype=np.int16)
        for name in source.labels["labels"].structures:
            nifti(top / "s0000" / "segmentations" / f"{name}.nii.gz")
        nifti(top / "s0001" / "segmentations" / "kidney_left.nii.gz")
        nifti(top / "s0001" / "segmentations" / "hip_right.nii.gz", values=(0,))
        twin(top / "s0001" / "ct.nii.gz")
        (top / "meta.csv").write_text("image_id;age;gender;split\ns0000;60;m;train\ns0001;;f;test\ns0002;50;m;val\n")
        return tmp_path

    def test_images_masks_and_splits(self, tree, source):
        grouped, found = inventory(tree, source)
        assert grouped.rejects == ()
        assert [(r.case.case_id, r.case.split) for r in found] == [
            ("totalsegmentator-ct-v2-s0000", "train"),
            ("totalsegmentator-ct-v2-s0001", "test"),
            ("totalsegmentator-ct-v2-s0002", "val"),
        ]
        masks = [[o for o in r.objects if o.array == "label:labels"] for r in found]
        assert [len(m) for m in masks] == [117, 2, 0]
        assert {o.path.rpartition("/")[2]: o.structure for o in masks[1]} == {
            "hip_right.nii.gz": "hip_bone_right",
            "kidney_left.nii.gz": "kidney_left",
        }
        assert found[2].case.labels == ()

    def test_every_structure_is_named_once(self, source):
        table = source.labels["labels"].structures
        assert len(table) == len(set(table.values())) == 117

    def test_names_are_those_the_ontology_knows_as_synonyms(self, source):
        # The ontology has the data set's own names from another place than this table.
        known = ontology.load()
        for name, structure in source.labels["labels"].structures.items():
            assert name.lower() == structure or name.lower() in known[structure].synonyms, name

    def test_left_stays_left(self, source):
        known = ontology.load()
        for name, structure in source.labels["labels"].structures.items():
            side = next((s for s in ("left", "right") if s in name.split("_")), None)
            assert known[structure].side == side, f"{name} -> {structure}"

    def test_numbers_of_ribs_and_vertebrae_are_kept(self, source):
        for name, structure in source.labels["labels"].structures.items():
            assert re.findall(r"\d+", name) == re.findall(r"\d+", structure), name

    def test_no_licence_is_claimed(self, source):
        assert source.terms.license is None


class TestSoftTissueSarcoma:
    def test_scans_are_cases_of_one_patient(self, tmp_path):
        for scan in ("CT", "PET", "MR_T1"):
            nifti(tmp_path / "imagesTr" / f"STS_003_{scan}_0000.nii.gz", dtype=np.float32)
            nifti(tmp_path / "labelsTr" / f"STS_003_{scan}.nii.gz")
        nifti(tmp_path / "imagesTr" / "STS_004_CT_0000.nii.gz", dtype=np.float32)
        nifti(tmp_path / "labelsTr" / "STS_005_CT.nii.gz")
        grouped, found = inventory(tmp_path, sources.load("soft-tissue-sarcoma"))
        assert [(x.reason, x.path) for x in grouped.rejects] == [(Reason.NO_IMAGE, "labelsTr/STS_005_CT.nii.gz")]
        cases = {r.case.case_id.removeprefix("soft-tissue-sarcoma-"): r.case for r in found}
        assert {n: (c.images[0].modality, len(c.labels)) for n, c in cases.items()} == {
            "sts_003_ct": ("CT", 1),
            "sts_003_pet": ("PT", 1),
            "sts_003_mr_t1": ("MR", 1),
            "sts_004_ct": ("CT", 0),
        }
        assert {c.patient for n, c in cases.items() if "003" in n} == {KEYS.patient("soft-tissue-sarcoma", "STS_003")}
        assert cases["sts_003_mr_t1"].images[0].acquisition.sequence == "T1"
        for r in found:
            scan = r.case.case_id.rpartition("_003_")[2].upper()
            assert all(scan in o.path for o in r.objects if "003" in o.path)


WITHOUT_CITATION = {
    "abdomenatlas-1.0-mini", "abdomenatlas-1.1-mini", "atlas-v2", "brats2023-gli", "btcv", "feta", "pi-cai", "spider",
    "toothfairy2", "verse",
}  # fmt: skip
"""Whose work to cite the facts do not name; their pages do."""


def test_the_page_of_sources_says_what_the_manifests_say():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "write it anew: python -m catalog.page"


@pytest.mark.parametrize("source_id", sources.ids())
def test_every_source_cites_and_links_and_uses_patterns_with_fields(source_id):
    source = sources.load(source_id)
    assert source.terms.url
    assert bool(source.terms.citation) != (source_id in WITHOUT_CITATION)
    if source.layout.kind == "table" or (source.layout.kind == "dicom" and not source.annotated()):
        return  # a table's path, or all files of a tree whose series need no names
    for pattern in re.findall(r"path='([^']+)'", repr(source.layout)):
        assert patterns.fields(pattern)


def test_an_origin_that_is_a_source_too_has_the_terms_that_its_manifest_states():
    known = {s.id: s for s in map(sources.load, sources.ids())}
    told = {(o.id, o.terms.license) for s in known.values() for o in s.origins if o.id in known}
    assert told
    assert told == {(name, known[name].terms.license) for name, _ in told}
