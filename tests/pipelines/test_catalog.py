"""The catalog's commands: tables for people, one line of JSON for machines, wrong use told as elsewhere."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from catalog import datasets
from pipelines.cli import app
from tests.catalog.archive_tables import archive_of, series_of


def call(*words):
    return CliRunner().invoke(app, ["catalog", *words])


def result(*words):
    done = call(*words, "--json")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


FILTERS = {
    "WORD": (["stroke"], lambda d: "stroke" in json.dumps(d).lower()),
    "--modality": (["--modality", "us"], lambda d: "US" in d["modalities"]),
    "--dimension": (["-d", "video"], lambda d: "video" in d["dimensions"]),
    "--task": (["-t", "tracking"], lambda d: "tracking" in d["tasks"]),
    "--anatomy": (["-a", "kidney"], lambda d: "kidney" in d["anatomies"]),
    "--structure": (["--structure", "kidney_cyst"], lambda d: any("kidney_cyst" in s for s in d["structures"])),
    "--license": (["-l", "CC0-1.0", "-l", "MIT"], lambda d: d["license"] in ("CC0-1.0", "MIT")),
    "--access": (["--access", "agreement"], lambda d: d["access"] == "agreement"),
    "--label": (["--label", "mixed"], lambda d: d["label"] == "mixed"),
    "--family": (["--family", "brats"], lambda d: d["family"] == "brats"),
    "--year": (["--year", "2010-2012"], lambda d: 2010 <= (d["year"] or 0) <= 2012),
    "--readable": (["--readable"], lambda d: d["sources"]),
}


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_reaches_the_search(name):
    words, fits = FILTERS[name]
    found = result("search", *words)
    rows = found["datasets"]
    assert all(fits(d) for d in rows)
    assert 0 < len(rows) == found["total"]["datasets"] < 972
    assert result("facets", *words)["total"] == found["total"]


def test_search_for_people():
    done = call("search", "--family", "kits")
    assert done.exit_code == 0
    assert all(i in done.stdout for i in ("kits19", "kits21", "kits23"))
    assert "3 data sets: 1,299 volumes, 0 images, 0 videos" in done.stdout
    assert "known links between them" in done.stdout
    few = call("search", "-m", "CT", "--limit", "2")
    assert "… and 287 more" in few.stdout


def test_show_says_facts_doubts_links_and_sources():
    done = call("show", "KiTS23")
    assert done.exit_code == 0
    assert all(t in done.stdout for t in ("license_missing", "kits21", "catalog/sources/kits23.yaml", "599"))
    shown = result("show", "kits23")
    assert shown["dataset"]["id"] == "kits23"
    assert {link["container"] for link in shown["links"]} == {"kits23", "m3d", None}
    doubt = "kits23: no licence counts where rows of the catalog say one: kits19 CC-BY-NC-SA-4.0"
    told = {"license": None, "origins": ["kits19", "kits21"], "doubts": [doubt]}
    assert shown["sources"] == {"kits23": told}


def test_show_says_where_two_licences_differ():
    assert "the catalog says" in call("show", "abdomenatlas").stdout


def test_facets_count_each_data_set_once_in_total():
    found = result("facets", "-m", "CT", "-m", "PT", "--by", "modality")
    counts = {v["value"]: v["datasets"] for v in found["facets"]["modality"]}
    assert sum(counts.values()) > found["total"]["datasets"]
    rows = [d for d in datasets.load().datasets if {"CT", "PT"} & set(d.modalities)]
    assert found["total"]["datasets"] == len(rows)
    assert found["total"]["volumes"] == sum(d.n_volumes or 0 for d in rows)


def test_export_and_sql_write_files(tmp_path):
    file = tmp_path / "ct.parquet"
    assert result("export", str(file), "-m", "CT") == {"file": str(file), "datasets": 289}
    assert pq.read_table(file).num_rows == 289
    assert call("export", str(file)).exit_code == 2
    out = tmp_path / "years.csv"
    found = result("sql", "select year, count(*) n from datasets group by year", "--out", str(out))
    assert len(out.read_text().splitlines()) == found["rows"] + 1


def test_sql_for_people_and_machines():
    statement = "select count(*) as n, [1, 2] as l from links where confidence = 'high'"
    assert result("sql", statement) == {"rows": [{"n": 106, "l": [1, 2]}]}
    assert "106" in call("sql", statement).stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "-m", "MRI"], "did you mean 'MR'"),
        (["search", "glioblastomma"], "did you mean 'glioblastoma'"),
        (["facets", "--by", "modalities"], "did you mean 'modality'"),
        (["show", "kits32"], "no data set 'kits32'"),
        (["search", "--year", "last"], "expected 2019, 2019-, -2021 or 2019-2021"),
        (["sql", "select nothing"], "sql: "),
        (["export", "x.xml"], "ends in .parquet, .csv, .jsonl"),
    ],
)
def test_wrong_use_is_told_and_exits_with_2(words, message):
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


# idc


@pytest.fixture
def tables(tmp_path):
    rows = series_of(
        a={"aws_bucket": "idc-open-data"},
        b={"aws_bucket": "idc-open-data", "Modality": "MR", "PatientID": "P2", "BodyPartExamined": "HEAD"},
        c={"aws_bucket": "idc-open-data", "instanceCount": 5, "license_short_name": "CC BY-NC 4.0"},
    )
    (tmp_path / "tables").mkdir()
    archive_of(tmp_path / "tables", rows)
    return str(tmp_path / "tables")


@pytest.mark.parametrize(
    ("words", "series"),
    [
        ([], 3),
        (["-m", "MR"], 1),
        (["--body-part", "chest"], 2),
        (["-c", "nice"], 3),
        (["-l", "CC-BY-NC-4.0"], 1),
        (["--min-instances", "6"], 2),
        (["--fit-3d"], 1),
        (["--where", "PatientID = 'P2'"], 1),
    ],
)
def test_every_option_of_idc_acts(tables, words, series):
    assert result("idc", "--tables", tables, *words)["facts"]["series"] == series


def test_idc_writes_what_can_be_planned(tables, tmp_path):
    done = call(
        "idc", "--tables", tables, "--write", str(tmp_path / "drafts"), "--name", "lungs", "--root", str(tmp_path)
    )
    assert done.exit_code == 0, done.output
    assert "3 series, 245 instances, 2 patients" in done.stdout
    (tmp_path / "idc-open-data").mkdir()
    recipe = str(tmp_path / "drafts" / "recipe.yaml")
    runner = CliRunner()
    taken = runner.invoke(app, ["inventory", recipe, "--json"])
    assert taken.exit_code == 0, taken.output
    assert json.loads(taken.stdout)["cases"] == 3
    planned = runner.invoke(app, ["plan", recipe, "--json"])
    assert planned.exit_code == 0, planned.output
    assert json.loads(planned.stdout)["cases"] == 2  # the non-commercial one is refused
    again = call("idc", "--tables", tables, "--write", str(tmp_path / "drafts"), "--name", "lungs")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_wrong_words_of_idc_are_told(tables, tmp_path):
    assert "did you mean 'CT'" in call("idc", "--tables", tables, "-m", "CTT").stderr
    assert "is not there" in call("idc", "--tables", str(tmp_path)).stderr
