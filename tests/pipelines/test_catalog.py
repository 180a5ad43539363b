"""The catalog's commands: tables for people, one line of JSON for machines, wrong use told as elsewhere."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from catalog import datasets
from pipelines.cli import app


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
    assert shown["sources"] == {"kits23": {"license": None}}


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
    assert result("sql", statement) == {"rows": [{"n": 102, "l": [1, 2]}]}
    assert "102" in call("sql", statement).stdout


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
