"""What goes with a corpus that is handed on, on manifests that a test writes: words, bibliography, Croissant."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import datasets, origins, sources
from mdfp import manifest as manifests
from mdfp.manifest import FORMAT, SCHEMA_VERSION, IndexEntry, Manifest, OriginTerms, ShardEntry, SourceTerms, SplitTotal
from schemas.recipe import Recipe
from transforms.attribution import attribution
from transforms.bibtex import citations
from transforms.census import Census
from transforms.croissant import IndexFile, croissant
from transforms.views import terms_of

RECIPE = Recipe.model_validate({"corpus": "tiny", "out": "-", "sources": [{"id": "a"}], "terms": {"accept": []}})
TERMS = SourceTerms("a", "Data set A", "CC-BY-4.0", "https://example.org/a", ())
MANIFEST = Manifest(
    format=FORMAT,
    schema_version=SCHEMA_VERSION,
    number=3,
    parent=2,
    corpus="tiny",
    plan_id="0" * 64,
    pixel_version=1,
    environment="e",
    patient_key="k",
    recipe=json.dumps(RECIPE.without_locations()),
    label_space=(),
    palette=(),
    relations=(),
    shards=(ShardEntry("shards/train/a-00000-0.tar", 10, "a" * 64, 2, "train", "a", 1),),
    indexes=tuple(IndexEntry(f"index/00000{n}-0.parquet", 1, "b" * 64, "shards") for n in (1, 2)),
    splits=(SplitTotal("train", 2, 1, 10, ("shards/train/a-00000-0.tar",)),),
    holes=(),
    terms=(TERMS,),
)


def cited(*works, **changes):
    return dataclasses.replace(MANIFEST, terms=(dataclasses.replace(TERMS, citation=works, **changes),))


def parsed(text):
    bibtexparser = pytest.importorskip("bibtexparser")
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    return {e.key: {name: f.value for name, f in e.fields_dict.items()} for e in library.entries}


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("https://doi.org/10.1016/j.media.2017.06.015", {"doi": "10.1016/j.media.2017.06.015"}),
        ("doi:10.7937/K9/TCIA.2015.A6V7JIWX", {"doi": "10.7937/K9/TCIA.2015.A6V7JIWX"}),
        ("https://arxiv.org/pdf/2308.05862.pdf", {"eprint": "2308.05862", "archiveprefix": "arXiv"}),
        (
            "https://www.nature.com/articles/s41597-020-00715-8",
            {"url": "https://www.nature.com/articles/s41597-020-00715-8"},
        ),
        ("A & B, 2020.", {"note": r"A \& B, 2020."}),
        ("A, B: C. (2019) doi 10.1000/182.", {"doi": "10.1000/182", "note": "A, B: C. (2019) doi 10.1000/182."}),
    ],
)
def test_a_work_is_what_its_line_says(line, fields):
    entry = parsed(citations(cited(line)))["a-work-1"]
    assert {k: entry[k] for k in fields} == fields
    assert not {"author", "title", "year"} & set(entry)
    assert ("note" in entry) == ("note" in fields)


lines = st.tuples(
    st.sampled_from(["", "https://", "doi:10.1234/", "https://arxiv.org/abs/2206.08023"]), st.text(max_size=40)
)


@given(st.lists(lines.map("".join).filter(bool), max_size=4), st.text(max_size=30))
def test_any_words_make_a_bibliography_that_can_be_read(works, title):
    text = citations(cited(*works, title=title))
    entries = parsed(text)
    assert set(entries) == {"a"} | {
        f"a-work-{n}" for n, w in enumerate(works, 1) if works.index(w) == n - 1 and w != "a"
    }
    assert text == citations(cited(*works, title=title))


def test_a_work_of_two_data_sets_stands_once():
    work = "https://doi.org/10.1000/182"
    other = OriginTerms("b", "B", "images", "CC0-1.0", None, (work,))
    assert citations(cited(work, origins=(other,))).count("doi = {10.1000/182}") == 1
    assert citations(dataclasses.replace(MANIFEST, terms=())) == ""


def census(licensed):
    found = Census(
        RECIPE, licensed=Counter(licensed), kinds=Counter({("image", "ct", "b2nd"): 2, ("json", "", "json"): 2})
    )
    found.kinds["text", "report", "txt"] = 1
    return found


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ("CC-BY-4.0", "2 under CC-BY-4.0: name the authors"),
        ("CC0-1.0", "2 under CC0-1.0: no demands"),
        ("own-data", "not to be handed on"),
        ("CC-BY-SA-3.0 AND CC-BY-SA-4.0", "to be handed on under CC-BY-SA-4.0"),
        ("CC-BY-SA-4.0 AND CC-BY-NC-4.0", "no commercial use, not to be handed on"),
        ("LicenseRef-unstated", "not all terms are stated"),
        ("LicenseRef-mine", "nobody has spelled out LicenseRef-mine"),
    ],
)
def test_the_attribution_says_what_licences_demand(held, words):
    assert words in attribution(MANIFEST, census({("a", held): 2}))


def test_without_counts_the_attribution_names_data_and_licence():
    assert "- licence: CC-BY-4.0" in attribution(MANIFEST)


INDEXES = [IndexFile(e.path, 5, "c" * 64) for e in MANIFEST.indexes]


def test_what_nobody_said_is_left_out_of_croissant(tmp_path):
    data = croissant(MANIFEST, census({("a", "CC-BY-4.0 AND LicenseRef-mine"): 2}), INDEXES)
    content = json.loads(data)
    assert not {"url", "creator", "datePublished", "citation", "keywords"} & set(content)
    assert content["license"] == ["LicenseRef-mine", "https://creativecommons.org/licenses/by/4.0/"]
    assert [r["@id"] for r in content["recordSet"]][:3] == ["splits", "samples-1", "samples-2"]
    assert {f["includes"] for f in content["distribution"] if "includes" in f} == {
        "*.image.ct.b2nd",
        "*.json",
        "*.report.txt",
    }
    assert croissant(MANIFEST, census({("a", "CC-BY-4.0 AND LicenseRef-mine"): 2}), INDEXES) == data


def test_croissant_of_several_index_files_is_valid(tmp_path: Path):
    mlc = pytest.importorskip("mlcroissant")
    file = tmp_path / "croissant.json"
    file.write_bytes(croissant(cited("A. Writer, 2020"), census({("a", "CC-BY-4.0"): 2}), INDEXES))
    issues = mlc.Dataset(jsonld=str(file)).metadata.ctx.issues
    assert issues.errors == set()


def catalogued(source_id):
    """A manifest of one source of the tree, with its origins in force."""
    return dataclasses.replace(MANIFEST, terms=(terms_of(origins.in_force(sources.load(source_id))),))


def test_croissant_has_what_the_catalog_knows_of_sources_and_origins(tmp_path: Path):
    mlc = pytest.importorskip("mlcroissant")
    manifest = catalogued("brats2023-gli")
    data = croissant(manifest, census({("brats2023-gli", "LicenseRef-unstated"): 2}), INDEXES)
    (derived,) = json.loads(data)["prov:wasDerivedFrom"]
    rows = datasets.load()
    assert derived["datePublished"] == str(rows["brats-2023"].year)
    assert [c["name"] for c in derived.get("creator", [])] == list(rows["brats-2023"].organizations)
    found = {o["@id"].rsplit("/", 1)[-1]: o for o in derived["prov:wasDerivedFrom"]}
    assert {"brats-2021", "brats-2017", "tcga-gbm"} <= set(found)
    for name, origin in found.items():
        row = rows[name]
        assert origin["datePublished"] == str(row.year)
        assert [c["name"] for c in origin.get("creator", [])] == list(row.organizations)
        assert origin["url"] in (*row.urls, sources.load("brats2021").terms.url)
        assert not row.paper_url or origin["citation"] in (
            [row.paper_url],
            list(sources.load("brats2021").terms.citation),
        )
    assert any("creator" in o for o in found.values())
    (tmp_path / "croissant.json").write_bytes(data)
    assert mlc.Dataset(jsonld=str(tmp_path / "croissant.json")).metadata.ctx.issues.errors == set()
    assert manifests.parse(manifests.dump(manifest), "x") == manifest


def test_what_the_catalog_does_not_list_has_no_maker():
    told = terms_of(sources.load("spider"))
    assert (told.creators, told.year) == ((), None)
    assert b"creators" not in manifests.dump(dataclasses.replace(MANIFEST, terms=(told,)))


def test_the_attribution_names_makers_and_origins():
    text = attribution(catalogued("verse"))
    row = datasets.load()["verse19"]
    assert f"### {row.name}, whose images and labels" in text
    assert not row.organizations or f"- by: {', '.join(row.organizations)}, {row.year}" in text


def test_the_validator_refuses_what_is_wrong(tmp_path: Path):
    mlc = pytest.importorskip("mlcroissant")
    content = json.loads(croissant(MANIFEST, census({("a", "CC-BY-4.0"): 2}), INDEXES))
    del content["distribution"][0]["sha256"]
    file = tmp_path / "croissant.json"
    file.write_text(json.dumps(content))
    with pytest.raises(mlc.ValidationError, match="sha256"):
        mlc.Dataset(jsonld=str(file))
