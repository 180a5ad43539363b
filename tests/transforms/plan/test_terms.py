from __future__ import annotations

from schemas.reasons import Reason
from schemas.recipe import TermsGate
from transforms.plan.planner import make_plan
from transforms.plan.terms import gate, risk_gate

GATE = TermsGate(accept=("CC-BY-4.0",))


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


def test_a_stated_risk_passes_only_when_the_recipe_names_it():
    assert risk_gate((), GATE) is None
    reason, detail = risk_gate(("faces", "burned_in_text"), TermsGate(accept=(), risks=("faces",)))
    assert reason == Reason.RISK_REFUSED
    assert "burned_in_text" in detail
    assert "faces" not in detail
    assert risk_gate(("faces",), TermsGate(accept=(), risks=("faces",))) is None


def test_cases_of_a_source_with_a_risk_are_left_out_of_the_plan(make_recipe, sources, make_inventory):
    risky = sources | {"a": sources["a"].model_copy(update={"risks": ("faces",)})}
    plan = make_plan(make_recipe(), risky, make_inventory(), None)
    left_out = {(a.case_id[0], a.left_out) for a in plan.assignments if a.left_out}
    assert left_out == {("a", Reason.RISK_REFUSED)}
    accepted = make_recipe(terms={"accept": ["CC-BY-4.0"], "risks": ["faces"]})
    assert not [a for a in make_plan(accepted, risky, make_inventory(), None).assignments if a.left_out]
