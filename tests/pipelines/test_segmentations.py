"""From a bucket of DICOM series with SEG and RTSTRUCT objects to shards: the masks read back are the analytic ones."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

import mdfp
from mdfp.labels import State
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.reasons import Reason
from tests.drawn_objects import Scan, outline, rtstruct, seg, written
from transforms.plan.planner import Selection

pytest.importorskip("highdicom", reason="writes the objects; pip install -e '.[dev]'")

SHAPE = (8, 18, 22)
MANIFEST = {
    "id": "drawn",
    "title": "Drawn on DICOM",
    "terms": {"license": "own-data"},
    "public_ids": True,
    "patient": {"namespace": "drawn"},
    "layout": {"kind": "dicom", "path": "{patient}/**", "segmentations": {"table": "drawn"}},
    "labels": {
        "drawn": {
            "origin": "expert",
            "structures": {
                "liver": "liver",
                "Spleen": "spleen",
                "Kidney_L": "kidney_left",
                "Kidney_R": "kidney_right",
                "GTV*": "tumour_unspecified",
            },
            "ignore_names": ["BODY", "ExternalContour*"],
        }
    },
}
RECIPE = {
    "corpus": "drawn",
    "out": "-",
    "sources": [{"id": "drawn", "manifest": "drawn.yaml"}],
    "terms": {"accept": ["own-data"]},
    "geometry": {"spacing_mm": "native"},
    "splits": {"train": 1.0, "val": 0.0},
}
PRIVATE = ("Roe", "Quincy", "19010203", "1.2.3.4")


def scan(number: int) -> Scan:
    return Scan(
        shape_zyx=SHAPE, series=f"1.2.3.4{number}", frame=f"1.2.3.7{number}", patient=f"P{number}", level=number
    )


def box(*slices: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slices] = True
    return mask


LIVER = box(slice(1, 7), slice(2, 14), slice(3, 15))
LESION = box(slice(3, 5), slice(5, 9), slice(12, 18))  # half of it outside the liver: neither holds the other
KIDNEY_LEFT = box(slice(2, 6), slice(9, 15), slice(15, 20))  # columns run to the patient's left
KIDNEY_RIGHT = box(slice(2, 6), slice(9, 15), slice(2, 6))
RING = box(slice(4, 5), slice(2, 8), slice(2, 12)) & ~box(slice(4, 5), slice(4, 6), slice(5, 9))
MAP = {"liver": LIVER & ~LESION, "tumour_unspecified": LESION}


def contours(of: Scan, mask: np.ndarray) -> list[np.ndarray]:
    """The outline of a box in each of its slices."""
    zs, ys, xs = (np.unique(axis) for axis in np.nonzero(mask))
    corners = (xs[0] - 0.5, ys[0] - 0.5, xs[-1] + 0.5, ys[-1] + 0.5)
    return [outline(of, corners, z) for z in zs]


def write_bucket(root) -> None:
    def put(name, ds):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written(ds))

    scans = {n: scan(n) for n in range(1, 9)}
    for n, s in scans.items():
        for k, ds in enumerate(s.slices()):
            put(f"p{n}/CT/{k:02}.dcm", ds)
    one, two, three, five, six, eight = (scans[n] for n in (1, 2, 3, 5, 6, 8))
    ring = [outline(one, (1.5, 1.5, 11.5, 7.5), 4), outline(one, (4.5, 3.5, 8.5, 5.5), 4)]
    rois = [
        ("Kidney_L", contours(one, KIDNEY_LEFT)),
        ("Kidney_R", contours(one, KIDNEY_RIGHT)),
        ("gtv 1", ring),
        ("GTV_2", contours(one, LESION)),
        ("Spleen", []),
        ("ExternalContour Roe", contours(one, box(slice(0, 8), slice(0, 18), slice(0, 22)))),
    ]
    put("p1/RS.dcm", rtstruct(one, rois, instance="1.2.3.91"))
    masks = np.stack([LIVER, LESION, np.zeros(SHAPE, bool)], axis=-1).astype(np.uint8)
    put("p2/SEG/1.dcm", seg(two, masks, ["LIVER", "GTV", "Spleen"], omit_empty_frames=True))
    numbers = MAP["liver"] * np.uint8(1) + MAP["tumour_unspecified"] * np.uint8(2)
    put("p3/SEG/1.dcm", seg(three, numbers, ["Liver", "GTV"], kind="LABELMAP"))
    put("p5/RS.dcm", rtstruct(five, [("Dr Quincy's own", contours(five, LIVER))], instance="1.2.3.95"))
    put("p6/RS.dcm", rtstruct(six, [("Liver", [outline(six, (1, 1, 9, 9), 3.5)])], instance="1.2.3.96"))
    short = seg(eight, masks, ["LIVER", "GTV", "Spleen"])
    short.PixelData = short.PixelData[:100]
    put("p8/SEG/1.dcm", short)
    put("p7/RS.dcm", rtstruct(Scan(series="1.9.9"), [("Liver", [])], instance="1.2.3.97"))


def build(folder, console, **recipe):
    write_bucket(folder / "bucket")
    (folder / "drawn.yaml").write_text(yaml.safe_dump(MANIFEST))
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **recipe}))
    workspace = open_workspace(folder / "recipe.yaml", [f"drawn={folder / 'bucket'}"], str(folder / "corpus"))
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=0.9), console)
    return folder / "corpus", read_latest(workspace), mdfp.open(str(folder / "corpus"))


@pytest.fixture(scope="module")
def built(tmp_path_factory, console):
    return build(tmp_path_factory.mktemp("drawn"), console)


def sample_of(built, number):
    _, plan, corpus = built
    (case,) = {o.case_id for o in plan.objects if o.path.startswith(f"p{number}/") and o.array.startswith("image:")}
    return corpus.sample(case)


def masks(sample, *structures):
    """Masks in the axes of the DICOM array: stored x and y run to R and A, the series' to L and P."""
    return {s: m[:, ::-1, ::-1].astype(bool) for s, m in zip(structures, sample.masks(list(structures)), strict=True)}


def test_contours_with_holes_and_sides_are_the_analytic_masks(built):
    sample = sample_of(built, 1)
    found = masks(sample, "kidney_left", "kidney_right", "tumour_unspecified")
    np.testing.assert_array_equal(found["kidney_left"], KIDNEY_LEFT)
    np.testing.assert_array_equal(found["kidney_right"], KIDNEY_RIGHT)
    np.testing.assert_array_equal(found["tumour_unspecified"], RING | LESION)  # two ROIs are one structure
    assert sample.states(["kidney_left", "spleen", "liver"]) == {
        "kidney_left": State.PRESENT,
        "spleen": State.UNKNOWN,  # listed and not drawn: values_present says nothing of it
        "liver": State.UNKNOWN,
    }


def test_the_patients_left_lies_at_lower_x_of_a_canonical_volume(built):
    sample = sample_of(built, 1)
    left, right = (np.argwhere(m).mean(axis=0)[::-1] for m in sample.masks(["kidney_left", "kidney_right"]))
    assert left[0] < right[0]
    world = [sample.affine()[:3, :3] @ c + sample.affine()[:3, 3] for c in (left, right)]
    z, y, x = (np.nonzero(KIDNEY_LEFT)[axis].mean() for axis in range(3))
    lps = scan(1).affine_lps @ (x, y, z, 1)
    np.testing.assert_allclose(world[0], [-lps[0], -lps[1], lps[2]], atol=1e-4)


def test_overlapping_segments_of_a_seg_keep_all_their_voxels(built):
    sample = sample_of(built, 2)
    found = masks(sample, "liver", "tumour_unspecified")
    np.testing.assert_array_equal(found["liver"], LIVER)
    np.testing.assert_array_equal(found["tumour_unspecified"], LESION)
    assert sample.states(["spleen"]) == {"spleen": State.UNKNOWN}


def test_a_label_map_is_its_masks(built):
    found = masks(sample_of(built, 3), "liver", "tumour_unspecified")
    for structure, mask in MAP.items():
        np.testing.assert_array_equal(found[structure], mask)


def test_what_cannot_be_a_label_is_a_reject_with_its_reason_and_the_rest_goes_on(built):
    folder, _, corpus = built
    (file,) = (folder / "rejects").glob("*.parquet")
    rejects = pq.read_table(file).to_pylist()
    assert Counter(r["reason"] for r in rejects) == Counter(
        [Reason.UNMAPPED_LABEL, Reason.LABEL_GRID, Reason.LABEL_UNREADABLE, Reason.ORPHAN_LABEL]
    )
    (orphan,) = [r for r in rejects if r["reason"] == Reason.ORPHAN_LABEL]
    assert (orphan["path"], orphan["case_id"], orphan["stage"]) == ("p7/RS.dcm", None, "inventory")
    assert len(corpus.samples) == 5
    for number in (4, 7):  # nothing was drawn on them
        assert set(sample_of(built, number).states(["liver", "kidney_left"]).values()) == {State.UNKNOWN}


def test_an_image_may_be_kept_without_its_faulty_label(tmp_path, console):
    _, _, corpus = found = build(tmp_path, console, labels={"on_fault": "image_only"})
    assert len(corpus.samples) == 8
    for number in (5, 6, 8):
        assert set(sample_of(found, number).states(["liver", "kidney_left"]).values()) == {State.UNKNOWN}
    assert sample_of(found, 2).states(["liver"]) == {"liver": State.PRESENT}


def test_names_and_identifiers_of_the_objects_are_nowhere(built):
    folder, _, _ = built
    for file in sorted(f for f in folder.rglob("*") if f.is_file()):
        content = file.read_bytes()
        if file.suffix == ".parquet":
            content += json.dumps(pq.read_table(file).to_pylist()).encode()
        assert not [w for w in PRIVATE if w.encode() in content], file
