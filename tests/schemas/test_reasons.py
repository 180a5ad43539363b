"""Reason codes are a closed list that people and programs read."""

from __future__ import annotations

import pickle
import re

import pytest

from schemas.reasons import Reason


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_its_code_and_says_what_it_means(reason):
    assert reason == reason.value == str(reason)
    assert re.fullmatch(r"[a-z][a-z_]*", reason)
    assert reason.name == reason.upper()
    assert len(reason.meaning) > 15
    assert not reason.meaning.endswith(".")


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_travels(reason):
    assert pickle.loads(pickle.dumps(reason)) is reason
    assert Reason(str(reason)) is reason


def test_codes_and_meanings_are_told_apart():
    assert len({r.value for r in Reason}) == len({r.meaning for r in Reason}) == len(Reason)
