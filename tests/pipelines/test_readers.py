"""From a bucket with LIDC-IDRI's files to shards: each reader's layer, the fused one, marks as annotations."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import mdfp
from mdfp import arrow
from mdfp.crops import Crops
from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.sample import Sample
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from tests.drawn_objects import Scan, written
from tests.lidc_files import GRADES, SECRETS, Drawn, Reader, Roi, lidc_xml, rectangle
from transforms.plan.planner import Selection

SHAPE = (8, 18, 22)
MANIFEST = {
    "id": "read",
    "title": "Read by several",
    "terms": {"license": "own-data"},
    "public_ids": True,
    "patient": {"namespace": "read"},
    "layout": {
        "kind": "dicom",
        "path": "{patient}/**",
        "marks": {"format": "lidc", "path": "{patient}/**/*.xml", "table": "nodules"},
    },
    "labels": {"nodules": {"origin": "expert", "looked_for": "all", "structures": {"nodule": "lung_nodule"}}},
}
RECIPE = {
    "corpus": "read",
    "out": "-",
    "sources": [{"id": "read", "manifest": "read.yaml"}],
    "terms": {"accept": ["own-data"]},
    "geometry": {"spacing_mm": "native"},
    "splits": {"train": 1.0, "val": 0.0},
}
CLASSES = ["lung_nodule"]


def scan(number):
    # Slices run down, so that the order of files and of the volume differ.
    return Scan(
        shape_zyx=SHAPE, series=f"1.2.3.4{number}", frame=f"1.2.3.7{number}", patient=f"P{number}", level=number
    )


def roi(of, z, pixels, **more):
    position = of.affine_lps @ (0, 0, z, 1)
    return Roi(f"{of.series}.{z + 1}", pixels, z=f"{position[2]:.6f}", **more)


def nodule(of, planes, *edges, grades=GRADES):
    return Drawn([roi(of, z, rectangle(*edges)) for z in planes], grades)


def volume(planes, x0, y0, x1, y1):
    mask = np.zeros(SHAPE, bool)
    mask[list(planes), y0:y1, x0:x1] = True
    return mask


ONE = volume((2, 3, 4), 5, 4, 12, 9)
TWO = volume((3, 4, 5), 6, 5, 12, 10)
APART = volume((6,), 15, 12, 18, 15)


def write_bucket(root):
    def put(name, data):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    scans = {n: scan(n) for n in range(1, 7)}
    for n, s in scans.items():
        for k, ds in enumerate(s.slices()):
            put(f"p{n}/CT/{k:02}.dcm", written(ds))
    s = scans[1]
    readers = [
        Reader([nodule(s, (2, 3, 4), 5, 4, 12, 9), Drawn([roi(s, 0, [(3, 2)])])]),
        Reader([nodule(s, (3, 4, 5), 6, 5, 12, 10, grades={"malignancy": 2})], [roi(s, 7, [(20, 16)])]),
        Reader([nodule(s, (6,), 15, 12, 18, 15)]),
        Reader(),
    ]
    put("p1/CT/069.xml", lidc_xml(s.series, readers))
    # Two readers who drew apart from each other, and two who saw nothing.
    s = scans[2]
    apart = [Reader([nodule(s, (1,), 2, 2, 6, 6)]), Reader(), Reader([nodule(s, (5,), 12, 9, 16, 13)]), Reader()]
    put("p2/CT/070.xml", lidc_xml(s.series, apart))
    put("p3/CT/071.xml", lidc_xml("1.9.9", readers))  # no such series: p3 has no marks
    strange = [Reader([Drawn([Roi("1.2.3.41.3", rectangle(3, 3, 9, 9))])])]  # a slice of p1
    put("p4/CT/072.xml", lidc_xml(scans[4].series, strange))
    put("p5/CT/073.xml", lidc_xml(scans[5].series, [Reader()]))
    put("p5/CT/074.xml", lidc_xml(scans[5].series, [Reader()]))
    put("p6/CT/075.xml", lidc_xml(scans[6].series, [], prolog='<!DOCTYPE x [<!ENTITY a "b">]>'))


def build(folder, console, **labels):
    write_bucket(folder / "bucket")
    (folder / "read.yaml").write_text(yaml.safe_dump(MANIFEST))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "labels": labels}))
    workspace = open_workspace(folder / "recipe.yaml", [f"read={folder / 'bucket'}"], str(folder / "corpus"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), console)
    return folder / "corpus"


@pytest.fixture(scope="module")
def kept(tmp_path_factory, console):
    return build(tmp_path_factory.mktemp("kept"), console)


@pytest.fixture(scope="module")
def fused(tmp_path_factory, console):
    return build(tmp_path_factory.mktemp("fused"), console, readers="half")


def sample(folder, number):
    return mdfp.open(str(folder)).sample(f"read-p{number}")


def native(mask):
    """Stored x and y run to R and A, the series' to L and P."""
    return mask[..., ::-1, ::-1]


def test_every_reader_is_a_layer_with_a_view_of_its_own(kept):
    one = sample(kept, 1)
    assert one.readers == ("reader-1", "reader-2", "reader-3", "reader-4")
    assert [(x.layer, x.origin) for x in one.record.labels] == [
        (f"nodules_reader{n}", f"reader-{n}") for n in (1, 2, 3, 4)
    ]
    for reader, expected in zip(one.readers, (ONE, TWO, APART, np.zeros(SHAPE, bool)), strict=True):
        np.testing.assert_array_equal(native(one.classes(CLASSES, reader=reader)), expected)
        np.testing.assert_array_equal(native(one.masks(CLASSES, reader=reader))[0], expected)
        assert one.states(CLASSES, reader=reader) == {"lung_nodule": State.PRESENT if expected.any() else State.ABSENT}
    np.testing.assert_array_equal(one.classes(CLASSES, reader=2), one.classes(CLASSES, reader="reader-2"))
    np.testing.assert_array_equal(
        one.classes(CLASSES, layers=["nodules_reader3"]), one.classes(CLASSES, reader="reader-3")
    )


def test_without_a_rule_what_readers_differ_about_cannot_be_told(kept):
    one = sample(kept, 1)
    anybody, everybody = ONE | TWO | APART, ONE & TWO & APART
    expected = np.where(anybody & ~everybody, 255, everybody)
    np.testing.assert_array_equal(native(one.classes(CLASSES)), expected)
    np.testing.assert_array_equal(native(one.masks(CLASSES))[0], expected)
    np.testing.assert_array_equal(
        native(one.classes(CLASSES, layers=["nodules_reader1", "nodules_reader2"])),
        np.where(ONE ^ TWO, 255, ONE & TWO),
    )
    assert one.states(CLASSES) == {"lung_nodule": State.PRESENT}
    assert "lung_nodule: drawn by 3 of 4 readers" in one.record.warnings


def test_a_rule_adds_a_layer_that_answers_by_default(fused):
    one = sample(fused, 1)
    assert one.readers[-1] == "consensus:half"
    expected = (ONE.astype(int) + TWO + APART) >= 2
    for asked in ({}, {"reader": "consensus"}, {"reader": "consensus:half"}, {"layers": ["nodules_consensus"]}):
        np.testing.assert_array_equal(native(one.classes(CLASSES, **asked)), expected)
    np.testing.assert_array_equal(native(one.classes(CLASSES, reader=1)), ONE)
    two = sample(fused, 2)
    assert two.states(CLASSES) == {"lung_nodule": State.ABSENT}
    assert two.states(CLASSES, reader=1) == {"lung_nodule": State.PRESENT}
    assert two.states(CLASSES, reader=2) == {"lung_nodule": State.ABSENT}
    assert not two.classes(CLASSES).any()


def test_crops_take_a_readers_word(fused):
    one = sample(fused, 1)
    for reader, mask in ((3, APART), ("consensus", (ONE.astype(int) + TWO + APART) >= 2)):
        crops = Crops(SHAPE, space=CLASSES, foreground=1.0, reader=reader)
        (crop,) = crops.cut(one, seed=1, epoch=0)
        assert crop.aimed_at == "lung_nodule"
        np.testing.assert_array_equal(native(crop.classes), mask)


def test_who_is_not_there_is_unknown_and_what_is_no_reader_is_refused(kept):
    one, unread = sample(kept, 1), sample(kept, 3)
    assert one.states(CLASSES, reader=9) == {"lung_nodule": State.UNKNOWN}
    assert set(np.unique(one.classes(CLASSES, reader=9))) == {255}
    with pytest.raises(UsageError, match=r"reader-1.*asked for 'consensus'.*readers: half"):
        one.masks(CLASSES, reader="consensus")
    for strange in ("Dr Quincy", 0, "reader2", "consensus2"):
        with pytest.raises(UsageError, match="expected a number from 1"):
            unread.classes(CLASSES, reader=strange)
    with pytest.raises(UsageError, match="expected a number from 1"):
        Crops(8, reader="best")
    # Who was not read by several is the same to everybody: corpora of several sources are asked with one word.
    assert unread.readers == ()
    np.testing.assert_array_equal(unread.classes(CLASSES, reader="consensus"), unread.classes(CLASSES))


def test_marks_are_annotations_of_their_reader(kept):
    one = sample(kept, 1)
    stored = np.linalg.inv(one.affine())
    to_ras = np.diag([-1.0, -1, 1, 1]) @ scan(1).affine_lps

    def index(*xyz):
        return (stored @ to_ras @ (*xyz, 1))[:3]

    boxes = {(a.origin, a.value): a for a in one.annotations(kind="box")}
    assert {k: a.name for k, a in boxes.items()} == dict.fromkeys(
        [("reader-1", "1"), ("reader-2", "1"), ("reader-3", "1")], "lung_nodule"
    )
    corners = np.sort([index(4.5, 3.5, 1.5), index(11.5, 8.5, 4.5)], axis=0)
    np.testing.assert_allclose(np.reshape(boxes["reader-1", "1"].index_xyz, (2, 3)), corners, atol=1e-3)
    found = {(a.origin, a.name): a for a in one.annotations(kind="measurement")}
    assert found["reader-1", "internal_structure"].value == "1"
    assert {n for o, n in found if o == "reader-2"} == {"malignancy"}
    assert found["reader-2", "malignancy"].value == "2"
    assert found["reader-2", "malignancy"].index_xyz == boxes["reader-2", "1"].index_xyz
    points = {(a.origin, a.name, a.value): a.index_xyz for a in one.annotations(kind="point")}
    assert set(points) == {("reader-1", "nodule_under_3_mm", "2"), ("reader-2", "non_nodule", None)}
    np.testing.assert_allclose(points["reader-1", "nodule_under_3_mm", "2"], index(3, 2, 0), atol=1e-3)
    np.testing.assert_allclose(points["reader-2", "non_nodule", None], index(20, 16, 7), atol=1e-3)


def test_what_cannot_be_joined_is_told_and_a_series_without_a_file_is_unknown(kept):
    (file,) = (kept / "rejects").glob("*.parquet")
    rejects = {(r["path"], r["case_id"]): r["reason"] for r in pq.read_table(file).to_pylist()}
    assert rejects == {
        ("p3/CT/071.xml", None): Reason.ORPHAN_LABEL,
        ("p4/CT/072.xml", "read-p4"): Reason.LABEL_GRID,
        ("p5/CT/074.xml", "read-p5"): Reason.CONFLICTING_FILES,
        ("p5/CT/074.xml", None): Reason.CONFLICTING_FILES,
        ("p6/CT/075.xml", None): Reason.UNSUPPORTED,
    }
    for number in (3, 6):
        assert sample(kept, number).states(CLASSES) == {"lung_nodule": State.UNKNOWN}
        assert set(np.unique(sample(kept, number).classes(CLASSES))) == {255}


def test_the_corpus_is_sound_and_names_nobody(kept, fused):
    for folder in (kept, fused):
        assert list(verify(mdfp.open(str(folder)))) == []
        for file in sorted(f for f in folder.rglob("*") if f.is_file()):
            content = file.read_bytes()
            if file.suffix == ".parquet":
                content += json.dumps(pq.read_table(file).to_pylist()).encode()
            assert not [w for w in (*SECRETS, "Roe^Richard", "1.2.3.4") if w.encode() in content], file


def test_an_index_of_an_earlier_version_has_no_readings(kept):
    table = mdfp.open(str(kept)).samples.table
    old = arrow.from_table(Sample, table.drop_columns(["readings"]))
    assert {s.key: s.readings for s in old} == {s.key: () for s in arrow.from_table(Sample, table)}


RATED = {
    "id": "rated",
    "title": "Masks of several raters in files of their own",
    "terms": {"license": "own-data"},
    "public_ids": True,
    "patient": {"namespace": "rated"},
    "layout": {
        "kind": "paired",
        "images": [{"name": "ct", "modality": "CT", "path": "{case}/image.nii.gz"}],
        "labels": [
            {"table": "lesion", "image": "ct", "path": f"{{case}}/seg0{n}.nii.gz", "reader": n} for n in (1, 2, 3)
        ]
        + [{"table": "organs", "image": "ct", "path": "{case}/organs.nii.gz"}],
    },
    "labels": {
        "lesion": {"origin": "expert", "values": {0: "background", 1: "lung_nodule"}},
        "organs": {"origin": "model", "values": {0: "background", 1: "lung_left"}},
    },
}


def test_masks_of_several_raters_in_files(tmp_path, console):
    shape, affine = (9, 11, 6), np.diag([0.8, 0.9, 2.5, 1.0])

    def box(x):
        mask = np.zeros(shape, np.uint8)
        mask[x : x + 3, 3:6, 2:4] = 1
        return mask

    def put(name, array):
        path = tmp_path / "bucket" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(array, affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)

    lung = np.zeros(shape, np.uint8)
    lung[1:8] = 1
    for number in (1, 2):
        put(f"c{number}/image.nii.gz", (np.arange(np.prod(shape)).reshape(shape) + number).astype(np.int16))
        put(f"c{number}/organs.nii.gz", lung)
        for reader in (1, 2, 3)[: 3 if number == 1 else 1]:
            put(f"c{number}/seg0{reader}.nii.gz", box(reader))
    (tmp_path / "rated.yaml").write_text(yaml.safe_dump(RATED))
    recipe = {
        **RECIPE, "sources": [{"id": "rated", "manifest": "rated.yaml"}], "labels": {"readers": "majority"},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    workspace = open_workspace(tmp_path / "recipe.yaml", [f"rated={tmp_path / 'bucket'}"], str(tmp_path / "corpus"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(), console)
    corpus = mdfp.open(str(tmp_path / "corpus"))
    one, two = (corpus.sample(f"rated-c{n}") for n in (1, 2))
    assert [(x.layer, x.origin) for x in one.record.labels] == [
        ("lesion_reader1", "reader-1"),
        ("lesion_reader2", "reader-2"),
        ("lesion_reader3", "reader-3"),
        ("base", "model"),
        ("lesion_consensus", "consensus:majority"),
    ]
    fused = (box(1) + box(2) + box(3)) >= 2
    both = ["lung_left", "lung_nodule"]
    np.testing.assert_array_equal(one.classes(both).T, np.where(fused, 2, lung))
    np.testing.assert_array_equal(one.classes(both, reader=3).T, np.where(box(3), 2, lung))
    assert one.states(both, reader=1) == dict.fromkeys(both, State.PRESENT)
    assert two.readers == ("reader-1", "consensus:majority")  # who has no file is not counted
    np.testing.assert_array_equal(two.classes(["lung_nodule"]).T, box(1))
    assert two.states(both, reader=2) == {"lung_left": State.PRESENT, "lung_nodule": State.UNKNOWN}
    assert list(verify(corpus)) == []
