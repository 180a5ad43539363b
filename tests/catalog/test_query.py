"""Searching the catalog: DuckDB's answers against plain Python over the rows; no filter may be ignored."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import datasets, export, query
from catalog.query import Query, Search
from mdfp.errors import UsageError
from schemas import ontology

CATALOG = datasets.load()
WORDS = CATALOG.vocabularies
SPDX = sorted({d.license for d in CATALOG.datasets if d.license})


def plain(wanted):
    """Ids that a query must find, by reading the rows one by one."""
    known = ontology.load()
    structures = {n for s in wanted.structures for n in (s, *known.descendants(s))}
    first, last = wanted.years

    def fits(d):
        texts = [d.id, d.name, d.family or "", *d.aliases, *d.diseases, *d.structure_raw, *d.anatomies, *d.structures]
        texts += [*d.modalities, *d.modality_raw, *d.modality_subtypes, *d.tasks, *d.organizations, *d.challenge_series]
        return all(
            (
                all(any(w.lower() in t.lower() for t in texts) for w in wanted.words),
                not wanted.modalities or set(wanted.modalities) & set(d.modalities),
                not wanted.dimensions or set(wanted.dimensions) & set(d.dimensions),
                not wanted.tasks or set(wanted.tasks) & set(d.tasks),
                not wanted.anatomies or set(wanted.anatomies) & set(d.anatomies),
                not wanted.structures or structures & set(d.structures),
                not wanted.licenses or (d.license or query.NONE) in wanted.licenses,
                not wanted.access or d.access in wanted.access,
                not wanted.labels or d.label in wanted.labels,
                not wanted.families or d.family in wanted.families,
                first is None or (d.year is not None and d.year >= first),
                last is None or (d.year is not None and d.year <= last),
                wanted.readable is None or wanted.readable == (d.id in datasets.manifests()),
            )
        )

    return {d.id for d in CATALOG.datasets if fits(d)}


EACH = {
    "words": Query(words=("stroke",)),
    "modalities": Query(modalities=("US",)),
    "dimensions": Query(dimensions=("video",)),
    "tasks": Query(tasks=("tracking",)),
    "anatomies": Query(anatomies=("kidney",)),
    "structures": Query(structures=("kidney",)),
    "licenses": Query(licenses=("CC0-1.0",)),
    "no licence": Query(licenses=("none",)),
    "access": Query(access=("agreement",)),
    "labels": Query(labels=("unlabeled",)),
    "families": Query(families=("brats",)),
    "from": Query(years=(2022, None)),
    "until": Query(years=(None, 2010)),
    "readable": Query(readable=True),
    "not readable": Query(readable=False),
}


@pytest.mark.parametrize("name", EACH)
def test_each_filter_finds_what_it_says_and_nothing_else(name):
    found = set(Search(CATALOG, EACH[name]).ids())
    assert found == plain(EACH[name])
    assert 0 < len(found) < len(CATALOG)


@pytest.mark.parametrize("name", EACH)
def test_no_filter_is_ignored_beside_another(name):
    # With and without it, beside a filter that holds for one of its rows.
    some = min(plain(EACH[name]))
    field, value = (
        ("labels", CATALOG[some].label) if name in ("access", "no licence") else ("access", CATALOG[some].access)
    )
    other = Query(**{field: (value,)})
    both = replace(EACH[name], **{field: (value,)})
    found = set(Search(CATALOG, both).ids())
    assert found == plain(both) == plain(EACH[name]) & plain(other)
    assert found != plain(other)


def some(values, size=2):
    return st.lists(st.sampled_from(sorted(values)), max_size=size, unique=True).map(tuple)


QUERIES = st.builds(
    Query,
    words=some({"brain", "ct", "tumor", "seg", "2021", "tcia", "Heart"}),
    modalities=some(WORDS.words("modalities"), 3),
    dimensions=some(WORDS.words("dimensions")),
    tasks=some(WORDS.words("tasks")),
    anatomies=some(WORDS.words("anatomies"), 4),
    structures=some({"kidney", "liver", "lung", "heart", "tumour_unspecified", "vertebrae"}),
    licenses=some((*SPDX, query.NONE)),
    access=some(WORDS.words("access")),
    labels=some(WORDS.words("labels")),
    families=some(WORDS.words("families"), 1),
    years=st.tuples(st.none() | st.integers(2005, 2015), st.none() | st.integers(2015, 2025)),
    readable=st.none() | st.booleans(),
)


@given(QUERIES)
@settings(max_examples=60, deadline=None)
def test_any_query_finds_what_plain_python_finds(wanted):
    found = Search(CATALOG, wanted)
    assert set(found.ids()) == plain(wanted)
    check_totals(found, [CATALOG[i] for i in found.ids()])


def check_totals(found, rows):
    totals = found.totals()
    assert totals.datasets == len(rows)
    assert totals.images == sum(d.n_images or 0 for d in rows)
    assert totals.volumes == sum(d.n_volumes or 0 for d in rows)
    assert totals.videos == sum(d.n_videos or 0 for d in rows)
    assert totals.without_count == sum(d.n_images is d.n_volumes is d.n_videos is None for d in rows)
    assert totals.approximate == sum(d.n_approx for d in rows)
    ids = {d.id for d in rows}
    real = [o for o in CATALOG.overlaps if o.relation not in ("none-known", "statistic") and o.container != o.part]
    assert totals.overlaps == sum(o.container in ids and o.part in ids for o in real)


def test_a_data_set_of_several_modalities_is_counted_once():
    found = Search(CATALOG, Query(modalities=("CT", "PT", "MR"), anatomies=("head-and-neck",)))
    rows = found.datasets()
    assert any(len({"CT", "PT", "MR"} & set(d.modalities)) > 1 for d in rows)
    check_totals(found, rows)
    by_modality = {v.value: v.datasets for v in found.facet("modality")}
    assert sum(by_modality.values()) > found.totals().datasets == len(rows)


@pytest.mark.parametrize("name", query.FACETS)
def test_a_facet_counts_each_value_once_a_data_set(name):
    column = query.FACETS[name]
    expected = Counter()
    volumes = Counter()
    for d in CATALOG.datasets:
        value = getattr(d, column)
        values = (
            {str(v).partition(":")[0] if name == "issue" else str(v) for v in value}
            if isinstance(value, tuple)
            else None
        )
        if values is None:
            values = {None if value is None else str(value)}
        for v in values or {None}:
            expected[v] += 1
            volumes[v] += d.n_volumes or 0
    found = Search(CATALOG, Query()).facet(name)
    assert {v.value: v.datasets for v in found} == expected
    assert {v.value: v.volumes for v in found} == volumes
    assert [v.datasets for v in found] == sorted((v.datasets for v in found), reverse=True)


def test_names_with_the_words_come_first():
    found = Search(CATALOG, Query(words=("brain",))).ids()
    named = [i for i in found if "brain" in CATALOG[i].name.lower()]
    assert 0 < len(named) < len(found)
    assert list(found) == sorted(named) + sorted(set(found) - set(named))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Query(modalities=("MRI",)), "modalities: unknown word 'MRI'; did you mean 'MR'"),
        (Query(dimensions=("3",)), "dimensions: unknown word '3'.*expected 2d, 3d, 4d, video, text"),
        (Query(tasks=("segmenting",)), "tasks: unknown word 'segmenting'; did you mean 'segmentation'"),
        (Query(anatomies=("kidneys",)), "anatomies: unknown word 'kidneys'; did you mean 'kidney'"),
        (Query(structures=("left kidney cist",)), "structures: unknown structure 'left kidney cist'; did you mean"),
        (Query(licenses=("CC-BY",)), "licenses: unknown word 'CC-BY'; did you mean 'CC-BY"),
        (Query(access=("free",)), "access: unknown word 'free'.*expected open, registration, agreement, unknown"),
        (Query(labels=("labelled",)), "labels: unknown word 'labelled'; did you mean 'labeled'"),
        (Query(families=("bratz",)), "families: unknown word 'bratz'; did you mean 'brats'"),
        (Query(words=("melanomma",)), "no data set has the word 'melanomma'; did you mean 'melanoma'"),
    ],
)  # fmt: skip
def test_an_unknown_word_is_told_with_the_nearest(wanted, message):
    with pytest.raises(UsageError, match=message):
        Search(CATALOG, wanted)


def test_letters_may_be_of_either_case():
    assert (
        Search(CATALOG, Query(modalities=("ct",), licenses=("cc-by-4.0",))).ids()
        == Search(CATALOG, Query(modalities=("CT",), licenses=("CC-BY-4.0",))).ids()
    )


@pytest.mark.parametrize(
    ("text", "years"),
    [("2019", (2019, 2019)), ("2019-", (2019, None)), ("-2021", (None, 2021)), (" 2019-2021 ", (2019, 2021))],
)
def test_years(text, years):
    assert query.years(text) == years


@pytest.mark.parametrize("text", ["", "-", "19", "20192021", "2021-2019", "since 2019", "2019--2021"])
def test_other_years_are_told(text):
    with pytest.raises(UsageError, match="years: expected"):
        query.years(text)


def test_sql_sees_the_tables():
    counts = query.sql(
        CATALOG,
        "select (select count(*) from datasets) d, (select count(*) from links) l, (select count(*) from modalities) m, "
        "(select count(*) from anatomies) a, (select count(*) from issues) i, (select count(*) from families) f",
    )
    assert counts.to_pylist() == [{"d": 972, "l": 149, "m": 25, "a": 62, "i": 24, "f": 65}]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("select idd from datasets", "idd.*not found"),
        ("select * from datasetz", "datasetz"),
        ("selec 1", "syntax error"),
        ("select * from read_csv('/etc/hostname')", "disabled by configuration"),
        ("copy datasets to '/tmp/nowhere.csv'", "disabled by configuration"),
        ("set enable_external_access = true", "sql: "),
        ("", "sql: expected a query"),
    ],
)
def test_wrong_sql_is_told_and_reads_no_files(statement, message):
    with pytest.raises(UsageError, match=f"(?s){message}"):
        query.sql(CATALOG, statement)


# Files


def test_no_value_of_a_list_has_the_separator():
    lists = [v for d in CATALOG.datasets for v in vars(d).values() if isinstance(v, tuple)]
    assert not [v for values in lists for v in values if export.SEPARATOR in str(v)]


def test_parquet_holds_the_table_as_it_is(tmp_path):
    table = CATALOG.table()
    export.write(table, tmp_path / "all.parquet")
    assert pq.read_table(tmp_path / "all.parquet").equals(table)


def test_csv_and_json_lines_hold_every_value(tmp_path):
    table = Search(CATALOG, Query(families=("kits", "amos"))).table()
    export.write(table, tmp_path / "some.csv")
    export.write(table, tmp_path / "some.jsonl")
    with (tmp_path / "some.csv").open(newline="", encoding="utf-8") as file:
        rows = {r["id"]: r for r in csv.DictReader(file)}
    assert set(rows) == {d.id for d in CATALOG.datasets if d.family in ("kits", "amos")}
    assert rows["amos22"]["modalities"].split("|") == list(CATALOG["amos22"].modalities) == ["CT", "MR"]
    assert rows["kits23"]["license"] == ""
    assert rows["kits23"]["n_raw"] == "section: 3D CT Datasets; value: 599"
    lines = [json.loads(line) for line in (tmp_path / "some.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == table.to_pylist()


@pytest.mark.parametrize(("name", "message"), [("x.xlsx", "ends in .parquet, .csv, .jsonl"), ("no/x.csv", "no folder")])
def test_a_file_that_cannot_be_written_is_told(tmp_path, name, message):
    with pytest.raises(UsageError, match=message):
        export.write(CATALOG.overlaps_table(), tmp_path / name)


def test_a_file_that_is_there_stays(tmp_path):
    (tmp_path / "x.csv").write_text("mine")
    with pytest.raises(UsageError, match="is there already; --force replaces it"):
        export.write(CATALOG.overlaps_table(), tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text() == "mine"
    export.write(CATALOG.overlaps_table(), tmp_path / "x.csv", force=True)
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 150
