"""The archive's table: a small one made here, where every rule can be seen to act, and the real one where it is installed."""

from __future__ import annotations

import importlib.util
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from catalog import idc
from catalog.idc import Archive, Selection
from mdfp import arrow
from mdfp.errors import UsageError
from schemas import licenses
from schemas.published import PublishedSeries
from tests.catalog.archive_tables import archive_of, series_of

SPOILED = {
    "modality": {"Modality": "MR"},
    "class": {"sop_class_name": "Secondary Capture Image Storage"},
    "colour": {"PhotometricInterpretation": "RGB"},
    "derived": {"analysis_result_id": "result"},
    "mouse": {"collection_id": "mice"},
    "phantom": {"BodyPartExamined": "Phantom"},
    "objects": {"collection_id": "objects"},
    "few": {"instanceCount": 39},
    "localizer": {"SeriesDescription": "LOCALIZER"},
    "scout": {"SeriesDescription": "AP Scout"},
    "report": {"SeriesDescription": "Dose Report"},
    "monitoring": {"SeriesDescription": "CTA SMARTPREP"},
    "mip": {"SeriesDescription": "axial MIP 8mm"},
}
"""Each breaks one rule of `FIT_FOR_3D`, or the least number of instances."""


@pytest.fixture
def archive(tmp_path):
    """One that fits, and one for each rule that it breaks."""
    return archive_of(tmp_path, series_of(good={}, **{k.replace(" ", "_"): v for k, v in SPOILED.items()}))


def uids(archive, **wanted):
    return set(archive.select(Selection(**wanted)).series["series_instance_uid"].to_pylist())


def test_only_what_breaks_no_rule_is_fit_for_3d(archive):
    assert uids(archive, fit_3d=True) == {"1.2.1"}
    assert len(uids(archive)) == 1 + len(SPOILED)


@pytest.mark.parametrize("rule", SPOILED)
def test_each_rule_acts(tmp_path, rule):
    archive = archive_of(tmp_path, series_of(good={}, spoiled=SPOILED[rule]))
    assert uids(archive, fit_3d=True) == {"1.2.1"}


def test_low_dose_is_no_report(tmp_path):
    archive = archive_of(
        tmp_path, series_of(none={"SeriesDescription": None}, topology={"SeriesDescription": "topology"})
    )
    assert len(uids(archive, fit_3d=True)) == 2


FILTERS = {
    "modalities": (("mr",), lambda r: r["Modality"] == "MR"),
    "body_parts": (("phantom",), lambda r: r["BodyPartExamined"] == "Phantom"),
    "collections": (("MICE",), lambda r: r["collection_id"] == "mice"),
    "licenses": (("CC-BY-NC-4.0", "LicenseRef-Some-terms-2019"), lambda r: r["license_short_name"] != "CC BY 4.0"),
    "min_instances": (120, lambda r: r["instanceCount"] >= 120),
    "where": ("species = 'Mouse' or instanceCount < 40", lambda r: r["collection_id"] == "mice" or r["instanceCount"] < 40),
}  # fmt: skip


@pytest.mark.parametrize("name", FILTERS)
def test_each_filter_acts(tmp_path, name):
    value, fits = FILTERS[name]
    rows = series_of(
        good={},
        nc={"license_short_name": "CC BY-NC 4.0"},
        own={"license_short_name": "Some terms; 2019"},
        **SPOILED,
    )
    found = uids(archive_of(tmp_path, rows), **{name: value})
    assert found == {r["SeriesInstanceUID"] for r in rows if fits(r)}
    assert 0 < len(found) < len(rows)


def test_series_stand_as_published(archive):
    row = archive.select(Selection(fit_3d=True)).series.to_pylist()[0]
    assert row == {
        "folder": "u1", "series_instance_uid": "1.2.1", "study_instance_uid": "1.1", "patient_id": "P1", "collection": "nice",
        "modality": "CT", "body_part": "CHEST", "instances": 120, "bytes": 60_500_000, "license": "CC-BY-4.0", "doi": "10.1/NICE",
        "study_date": "20010203", "bucket": "open",
    }  # fmt: skip


def test_facts_count_each_patient_once(tmp_path):
    rows = series_of(a={}, b={"collection_id": "both"}, c={"PatientID": "P2", "license_short_name": "CC BY-NC 4.0"})
    facts = archive_of(tmp_path, rows).select(Selection()).facts()
    assert (facts.series, facts.patients, facts.studies, facts.collections) == (3, 2, 1, 2)
    assert (facts.instances, facts.bytes) == (360, 181_500_000)
    assert {c.value: (c.series, c.patients) for c in facts.licenses} == {"CC-BY-4.0": (2, 1), "CC-BY-NC-4.0": (1, 1)}
    assert {c.value: c.series for c in facts.largest} == {"nice": 2, "both": 1}


def test_nothing_selected_adds_up_to_nothing(archive):
    selected = archive.select(Selection(min_instances=10_000))
    facts = selected.facts()
    assert (facts.series, facts.patients, facts.bytes, facts.licenses) == (0, 0, 0, ())
    assert selected.citations() == ()
    assert selected.parts() == {}


def test_citations_are_plain_text_under_the_strictest_licence(tmp_path):
    rows = series_of(
        a={}, b={"license_short_name": "CC BY-NC 3.0"}, c={"source_DOI": "10.1/result"}, d={"source_DOI": "10.1/other"}
    )
    found = {c.doi: c for c in archive_of(tmp_path, rows).select(Selection()).citations()}
    assert found["10.1/NICE"] == idc.Citation("10.1/NICE", 2, "CC-BY-NC-3.0", "A & B, nice of 2001")
    assert found["10.1/result"].text == "The result"
    assert found["10.1/other"].text is None


def test_each_bucket_and_licence_is_a_part(tmp_path):
    rows = series_of(a={}, b={"aws_bucket": "closed"}, c={}, d={"license_short_name": "CC BY 3.0"})
    parts = archive_of(tmp_path, rows).select(Selection()).parts()
    assert {k: t["folder"].to_pylist() for k, t in parts.items()} == {
        ("closed", "CC-BY-4.0"): ["u2"],
        ("open", "CC-BY-3.0"): ["u4"],
        ("open", "CC-BY-4.0"): ["u1", "u3"],
    }
    assert all(t.schema.equals(arrow.arrow_schema(PublishedSeries)) for t in parts.values())


def test_a_table_of_geometry_leaves_out_what_is_not_regular(tmp_path):
    archive = archive_of(tmp_path, series_of(a={}, b={}, c={}))
    file = tmp_path / "geometry.parquet"
    pq.write_table(
        pa.table({"SeriesInstanceUID": ["1.2.1", "1.2.2"], "regularly_spaced_3d_volume": [False, True]}), file
    )
    assert uids(archive, geometry=file) == {"1.2.2"}
    with pytest.raises(UsageError, match="expected the table volume_geometry_index"):
        uids(archive, geometry=tmp_path / "nothing.parquet")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"modalities": ("CTT",)}, "modalities: unknown word 'CTT'; did you mean 'CT'"),
        ({"body_parts": ("chst",)}, "body_parts: unknown word 'chst'; did you mean 'CHEST'"),
        ({"collections": ("nize",)}, "collections: unknown word 'nize'; did you mean 'nice'"),
        ({"licenses": ("CC-BY",)}, "licenses: unknown word 'CC-BY'; did you mean 'CC-BY-4.0'"),
        ({"where": "Modalty = 'CT'"}, "idc: .*Modalty"),
    ],
)
def test_wrong_words_are_told(archive, wanted, message):
    with pytest.raises(UsageError, match=message):
        uids(archive, **wanted)


def test_a_folder_without_tables_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"idc_index\.parquet of the archive is not there"):
        Archive(tmp_path)


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "idc_index_data", None)
    with pytest.raises(UsageError, match=r"mdfp\[idc\]"):
        Archive()


def test_licences_become_spdx(tmp_path):
    rows = series_of(a={}, b={"license_short_name": "Terms & Conditions; May 21, 2019"})
    found = archive_of(tmp_path, rows).select(Selection()).series["license"].to_pylist()
    assert found == ["CC-BY-4.0", "LicenseRef-Terms-Conditions-May-21-2019"]
    assert [licenses.check(i) for i in found] == found


# The real table


@pytest.fixture(scope="module")
def real():
    if importlib.util.find_spec("idc_index_data") is None:
        pytest.skip("the extra idc is not installed")
    found = Archive()
    if found.version != 25:
        pytest.skip(f"numbers are those of release 25, installed is {found.version}")
    return found


def test_the_real_table_is_whole(real):
    facts = real.select(Selection()).facts()
    assert (facts.series, facts.patients, facts.studies) == (1_044_191, facts.patients, facts.studies)
    counts = Counter({c.value: c.series for c in facts.licenses})
    assert counts["CC-BY-4.0"] == 877_215
    assert counts["CC-BY-3.0"] == 132_303
    assert sum(counts.values()) == facts.series


def test_ct_fit_for_3d_of_the_real_table(real):
    """The rule in Arrow over the raw table, beside the rule in SQL."""
    selected = real.select(Selection(fit_3d=True))
    columns = ("Modality", "sop_class_name", "PhotometricInterpretation", "analysis_result_id", "collection_id", "instanceCount",
        "SeriesDescription", "BodyPartExamined", "crdc_series_uuid", "series_size_MB")  # fmt: skip
    raw = pq.read_table(real.files["idc_index"], columns=list(columns))
    about = pq.read_table(real.files["collections_index"], columns=["collection_id", "species", "cancer_types"])
    human = about.filter(pc.match_substring(about["species"], "Human"))["collection_id"]
    objects = about.filter(pc.equal(about["cancer_types"], "Phantom"))["collection_id"]
    word = rf"\b({'|'.join(idc.NOT_A_VOLUME)})\b"
    phantom = [
        pc.fill_null(pc.match_substring(raw[c], "phantom", ignore_case=True), False)
        for c in ("collection_id", "BodyPartExamined")
    ]
    rules = [
        pc.equal(raw["Modality"], "CT"),
        pc.equal(raw["sop_class_name"], "CT Image Storage"),
        pc.equal(raw["PhotometricInterpretation"], "MONOCHROME2"),
        pc.is_null(raw["analysis_result_id"]),
        pc.is_in(raw["collection_id"], human.combine_chunks()),
        pc.invert(pc.is_in(raw["collection_id"], objects.combine_chunks())),
        pc.greater_equal(raw["instanceCount"], idc.MIN_INSTANCES),
        pc.invert(pc.fill_null(pc.match_substring_regex(raw["SeriesDescription"], word, ignore_case=True), False)),
        *(pc.invert(p) for p in phantom),
    ]  # fmt: skip
    keep = rules[0]
    for rule in rules[1:]:
        keep = pc.and_kleene(keep, rule)
    expected = raw.filter(pc.fill_null(keep, False))
    assert selected.series.num_rows == expected.num_rows >= 160_000
    assert set(selected.series["folder"].to_pylist()) == set(expected["crdc_series_uuid"].to_pylist())
    facts = selected.facts()
    assert facts.instances == pc.sum(expected["instanceCount"]).as_py()
    assert facts.bytes == pytest.approx(pc.sum(expected["series_size_MB"]).as_py() * 1e6, abs=facts.series)
    assert all(c.text for c in selected.citations())
    steps = real.steps()
    assert steps[0] == ("all series of the archive", 1_044_191)
    assert [n for _, n in steps] == sorted((n for _, n in steps), reverse=True)
    assert steps[-1][1] == selected.series.num_rows == 176_686
