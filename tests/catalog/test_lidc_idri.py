"""The manifest of LIDC-IDRI on a tree in its layout: series of patients, and files of marks that name them."""

from __future__ import annotations

from catalog import sources
from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.drawn_objects import Scan, written
from tests.lidc_files import Drawn, Reader, Roi, lidc_xml, rectangle
from transforms import layouts
from transforms.inventory_series import group_key, inventory_series, read_header
from transforms.pseudonym import PatientKeys
from transforms.rejected import Rejected
from transforms.store import SourceStore

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def test_series_of_patients_and_their_readers(tmp_path):
    # Two series of one patient, one of another, and radiographs with marks of their own.
    series = {"1.2.3.51": "LIDC-IDRI-0001", "1.2.3.52": "LIDC-IDRI-0001", "1.2.3.53": "LIDC-IDRI-0002"}
    root = tmp_path / "LIDC-IDRI"
    for uid, patient in series.items():
        folder = root / patient / "01-01-2000-30178" / "3000566-03192"
        for n, ds in enumerate(Scan(series=uid, patient=patient).slices()):
            put(folder / f"{uid}-{n:03}.dcm", written(ds))
    for ds in Scan(series="1.2.3.54", patient="LIDC-IDRI-0001", shape_zyx=(2, 9, 11)).slices():
        ds.Modality = "DX"
        put(root / "LIDC-IDRI-0001" / "01-01-2000-35511" / "dx" / f"{ds.InstanceNumber}.dcm", written(ds))
    drawn = Drawn([Roi("1.2.3.51.3", rectangle(3, 3, 6, 6))], {"malignancy": 3})
    put(
        root / "LIDC-IDRI-0001/01-01-2000-30178/3000566-03192/069.xml",
        lidc_xml("1.2.3.51", [Reader([drawn]), Reader(), Reader([drawn]), Reader()]),
    )
    put(root / "tcia-lidc-xml/157/158.xml", lidc_xml("1.2.3.53", [Reader()] * 4))
    put(root / "LIDC-IDRI-0001/01-01-2000-35511/dx/070.xml", lidc_xml("1.2.3.54", [], root="IdriReadMessage"))
    put(root / "LICENSE", b"")

    source, store = sources.load("lidc-idri"), SourceStore(str(tmp_path))
    grouped = layouts.group(source, store.list(), store.read, KEYS)
    assert grouped.rejects == ()
    assert grouped.counts.balanced()
    assert grouped.counts.side == 1
    groups, unread = {}, {}
    for file in grouped.headers:
        try:
            read = read_header(file, store)
            groups.setdefault(group_key(read), []).append(read)
        except Rejected as verdict:
            unread[file.object.path.rpartition("/")[2]] = verdict.reason
    assert unread == {"070.xml": Reason.NOT_SELECTED}
    found = [r for g in groups.values() for r in inventory_series(g, source, store, KEYS, Limits())]
    assert [x.reason for r in found for x in r.rejects] == [Reason.NOT_SELECTED]
    cases = {r.objects[0].path.rpartition("/")[2].partition("-")[0]: r.case for r in found if r.case}
    assert {u: c.patient for u, c in cases.items()} == {u: KEYS.patient("lidc-idri", p) for u, p in series.items()}
    four = [f"reader-{n}" for n in (1, 2, 3, 4)]
    origins = {u: [label.origin for label in c.labels] for u, c in cases.items()}
    assert origins == {"1.2.3.51": four, "1.2.3.52": [], "1.2.3.53": four}
    marked = cases["1.2.3.51"]
    assert [(a.kind, a.name, a.value, a.origin) for a in marked.annotations] == [
        (kind, name, value, origin)
        for origin in ("reader-1", "reader-3")
        for kind, name, value in (("box", "lung_nodule", "1"), ("measurement", "malignancy", "3"))
    ]
    assert marked.annotations[0].index_xyz == (2.5, 2.5, 1.5, 5.5, 5.5, 2.5)


def test_the_readers_drew_one_structure():
    source = sources.load("lidc-idri")
    assert source.annotated() == ("lung_nodule",)
    assert source.terms.license == "CC-BY-3.0"
