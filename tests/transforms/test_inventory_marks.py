"""Files of marks become labels of the case of their series; what cannot is a reject, or a fault of the label."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from schemas.source import Source
from tests.drawn_objects import Scan, written
from tests.lidc_files import GRADES, SECRETS, Drawn, Reader, Roi, lidc_xml, rectangle
from transforms import layouts
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.pseudonym import PatientKeys
from transforms.read.array import Blob, read_array
from transforms.rejected import Rejected
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
EDGES = (3, 3, 8, 6)


def source(**more):
    content = {
        "id": "toy",
        "title": "Toy",
        "public_ids": True,
        "patient": {"namespace": "toy"},
        "layout": {"kind": "dicom", "marks": {"format": "lidc", "table": "nodules"}},
        "labels": {"nodules": {"origin": "expert", "structures": {"nodule": "lung_nodule"}}},
    }
    return Source.model_validate({**content, **more})


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def put_scan(root, folder, scan, keep=None):
    # Named against the order of slices.
    for n, ds in enumerate(scan.slices()):
        if keep is None or n in keep:
            put(root / folder / f"{99 - n}.dcm", written(ds))


def marks(scan, planes=(1, 2), readers=2, z=None):
    def roi(plane):
        place = (scan.affine_lps @ (0, 0, plane, 1))[2] if z is None else z
        return Roi(f"{scan.series}.{plane + 1}", rectangle(*EDGES), z=f"{place:.4f}")

    return lidc_xml(scan.series, [Reader([Drawn([roi(p) for p in planes], GRADES)])] * readers)


def take(root, made, **options):
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
    placed = {o.path for r in found for o in r.objects} | {x.path for r in found for x in r.rejects if not x.case_id}
    assert placed | {p for p, _ in unread} == {h.object.path for h in grouped.headers}
    return found, unread


def mask_of(root, found, number):
    """(label header, mask) of a reader, read as the build reads it."""
    label = found.case.labels[number]

    def blobs(array):
        return [Blob(o.path, (root / o.path).read_bytes()) for o in found.objects if o.array == array]

    both = [*blobs(f"label:{label.header.name}"), *blobs(f"image:{label.image}")]
    return label.header, read_array(label.header, both, Limits())


@pytest.mark.parametrize(
    "scan",
    [Scan(), Scan(column=(0.0, -1.0, 0.0)), Scan(row=(0.8, 0.6, 0.0), column=(-0.6, 0.8, 0.0))],
    ids=["upwards", "downwards", "oblique"],
)
def test_marks_lie_on_the_slices_that_they_name(tmp_path, scan):
    put_scan(tmp_path, "CT", scan)
    put(tmp_path / "far" / "away.xml", marks(scan))
    (found,), unread = take(tmp_path, source())
    assert (unread, found.rejects) == ([], ())
    assert [(x.header.name, x.origin, x.table) for x in found.case.labels] == [
        (f"nodules_reader{n}", f"reader-{n}", "nodules") for n in (1, 2)
    ]
    header, volume = mask_of(tmp_path, found, 0)
    image = found.case.images[0].header
    assert (header.shape, header.affine_ras, header.format) == (image.shape, image.affine_ras, "lidc")
    expected = {
        tuple(np.round(scan.affine_lps @ (x, y, z, 1), 3)[:3] * (-1, -1, 1))
        for z in (1, 2)
        for y in range(EDGES[1], EDGES[3])
        for x in range(EDGES[0], EDGES[2])
    }
    where = np.argwhere(volume.array_zyx)[:, ::-1]
    world = where @ volume.affine_ras[:3, :3].T + volume.affine_ras[:3, 3]
    assert {tuple(np.round(w, 3)) for w in world} == expected
    assert found.case.findings == ()
    assert not [w for w in SECRETS if w in repr(found)]


def test_a_z_that_is_not_that_of_its_slice_is_noticed_and_the_slice_counts(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path / "a.xml", marks(Scan(), readers=1, z=12.0))
    (found,), _ = take(tmp_path, source())
    assert [(f.code, f.where) for f in found.case.findings] == [("mark_position_differs", "nodules_reader1")]
    assert "2 of 2 marks" in found.case.findings[0].detail
    assert set(np.nonzero(mask_of(tmp_path, found, 0)[1].array_zyx)[0]) == {1, 2}


def test_a_series_without_a_file_has_no_label(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    (found,), _ = take(tmp_path, source())
    assert (found.case.labels, found.case.annotations, found.rejects) == ((), (), ())


def test_a_file_without_a_series_is_an_orphan(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path / "a.xml", marks(Scan(series="1.9.9")))
    found, _ = take(tmp_path, source())
    assert [(x.path, x.case_id, x.reason) for r in found for x in r.rejects] == [("a.xml", None, Reason.ORPHAN_LABEL)]
    assert [len(r.case.labels) for r in found if r.case] == [0]


def test_a_file_of_a_series_that_gave_no_volume(tmp_path):
    put_scan(tmp_path, "CT", Scan(), keep=(0, 1, 4, 5))
    put(tmp_path / "a.xml", marks(Scan()))
    found, _ = take(tmp_path, source())
    assert {x.reason for r in found for x in r.rejects} == {Reason.MISSING_SLICES, Reason.NO_IMAGE}


def test_a_file_that_names_pictures(tmp_path):
    # Radiographs: pictures have no slices.
    scan = Scan(shape_zyx=(2, 9, 11))
    for n, ds in enumerate(scan.slices()):
        ds.Modality, ds.SOPClassUID = "DX", "1.2.840.10008.5.1.4.1.1.1.1"
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
        put(tmp_path / "DX" / f"{n}.dcm", written(ds))
    put(tmp_path / "a.xml", marks(scan, planes=(0, 1)))
    found, _ = take(tmp_path, source())
    assert [c.images[0].header.axes for r in found if (c := r.case)] == ["yx", "yx"]
    assert [x.reason for r in found for x in r.rejects] == [Reason.NO_IMAGE]


@pytest.mark.parametrize("on_fault", ["reject", "image_only"])
@pytest.mark.parametrize("fault", ["slice", "override", "two"])
def test_what_is_wrong_with_marks_is_a_fault_of_the_label(tmp_path, fault, on_fault):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path / "a.xml", marks(Scan()).replace(b"1.2.3.4.2<", b"1.2.3.4.77<") if fault == "slice" else marks(Scan()))
    if fault == "two":
        put(tmp_path / "b.xml", marks(Scan()))
    more = {"geometry_override": {"1.2.3.4": (0.7, 0.9, 3.0)}} if fault == "override" else {}
    found, _ = take(tmp_path, source(**more), on_fault=on_fault)
    rejects = [(x.path, x.case_id is None, x.reason) for r in found for x in r.rejects]
    reason = Reason.CONFLICTING_FILES if fault == "two" else Reason.LABEL_GRID
    kept = [r.case for r in found if r.case]
    if on_fault == "reject":
        assert kept == []
        assert ("b.xml" if fault == "two" else "a.xml", False, reason) in rejects
    else:
        assert [c.labels for c in kept] == [()]
        assert [f.code for c in kept for f in c.findings if f.code == "label_left_out"] == ["label_left_out"]
        assert ("a.xml", True, reason) in rejects
        assert len(rejects) == len(set(rejects))


def test_a_file_goes_to_the_volume_of_a_mixed_series_whose_slices_it_names(tmp_path):
    one = Scan()
    two = dataclasses.replace(
        one, shape_zyx=(4, 9, 11), origin_lps=(-31.5, 12.25, 60.0), row=(0, 1, 0), column=(0, 0, 1)
    )
    put_scan(tmp_path, "CT", one)
    for ds in two.slices():
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.5{ds.InstanceNumber}"
        put(tmp_path / "CT2" / f"{ds.InstanceNumber}.dcm", written(ds))
    put(tmp_path / "a.xml", marks(one))
    found, _ = take(tmp_path, source())
    labels = {r.case.images[0].header.shape: len(r.case.labels) for r in found if r.case}
    assert labels == {(6, 9, 11): 2, (4, 9, 11): 0}
    put(tmp_path / "a.xml", lidc_xml(one.series, [Reader()]))
    found, _ = take(tmp_path, source())
    assert [x.reason for r in found for x in r.rejects] == [Reason.CONFLICTING_FILES]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html></html>", Reason.UNREADABLE),
        (marks(Scan()).replace(b"<Lidc", b"<!DOCTYPE a><Lidc", 1), Reason.UNSUPPORTED),
    ],
)
def test_other_xml_is_a_reject_of_the_file_alone(tmp_path, data, reason):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path / "a.xml", data)
    found, unread = take(tmp_path, source())
    assert unread == [("a.xml", reason)]
    assert len(found) == 1


def test_an_empty_file_is_refused(tmp_path):
    put_scan(tmp_path, "CT", Scan())
    put(tmp_path / "a.xml", b"")
    assert take(tmp_path, source())[1] == [("a.xml", Reason.UNREADABLE)]
