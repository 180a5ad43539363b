from __future__ import annotations

from schemas.reasons import Reason
from schemas.recipe import TermsGate
from transforms.plan.terms import gate

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
