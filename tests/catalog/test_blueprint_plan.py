"""What a blueprint says of a selection: totals, groups, sizes, shared items, label space, conflicts, recipe, checklist."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter

import pytest
import yaml

from catalog import datasets, sources
from catalog.blueprint import BlueprintQuery, count, estimate, load, make, text
from catalog.blueprint.conflicts import conflicts
from catalog.blueprint.count import Count
from catalog.blueprint.duplicates import components
from catalog.blueprint.group import group, total
from catalog.blueprint.labels import Labels, coverage, labels, silent
from catalog.blueprint.select import select
from catalog.datasets import Catalog
from mdfp.errors import UsageError
from schemas import recipe as recipes
from schemas.dataset import DataSet, Overlap
from schemas.terms import license_of
from transforms.plan import terms

CATALOG = datasets.load()
WORDS = CATALOG.vocabularies
ABDOMEN = BlueprintQuery(
    name="abdomen", dimension="3d", modalities=("CT",), tasks=("segmentation",), anatomies=("abdomen", "liver", "kidney"),
    structures=("liver", "kidney_left", "hip_bone"),
)  # fmt: skip


@pytest.fixture(scope="module")
def abdomen():
    return make(ABDOMEN)


def row(id, **changes):
    facts = {
        "id": id, "name": id, "year": 2020, "dimensions": ("3d",), "modalities": ("CT",), "tasks": ("segmentation",),
        "anatomies": ("liver",), "n_volumes": 100, "label": "labeled", "access": "open", "access_basis": "host-rule",
        "license": "CC-BY-4.0", "license_status": "stated", "urls": ("https://example.org",),
    }  # fmt: skip
    return DataSet(**facts | changes)


def candidates(*rows, query=None):
    return select(query or BlueprintQuery(), Catalog(rows, (), WORDS)).taken


def link(container, part, n_shared=None, relation="subset"):
    return Overlap(
        family="liver-ct", relation=relation, container=container, part=part, n_shared=n_shared, confidence="high", sources=("s",)
    )  # fmt: skip


def test_a_data_set_of_two_modalities_and_tasks_is_counted_once():
    both = row("both", modalities=("CT", "MR"), tasks=("segmentation", "detection"), organizations=("A",))
    found = candidates(both, row("one", organizations=("a",)))
    groups = group(found, BlueprintQuery())
    assert {(g.modality, g.task): g.total.items.volumes for g in groups} == {
        ("CT", "segmentation"): 200, ("CT", "detection"): 100, ("MR", "segmentation"): 100, ("MR", "detection"): 100,
    }  # fmt: skip
    whole = total(found)
    assert (whole.items.datasets, whole.items.volumes, whole.organizations) == (2, 200, 1)


def test_groups_are_of_what_was_asked_for():
    both = row("both", modalities=("CT", "MR"), anatomies=())
    groups = group(candidates(both, query=BlueprintQuery(modalities=("MR",))), BlueprintQuery(modalities=("MR",)))
    assert [(g.modality, g.anatomy) for g in groups] == [("MR", "?")]


def test_totals_of_the_catalog_are_sums_over_its_rows():
    made = make(BlueprintQuery())
    rows = CATALOG.datasets
    assert made.total.items.datasets == len(rows)
    assert made.total.items.volumes == sum(d.n_volumes or 0 for d in rows if {"3d", "4d"} & set(d.dimensions))
    assert made.total.items.images == sum(d.n_images or 0 for d in rows if "2d" in d.dimensions)


def test_sizes_grow_with_items_and_keep_their_order():
    one, ten = (estimate.size(row("x"), Count(0, n, 0), ("CT",)) for n in (1, 10))
    assert one.measured
    assert 0 < one.fused.middle < one.raw.low < one.raw.middle < one.raw.high
    assert ten.raw.middle == pytest.approx(10 * one.raw.middle)
    assert ten.slices.middle == 1510
    assert estimate.size(row("x"), Count(0, None, 0), ("CT",)).raw is None
    guessed = estimate.size(row("x"), Count(5, 0, 0), ("OP",))
    assert not guessed.measured
    assert guessed.raw.high / guessed.raw.low == pytest.approx(100)
    wide = estimate.size(row("x"), Count(0, 1, 0), ("CT", "MR")).raw
    assert (wide.low, wide.middle, wide.high) == pytest.approx((0.606e6, 49.5e6, 145.6e6))


def test_measured_sizes_are_those_of_the_archive():
    index = pytest.importorskip("idc_index_data", reason="needs the extra idc")
    import duckdb

    if index.__version__.split(".")[0] != "25":
        pytest.skip("the figures are of release 25")
    found = duckdb.sql(
        "select Modality, quantile_cont(series_size_MB, [0.1, 0.5, 0.9]), quantile_cont(instanceCount, [0.1, 0.5, 0.9]), "
        "quantile_cont(series_size_MB / instanceCount, [0.1, 0.5, 0.9]) "
        f"from '{index.IDC_INDEX_PARQUET_FILEPATH}' "
        "where (Modality in ('CT', 'MR', 'PT') and instanceCount >= 16) or Modality in ('MG', 'CR', 'DX', 'SM') group by 1"
    ).fetchall()
    for modality, series, slices, instance in found:
        assert estimate.MEASURED["image", modality] == pytest.approx(instance, rel=0.01), modality
        if modality in estimate.SLICES:
            assert estimate.MEASURED["volume", modality] == pytest.approx(series, rel=0.01), modality
            assert estimate.SLICES[modality] == pytest.approx(slices, abs=1), modality


def test_shared_items_are_taken_out_once():
    found = candidates(*(row(i) for i in "abcdef"))
    links = [
        link("a", "b", 40), link("c", "b", 60), link("a", "c", 10), link("d", "e"), link("f", "f", 5),
        link("a", "e", 9, "none-known"), link("a", "gone", 50),
    ]  # fmt: skip
    joined = components(found, links)
    assert [(c.datasets, c.items, c.shared, c.distinct, c.uncounted) for c in joined] == [
        (("a", "b", "c"), 300, 70, 230, 0),
        (("d", "e"), 200, 0, 200, 1),
    ]


def test_nothing_is_subtracted_for_a_common_pool_or_beyond_what_there_is():
    found = candidates(row("a", n_volumes=30), row("b"))
    assert components(found, [link("a", "b", 20, "shared-sources")])[0].shared == 0
    assert components(found, [link("a", "b", 999)])[0].shared == 30


def test_no_data_set_holds_what_holds_it():
    # What is subtracted from a part stays counted in its container only if there are no circles.
    holds: dict[str, set[str]] = {}
    for o in CATALOG.overlaps:
        if o.container and o.part and o.n_shared and o.container != o.part:
            holds.setdefault(o.container, set()).add(o.part)
    order = tuple(TopologicalSorter(holds).static_order())
    assert len(order) >= 20


def test_known_releases_are_joined(abdomen):
    joined = {i for c in abdomen.duplicates for i in c.datasets}
    assert {"kits19", "kits21", "kits23", "lits", "msd03-liver"} <= joined
    assert 0 < abdomen.shared < abdomen.total.items.volumes


def test_structures_are_those_of_rows_and_manifests(abdomen):
    for c in abdomen.selection.taken:
        stated = set(c.row.structures).union(*(sources.load(i).annotated() for i in c.manifests))
        assert set(abdomen.labels.structures.get(c.id, ())) == stated
    matrix = abdomen.labels.matrix()
    assert all(matrix[a][b] == matrix[b][a] for a in matrix for b in matrix)
    assert matrix["kits23"]["kits19"] == 2
    assert matrix["kits23"]["kits23"] == 3


def test_gaps_say_what_is_labelled_instead():
    found = Labels({"a": ("kidney", "lung_upper_lobe_left"), "b": ("liver",)}, ())
    asked = BlueprintQuery(structures=("liver", "kidney_left", "lung", "liver_tumour"), anatomies=("skin",))
    status = {c.asked: (c.status, c.by, c.datasets) for c in coverage(found, asked, WORDS)}
    assert status == {
        "liver": ("labelled", ("liver",), ("b",)),
        "kidney_left": ("wider", ("kidney",), ("a",)),
        "lung": ("narrower", ("lung_upper_lobe_left",), ("a",)),
        "liver_tumour": ("nothing", (), ()),  # a label of the liver says nothing of its tumours
    }
    assert silent(asked, WORDS) == ("skin",)


def told(rows, **structures):
    found = candidates(*rows)
    return {(c.kind, c.what): c.parties for c in conflicts(found, Labels(structures, ()), {}, WORDS, BlueprintQuery())}


def test_conflicts_of_sides_and_protocols():
    rows = [row("a"), row("b"), row("c")]
    structures = {"a": ("kidney",), "b": ("kidney_left", "kidney_right"), "c": ("kidney", "kidney_tumour")}
    assert told(rows, **structures) == {
        ("side", "kidney"): {"as one": ("a", "c"), "left and right": ("b",)},
        ("protocol", "kidney"): {"kidney alone": ("a",), "kidney with kidney_tumour": ("c",)},
    }
    assert told(rows, a=("kidney",), c=("kidney",)) == {}


def test_conflicts_of_annotations_and_licences():
    rows = [
        row("a", license="CC-BY-SA-4.0"), row("b", license="CC-BY-NC-SA-4.0", label="unlabeled"),
        row("c", license="CC-BY-ND-4.0", tasks=("detection",)), row("d", license=None),
    ]  # fmt: skip
    found = told(rows)
    assert found["annotation", "CT, liver"] == {"segmentation": ("a", "d"), "no labels": ("b",), "detection": ("c",)}
    licence = [p for (kind, _), p in found.items() if kind == "licence"]
    assert licence == [
        {"CC-BY-NC-SA-4.0": ("b",), "CC-BY-SA-4.0": ("a",)},
        {"CC-BY-ND-4.0": ("c",)},
        {"CC-BY-NC-SA-4.0": ("b",)},
        {"unknown": ("d",)},
    ]


def test_a_contradicted_licence_and_origins_are_told(abdomen):
    found = {(c.kind, c.what.partition(":")[0]) for c in abdomen.conflicts}
    assert ("licence", "abdomenatlas") in found
    assert any(c.kind == "origin" and {"expert", "model"} & set(c.parties) for c in abdomen.conflicts)


def test_the_recipe_loads_and_passes_the_gate_of_terms(abdomen, tmp_path):
    files = text.write(abdomen, tmp_path)
    recipe = recipes.load(tmp_path / "recipe.yaml")
    assert [f.name for f in files] == list(text.FILES)
    taken = sources.resolve_all(recipe, tmp_path)
    assert {s.catalog for s in taken.values()} <= {c.id for c in abdomen.selection.taken}
    assert len(taken) >= 2
    assert "msd03-liver" in abdomen.draft.refused  # its cases are of LiTS, which states nothing
    licences = [license_of(s.terms, s.origins, "case") for s in taken.values()]
    assert all(terms.gate(each, recipe.terms) is None for each in licences)
    assert recipe.labels.space == ("liver", "kidney_left")
    named = {s for source in taken.values() for s in source.annotated()}
    assert named >= set(recipe.labels.space)


def test_terms_that_are_not_known_come_in_only_by_their_word():
    closed = make(ABDOMEN).draft
    assert "kits23" in closed.refused
    assert closed.content["terms"].get("unknown") is None
    asked = ("none", "CC-BY-SA-4.0", "CC-BY-NC-SA-4.0", "GPL-3.0-only")
    opened = make(ABDOMEN.model_copy(update={"licenses": asked})).draft
    assert opened.sources["kits23"] == "kits23"
    assert opened.content["terms"]["unknown"] == "accept"


def test_labels_are_kept_where_no_source_has_the_structures_asked_for():
    asked = BlueprintQuery(modalities=("MR",), anatomies=("heart",), structures=("liver",))
    assert "labels" not in make(asked).draft.content
    assert recipes.Recipe.model_validate(make(asked).draft.content).labels.image_only is False


def test_no_manifest_no_recipe(tmp_path):
    made = make(BlueprintQuery(modalities=("DMS",)))
    assert made.draft.content is None
    (tmp_path / "recipe.yaml").write_text("of an earlier query")
    text.write(made, tmp_path, force=True)
    assert not (tmp_path / "recipe.yaml").exists()
    assert "No selected data set has a manifest" in (tmp_path / "blueprint.md").read_text()
    assert all("write a manifest (docs/sources.md)" in e.steps for e in made.checklist)


def test_the_checklist_has_everything_selected_and_says_what_is_missing(abdomen):
    entries = {e.id: e for e in abdomen.checklist}
    assert set(entries) == {c.id for c in abdomen.selection.taken}
    assert [e.source is None for e in abdomen.checklist] == sorted(
        (e.source is None for e in abdomen.checklist), reverse=True
    )
    for c in abdomen.selection.taken:
        entry, steps = entries[c.id], " ".join(entries[c.id].steps)
        assert (entry.source is not None) == (c.id in abdomen.draft.sources)
        assert ("register" in steps) == (c.row.access == "registration")
        assert ("find out its licence" in steps) == (not c.terms.known)
        assert ("write a manifest (" in steps) == (not c.manifests)
        assert entry.urls == c.row.urls
    assert "the row says" not in " ".join(entries["kits23"].steps)
    assert "row says CC-BY-NC-SA-4.0" in " ".join(entries["lits"].steps)


def test_what_is_written_is_what_was_found_and_is_not_overwritten(abdomen, tmp_path):
    text.write(abdomen, tmp_path)
    kept = json.loads((tmp_path / "blueprint.json").read_text())
    assert kept == json.loads(json.dumps(abdomen.as_dict()))
    assert load(tmp_path / "query.yaml") == ABDOMEN
    page = (tmp_path / "blueprint.md").read_text()
    assert f"{abdomen.total.items.datasets} data sets" in page
    assert f"at least {abdomen.shared:,} of them twice" in page
    assert all(f"| {c.id} |" in page for c in abdomen.selection.taken)
    assert page == text.markdown(make(ABDOMEN))  # the same facts give the same page
    with pytest.raises(UsageError, match="--force replaces it"):
        text.write(make(BlueprintQuery()), tmp_path)
    assert json.loads((tmp_path / "blueprint.json").read_text()) == kept
    assert yaml.safe_load((tmp_path / "query.yaml").read_text()) == ABDOMEN.asked()


def test_a_query_beside_its_blueprint_stays_as_it_was_written(tmp_path):
    mine = "# why\nname: skin\nmodalities: [dms]\n"
    (tmp_path / "query.yaml").write_text(mine)
    text.write(make(load(tmp_path / "query.yaml")), tmp_path)
    assert (tmp_path / "query.yaml").read_text() == mine
    with pytest.raises(UsageError, match=r"query\.yaml is there already"):
        text.check(tmp_path, BlueprintQuery())
    with pytest.raises(UsageError, match=r"blueprint\.json is there already"):
        text.check(tmp_path, load(tmp_path / "query.yaml"))
    text.write(make(BlueprintQuery(modalities=("IR",))), tmp_path, force=True)
    assert load(tmp_path / "query.yaml").modalities == ("IR",)


def test_missing_facts_are_listed_and_scope_is_counted(abdomen):
    sums = len(abdomen.near()) + len(abdomen.unknown()) + abdomen.as_dict()["out_of_scope"]
    assert sums + len(abdomen.selection.taken) == len(CATALOG)
    made = make(ABDOMEN.model_copy(update={"minimum_images": 100, "licenses": ("CC-BY-SA-4.0",)}))
    assert all(f.unknown for e in made.unknown() for f in e.failures)
    assert {f.rule for e in made.unknown() for f in e.failures} >= {"licenses"}
    assert any(f.rule == "minimum_images" for e in made.near() for f in e.failures)
    page = text.markdown(made)
    assert "only because a fact is missing" in page


def test_labels_of_unlabelled_data_sets_are_not_missed():
    assert labels(candidates(row("a"), row("b", label="unlabeled"))).unknown == ("a",)


def test_counts_of_kinds_that_are_not_asked_for_are_nothing():
    d = row("x", dimensions=("2d", "3d", "video"), n_images=7, n_videos=None)
    assert count.of(d, BlueprintQuery()) == Count(7, 100, None)
    assert count.of(d, BlueprintQuery(dimension="video")).items is None
    assert count.of(d, BlueprintQuery(dimension="3d")).items == 100


def test_a_manifest_of_another_modality_is_not_taken():
    asked = BlueprintQuery(modalities=("CT",), licenses=("none",))
    made = make(asked)
    assert made.draft.refused["chaos-mri"] == "the manifest reads MR only"
    assert "chaos-mri" in make(asked.model_copy(update={"modalities": ("MR",)})).draft.sources
