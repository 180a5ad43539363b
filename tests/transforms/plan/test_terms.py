from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mdfp.errors import UsageError
from schemas import licenses, yaml_file
from schemas.licenses import UNSTATED, Grants
from schemas.reasons import Reason
from schemas.recipe import Recipe, TermsGate
from schemas.source import Source
from schemas.terms import license_of
from schemas.terms_gate import PROFILES
from transforms.plan.planner import make_plan
from transforms.plan.terms import Compiler, gate, handed_on_under, objections, require_fitting, spelled_out

GATE = TermsGate(accept=("CC-BY-4.0",))

TABLE = yaml.safe_load((Path(__file__).parent / "terms_table.yaml").read_text(encoding="utf-8"))
KNOWN = {**licenses.table(), **{k: Grants.model_validate(v) for k, v in TABLE["custom"].items()}}
ROWS = [pytest.param(row, id=" + ".join(row["of"])) for row in TABLE["rows"]]


def test_the_table_is_long_enough():
    assert len(TABLE["rows"]) >= 40
    assert len({(tuple(r["of"]), "agreed" in r) for r in TABLE["rows"]}) == len(TABLE["rows"])


@pytest.mark.parametrize("row", ROWS)
def test_a_combination_has_its_verdict(row):
    agreed = row.get("agreed", TABLE["agreed"])
    for order in itertools.permutations(row["of"]):
        for profile in PROFILES:
            found = [o.demand for o in objections(order, profile, KNOWN, agreed)]
            expected = [] if row[profile] == "ok" else row[profile]
            assert sorted(found) == sorted(expected), (profile, order)
    if "under" in row:
        assert (handed_on_under(row["of"], KNOWN) or "none") == row["under"]


@given(held=st.lists(st.sampled_from([*KNOWN, UNSTATED, "LicenseRef-nobody-read-it"]), min_size=1, max_size=4))
def test_another_origin_never_makes_terms_laxer(held):
    for profile in PROFILES:
        for fewer in itertools.combinations(held, len(held) - 1):
            if fewer and objections(fewer, profile, KNOWN):
                assert objections(held, profile, KNOWN)
        if not objections(held, profile, KNOWN):
            assert all(each in KNOWN for each in held)
    # What anybody may have and use for profit, a researcher may use too.
    if not objections(held, "commercial", KNOWN):
        assert not objections(held, "research-only", KNOWN)


@given(held=st.lists(st.sampled_from(sorted(KNOWN)), min_size=1, max_size=4))
def test_what_is_handed_on_keeps_every_demand(held):
    under = handed_on_under(held, KNOWN)
    if under is None:
        return
    targets = [KNOWN[each] for each in licenses.parts(under)]
    for each in (KNOWN[h] for h in held):
        assert each.commercial or not all(t.commercial for t in targets)
        assert not each.attribution or any(t.attribution for t in targets)
        if each.share_alike:
            assert under in each.share_alike


def test_an_accepted_licence_passes():
    assert gate("CC-BY-4.0", GATE) is None


def test_another_licence_is_refused_by_name():
    reason, detail = gate("CC-BY-NC-4.0", GATE)
    assert reason == Reason.TERMS_REFUSED
    assert "CC-BY-NC-4.0" in detail
    assert "CC-BY-4.0" in detail


def test_unstated_terms_fail_closed():
    reason, detail = gate(None, GATE)
    assert reason == Reason.TERMS_UNKNOWN
    assert "unknown: accept" in detail


def test_unstated_terms_pass_only_when_the_recipe_says_so():
    assert gate(None, TermsGate(accept=(), unknown="accept")) is None
    assert gate(f"CC-BY-3.0 AND {UNSTATED}", TermsGate(accept=("CC-BY-3.0",)))[0] == Reason.TERMS_UNKNOWN


def test_every_licence_of_a_case_must_be_accepted():
    assert gate("CC-BY-4.0 AND CC-BY-3.0", GATE)[0] == Reason.TERMS_REFUSED
    assert gate("CC-BY-4.0 AND CC-BY-3.0", TermsGate(accept=("CC-BY-3.0", "CC-BY-4.0"))) is None


def test_with_a_profile_the_names_narrow_it():
    both = TermsGate(profile="commercial", accept=("CC-BY-4.0", "CC-BY-NC-4.0"))
    assert gate("CC-BY-4.0", both) is None
    assert gate("CC0-1.0", both)[0] == Reason.TERMS_REFUSED
    assert gate("CC-BY-NC-4.0", both)[0] == Reason.TERMS_REFUSED


def source(**changes):
    content = {
        "id": "luna16",
        "title": "LUNA16",
        "terms": {"license": "CC-BY-4.0"},
        "origins": [{"id": "lidc-idri", "title": "LIDC-IDRI", "terms": {"license": "CC-BY-NC-3.0"}}],
        "patient": {"namespace": "lidc"},
        "layout": {"kind": "paired", "images": [{"name": "ct", "modality": "CT", "path": "{case}.nii.gz"}]},
    }
    return Source.model_validate(content | changes)


def test_a_case_has_the_terms_of_its_origins():
    luna = source()
    assert license_of(luna.terms, luna.origins, "1.2.3") == "CC-BY-4.0 AND CC-BY-NC-3.0"
    assert license_of(luna.terms, (), "1.2.3") == "CC-BY-4.0"
    reason, detail = Compiler(TermsGate(profile="commercial"), {"luna16": luna}).verdict(
        "luna16", "CC-BY-4.0 AND CC-BY-NC-3.0"
    )
    assert reason == Reason.TERMS_REFUSED
    assert detail == ("not commercial: CC-BY-NC-3.0 does not permit commercial use (of the origin lidc-idri)")


def test_an_origin_without_terms_is_named():
    luna = source(origins=[{"id": "lidc-idri", "title": "LIDC-IDRI"}])
    held = license_of(luna.terms, luna.origins, "1.2.3")
    assert held == f"CC-BY-4.0 AND {UNSTATED}"
    for profile in PROFILES:
        reason, detail = Compiler(TermsGate(profile=profile), {"luna16": luna}).verdict("luna16", held)
        assert reason == Reason.TERMS_UNKNOWN
        assert "lidc-idri" in detail
        assert "override" in detail


def test_origins_may_hold_for_some_cases_only():
    lits = {
        "id": "lits",
        "title": "LiTS",
        "cases": ["volume-{n:[0-9]|[0-9][0-9]}"],
        "terms": {"license": "CC-BY-NC-4.0"},
    }
    org = source(origins=[lits])
    assert license_of(org.terms, org.origins, "volume-17") == "CC-BY-4.0 AND CC-BY-NC-4.0"
    assert license_of(org.terms, org.origins, "volume-139") == "CC-BY-4.0"
    silent = source(terms={}, origins=[{"id": "a", "title": "A"}])
    assert license_of(silent.terms, silent.origins, "x") is None


def test_an_override_takes_what_the_gate_refuses():
    luna = source(origins=[{"id": "lidc-idri", "title": "LIDC-IDRI"}])
    held = license_of(luna.terms, luna.origins, "1.2.3")
    words = "written permission of the authors, 2024-05-02"
    compiler = Compiler(
        TermsGate(profile="commercial", override=({"source": "luna16", "reason": words},)), {"luna16": luna}
    )
    assert compiler.verdict("luna16", held) is None
    assert compiler.refusal("luna16", held)[0] == Reason.TERMS_UNKNOWN
    assert compiler.verdict("another", None)[0] == Reason.TERMS_UNKNOWN


def test_terms_of_ones_own_count_once_they_are_spelled_out():
    grants = {"commercial": True, "redistribution": False, "derivatives": "private", "access": "agreement"}
    signed = source(terms={"license": "LicenseRef-dua", "grants": grants}, origins=[])
    assert Compiler(TermsGate(profile="commercial"), {"luna16": signed}).verdict("luna16", "LicenseRef-dua") is not None
    agreed = TermsGate(profile="commercial", agreed=("LicenseRef-dua",))
    assert Compiler(agreed, {"luna16": signed}).verdict("luna16", "LicenseRef-dua") is None
    other = source(id="b", terms={"license": "LicenseRef-dua", "grants": {**grants, "commercial": False}}, origins=[])
    with pytest.raises(UsageError, match="differ from what another manifest says"):
        spelled_out({"luna16": signed, "b": other})


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            {"license": "CC-BY-4.0", "grants": {"commercial": True, "redistribution": True, "derivatives": "share"}},
            "own",
        ),
        ({"license": "LicenseRef-a", "grants": {"commercial": True, "redistribution": True}}, "derivatives"),
        (
            {
                "license": "LicenseRef-a",
                "grants": {"commercial": True, "redistribution": True, "derivatives": "no", "research_only": True},
            },
            "contradict",
        ),
        (
            {
                "license": "LicenseRef-a",
                "grants": {"commercial": True, "redistribution": False, "derivatives": "share"},
            },
            "private",
        ),
    ],
)
def test_grants_that_make_no_sense_are_refused(terms, message):
    with pytest.raises(ValidationError, match=message):
        source(terms=terms)


RECIPE = """\
corpus: tiny
out: there
sources: [{{id: a}}, {{id: b}}]
terms: {terms}
"""


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ("{}", "give accept: .licences., or profile"),
        ("{profile: comercial}", "did you mean 'commercial'"),
        ("{profile: commercial, unknown: accept}", "no profile lets unknown terms in"),
        ("{profile: commercial, override: [{source: c, reason: because I say so}]}", "terms.override names ..c.."),
        ("{profile: commercial, override: [{source: a, reason: so}]}", "at least 10 characters"),
        ("{accept: [CC-BY-4]}", "did you mean 'CC-BY-4.0'"),
    ],
)
def test_a_wrong_gate_says_what_would_be_right(terms, message):
    with pytest.raises(UsageError, match=message):
        yaml_file.loads(Recipe, RECIPE.format(terms=terms), "recipe.yaml")


def test_a_recipe_that_names_licences_reads_as_before(make_recipe):
    assert make_recipe().without_locations()["terms"] == {"accept": ["CC-BY-4.0"], "unknown": "refuse"}
    recipe = yaml_file.loads(Recipe, RECIPE.format(terms="{profile: commercial}"), "recipe.yaml")
    again = Recipe.model_validate({**recipe.without_locations(), "out": "-"})
    assert again.terms.profile == ("commercial",)
    assert Compiler(again.terms, {}).verdict("a", "CC-BY-4.0") is None


def test_a_profile_is_not_said_of_samples_that_were_published_under_other_terms():
    luna = source()
    compiler = Compiler(TermsGate(profile="commercial"), {"luna16": luna})
    require_fitting(compiler, "tiny", Counter({("older", "CC-BY-4.0"): 3}))
    with pytest.raises(UsageError, match=r"holds 3 samples of older under CC-BY-NC-4.0"):
        require_fitting(compiler, "tiny", Counter({("older", "CC-BY-NC-4.0"): 3}))
    with pytest.raises(UsageError, match="of the origin lidc-idri"):  # its manifest has learnt of it since
        require_fitting(compiler, "tiny", Counter({("luna16", "CC-BY-4.0"): 3}))


def test_a_plan_leaves_out_what_a_profile_refuses(make_recipe, make_inventory, sources):
    origin = {"id": "older", "title": "An older release", "terms": {"license": "CC-BY-NC-SA-4.0"}}
    b = Source.model_validate({**sources["b"].model_dump(mode="json"), "origins": [origin]})
    found = make_inventory()
    licensed = [
        c if c.source == "a" else type(c)(**{**c.__dict__, "license": license_of(b.terms, b.origins, c.case_id)})
        for c in found.cases
    ]
    inventory = type(found)(tuple(licensed), found.objects, found.rejects, found.patient_key)
    plan = make_plan(make_recipe(terms={"profile": "commercial"}), {"a": sources["a"], "b": b}, inventory, None)
    assert {c.source for c in plan.cases} == {"a"}
    out = plan.left_out()
    assert {(o.source, o.left_out) for o in out} == {("b", Reason.TERMS_REFUSED)}
    assert "of the origin older" in out[0].detail
    taken = {"profile": "commercial", "override": [{"source": "b", "reason": "a licence was bought, no. 17"}]}
    plan = make_plan(make_recipe(terms=taken), {"a": sources["a"], "b": b}, inventory, None)
    assert {c.source for c in plan.cases} == {"a", "b"}
