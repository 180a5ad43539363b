"""Rows from a published table: the schema of an inventory, its pseudonyms and about its estimates, without a header read."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp import arrow
from mdfp.errors import UsageError
from schemas.case import ArrayHeader
from schemas.inventory import InventoryRow
from schemas.published import PublishedSeries
from schemas.recipe import Geometry
from schemas.source import Source
from transforms import deferred
from transforms.estimate import ArrayCost, estimate
from transforms.plan.inventory import records_of
from transforms.pseudonym import PatientKeys
from transforms.store import SourceStore

COARSE = Geometry(spacing_mm=(1.5, 1.5, 1.5))
KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
SOURCE = Source.model_validate(
    {"id": "idc", "title": "x", "patient": {"namespace": "idc"}, "layout": {"kind": "dicom"}, "inventory": "deferred"}
)
ROW = PublishedSeries(
    "u1", "1.2.1", "1.1", "P1", "nice", "CT", "CHEST", 300, 158_000_000, "CC-BY-4.0", None, "20010203"
)


def table_of(*rows):
    return arrow.to_table(PublishedSeries, rows)


def changed(row, **changes):
    return type(row)(**{**vars(row), **changes})


SERIES = st.builds(
    PublishedSeries,
    folder=st.integers(0, 10**6).map(lambda n: f"u{n}"),
    series_instance_uid=st.integers(0, 10**6).map(lambda n: f"1.2.{n}"),
    study_instance_uid=st.integers(0, 5).map(lambda n: f"1.1.{n}"),
    patient_id=st.sampled_from(["1", "2", "P-3"]),
    collection=st.sampled_from(["a", "b"]),
    modality=st.sampled_from(["CT", "MR", "PT"]),
    body_part=st.none(),
    instances=st.integers(1, 3000),
    bytes=st.integers(0, 10**10),
    license=st.sampled_from(["CC-BY-4.0", "LicenseRef-own"]),
    doi=st.none(),
    study_date=st.none() | st.sampled_from(["20010203", "20010210", "not a date", "00000000"]),
)


@given(st.lists(SERIES, max_size=12, unique_by=(lambda r: r.folder, lambda r: r.series_instance_uid)))
@settings(deadline=None)
def test_rows_say_what_the_table_says(series):
    table = table_of(*series)
    rows = deferred.rows(table, SOURCE, KEYS, COARSE)
    assert rows.schema.equals(arrow.arrow_schema(InventoryRow))
    assert rows.num_rows == len(series)
    for published, row, (case, objects) in zip(series, rows.to_pylist(), records_of(rows), strict=True):
        assert case.patient == KEYS.patient("idc", published.patient_id)
        assert (case.study, case.series) == (
            KEYS.uid(published.study_instance_uid),
            KEYS.uid(published.series_instance_uid),
        )
        assert (case.license, case.images[0].modality) == (published.license, published.modality)
        assert [(o.path, o.bytes, o.array) for o in objects] == [
            (published.folder, published.bytes, f"image:{published.modality.lower()}")
        ]
        assert (row["object_count"], row["object_bytes"]) == (published.instances, published.bytes)
        assert (row["study_day"] is None) == (published.study_date not in ("20010203", "20010210"))
        assert deferred.is_deferred(case)
    assert len(set(rows["case_id"].to_pylist())) == len(series)


def test_days_within_one_patient_can_be_counted():
    week = deferred.rows(
        table_of(ROW, changed(ROW, folder="u2", series_instance_uid="1.2.2", study_date="20010210")),
        SOURCE,
        KEYS,
        COARSE,
    )
    first, second = week["study_day"].to_pylist()
    assert second - first == 7


@pytest.mark.parametrize(
    "change", [{"folder": "u9"}, {"bytes": 1}, {"instances": 299}, {"license": "CC-BY-3.0"}, {"modality": "MR"}]
)
def test_another_fact_is_another_digest(change):
    one, other = (
        deferred.rows(table_of(r), SOURCE, KEYS, COARSE).to_pylist()[0] for r in (ROW, changed(ROW, **change))
    )
    names = ("case_digest", "objects_digest", "content_digest")
    assert [one[n] for n in names] != [other[n] for n in names]
    assert deferred.digest(table_of(ROW)) != deferred.digest(table_of(changed(ROW, **change)))


@pytest.mark.parametrize(
    "wanted", [COARSE, Geometry(), Geometry(spacing_mm=(3, 3, 3))], ids=["1.5 mm", "native", "3 mm"]
)
@pytest.mark.parametrize(("slices", "in_plane", "step"), [(300, 0.7, 1.0), (120, 0.8, 2.5), (150, 0.65, 2.0)])
def test_estimates_are_within_a_factor_of_three_of_those_from_headers(slices, in_plane, step, wanted):
    affine = tuple(np.diag([-in_plane, -in_plane, step, 1.0]).ravel().tolist())
    size = 512 * 512 * slices * 2
    header = ArrayHeader(
        "ct", "dicom", "zyx", (slices, 512, 512), (in_plane, in_plane, step), "LPS", affine, 0.0, "int16", 1.0, 0.0, None, "regular", size
    )  # fmt: skip
    seconds, stored = estimate([ArrayCost(header, "CT", instances=slices)], [], wanted)
    row = deferred.rows(table_of(changed(ROW, instances=slices, bytes=size)), SOURCE, KEYS, wanted).to_pylist()[0]
    assert 1 / 3 < row["estimated_seconds"] / seconds < 3
    assert 1 / 3 < row["estimated_bytes"] / stored < 3


def test_equal_tables_have_equal_digests_whatever_file_they_came_in(tmp_path):
    other = changed(ROW, folder="u0", series_instance_uid="1.2.0")
    pq.write_table(table_of(ROW, other), tmp_path / "one.parquet", compression="zstd")
    pq.write_table(table_of(other, ROW).cast(pa.schema(
        [pa.field(f.name, pa.large_string() if f.type == pa.string() else f.type) for f in arrow.arrow_schema(PublishedSeries)]
    )), tmp_path / "two.parquet", row_group_size=1)  # fmt: skip
    one, two = (deferred.read_table(tmp_path / f"{n}.parquet") for n in ("one", "two"))
    assert deferred.digest(one) == deferred.digest(two)


def test_a_missing_value_is_told(tmp_path):
    table = pa.table({f.name: pa.nulls(1, f.type) for f in arrow.arrow_schema(PublishedSeries)})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UsageError, match=r"x\.parquet: .*(folder|null)"):
        deferred.read_table(tmp_path / "x.parquet")


def test_a_folder_is_listed_without_its_neighbours(tmp_path):
    for name in ("u1/a.dcm", "u1/deep/b.dcm", "u10/c.dcm", "u1.dcm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(hashlib.sha256(name.encode()).digest())
    store = SourceStore(str(tmp_path))
    assert [o.path for o in store.below("u1")] == ["u1/a.dcm", "u1/deep/b.dcm"]
    assert [*store.below("u2")] == []
