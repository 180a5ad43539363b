"""Pseudonyms are stable, apart for different things, and say nothing."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdfp import canonical
from mdfp.errors import UsageError
from transforms.pseudonym import PatientKeys, case_id, slug

KEYS = PatientKeys(b"a secret of tests, 32 bytes long")
OTHER = PatientKeys(b"another secret, also of 32 bytes")


def test_a_pseudonym_is_what_the_definition_says():
    expected = hmac.new(KEYS.secret, b'["patient","ns","001"]', hashlib.sha256).hexdigest()[:32]
    assert KEYS.patient("ns", "001") == expected


def test_equal_ids_in_two_namespaces_are_two_patients():
    assert KEYS.patient("a", "001") != KEYS.patient("b", "001")
    assert KEYS.patient("ab", "c") != KEYS.patient("a", "bc")


def test_another_secret_gives_other_pseudonyms():
    assert KEYS.patient("a", "1") != OTHER.patient("a", "1")
    assert KEYS.fingerprint != OTHER.fingerprint
    assert len(KEYS.fingerprint) == 16


def test_a_short_secret_is_refused_and_none_is_shown():
    with pytest.raises(UsageError, match="has 5 bytes, at least 16 are needed; make one with: python -c"):
        PatientKeys(b"short")
    assert "secret of tests" not in repr(KEYS)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_shifted_days_keep_differences_within_a_patient(a, b):
    assert KEYS.shifted_day("p", a) - KEYS.shifted_day("p", b) == a - b


def test_the_shift_differs_between_patients():
    assert KEYS.shifted_day("p", 0) != KEYS.shifted_day("q", 0)


def test_public_names_are_readable_and_others_are_not():
    assert case_id("msd-task09-spleen", "spleen_2", KEYS, public=True) == "msd-task09-spleen-spleen_2"
    assert case_id("idc.v2", "Case 1", KEYS, public=True) == "idc_v2-case-1"
    private = case_id("hospital", "Mueller", KEYS, public=False)
    assert re.fullmatch(r"hospital-[0-9a-f]{16}", private)


def test_a_name_that_is_too_long_or_empty_gets_a_pseudonym():
    assert re.fullmatch(r"s-[0-9a-f]{16}", case_id("s", "x" * 100, KEYS, public=True))
    assert re.fullmatch(r"s-[0-9a-f]{16}", case_id("s", "ÄÖ", KEYS, public=True))


@given(st.from_regex(r"[a-z0-9][a-z0-9.-]{0,39}", fullmatch=True), st.text(max_size=120), st.booleans())
def test_every_case_id_is_a_key(source, name, public):
    assert re.fullmatch(r"[a-z0-9_-]{1,80}", case_id(source, name, KEYS, public=public))


@given(st.text())
def test_a_slug_has_no_dots_and_stays_as_it_is(text):
    assert re.fullmatch(r"[a-z0-9_-]*", slug(text))
    assert slug(slug(text)) == slug(text)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_whatever_a_name_holds_its_pseudonym_is_of_canonical_json(source, value):
    expected = hmac.new(KEYS.secret, canonical.dumps(["name", source, value]), hashlib.sha256).hexdigest()
    assert KEYS.name(source, value) == expected[:16]
