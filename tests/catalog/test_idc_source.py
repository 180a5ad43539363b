"""What a selection of the archive becomes: manifests, tables and a recipe that load, and that fail closed."""

from __future__ import annotations

import pytest
import yaml

from catalog import idc_source, sources
from catalog.idc import Selection
from mdfp.errors import UsageError
from schemas import recipe as recipes
from tests.catalog.archive_tables import archive_of, series_of
from transforms import deferred


@pytest.fixture
def selected(tmp_path):
    rows = series_of(
        a={"aws_bucket": "idc-open-data"},
        b={"aws_bucket": "idc-open-data", "Modality": "MR", "license_short_name": "CC BY 3.0"},
        c={"aws_bucket": "idc-open-data-cr", "license_short_name": "CC BY-NC 4.0", "source_DOI": "10.1/unlisted"},
        d={"aws_bucket": "elsewhere"},
    )
    return archive_of(tmp_path, rows).select(Selection())


def test_its_files_load(selected, tmp_path):
    files = idc_source.draft(selected, "lungs").write(tmp_path / "new")
    recipe = recipes.load(files[0])
    assert {u.id: u.root for u in recipe.sources} == {
        "lungs-els-cc-by-4.0": "s3://elsewhere",
        "lungs-cc-by-3.0": "s3://idc-open-data",
        "lungs-cc-by-4.0": "s3://idc-open-data",
        "lungs-cr-cc-by-nc-4.0": "s3://idc-open-data-cr",
    }
    assert all(u.access.anonymous for u in recipe.sources)
    found = sources.resolve_all(recipe, files[0].parent)
    assert {i: s.inventory for i, s in found.items()} == dict.fromkeys(found, "deferred")
    assert {s.patient.namespace for s in found.values()} == {"idc"}  # one person, whichever bucket
    assert found["lungs-cc-by-4.0"].layout.modalities == ("CT",)
    for use in recipe.sources:
        table = deferred.read_table(files[0].parent / use.table)
        assert table.num_rows == 1
        assert table["license"].to_pylist() == [found[use.id].terms.license]


def test_terms_are_those_of_each_series_and_fail_closed(selected):
    made = idc_source.draft(selected, "lungs")
    assert made.recipe["terms"] == {"accept": ["CC-BY-3.0", "CC-BY-4.0"]}  # not the non-commercial one
    assert {s["terms"]["license"] for s in made.sources.values()} == {"CC-BY-3.0", "CC-BY-4.0", "CC-BY-NC-4.0"}
    assert idc_source.draft(selected, "lungs", accept=["CC-BY-NC-4.0"]).recipe["terms"] == {"accept": ["CC-BY-NC-4.0"]}


def test_every_doi_is_cited(selected):
    made = idc_source.draft(selected, "lungs")
    assert made.sources["lungs-cc-by-4.0"]["terms"]["citation"] == ["A & B, nice of 2001"]
    assert made.sources["lungs-cr-cc-by-nc-4.0"]["terms"]["citation"] == ["https://doi.org/10.1/unlisted"]


def test_copies_of_the_buckets_may_lie_elsewhere(selected):
    made = idc_source.draft(selected, "lungs", root="/data/idc/")
    buckets = ("elsewhere", "idc-open-data", "idc-open-data-cr")
    assert {u["root"] for u in made.recipe["sources"]} == {f"/data/idc/{b}" for b in buckets}
    assert not any("access" in u for u in made.recipe["sources"])


def test_files_that_are_there_stay(selected, tmp_path):
    (tmp_path / "lungs-cc-by-4.0.yaml").write_text("mine")
    made = idc_source.draft(selected, "lungs")
    with pytest.raises(UsageError, match=r"lungs-cc-by-4\.0\.yaml is there already; --force replaces it"):
        made.write(tmp_path)
    assert not (tmp_path / "recipe.yaml").exists()
    made.write(tmp_path, force=True)
    assert yaml.safe_load((tmp_path / "lungs-cc-by-4.0.yaml").read_text())["id"] == "lungs-cc-by-4.0"


def test_nothing_selected_and_bad_names_are_told(selected, tmp_path):
    with pytest.raises(UsageError, match="expected up to 20"):
        idc_source.draft(selected, "My Lungs")
    with pytest.raises(UsageError, match="no series was selected"):
        idc_source.draft(selected.archive.select(Selection(min_instances=9999)), "lungs")


def test_licences_whose_short_names_meet_stay_apart(tmp_path):
    rows = series_of(
        a={"license_short_name": "Terms and Conditions A"}, b={"license_short_name": "Terms and Conditions B"}
    )
    made = idc_source.draft(archive_of(tmp_path, rows).select(Selection()), "x")
    assert {i: s["terms"]["license"] for i, s in made.sources.items()} == {
        "x-ope-terms-and-co": "LicenseRef-Terms-and-Conditions-A",
        "x-ope-terms-and-co-2": "LicenseRef-Terms-and-Conditions-B",
    }
