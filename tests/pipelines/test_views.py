"""Terms, papers, sampling and sites, from a recipe to a reader, on the demo's phantom."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

import mdfp
from examples import phantom
from mdfp.codecs import VolumeCodec
from mdfp.errors import UsageError
from mdfp.verify import verify
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.withdraw import withdraw
from transforms.plan.planner import Selection
from transforms.withdrawn import Withdrawal

CHECKOUT = Path(__file__).parents[2]
GROUND = "a licence was bought, number 17"
ORIGIN = {
    "id": "older-mr",
    "title": "Older MR, 1st release",
    "terms": {
        "license": "CC-BY-NC-SA-4.0",
        "url": "https://doi.org/10.1234/abc",
        "citation": ["A & B, doi:10.5555/x_y.1"],
    },
}


def write_recipe(folder: Path, **changes) -> Path:
    """The demo's recipe with an origin of the MR source, and sections changed; a new file each time."""
    folder.mkdir(parents=True, exist_ok=True)
    content = yaml.safe_load((CHECKOUT / "examples/recipes/demo.yaml").read_text())
    for use in content["sources"]:
        manifest = yaml.safe_load((CHECKOUT / "examples/sources" / f"{use['id']}.yaml").read_text())
        if use["id"] == "phantom-mr":
            manifest["origins"] = [ORIGIN]
        if use["id"] == "phantom-ct-dicom":
            manifest["terms"]["citation"] = ["https://arxiv.org/abs/2206.08023", "https://doi.org/10.7937/gkr0-xv29"]
        path = folder / f"{use['id']}.yaml"
        path.write_text(yaml.safe_dump(manifest))
        use["manifest"] = str(path)
    recipe = folder / f"recipe-{len(list(folder.glob('recipe-*')))}.yaml"
    recipe.write_text(yaml.safe_dump(content | changes))
    return recipe


COMMERCIAL = {"profile": ["commercial", "redistributable"]}
OVERRIDDEN = {**COMMERCIAL, "override": [{"source": "phantom-mr", "reason": GROUND}]}
SAMPLING = {"by": "modality", "rule": {"temperature": 0.5}, "caps": {"phantom-ct-msd": 0.1}}
ABOUT = {"url": "https://example.org/corpus", "creators": ["Nobody Ltd"], "published": "2026-01-02"}


@pytest.fixture(scope="module")
def made(build_corpus, tmp_path_factory):
    """(corpus, folder of recipes): everything asked for at once."""
    folder = tmp_path_factory.mktemp("views")
    recipe = write_recipe(folder / "recipes", terms=OVERRIDDEN, sampling=SAMPLING, sites={"by": "source"}, about=ABOUT)
    return build_corpus(folder / "corpus", recipe=recipe), folder / "recipes"


@pytest.fixture
def run_again(make_workspace, console):
    def run(out: Path, recipe: Path):
        workspace = make_workspace(out, recipe=recipe)
        return workspace, runs.run(workspace, Selection(), Engine(), BuildOptions(max_holes=0.9), console)

    return run


def test_without_these_sections_nothing_changes(corpus):
    manifest = json.loads((corpus.folder / "manifests/000001.json").read_text())
    assert not {"profile", "exceptions", "sampling", "sites"} & set(manifest)
    assert not {"sampling", "sites", "about"} & set(json.loads(manifest["recipe"]))
    assert json.loads(manifest["recipe"])["terms"] == {"accept": ["CC-BY-4.0"], "unknown": "refuse"}


def test_the_shards_are_those_without_views_but_for_the_licence(made, corpus):
    def of(folder):
        return {s.source: s.sha256 for s in mdfp.open(str(folder)).manifest.shards if s.split == "val"}

    plain, viewed = of(corpus.folder), of(made[0].folder)
    assert {s for s in plain if plain[s] != viewed[s]} == {"phantom-mr"}


def test_a_profile_leaves_out_what_an_origin_forbids(build_corpus, tmp_path):
    recipe = write_recipe(tmp_path / "recipes", terms=COMMERCIAL)
    built = build_corpus(tmp_path / "corpus", recipe=recipe)
    assert {s.source for s in built.samples} == set(phantom.SOURCES) - {"phantom-mr"}
    details = {a.detail for a in built.plan.left_out() if a.source == "phantom-mr"}
    assert details == {"not commercial: CC-BY-NC-SA-4.0 does not permit commercial use (of the origin older-mr)"}
    assert mdfp.open(str(built.folder)).manifest.profile == ("commercial", "redistributable")


def test_an_exception_stands_in_the_manifest_and_in_the_attribution(made):
    built, _ = made
    opened = mdfp.open(str(built.folder))
    (exception,) = opened.manifest.exceptions
    mine = opened.samples.where(source="phantom-mr")
    assert (exception.source, exception.samples, exception.reason) == ("phantom-mr", len(mine), GROUND)
    assert {s.license for s in mine} == {exception.license} == {"CC-BY-4.0 AND CC-BY-NC-SA-4.0"}
    text = (built.folder / "ATTRIBUTION.md").read_text()
    assert GROUND in text
    assert "### Older MR, 1st release, whose images Phantom MR took over" in text
    assert f"- samples: {len(mine)} of {len({s.patient for s in mine})} patients" in text
    assert "no commercial use, to be handed on under CC-BY-NC-SA-4.0" in text
    assert verify(opened) == []


def test_a_profile_is_not_said_of_samples_that_do_not_fit(made, run_again):
    built, recipes = made
    before = {f: f.stat().st_mtime_ns for f in (built.folder / "manifests").iterdir()}
    with pytest.raises(UsageError, match=r"holds 4 samples of phantom-mr .* build into another out:"):
        run_again(built.folder, write_recipe(recipes, terms=COMMERCIAL))
    assert {f: f.stat().st_mtime_ns for f in (built.folder / "manifests").iterdir()} == before


def test_the_bibliography_says_what_the_manifests_say(made):
    bibtexparser = pytest.importorskip("bibtexparser")
    library = bibtexparser.parse_file(str(made[0].folder / "citations.bib"))
    assert not library.failed_blocks
    entries = {e.key: e.fields_dict for e in library.entries}
    assert set(phantom.SOURCES) <= set(entries)
    assert entries["phantom-ct-dicom-work-1"]["eprint"].value == "2206.08023"
    assert entries["phantom-ct-dicom-work-2"]["doi"].value == "10.7937/gkr0-xv29"
    assert entries["older-mr"]["doi"].value == "10.1234/abc"
    assert entries["older-mr-work-1"]["doi"].value == "10.5555/x_y.1"
    assert r"A \& B" in entries["older-mr-work-1"]["note"].value
    assert not {"author", "year", "journal"} & {f for fields in entries.values() for f in fields}


@pytest.fixture(scope="module")
def described(made):
    mlc = pytest.importorskip("mlcroissant")
    return mlc.Dataset(jsonld=str(made[0].folder / "croissant.json"))


def test_croissant_is_valid_in_its_version_1_1(described):
    metadata = described.metadata
    assert metadata.ctx.issues.errors == set()
    assert {w for w in metadata.ctx.issues.warnings if "citeAs" not in w} == set()
    assert [str(c) for c in metadata.conforms_to] == ["http://mlcommons.org/croissant/1.1"]
    assert metadata.version == "1.0.0"
    assert metadata.url == ABOUT["url"]
    assert str(metadata.date_published.date()) == ABOUT["published"]
    assert set(metadata.license) == {
        "https://creativecommons.org/licenses/by/4.0/",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    }


def test_croissant_names_every_shard_as_it_is(described, made):
    folder = made[0].folder
    files = {f.content_url: f for f in described.metadata.file_objects}
    manifest = mdfp.open(str(folder)).manifest
    assert set(files) == {s.path for s in manifest.shards} | {i.path for i in manifest.indexes}
    for path, file in files.items():
        data = (folder / path).read_bytes()
        assert (file.sha256, file.content_size) == (hashlib.sha256(data).hexdigest(), f"{len(data)} B")


def test_croissant_alone_reads_the_corpus(described, made):
    opened = mdfp.open(str(made[0].folder))
    records = {r["samples/key"].decode(): r for r in described.records("samples")}
    assert set(records) == set(opened.samples.keys)
    for sample in opened.samples:
        assert records[sample.key]["samples/split"].decode() == sample.split
        assert records[sample.key]["samples/license"].decode() == sample.license
    volumes = list(described.records("members-image-mr-b2nd"))
    assert len(volumes) == len(opened.samples.where(modality="MR"))
    for member in volumes:
        key = member["members-image-mr-b2nd/key"].decode()
        found = VolumeCodec().decode(member["members-image-mr-b2nd/content"])
        np.testing.assert_array_equal(found, opened.sample(key).image(values="stored"))


def test_croissant_says_where_it_came_from(made):
    content = json.loads((made[0].folder / "croissant.json").read_text())
    derived = {e["@id"]: e for e in content["prov:wasDerivedFrom"]}
    assert set(derived) == {f"source/{s}" for s in phantom.SOURCES}
    (origin,) = derived["source/phantom-mr"]["prov:wasDerivedFrom"]
    assert origin["license"] == "https://creativecommons.org/licenses/by-nc-sa/4.0/"
    assert content["prov:wasGeneratedBy"]["@id"].startswith("plan/")
    text = json.dumps(content)
    assert str(made[0].folder) not in text


def test_the_papers_are_the_same_bytes_when_written_again(made, build_corpus, tmp_path):
    built, recipes = made
    recipe = min(recipes.glob("recipe-*.yaml"))
    other = build_corpus(tmp_path / "corpus", recipe=recipe)
    for name in ("ATTRIBUTION.md", "citations.bib", "manifests/000001.json"):
        assert (other.folder / name).read_bytes() == (built.folder / name).read_bytes(), name
    assert (other.folder / "croissant.json").read_bytes() == (built.folder / "croissant.json").read_bytes()


def test_a_reader_draws_by_the_plan(made):
    opened = mdfp.open(str(made[0].folder))
    plan = opened.manifest.sampling
    assert (plan.split, plan.by, plan.exponent) == ("train", "modality", 0.5)
    train = opened.samples.where(split="train")
    assert {(c.source, c.group): c.samples for c in plan.cells} == Counter((s.source, *s.modalities) for s in train)
    loader = opened.loader("train", seed=1, batch=None)
    source = opened.table["source"].to_pylist()
    for epoch in range(4):
        taken = Counter(source[r] for r in loader.order(epoch))
        assert taken["phantom-ct-msd"] <= 0.1 * len(loader.plan)
        for cell in plan.cells:
            assert abs(taken[cell.source] - cell.weight * len(loader.plan)) <= 1
    assert sorted(opened.loader("train", sampling=None).order(0)) == sorted(train.rows)
    assert opened.loader("val").plan is None


def test_a_site_is_a_corpus_of_its_own(made, command_line):
    built, _ = made
    whole = mdfp.open(str(built.folder))
    held = {s.site: mdfp.open(str(built.folder), site=s.site) for s in whole.manifest.sites.sites}
    assert set(held) == set(phantom.SOURCES)
    patients = [set(c.table["patient"].to_pylist()) for c in held.values()]
    assert sum(map(len, patients)) == len(set().union(*patients))
    assert sum(len(c.samples) for c in held.values()) == len(whole.samples)
    # The phantom has a patient in two sources: he is in one site, with all that is his, and the manifest says so.
    (moved,) = whole.manifest.sites.moved
    his = {s.source for s in whole.samples if s.group == moved.group}
    assert his == {moved.site, *moved.others}
    assert {s.group for s in held[moved.site].samples} >= {moved.group}
    view = held["phantom-mr"]
    assert {s.source for s in (v.record for v in view.loader("train", seed=0))} == {"phantom-mr"}
    with pytest.raises(UsageError, match="no site 'phantom-xr'"):
        mdfp.open(str(built.folder), site="phantom-xr")


def test_info_lists_sites_weights_and_exceptions(made):
    from typer.testing import CliRunner

    from mdfp.cli import app

    told = CliRunner().invoke(app, ["info", str(made[0].folder)]).output
    for words in (
        "sites, by source",
        "sampling of train: by modality, temperature 0.5",
        GROUND,
        "from older-mr",
        "is in",
    ):
        assert words in told
    as_json = json.loads(CliRunner().invoke(app, ["info", str(made[0].folder), "--json"]).output)
    assert [s["site"] for s in as_json["sites"]["sites"]] == sorted(phantom.SOURCES)
    listed = CliRunner().invoke(app, ["ls", str(made[0].folder), "--site", "phantom-mr", "--json"]).output
    assert {r["source"] for r in json.loads(listed)} == {"phantom-mr"}


def test_other_views_make_a_manifest_and_no_shard_and_a_withdrawal_counts_anew(made, run_again, console):
    built, recipes = made
    sampling = {"by": "source", "rule": "equal"}
    recipe = write_recipe(recipes, terms=OVERRIDDEN, sampling=sampling, sites={"by": "site"}, about=ABOUT)
    workspace, finished = run_again(built.folder, recipe)
    first, second = mdfp.open(str(built.folder), 1), mdfp.open(str(built.folder))
    assert finished.published.manifest.number == second.manifest.number == 2
    assert second.manifest.shards == first.manifest.shards
    assert first.manifest.sampling.by == "modality"
    weights = {c.source: c.weight for c in second.manifest.sampling.cells}
    assert weights == pytest.approx(dict.fromkeys(phantom.SOURCES, 0.25))
    assert [s.site for s in second.manifest.sites.sites] == ["unstated"]
    assert len(second.samples) == len(first.samples)
    assert verify(second) == []
    assert json.loads((built.folder / "croissant.json").read_text())["version"] == "2.0.0"
    assert run_again(built.folder, recipe)[1] is None

    withdraw(workspace, Withdrawal((), (), ("phantom-mr",)), purge=False, scratch=None, console=console)
    third = mdfp.open(str(built.folder))
    assert third.manifest.number == 3
    assert third.manifest.exceptions == ()
    assert {c.source for c in third.manifest.sampling.cells} == set(phantom.SOURCES) - {"phantom-mr"}
    assert third.manifest.sites.sites[0].samples == len(third.samples)
    assert "samples: 0 of 0 patients" in (built.folder / "ATTRIBUTION.md").read_text()
    assert read_latest(workspace).recipe["sampling"]["by"] == "source"
