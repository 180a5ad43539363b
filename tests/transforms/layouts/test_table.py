"""Tables and folders: what cells mean is in the manifest, totally; rows of a case are taken together; nothing is lost."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mdfp.errors import UsageError
from schemas.reasons import Reason
from schemas.source import Source
from transforms import layouts
from transforms.pseudonym import PatientKeys
from transforms.rejected import Rejected
from transforms.store import ListedObject

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
STATES = {"1": "present", "0": "absent", "-1": "uncertain", "": "unknown"}


def source(layout, patient=None):
    content = {
        "id": "toy",
        "title": "Toy",
        "public_ids": True,
        "patient": {"namespace": "toy", **({"id": patient} if patient else {})},
        "layout": {
            "kind": "table",
            "path": "t.csv",
            "images": [{"name": "xray", "modality": "DX", "file": "{f}.png"}],
            **layout,
        },
    }
    return Source.model_validate(content)


def grouped(layout, tables, *, files=None, patient=None):
    """What becomes of tables (name → CSV text or bytes) and files (by default those that the column f names)."""
    contents = {name: t.encode() if isinstance(t, str) else t for name, t in tables.items()}
    if files is None:
        files = [f"{line.split(',')[0]}.png" for line in tables["t.csv"].strip().splitlines()[1:]]
    listing = [ListedObject(p, 10, "v1") for p in dict.fromkeys([*files, *contents])]

    def read(path):
        if path not in contents:
            raise Rejected(Reason.MISSING_FILE, "not there")
        return contents[path]

    found = layouts.group(source(layout, patient), listing, read, KEYS)
    assert found.counts.balanced()
    return found


def said(case):
    return [(a.name, a.value, a.state) for a in case.told.annotations]


def test_states_come_from_cells_and_numbers_may_be_written_otherwise():
    layout = {"findings": [{"named": {"Edema": "edema", "Mass": "mass"}, "values": STATES}]}
    found = grouped(layout, {"t.csv": "f,Edema,Mass\na,1.0,0\nb,-1.0,\n"})
    assert said(found.cases[0]) == [("edema", None, "present"), ("mass", None, "absent")]
    assert said(found.cases[1]) == [("edema", None, "uncertain"), ("mass", None, "unknown")]


def test_a_cell_without_a_meaning_rejects_its_case_alone_and_is_not_quoted():
    layout = {"findings": [{"columns": ["Edema"], "values": STATES}]}
    found = grouped(layout, {"t.csv": "f,Edema\na,1\nb,John Doe\n"})
    (fault,) = found.cases[1].faults
    assert fault.reason is Reason.BAD_ANNOTATION
    assert "'Edema'" in fault.detail
    assert "John" not in fault.detail
    assert found.cases[0].faults == ()


def test_a_list_in_a_cell_says_present_and_the_rest_what_the_manifest_says():
    layout = {"findings": [{"column": "L", "names": {"Mass": "mass", "Edema": "edema"}, "nothing": ["No Finding"]}]}
    found = grouped(layout, {"t.csv": "f,L\na,Mass|Edema\nb,No Finding\nc,Mass\nd,Hernia\n"})
    assert [said(c) for c in found.cases[:3]] == [
        [("mass", None, "present"), ("edema", None, "present")],
        [("mass", None, "absent"), ("edema", None, "absent")],
        [("mass", None, "present"), ("edema", None, "absent")],
    ]
    assert found.cases[3].faults[0].reason is Reason.BAD_ANNOTATION
    layout["findings"][0]["others"] = "unknown"
    assert said(grouped(layout, {"t.csv": "f,L\na,Mass\n"}).cases[0])[1] == ("edema", None, "unknown")


def test_classes_and_measurements():
    layout = {
        "classes": [
            {"column": "dx", "name": "diagnosis", "values": {"mel": "melanoma", 0: "nevus"}, "level": "patient"}
        ],
        "measurements": [{"column": "ef", "name": "ejection_fraction", "unit": "%", "level": "study"}],
    }
    found = grouped(layout, {"t.csv": "f,dx,ef\na,mel,55.5\nb,0,\n"})
    assert said(found.cases[0]) == [("diagnosis", "melanoma", "present"), ("ejection_fraction", "55.5 %", "present")]
    assert said(found.cases[1]) == [("diagnosis", "nevus", "present")]
    assert {a.image for a in found.cases[0].told.annotations} == {None}


BOX = {"corner": ["x", "y"], "size": ["w", "h"], "name": "nodule"}


@pytest.mark.parametrize(
    ("box", "cells", "index"),
    [
        (BOX, "10,20,5,7", (9.5, 19.5, 0, 14.5, 26.5, 0)),
        (BOX | {"measured": "centres"}, "10,20,5,7", (10, 20, 0, 15, 27, 0)),
        (BOX | {"centred": True}, "10,20,4,6", (7.5, 16.5, 0, 11.5, 22.5, 0)),
        ({"corner": ["x", "y"], "opposite": ["w", "h"], "name": "n"}, "10,20,15,27", (9.5, 19.5, 0, 14.5, 26.5, 0)),
    ],
)
def test_boxes_become_indices_of_pixel_centres(box, cells, index):
    (case,) = grouped({"boxes": [box]}, {"t.csv": f"f,x,y,w,h\na,{cells}\n"}).cases
    assert case.told.annotations[0].index_xyz == pytest.approx(index)
    assert case.told.annotations[0].image == "xray"


def test_fractions_wait_for_the_size_of_the_picture():
    (case,) = grouped({"boxes": [BOX | {"unit": "fraction"}]}, {"t.csv": "f,x,y,w,h\na,.25,.5,.5,.25\n"}).cases
    assert case.told.fractions[0].index_xyz == (0.25, 0.5, 0, 0.75, 0.75, 0)


@pytest.mark.parametrize("cells", ["10,20,0,7", "10,20,-3,7", "10,,5,7", "10,here,5,7", "10,nan,5,7"])
def test_a_box_that_is_none_rejects_its_case(cells):
    (case,) = grouped({"boxes": [BOX]}, {"t.csv": f"f,x,y,w,h\na,{cells}\n"}).cases
    assert case.faults[0].reason is Reason.BAD_ANNOTATION


def test_rows_of_another_table_are_joined_by_the_case():
    layout = {"boxes": [BOX | {"table": "b.csv"}], "points": [{"at": ["x", "y"], "column": "w", "table": "b.csv"}]}
    tables = {"t.csv": "f\na\nb\n", "b.csv": "f,x,y,w,h\nb,1,2,3,4\nb,5,6,7,8\nzz,1,1,1,1\n"}
    first, second = grouped(layout, tables).cases
    assert first.told.annotations == ()
    assert [(a.kind, a.name) for a in second.told.annotations] == [
        ("box", "nodule"), ("box", "nodule"), ("point", "3"), ("point", "7"),
    ]  # fmt: skip


def test_rows_of_one_case_bring_several_pictures_and_each_box_finds_its_own():
    layout = {"case": "{s}", "boxes": [BOX], "classes": [{"column": "v", "name": "view"}]}
    table = "f,s,v,x,y,w,h\na,1,AP,1,1,2,2\nb,1,LAT,5,5,2,2\n"
    (case,) = grouped(layout, {"t.csv": table}).cases
    assert [(a.name, a.objects[0][0].path) for a in case.images] == [("xray", "a.png"), ("xray_2", "b.png")]
    assert [(a.name, a.value, a.image) for a in case.told.annotations] == [
        ("view", "AP", "xray"), ("view", "LAT", "xray_2"), ("nodule", None, "xray"), ("nodule", None, "xray_2"),
    ]  # fmt: skip


def test_two_rows_that_exclude_each_other_reject_the_case():
    layout = {"case": "{s}", "classes": [{"column": "v", "name": "view", "level": "study"}]}
    (case,) = grouped(layout, {"t.csv": "f,s,v\na,1,AP\nb,1,LAT\n"}).cases
    assert "differ in 'view'" in case.faults[0].detail


def test_texts_come_from_cells_and_files():
    layout = {
        "texts": [
            {"name": "report", "file": "r/{f}.txt", "language": "en"},
            {"name": "impression", "kind": "impression", "column": "i"},
        ]
    }
    files = ["a.png", "b.png", "r/a.txt", "r/other.txt", "readme.md"]
    found = grouped(layout, {"t.csv": "f,i\na,clear\nb,\n"}, files=files)
    texts = found.cases[0].told.texts
    assert [(t.name, t.object.path if t.object else None, t.value) for t in texts] == [
        ("report", "r/a.txt", None),
        ("impression", None, "clear"),
    ]
    assert found.cases[1].told.texts == ()
    assert found.counts.side == 3  # the table, the readme, a text that no row names


def test_a_cell_too_long_for_a_report_rejects_its_case_alone():
    layout = {"texts": [{"name": "report", "column": "r"}]}
    found = grouped(layout, {"t.csv": f"f,r\na,{'x' * 190_000}\nb,{'x' * 210_000}\n"})
    assert [[f.reason for f in c.faults] for c in found.cases] == [[], [Reason.BAD_ANNOTATION]]


def test_people_come_from_columns():
    layout = {"sex": {"column": "g", "values": {"0": "F", "1": "M"}}, "age": "age", "site": "site", "split": "set"}
    table = "f,g,age,site,set,pid\na,1,058Y,Bern,Training,7\nb,0,104,,TEST,7\nc,,,,other,8\n"
    found = grouped(layout, {"t.csv": table}, patient="p{pid}")
    assert [(c.told.sex, c.told.age_years, c.told.site, c.split, c.told.patient) for c in found.cases] == [
        ("M", 58, "Bern", "train", "p7"), ("F", 90, None, "test", "p7"), (None, None, None, None, "p8"),
    ]  # fmt: skip


def test_a_row_without_its_patient_is_nobodys():
    found = grouped({}, {"t.csv": "f,pid\na,7\nb,\n"}, patient="{pid}")
    assert found.cases[1].faults[0].reason is Reason.BAD_ANNOTATION
    assert "name the patient" in found.cases[1].faults[0].detail


def test_every_file_and_every_row_is_accounted_for():
    found = grouped({}, {"t.csv": "f\na\ngone\n"}, files=["a.png", "stray.png", "notes.txt"])
    assert [(c.name, [f.reason for f in c.faults]) for c in found.cases] == [("a", []), ("gone", [Reason.MISSING_FILE])]
    assert [(r.reason, r.path) for r in found.rejects] == [(Reason.UNMATCHED, "stray.png")]


def test_paths_of_a_table_stay_below_the_root():
    table = "f\n../../etc/passwd\n/a\n./b\nc\\d\n"
    found = grouped({}, {"t.csv": table}, files=["a.png", "b.png", "c/d.png"])
    kept = [i.objects[0][0].path for c in found.cases for i in c.images]
    assert sorted(kept) == ["a.png", "b.png", "c/d.png"]
    assert sum(bool(c.faults) for c in found.cases) == 1


def test_a_file_that_two_rows_name_is_one_cases():
    found = grouped({"case": "{s}"}, {"t.csv": "f,s\na,1\na,2\n"})
    assert [[f.reason for f in c.faults] for c in found.cases] == [[], [Reason.CONFLICTING_FILES]]


def test_parquet_reads_as_csv_does():
    layout = {"findings": [{"columns": ["Edema"], "values": STATES}]}
    buffer = io.BytesIO()
    pq.write_table(pa.table({"f": ["a", "b"], "Edema": [1.0, None]}), buffer)
    made = source({**layout, "path": "t.parquet"})
    listing = [ListedObject(p, 10, "v1") for p in ("a.png", "b.png", "t.parquet")]
    found = layouts.group(made, listing, lambda _: buffer.getvalue(), KEYS)
    assert [said(c) for c in found.cases] == [[("Edema", None, "present")], [("Edema", None, "unknown")]]


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"t.csv": "g\na\n"}, r"t.csv: no column 'f'"),
        ({"t.csv": b"f\n\xff\xfe\n"}, "UTF-8"),
        ({"x.csv": "f\na\n"}, "names the table 't.csv'"),
        ({"t.csv": "f\rg,h\na\n"}, "line 0 is no line of a table"),
    ],
)
def test_a_table_that_does_not_fit_stops_with_a_message(tables, message):
    with pytest.raises(UsageError, match=message):
        grouped({}, tables, files=["a.png"])


@pytest.mark.parametrize("damage", ["cut", "not text", "no file"])
def test_a_damaged_parquet_file_stops_with_a_message(damage):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"f": ["aaaaaaaa", "bbbbbbbb"]}), buffer, compression="none", write_statistics=False)
    whole = buffer.getvalue()
    data = {"cut": whole[:-9], "not text": whole.replace(b"bbbbbbbb", b"bbb\xff\xfebbb"), "no file": b""}[damage]
    listing = [ListedObject(p, 10, "v1") for p in ("a.png", "t.parquet")]
    assert layouts.group(source({"path": "t.parquet"}), listing, lambda _: whole, KEYS).counts.balanced()
    with pytest.raises(UsageError, match=r"t.parquet: expected a Parquet file"):
        layouts.group(source({"path": "t.parquet"}), listing, lambda _: data, KEYS)


def test_a_column_that_a_parquet_file_lacks_is_named():
    buffer = io.BytesIO()
    pq.write_table(pa.table({"g": ["a"]}), buffer)
    listing = [ListedObject("t.parquet", 10, "v1")]
    with pytest.raises(UsageError, match=r"t.parquet: no column 'f'"):
        layouts.group(source({"path": "t.parquet"}), listing, lambda _: buffer.getvalue(), KEYS)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({"images": [{"name": "xray", "modality": "DX", "file": "a.png"}]}, "a template names a column in braces"),
        ({"boxes": [{"corner": ["x", "y"], "name": "n"}]}, "needs size"),
        ({"boxes": [{"corner": ["x", "y"], "size": ["w", "h"]}]}, "either name"),
        ({"boxes": [BOX | {"image": "mri"}]}, r"images: has \['xray'\]"),
        ({"findings": [{"columns": ["a"], "values": {"1": "yes"}}]}, "present"),
        ({"texts": [{"name": "r"}]}, "stands in column"),
    ],
)
def test_manifests_that_make_no_sense_are_explained(layout, message):
    with pytest.raises(ValueError, match=message):
        source(layout)


def folders(paths, **more):
    layout = {
        "kind": "folders",
        "image": {"name": "photo", "modality": "XC", "path": "{split}/{dx}/{case}.jpg"},
        "classes": [{"field": "dx", "name": "diagnosis", "values": {"mel": "melanoma", "nv": "nevus"}}],
        "split": "split",
        **more,
    }
    content = {"id": "toy", "title": "Toy", "public_ids": True, "patient": {"namespace": "toy"}, "layout": layout}
    listing = [ListedObject(p, 10, "v1") for p in paths]
    return layouts.group(Source.model_validate(content), listing, lambda _: b"", KEYS)


def test_a_folder_is_a_class():
    found = folders(["train/mel/1.jpg", "train/nv/1.jpg", "val/nv/2.jpg", "train/other/3.jpg", "stray.jpg"])
    assert found.counts.balanced()
    good = [c for c in found.cases if not c.faults]
    assert [(c.name, c.split, said(c)) for c in good] == [
        ("train_mel_1", "train", [("diagnosis", "melanoma", "present")]),
        ("train_nv_1", "train", [("diagnosis", "nevus", "present")]),
        ("val_nv_2", "val", [("diagnosis", "nevus", "present")]),
    ]
    assert [c.faults[0].reason for c in found.cases if c.faults] == [Reason.BAD_ANNOTATION]
    assert [(r.reason, r.path) for r in found.rejects] == [(Reason.UNMATCHED, "stray.jpg")]


def test_a_class_that_is_no_field_is_explained():
    with pytest.raises(ValueError, match=r"the field 'grade' is not in the path"):
        folders([], classes=[{"field": "grade", "name": "grade"}])
