"""Every rule of a blueprint does what it says: against rows of one difference, and against plain Python over the catalog."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog import datasets, origins, sources
from catalog.blueprint import BlueprintQuery, count, estimate, load
from catalog.blueprint.rules import RULES
from catalog.blueprint.select import select
from catalog.datasets import Catalog
from mdfp.errors import UsageError
from schemas.dataset import DataSet

CATALOG = datasets.load()
WORDS = CATALOG.vocabularies


def row(id="fits", **changes):
    facts = {
        "id": id, "name": id, "year": 2020, "dimensions": ("2d",), "modalities": ("CT",), "tasks": ("segmentation",),
        "anatomies": ("liver",), "n_images": 500, "label": "labeled", "access": "open", "access_basis": "host-rule",
        "license": "CC-BY-4.0", "license_status": "stated", "organizations": ("A",),
    }  # fmt: skip
    return DataSet(**facts | changes)


def world(*rows):
    return Catalog(tuple(sorted(rows, key=lambda r: r.id)), (), WORDS)


def taken(query, *rows, rules=RULES):
    return [c.id for c in select(query, world(*rows), rules).taken]


# rule -> (query, what fits, what does not for certain, what does not because nothing is stated)
CASES = {
    "dimension": ({"dimension": "2D"}, {}, {"dimensions": ("3d",)}, {"dimensions": ()}),
    "mixed_dimensions": ({"dimension": "2d", "mixed_dimensions": "exclude"}, {}, {"dimensions": ("2d", "3d")}, None),
    "modalities": ({"modalities": ["ct", "MR"]}, {}, {"modalities": ("US",)}, {"modalities": ()}),
    "mixed_modalities": ({"mixed_modalities": "exclude"}, {}, {"modalities": ("CT", "MR")}, None),
    "tasks": ({"tasks": ["segmentation"]}, {}, {"tasks": ("tracking",)}, {"tasks": ()}),
    "anatomies": ({"anatomies": ["liver", "brain"]}, {}, {"anatomies": ("skin",)}, {"anatomies": ()}),
    "licenses": ({"licenses": ["cc-by-4.0"]}, {}, {"license": "CC-BY-NC-4.0"}, {"license": None}),
    "include_unlabeled": (
        {"include_unlabeled": False},
        {"label": "mixed"},
        {"label": "unlabeled"},
        {"label": "unlabeled", "issues": ("supervised_task_but_unlabeled",)},
    ),
    "minimum_images": ({"minimum_images": 500}, {}, {"n_images": 499}, {"n_images": None}),
    "released_since": ({"released_since": 2020}, {}, {"year": 2019}, {"year": None}),
    "released_until": ({"released_until": 2020}, {}, {"year": 2021}, {"year": None}),
}


def test_every_rule_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_leaves_out_what_does_not_fit_and_fails_closed(rule):
    asked, fits, wrong, silent = CASES[rule]
    query = BlueprintQuery.model_validate(asked)
    rows = [row(**fits), row("wrong", **wrong)] + ([row("silent", **silent)] if silent is not None else [])
    done = select(query, world(*rows))
    assert [c.id for c in done.taken] == ["fits"]
    why = {e.id: (e.unknown, [f.rule for f in e.failures]) for e in done.excluded}
    assert why == {"wrong": (False, [rule])} | ({"silent": (True, [rule])} if silent is not None else {})
    assert all(f.reason for e in done.excluded for f in e.failures)
    # Without the rule both would be in: no other rule does its work.
    others = {k: r for k, r in RULES.items() if k != rule}
    assert len(taken(query, *rows, rules=others)) == len(rows)
    # A rule that is not asked for needs no facts.
    assert len(taken(BlueprintQuery(), *rows)) == len(rows)


def test_an_empty_list_of_tasks_is_not_taken_for_unlabelled():
    assert taken(BlueprintQuery(include_unlabeled=False), row(tasks=())) == ["fits"]
    assert taken(BlueprintQuery(include_unlabeled=False), row(label="unlabeled")) == []


def test_terms_that_are_not_known_pass_only_by_their_word():
    assert taken(BlueprintQuery(licenses=("none",)), row(license=None), row("stated")) == ["fits"]


def test_a_contradicted_licence_needs_both_on_the_list():
    facts = CATALOG["abdomenatlas"]
    terms = select(BlueprintQuery(), Catalog((facts,), (), WORDS)).taken[0].terms
    stated = terms.known
    assert len(stated) == 2
    for allow, found in ((stated, 1), (stated[:1], 0), (stated[1:], 0)):
        query = BlueprintQuery(licenses=(*allow, *terms.inherited))
        assert len(select(query, Catalog((facts,), (), WORDS)).taken) == found


def test_the_licences_of_origins_are_needed_too():
    world = Catalog((CATALOG["abdomenatlas"],), (), WORDS)
    terms = select(BlueprintQuery(), world).taken[0].terms
    assert terms.inherited == ("CC-BY-NC-ND-2.0", "CC-BY-NC-ND-4.0", "CC-BY-SA-4.0", "GPL-3.0-only", "none")
    for left_out in terms.inherited:
        allow = tuple(i for i in (*terms.known, *terms.inherited) if i != left_out)
        chosen = select(BlueprintQuery(licenses=allow), world)
        assert chosen.taken == ()
        ((failure,),) = (e.failures for e in chosen.excluded)
        assert f"and {left_out} of data sets that its cases come from" in failure.reason


def test_volumes_are_sources_of_pictures_only_when_asked():
    volume = row(dimensions=("3d",), n_images=None, n_volumes=70)
    assert taken(BlueprintQuery(dimension="2d"), volume) == []
    query = BlueprintQuery(dimension="2d", volumes_as_2d=True)
    assert taken(query, volume) == ["fits"]
    assert count.of(volume, query) == count.Count(0, 70, 0)
    # A volume is one image for the least number: how many slices it has is an estimate, and estimates let nothing in.
    assert taken(query.model_copy(update={"minimum_images": 71}), volume) == []
    assert taken(query.model_copy(update={"minimum_images": 70}), volume) == ["fits"]
    both = row(dimensions=("2d", "3d"), n_images=5, n_volumes=70)
    assert count.of(both, BlueprintQuery(dimension="2d")).items == 5
    assert count.of(both, query).items == 75
    assert taken(BlueprintQuery(dimension="2d", volumes_as_2d=True, mixed_dimensions="exclude"), both) == ["fits"]


def test_a_count_of_one_kind_says_little_of_both():
    both = row(dimensions=("2d", "3d"), n_images=None, n_volumes=70)
    assert taken(BlueprintQuery(minimum_images=70), both) == ["fits"]
    (out,) = select(BlueprintQuery(minimum_images=71), world(both)).excluded
    assert out.unknown
    (out,) = select(BlueprintQuery(storage_budget_gb=10**6), world(both)).excluded
    assert out.unknown


def test_modalities_with_too_few_data_sets_go():
    rows = [row("a"), row("b"), row("c", modalities=("US",)), row("d", modalities=("US", "CT"))]
    assert taken(BlueprintQuery(minimum_datasets_per_modality=3), *rows) == ["a", "b", "d"]
    assert taken(BlueprintQuery(minimum_datasets_per_modality=2), *rows) == ["a", "b", "c", "d"]
    assert taken(BlueprintQuery(minimum_datasets_per_modality=4), *rows) == []
    # A modality that is not asked for holds nobody in.
    assert taken(BlueprintQuery(minimum_datasets_per_modality=2, modalities=("US",)), *rows) == ["c", "d"]


def test_organisations_are_counted_once_and_only_where_they_are_stated():
    rows = [row("a"), row("b", organizations=("a ",)), row("c", organizations=())]
    query = BlueprintQuery(minimum_organizations_per_modality=2)
    done = select(query, world(*rows))
    assert not done.taken
    assert all(e.unknown for e in done.excluded)  # c may be of somebody else
    assert taken(query, *rows, row("d", organizations=("B",))) == ["a", "b", "c", "d"]
    assert taken(BlueprintQuery(minimum_organizations_per_modality=1), *rows) == ["a", "b", "c"]


def gigabytes(d):
    size = estimate.size(d, count.of(d, BlueprintQuery()), ())
    return (size.raw.middle + size.fused.middle) / 1e9


def test_the_budget_holds_and_takes_the_smallest_first():
    small, middle, large = row("s", n_images=1000), row("m", n_images=2000), row("l", n_images=4000)
    silent = row("silent", n_images=None)
    room = gigabytes(small) + gigabytes(middle)
    rows = (small, middle, large, silent)
    assert taken(BlueprintQuery(storage_budget_gb=room), *rows) == ["m", "s"]
    assert taken(BlueprintQuery(storage_budget_gb=room * 0.99), *rows) == ["s"]
    assert taken(BlueprintQuery(), *rows) == ["l", "m", "s", "silent"]
    why = {e.id: e.unknown for e in select(BlueprintQuery(storage_budget_gb=room), world(*rows)).excluded}
    assert why == {"l": False, "silent": True}


def test_labelled_ones_are_preferred_for_the_budget_and_in_order():
    labelled, plain = row("z", n_images=2000), row("a", n_images=1000, label="unlabeled")
    room = gigabytes(labelled)
    assert taken(BlueprintQuery(storage_budget_gb=room), labelled, plain) == ["a"]
    assert taken(BlueprintQuery(storage_budget_gb=room, prefer_labeled=True), labelled, plain) == ["z"]
    assert taken(BlueprintQuery(), labelled, plain) == ["a", "z"]
    assert taken(BlueprintQuery(prefer_labeled=True), labelled, plain) == ["z", "a"]


def test_what_the_budget_takes_away_may_leave_a_modality_too_small():
    rows = [row("a", n_images=100), row("b", n_images=10**6)]
    query = BlueprintQuery(storage_budget_gb=1, minimum_datasets_per_modality=2)
    done = select(query, world(*rows))
    assert not done.taken
    assert {e.id: e.failures[0].rule for e in done.excluded} == {
        "a": "minimum_datasets_per_modality",
        "b": "storage_budget_gb",
    }


def some(words, most=3):
    return st.lists(st.sampled_from(sorted(words)), max_size=most, unique=True).map(tuple)


MANIFESTS = {i: origins.in_force(sources.load(i)) for i in sources.ids()}


@settings(max_examples=40, deadline=None)
@given(
    dimension=st.sampled_from([None, "2d", "3d", "video"]), modalities=some(["CT", "MR", "OP", "XR", "SM"]),
    tasks=some(WORDS.tasks), anatomies=some(["brain", "liver", "eye", "lung", "cell"]),
    licenses=st.none() | some(["CC-BY-4.0", "CC0-1.0", "CC-BY-NC-SA-4.0", "none"]).filter(bool),
    include_unlabeled=st.booleans(), minimum_images=st.none() | st.integers(1, 5000),
    released_since=st.none() | st.integers(2000, 2015), released_until=st.none() | st.integers(2015, 2025),
)  # fmt: skip
def test_selections_are_those_of_plain_python(**asked):
    query = BlueprintQuery(**asked)
    column = {"2d": "n_images", "3d": "n_volumes", "4d": "n_volumes", "video": "n_videos"}

    def licensed(d):
        read = [MANIFESTS[i] for i in datasets.manifests().get(d.id, ())]
        stated = {m.terms.license for m in read} | {d.license}
        inherited = {o.terms.license or "none" for m in read for o in m.origins}
        return (stated - {None} or {"none"}) | inherited <= set(asked["licenses"])

    def fits(d):
        kinds = [asked["dimension"]] if asked["dimension"] else [k for k in column if k in d.dimensions]
        items = [getattr(d, c) for c in {column[k] for k in kinds}]
        return all(
            (
                asked["dimension"] is None or asked["dimension"] in d.dimensions,
                *(not asked[k] or set(asked[k]) & set(getattr(d, k)) for k in ("modalities", "tasks", "anatomies")),
                asked["licenses"] is None or licensed(d),
                asked["include_unlabeled"] or d.label != "unlabeled",
                asked["minimum_images"] is None or sum(n or 0 for n in items) >= asked["minimum_images"],
                asked["released_since"] is None or (d.year or 0) >= asked["released_since"],
                asked["released_until"] is None or (d.year or 9999) <= asked["released_until"],
            )
        )

    done = select(query, CATALOG)
    assert {c.id for c in done.taken} == {d.id for d in CATALOG.datasets if fits(d)}
    assert len(done.taken) + len(done.excluded) == len(CATALOG)


WRONG = [
    ({"modalities": ["CTT"]}, "unknown word 'CTT'; did you mean 'CT'?"),
    ({"tasks": ["segmentatoin"]}, "did you mean 'segmentation'"),
    ({"anatomies": ["livr"]}, "did you mean 'liver'"),
    ({"structures": ["kidny"]}, "did you mean 'kidney'"),
    ({"licenses": ["CC-BY-4"]}, "did you mean 'CC-BY-4.0'"),
    ({"licenses": []}, "accepts nothing"),
    ({"dimension": "5d"}, "expected 2d, 3d, 4d, video"),
    ({"minimum_image": 3}, "did you mean 'minimum_images'"),
    ({"minimum_images": 0}, "greater than or equal to 1"),
    ({"storage_budget_gb": 0}, "greater than 0"),
    ({"volumes_as_2d": True}, "goes with dimension: 2d"),
    ({"mixed_dimensions": "exclude"}, "needs a dimension"),
    ({"mixed_modalities": "asked"}, "needs modalities"),
    ({"released_since": 2021, "released_until": 2020}, "expected released_since before"),
]


@pytest.mark.parametrize(("content", "told"), WRONG)
def test_wrong_queries_are_told_with_the_nearest_word(content, told):
    with pytest.raises(UsageError, match=r"options:\d") as error:
        load(None, content)
    assert told in str(error.value)


def test_options_win_over_the_file(tmp_path):
    file = tmp_path / "q.yaml"
    file.write_text("dimension: 3d\nmodalities: [ct]\nminimum_images: 20\n")
    assert load(file).asked() == {"dimension": "3d", "modalities": ["CT"], "minimum_images": 20}
    assert load(file, {"minimum_images": 5, "tasks": None}).minimum_images == 5
    file.write_text("dimension: 3d\nmodalities: [ct, MRI]\n")
    with pytest.raises(UsageError, match=r"q\.yaml:2: modalities: unknown word 'MRI'"):
        load(file)
