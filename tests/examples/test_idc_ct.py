"""The planned corpus of the whole archive: it is what its query gives, and it runs on a bucket with the archive's keys."""

from __future__ import annotations

import importlib.util
import json
import shutil
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import mdfp
from catalog import archive_query, idc_source
from catalog import sources as catalog_sources
from catalog.idc import Archive
from examples.phantom import anatomy, files
from examples.phantom.dicom_file import RESCALE_INTERCEPT, Series, slice_file
from examples.phantom.scale import SCALES
from examples.phantom.scan import CT_HU, render, scan_grid
from mdfp import arrow
from mdfp.errors import UsageError
from pipelines.cli import app
from schemas import recipe as recipes
from schemas.published import PublishedSeries
from tests.catalog.archive_tables import archive_of, series_of

FOLDER = Path(__file__).parents[2] / "examples" / "recipes" / "planned" / "idc-ct"
KEY = "a key for tests, of sixteen bytes and more"
"""With which the page's splits were drawn."""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("MDFP_PATIENT_KEY", KEY)


@pytest.fixture(scope="module")
def real():
    if importlib.util.find_spec("idc_index_data") is None:
        pytest.skip("the extra idc is not installed")
    found = Archive()
    if found.version != 25:
        pytest.skip(f"the recipe is that of release 25, installed is {found.version}")
    return found


def command(query, out, *more):
    done = CliRunner().invoke(app, ["archive", str(query), "--out", str(out), "--json", *more])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_is_what_its_query_gives(real, tmp_path):
    """The whole table: about twenty CPU seconds."""
    told = command(FOLDER / "query.yaml", tmp_path)
    written = {f.name for f in FOLDER.iterdir() if f.suffix in (".yaml", ".md")} - {"query.yaml"}
    assert written == {f.name for f in tmp_path.iterdir() if f.suffix in (".yaml", ".md")}
    for name in written:
        assert (FOLDER / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8"), (
            f"write it anew: MDFP_PATIENT_KEY='{KEY}' python -m pipelines archive query.yaml --out ."
        )
    facts, cost = told["facts"], told["cost"]
    assert facts["series"] >= 160_000
    assert cost["totals"]["cases"] + told["left_out"] == facts["series"]
    assert (
        sum(s["series"] for s in told["splits"]) == sum(s["series"] for s in told["sources"]) == cost["totals"]["cases"]
    )
    assert sum(s["patients"] for s in told["splits"]) == facts["patients"]  # nobody is in two
    assert sum(s["shards"] for s in told["splits"]) == cost["totals"]["shards"]
    assert cost["totals"]["bytes_in"] == facts["bytes"]
    assert told["spent"]["cpu_seconds"] < 60
    page = (FOLDER / "blueprint.md").read_text(encoding="utf-8")
    assert len(page) < 10_000
    for number in (facts["series"], facts["patients"], facts["instances"], cost["totals"]["shards"]):
        assert f"{number:,}" in page


def a_few(real):
    """Of each source of the recipe a series or two with few slices: source -> rows of the real table."""
    query = archive_query.load(FOLDER / "query.yaml")
    selected = real.select(query.selection())
    drafted = idc_source.draft(selected, query.name, accept=query.licenses)
    few = {}
    for number, (source, table) in enumerate(sorted(drafted.tables.items())):
        apart = table.sort_by([("instances", "ascending"), ("series_instance_uid", "ascending")])
        # Of different patients, so that none of them is a duplicate of the other.
        first = pc.equal(apart["patient_id"], apart["patient_id"][0])
        other = apart.filter(pc.invert(first))
        few[source] = pa.concat_tables([apart.slice(0, 1), other.slice(0, 1 if number < 2 else 0)])
    return few


def scan(root, row):
    """Instances of a doll under the keys that the archive has for a series."""
    scale = SCALES["small"]
    body = anatomy.person(row["series_instance_uid"], size=scale.body)
    thick = scale.extent_ras_mm[2] / row["instances"]
    grid = scan_grid(body.centre_ras_mm, scale.extent_ras_mm, (12.0, 12.0, thick), "LPS")
    hu = render(body, grid, CT_HU, seed=row["series_instance_uid"], floor=-1024)
    like = Series(row["patient_id"], row["folder"], "CT", manufacturer="Phantom Works", slice_gap_factor=1.0)
    assert len(hu) == row["instances"]
    for k, pixels in enumerate((hu - RESCALE_INTERCEPT).astype("int16")):
        name = uuid.uuid5(uuid.NAMESPACE_OID, f"{row['folder']} {k}")
        files.put(root, f"{row['folder']}/{name}.dcm", slice_file(like, pixels, grid, k, instance_number=k + 1))


def test_the_recipe_runs_on_a_bucket_with_the_archives_keys(real, tmp_path):
    """The checked-in recipe and manifests, with a handful of rows of the real table and a local copy of their keys."""
    work = shutil.copytree(FOLDER, tmp_path / "idc-ct")
    few = a_few(real)
    used = recipes.load(work / "recipe.yaml").sources
    assert {u.id for u in used} == set(few)
    roots = []
    for use in used:
        bucket = tmp_path / use.root.removeprefix("s3://")
        pq.write_table(few[use.id], work / use.table)
        for row in few[use.id].to_pylist():
            scan(bucket, row)
        roots += ["--root", f"{use.id}={bucket}"]
    done = CliRunner().invoke(
        app, ["run", str(work / "recipe.yaml"), *roots, "--json", "--quiet", "--workers", "1"]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = [r for table in few.values() for r in table.to_pylist()]
    assert json.loads(done.stdout)["samples"] == len(rows) == 6
    corpus = mdfp.open(str(work / "out" / "idc-ct"))
    licences = {source: {r["license"] for r in table.to_pylist()} for source, table in few.items()}
    assert {s.source: {s.license} for s in corpus.samples} == licences
    assert len({s.patient for s in corpus.samples}) == len({r["patient_id"] for r in rows})
    assert {s.split for s in corpus.samples} <= {"train", "val", "test"}
    told = (work / "out" / "idc-ct" / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for source in catalog_sources.resolve_all(recipes.load(work / "recipe.yaml"), work).values():
        assert all(work_cited in told for work_cited in source.terms.citation)
    published = [
        p for p in (work / "out" / "idc-ct").rglob("*") if p.is_file() and p.suffix in (".json", ".md", ".html")
    ]
    for row in rows:
        assert not [p for p in published if row["series_instance_uid"] in p.read_text(encoding="utf-8")]


# The command, on a small archive


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    rows = series_of(
        a={"aws_bucket": "idc-open-data"},
        b={"aws_bucket": "idc-open-data", "PatientID": "P2"},
        nc={"aws_bucket": "idc-open-data", "license_short_name": "CC BY-NC 4.0"},
        mouse={"aws_bucket": "idc-open-data", "collection_id": "mice"},
        few={"aws_bucket": "idc-open-data", "instanceCount": 39},
    )
    archive_of(folder, rows)
    return folder


def test_it_counts_plans_and_prices(small, tmp_path):
    query = tmp_path / "q.yaml"
    query.write_text("name: lungs\nfit_3d: true\nlicenses: [CC-BY-4.0]\n")
    told = command(query, tmp_path / "plan", "--tables", str(small))
    assert (told["facts"]["series"], told["facts"]["patients"], told["release"]) == (2, 2, 25)
    assert [s["source"] for s in told["sources"]] == ["lungs-cc-by-4.0"]
    assert told["left_out"] == 0
    assert told["works_to_cite"] == 1
    assert told["cost"]["totals"]["bytes_in"] == 121_000_000
    assert set(told["spent"]) == {"cpu_seconds", "wall_seconds", "load_average"}
    page = (tmp_path / "plan" / "blueprint.md").read_text()
    assert "**2 series** of 2 patients" in page
    assert "| of people | 4 |" in page
    assert "| at least 40 instances | 3 |" in page
    assert "| under the licences and conditions of this query | 2 |" in page
    table = pq.read_table(tmp_path / "plan" / "lungs-cc-by-4.0.parquet")
    assert table.schema.equals(arrow.arrow_schema(PublishedSeries))
    assert list((tmp_path / "plan" / "out" / "lungs" / "plans").iterdir())  # build goes on from here
    again = CliRunner().invoke(app, ["archive", str(query), "--out", str(tmp_path / "plan"), "--tables", str(small)])
    assert again.exit_code == 2
    assert "--force replaces it" in again.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nlicenses: [CC-BY-5.0]\n", "unknown licence 'CC-BY-5.0'"),
        ("name: x\nfit3d: true\n", "fit_3d"),
        ("name: Not A Name\n", "name"),
        ("fit_3d: true\n", "name"),
    ],
)
def test_a_wrong_query_is_told(tmp_path, text, message):
    (tmp_path / "q.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        archive_query.load(tmp_path / "q.yaml")


RULES = {
    "fit_3d": ("fit_3d: true", 3),
    "modalities": ("modalities: [CT]", 5),
    "licenses": ("licenses: [CC-BY-NC-4.0]", 1),
    "collections": ("collections: [mice]", 1),
    "body_parts": ("body_parts: [CHEST]", 5),
    "min_instances": ("min_instances: 40", 4),
    "where": ("where: PatientID = 'P2'", 1),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_a_query_reaches_the_table(small, tmp_path, rule):
    text, count = RULES[rule]
    (tmp_path / "q.yaml").write_text(f"name: x\n{text}\n")
    query = archive_query.load(tmp_path / "q.yaml")
    assert Archive(small).select(query.selection()).series.num_rows == count
    assert set(RULES) | {"name"} == set(archive_query.ArchiveQuery.model_fields)
