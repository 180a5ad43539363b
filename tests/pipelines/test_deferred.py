"""A corpus from a published table: nothing is read to plan it, and it becomes what a full inventory would have made."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid

import pyarrow.parquet as pq
import pydicom
import pytest
import yaml

import mdfp
from mdfp import arrow
from mdfp.errors import UsageError
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.inventory import take_inventory
from pipelines.plan import plan
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas.published import PublishedSeries
from transforms.plan.planner import Selection
from transforms.store import SourceStore

SOURCE = "idc-open"


@pytest.fixture(scope="module")
def archive(bucket, tmp_path_factory):
    """A bucket with the keys of the archive, `<uuid>/<uuid>.dcm`, and its table; planted faults included."""
    root = tmp_path_factory.mktemp("idc") / "bucket"
    rows = {}
    for file in sorted((bucket.folder / "phantom-ct-dicom").rglob("*")):
        if not file.is_file():
            continue
        try:
            header = pydicom.dcmread(file, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        if header.get("Modality") != "CT":
            continue
        uid = str(header.SeriesInstanceUID)
        folder = str(uuid.uuid5(uuid.NAMESPACE_OID, uid))
        name = uuid.uuid5(uuid.NAMESPACE_URL, str(file))
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / folder / f"{name}.dcm")
        row = rows.setdefault(
            uid,
            PublishedSeries(
                folder, uid, str(header.StudyInstanceUID), str(header.PatientID), "phantom", "CT", "CHEST", 0, 0, "CC-BY-4.0",
                "10.1/phantom", str(header.get("StudyDate") or "") or None,
            ),
        )  # fmt: skip
        rows[uid] = type(row)(**{**vars(row), "instances": row.instances + 1, "bytes": row.bytes + file.stat().st_size})
    pq.write_table(arrow.to_table(PublishedSeries, list(rows.values())), root.parent / "table.parquet")
    return root, list(rows.values())


@pytest.fixture
def workspace_of(archive, tmp_path):
    """A workspace over the bucket, its inventory deferred or full."""
    root, _ = archive

    def make(inventory="deferred", name="out", manifest=(), use=(), table=None):
        source = {
            "id": SOURCE, "title": "phantoms", "terms": {"license": "CC-BY-4.0"}, "patient": {"namespace": "idc"},
            "layout": {"kind": "dicom"}, "inventory": inventory, **dict(manifest),
        }  # fmt: skip
        where = {"table": str(table or root.parent / "table.parquet")} if inventory == "deferred" else {}
        recipe = {
            "corpus": "deferred", "out": str(tmp_path / name), "labels": "image_only", "terms": {"accept": ["CC-BY-4.0"]},
            "geometry": {"spacing_mm": [4, 4, 4]}, "splits": {"train": 0.5, "val": 0.5},
            "sources": [{"id": SOURCE, "root": str(root), "manifest": f"{name}.source.yaml"} | where | dict(use)],
        }  # fmt: skip
        (tmp_path / f"{name}.source.yaml").write_text(yaml.safe_dump(source))
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
        return open_workspace(tmp_path / f"{name}.yaml")

    return make


def build(workspace, console):
    runs.run(workspace, Selection(), Engine(1), BuildOptions(max_holes=1.0), console)
    return mdfp.open(workspace.corpus.root)


def holes(workspace):
    files = sorted((workspace.corpus.folder / "commits").rglob("*.json"))
    return {h["case_id"]: h["reason"] for f in files for h in json.loads(f.read_text())["holes"]}


def test_it_builds_what_a_full_inventory_builds(workspace_of, archive, console):
    deferred = workspace_of()
    lazy = {s.case_id: s for s in build(deferred, console).samples}
    full = workspace_of("full", "full")
    eager = {s.case_id: s for s in build(full, console).samples}
    taken = take_inventory(full, Engine(1), console)
    assert lazy
    assert set(lazy) <= set(eager)  # series of one volume have the same ids either way
    for case_id, sample in lazy.items():
        other = eager[case_id]
        assert (sample.patient, sample.study, sample.series) == (other.patient, other.study, other.series)
        assert (sample.group, sample.modalities, sample.license) == (other.group, other.modalities, other.license)
        assert sample.days_from_first == other.days_from_first
        assert [i.content_hash for i in sample.images] == [i.content_hash for i in other.images]
        assert sample.findings == other.findings
    # Every series is a sample or a hole, and a hole has the reason that the full inventory rejects the series for.
    missing = holes(deferred)
    assert len(lazy) + len(missing) == len(archive[1])
    rejected = {r.case_id: str(r.reason) for r in taken.rejects}
    several = {c for c, reason in missing.items() if reason == "not_a_volume"}
    assert missing
    for case_id, reason in missing.items():
        if case_id not in several and reason != "duplicate":
            assert rejected[case_id] == reason


def test_nothing_is_read_before_the_build(workspace_of, archive, console, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the bucket was looked at")

    for name in ("list", "below", "read", "read_object"):
        monkeypatch.setattr(SourceStore, name, refuse)
    workspace = workspace_of()
    taken = take_inventory(workspace, Engine(1), console)
    assert taken.counts[SOURCE].listed == len(archive[1])
    assert taken.counts[SOURCE].balanced()
    made = plan(workspace, Selection(), console)
    assert made.planned == len(archive[1])
    patients = {r.patient_id for r in archive[1]}
    assert len(set(made.table["group"].to_pylist())) == len(patients)


def test_no_id_of_the_table_reaches_the_corpus(workspace_of, archive, console):
    workspace = workspace_of()
    take_inventory(workspace, Engine(1), console)
    plan(workspace, Selection(), console)
    told = {v for r in archive[1] for v in (r.patient_id, r.series_instance_uid, r.study_instance_uid)}
    files = [f for f in workspace.corpus.folder.rglob("*") if f.is_file()]
    texts = [
        str(pq.read_table(f).to_pylist()) if f.suffix == ".parquet" else f.read_bytes().decode(errors="replace")
        for f in files
    ]
    assert not [v for v in told for text in texts if v in text]


def test_a_second_inventory_is_the_first(workspace_of, console):
    workspace = workspace_of()
    first = take_inventory(workspace, Engine(1), console)
    before = {f: f.read_bytes() for f in workspace.corpus.folder.rglob("*") if f.is_file()}
    second = take_inventory(workspace, Engine(1), console)
    assert second.folder == first.folder
    assert {f: f.read_bytes() for f in workspace.corpus.folder.rglob("*") if f.is_file()} == before


def test_what_the_manifest_leaves_out_is_a_reject(workspace_of, archive, console):
    uid = archive[1][0].series_instance_uid
    workspace = workspace_of(manifest={"exclude": {uid: "not this one"}, "public_ids": True})
    taken = take_inventory(workspace, Engine(1), console)
    assert [(str(r.reason), r.detail, r.path) for r in taken.rejects] == [
        ("excluded", "excluded by the source manifest: not this one", archive[1][0].folder)
    ]
    assert taken.table.deciding.num_rows == len(archive[1]) - 1
    none = workspace_of(name="none", manifest={"layout": {"kind": "dicom", "modalities": ["MR"]}})
    assert {str(r.reason) for r in take_inventory(none, Engine(1), console).rejects} == {"not_selected"}


def spoiled(archive, tmp_path, change):
    rows = [change(r) for r in archive[1]]
    file = tmp_path / "spoiled.parquet"
    pq.write_table(arrow.to_table(PublishedSeries, rows), file)
    return file


def test_a_folder_that_is_not_as_published_is_a_hole(workspace_of, archive, console, tmp_path):
    first, second = sorted(archive[1], key=lambda r: r.folder)[:2]

    def change(row):
        if row is first:
            return type(row)(**{**vars(row), "instances": row.instances + 1})
        return type(row)(**{**vars(row), "folder": hashlib.sha256(b"gone").hexdigest()}) if row is second else row

    workspace = workspace_of(table=spoiled(archive, tmp_path, change))
    build(workspace, console)
    assert sorted(r for r in holes(workspace).values() if r in ("source_changed", "missing_file")) == [
        "missing_file",
        "source_changed",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "../other"}, "expected folders below the source's root, found '../other'"),
        ({"folder": "/etc"}, "expected folders below the source's root, found '/etc'"),
        ({"folder": "same"}, "expected every folder once"),
        ({"series_instance_uid": "1.2"}, "expected every series_instance_uid once"),
        ({"license": "CC-BY-5"}, "unknown licence 'CC-BY-5'"),
        ({"instances": 0}, "at least one instance"),
    ],
)
def test_a_wrong_table_is_told(workspace_of, archive, console, tmp_path, change, message):
    file = spoiled(archive, tmp_path, lambda r: type(r)(**{**vars(r), **change}))
    with pytest.raises(UsageError, match=message):
        take_inventory(workspace_of(table=file), Engine(1), console)


def test_a_table_with_other_columns_is_told(workspace_of, console, tmp_path):
    file = tmp_path / "other.parquet"
    pq.write_table(arrow.to_table(PublishedSeries, []).drop_columns(["license"]), file)
    with pytest.raises(UsageError, match=r"expected the columns .* license missing"):
        take_inventory(workspace_of(table=file), Engine(1), console)
    file.write_text("not parquet")
    with pytest.raises(UsageError, match="expected parquet"):
        take_inventory(workspace_of(name="text", table=file), Engine(1), console)
    with pytest.raises(UsageError, match="found nothing"):
        take_inventory(workspace_of(name="gone", table=tmp_path / "gone.parquet"), Engine(1), console)


@pytest.mark.parametrize(
    ("inventory", "manifest", "use", "message"),
    [
        ("deferred", {}, {"table": None}, "so it needs table:"),
        ("full", {}, {"table": "x.parquet"}, "found inventory: full"),
        ("deferred", {"layout": {"kind": "dicom", "path": "{case}/**"}}, {}, "whose path has no fields"),
        ("deferred", {"split": {"*": "test"}}, {}, "takes patients from its table"),
    ],
)
def test_a_manifest_and_a_table_that_do_not_go_together_are_told(
    workspace_of, console, inventory, manifest, use, message
):
    with pytest.raises(UsageError, match=message):
        take_inventory(workspace_of(inventory, manifest=manifest, use=use), Engine(1), console)
