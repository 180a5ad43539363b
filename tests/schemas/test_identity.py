from __future__ import annotations

import pytest

from mdfp import arrow
from schemas.identity import FingerprintRow, IdentityEdge, IdentityLink, IdentityRow, ImageMatch, Kind
from schemas.recipe import Recipe

RECORDS = [FingerprintRow, IdentityEdge, IdentityLink, IdentityRow, ImageMatch]


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_every_column_says_what_it_means(record):
    assert arrow.undocumented(record) == []


def test_a_fingerprint_goes_through_a_table_and_back():
    row = FingerprintRow("a", "a-1", "ct", "CT", "k", "h", b"\0\xff", b"\1\2", (1.5, 2.0, 3.0), (4, 5, 6), None, "")
    assert arrow.from_table(FingerprintRow, arrow.to_table(FingerprintRow, [row])) == [row]


def test_a_kind_goes_through_a_table_and_back():
    edge = IdentityEdge("a-1", "b-1", Kind.NEAR, 0.01, "ct = ct")
    (back,) = arrow.from_table(IdentityEdge, arrow.to_table(IdentityEdge, [edge]))
    assert back == edge
    assert isinstance(back.kind, Kind)


def recipe(**changes):
    content = {"corpus": "c", "out": "o", "sources": [{"id": "a"}], "terms": {"accept": ["CC-BY-4.0"]}}
    return Recipe.model_validate(content | changes)


def test_a_recipe_without_a_word_of_identity_reads_as_before():
    plain = recipe().without_locations()
    assert "identity" not in plain
    assert "never_train" not in plain["splits"]


def test_benchmarks_are_part_of_a_recipe_and_places_are_not():
    plain = recipe(splits={"never_train": ["btcv"]}, identity={"links": ["/here/links.csv"]}).without_locations()
    assert plain["splits"]["never_train"] == ["btcv"]
    assert "identity" not in plain
