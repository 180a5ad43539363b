"""SEG and RTSTRUCT become labels of the case of their series; what cannot is a reject with its reason."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mdfp import canonical
from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from tests.drawn_objects import Scan, outline, rtstruct, seg, written
from transforms import layouts
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.pseudonym import PatientKeys
from transforms.rejected import Rejected
from transforms.store import SourceStore

pytest.importorskip("highdicom", reason="writes the objects; pip install -e '.[dev]'")

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
BOX = (0.5, 0.5, 5.5, 5.5)


def source(*, table=None, layout=None, **more):
    structures = {"GTV*": "tumour_unspecified", "Liver": "liver"}
    content = {
        "id": "toy",
        "title": "Toy",
        "public_ids": True,
        "patient": {"namespace": "toy"},
        "layout": {"kind": "dicom", "segmentations": {"table": "drawn"}, **(layout or {})},
        "labels": {"drawn": {"origin": "expert", "structures": structures, "ignore_names": ["BODY"], **(table or {})}},
    }
    return Source.model_validate({**content, **more})


def put(root, name, ds):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written(ds))


def put_scan(root, folder, scan):
    for n, ds in enumerate(scan.slices()):
        put(root, f"{folder}/{n}.dcm", ds)


def gtv(scan, name="GTV_1", **more):
    return rtstruct(scan, [(name, [outline(scan, BOX, 2)])], **more)


def liver(scan, name="Liver", **more):
    masks = np.zeros((*scan.shape_zyx, 1), np.uint8)
    masks[2, 3:5, 4:7] = 1
    return seg(scan, masks, [name], **more)


def take(root, made, **options):
    """(everything inventoried, (path, reason) of what was refused when it was read); every object is accounted for."""
    store = SourceStore(str(root))
    grouped = layouts.group(made, store.list(), store.read, KEYS)
    groups, unread = {}, []
    for file in grouped.headers:
        try:
            read = read_header(file, store)
            groups.setdefault(group_key(read), []).append(read)
        except Rejected as fault:
            unread.append((file.object.path, fault.reason))
    found = [r for _, g in sorted(groups.items()) for r in inventory_series(g, made, store, KEYS, Limits(), **options)]
    placed = [o.path for r in found for o in r.objects] + [x.path for r in found for x in r.rejects if not x.case_id]
    assert sorted([*placed, *(p for p, _ in unread)]) == sorted(h.object.path for h in grouped.headers)
    return found, unread


def cases(found):
    return [r.case for r in found if r.case is not None]


def reasons(found):
    return [x.reason for r in found for x in r.rejects]


@pytest.mark.parametrize("layout", [{}, {"path": "{patient}/**"}], ids=["by series", "by patient"])
def test_a_drawing_is_a_label_on_the_grid_of_its_series(tmp_path, layout):
    other = Scan(series="1.2.3.5", shape_zyx=(4, 9, 11))
    put_scan(tmp_path, "a/CT", Scan())
    put_scan(tmp_path, "a/CT2", other)
    put(tmp_path, "a/RS.dcm", gtv(Scan()))
    put(tmp_path, "a/SEG/x.dcm", liver(other))
    found, unread = take(tmp_path, source(layout=layout))
    assert (unread, reasons(found)) == ([], [])
    by_slices = {c.images[0].header.shape[0]: c for c in cases(found)}
    for slices, form, path in ((6, "rtstruct", "a/RS.dcm"), (4, "seg", "a/SEG/x.dcm")):
        case = by_slices[slices]
        (label,), image = case.labels, case.images[0].header
        assert (label.header.name, label.table, label.image, label.origin) == ("drawn", "drawn", "ct", "expert")
        assert (label.header.format, label.header.shape, label.header.affine_ras) == (
            form,
            image.shape,
            image.affine_ras,
        )
        (objects,) = [r.objects for r in found if r.case is case]
        assert [(o.path, o.array, o.structure) for o in objects if o.array.startswith("label")] == [
            (path, "label:drawn", None)
        ]


def test_several_drawings_of_one_series_are_labels_of_their_own(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "r1.dcm", gtv(Scan()))
    put(tmp_path, "r2.dcm", gtv(Scan(), instance="1.2.3.98"))
    put(tmp_path, "s.dcm", liver(Scan()))
    put(tmp_path, "z_copy.dcm", gtv(Scan()))  # the same SOPInstanceUID as r1
    found, _ = take(tmp_path, source())
    (case,) = cases(found)
    assert [label.header.name for label in case.labels] == ["drawn", "drawn_2", "drawn_3"]
    assert [(x.path, x.reason) for r in found for x in r.rejects] == [("z_copy.dcm", Reason.CONFLICTING_FILES)]


def test_an_orphan_is_a_reject_and_the_rest_goes_on(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS.dcm", gtv(Scan(series="1.9.9")))
    found, _ = take(tmp_path, source())
    assert len(cases(found)) == 1
    assert [(x.path, x.case_id, x.reason) for r in found for x in r.rejects] == [("RS.dcm", None, Reason.ORPHAN_LABEL)]


def test_a_drawing_apart_from_its_series_by_path_is_an_orphan_that_says_so(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS/RS.dcm", gtv(Scan()))
    found, _ = take(tmp_path, source(layout={"path": "{series}/*"}))
    (reject,) = [x for r in found for x in r.rejects]
    assert reject.reason == Reason.ORPHAN_LABEL
    assert "equal fields of layout.path" in reject.detail


@pytest.mark.parametrize(
    ("ds", "reason"),
    [
        (gtv(Scan(), name="Dr Quincy's PTV"), Reason.UNMAPPED_LABEL),
        (gtv(Scan(), frame="1.9.9"), Reason.LABEL_GRID),
        (gtv(Scan(patient="P2")), Reason.CONFLICTING_FILES),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_drawing_is_a_fault_of_its_case(tmp_path, ds, reason):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS.dcm", ds)
    found, _ = take(tmp_path, source())
    assert (cases(found), reasons(found)) == ([], [reason])
    assert "Quincy" not in json.dumps([canonical.dumps(r).decode() for r in found])

    found, _ = take(tmp_path, source(), on_fault="image_only")
    (case,) = cases(found)
    assert case.labels == ()
    assert [f.code for f in case.findings] == ["label_left_out"]
    assert [(x.path, x.reason) for r in found for x in r.rejects] == [("RS.dcm", reason)]


def test_a_series_that_gave_no_volume_leaves_its_drawing_without_an_image(tmp_path):
    put(tmp_path, "CT/0.dcm", Scan().slices()[0])
    put(tmp_path, "RS.dcm", gtv(Scan()))
    found, _ = take(tmp_path, source())
    assert sorted(reasons(found)) == sorted([Reason.INCOMPLETE, Reason.NO_IMAGE])


def test_of_several_volumes_of_a_series_the_one_it_names_is_meant(tmp_path):
    """A series of two sizes is two volumes; the structure set names an instance of the second."""
    put_scan(tmp_path, "a", Scan())
    second = Scan(shape_zyx=(5, 7, 8))
    slices = second.slices()
    for n, ds in enumerate(slices):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.5.{n + 1}"
        put(tmp_path, f"b/{n}.dcm", ds)
    drawn = gtv(second)
    study = drawn.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    study.RTReferencedSeriesSequence[0].ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.5.1"
    put(tmp_path, "RS.dcm", drawn)
    found, _ = take(tmp_path, source())
    assert {c.images[0].header.shape: len(c.labels) for c in cases(found)} == {(6, 9, 11): 0, (5, 7, 8): 1}


def test_a_drawing_of_which_nothing_is_wanted_is_passed_over(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS.dcm", gtv(Scan(), name="body"))
    put(tmp_path, "s.dcm", liver(Scan()))
    found, unread = take(tmp_path, source(layout={"segmentations": {"table": "drawn", "kinds": ["RTSTRUCT"]}}))
    assert unread == [("s.dcm", Reason.NOT_SELECTED)]
    assert reasons(found) == [Reason.NOT_SELECTED]
    assert len(cases(found)) == 1


def test_without_segmentations_in_the_manifest_they_are_no_images(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS.dcm", gtv(Scan()))
    put(tmp_path, "s.dcm", liver(Scan()))
    found, unread = take(tmp_path, source(layout={"segmentations": None}))
    assert unread == [("RS.dcm", Reason.NO_PIXELS), ("s.dcm", Reason.UNSUPPORTED)]
    assert len(cases(found)) == 1


@pytest.mark.parametrize(
    ("manifest", "algorithm", "origin", "codes"),
    [
        ("expert", "MANUAL", "expert", []),
        ("expert", "AUTOMATIC", "expert", ["origin_differs"]),
        ("unknown", "AUTOMATIC", "model", []),
        ("unknown", "SEMIAUTOMATIC", "expert", []),
        ("unknown", "", "unknown", []),
        ("consensus", "MANUAL", "consensus", []),
    ],
)
def test_who_drew_it_is_what_the_manifest_says_or_else_the_object(tmp_path, manifest, algorithm, origin, codes):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS.dcm", gtv(Scan(), algorithm=algorithm))
    found, _ = take(tmp_path, source(table={"origin": manifest}))
    (case,) = cases(found)
    assert case.labels[0].origin == origin
    assert [f.code for f in case.findings] == codes


def test_a_header_that_does_not_end_is_refused_before_all_of_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("transforms.inventory_drawings.MAX_HEADER_BYTES", 1 << 17)
    ds = gtv(Scan())
    ds.StructureSetLabel = "x" * (1 << 18)
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "RS.dcm", ds)
    found, unread = take(tmp_path, source())
    assert unread == [("RS.dcm", Reason.TOO_LARGE)]
    assert len(cases(found)) == 1


def test_a_long_header_is_read_without_the_pixels(tmp_path):
    """Ten thousand referenced instances are 1 MB of header; the pixels behind are not touched."""
    ds = liver(Scan())
    item = ds.ReferencedSeriesSequence[0]
    item.ReferencedInstanceSequence = [item.ReferencedInstanceSequence[0]] * 10_000
    ds.PixelData = ds.PixelData + b"\0" * (40 << 20)
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path, "s.dcm", ds)
    made = source()
    store = SourceStore(str(tmp_path))
    files = {h.object.path: h for h in layouts.group(made, store.list(), store.read, KEYS).headers}
    asked = []

    class Watched(SourceStore):
        def read(self, path, start=0, length=None, **more):
            asked.append(length)
            return super().read(path, start, length, **more)

    read = read_header(files["s.dcm"], Watched(str(tmp_path)))
    assert read.drawing is not None
    assert [s.name for s in read.drawing.segments] == ["Liver"]
    assert None not in asked
    assert max(asked) <= 17 << 20
    assert read.drawing.instance_uid == "1.2.3.4.1"
