from __future__ import annotations

import pickle

import pytest
from pydantic import ValidationError

from mdfp.errors import UsageError
from mdfp.urls import redacted
from schemas.place import Access, OutAccess, Place
from schemas.recipe import Recipe


@pytest.mark.parametrize(
    "url",
    ["s3://bucket/raw", "/data/raw", "file:///data/raw", "data #1?", "gs://b/a%20b", "https://host:8080/a/b",
     "abfs://container@account.dfs.core.windows.net/raw"],
)  # fmt: skip
def test_addresses_without_secrets_are_taken_as_they_are(url):
    assert str(Place(url)) == url


@pytest.mark.parametrize(
    "url",
    ["https://me:secret@host/a", "s3://AKIAsecret:secret@bucket/a", "https://secret@host/a",
     "https://host/a?X-Amz-Signature=secret", "https://host/a#secret", "az://container/a?sig=secret",
     "abfs://container:secret@account.dfs.core.windows.net/a"],
)  # fmt: skip
def test_an_address_with_a_secret_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError) as error:
        Place(url)
    assert "secret" not in str(error.value)
    assert "docs/stores.md" in str(error.value)


def test_chained_file_systems_are_refused():
    with pytest.raises(UsageError, match="chained"):
        Place("simplecache::s3://bucket/raw")


def test_secrets_of_urls_in_a_text_become_stars():
    text = 'GET "https://a:b@host/x?sig=1&b=2" and s3://c:d@e/f failed; 5 > 3? yes'
    assert redacted(text) == 'GET "https://***@host/x?***" and s3://***@e/f failed; 5 > 3? yes'


def test_a_place_travels():
    place = Place.of_corpus("s3://b/c", OutAccess(requester_pays=True, preconditions="do_without"))
    assert pickle.loads(pickle.dumps(place)) == place
    assert place == Place("s3://b/c", Access(requester_pays=True), guarded=False)


def test_credentials_have_no_place_in_access():
    for key in ("key", "secret", "token", "endpoint_url"):
        with pytest.raises(ValidationError):
            Access.model_validate({key: "x"})
        with pytest.raises(ValidationError):
            OutAccess.model_validate({key: "x"})


def test_nobody_can_be_billed_anonymously():
    with pytest.raises(ValidationError, match="needs somebody to bill"):
        Access(anonymous=True, requester_pays=True)


def test_how_a_bucket_is_entered_is_no_part_of_what_a_recipe_is():
    def recipe(**more):
        use = {"id": "a", **{k: v for k, v in more.items() if k in ("root", "access")}}
        rest = {k: v for k, v in more.items() if k not in use}
        content = {"corpus": "c", "out": "o", "sources": [use], "terms": {"accept": ["own-data"]}, **rest}
        return Recipe.model_validate(content).without_locations()

    entered = recipe(
        out="s3://b/o",
        out_access={"requester_pays": True, "preconditions": "do_without"},
        root="s3://c/a",
        access={"anonymous": True},
    )
    assert entered == recipe()
    assert "access" not in str(entered)
