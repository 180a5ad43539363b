"""What each server promises a writer and a reader, asked of the server itself.

`transforms` relies on these; a store where one does not hold is told apart by its start-up probe. Each is measured, and
must be what this file says: a server of a pinned version does not change its mind.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

pytestmark = pytest.mark.stores

SMALL = b"small, in one request"
LARGE_BYTES = 12 << 20
"""Three parts."""

RACERS = 8
LISTED = 1100
"""More than the 1,000 names of a page of S3 and GCS."""


@pytest.mark.proves("create-only PUT")
def test_a_second_small_create_is_refused_and_changes_nothing(writable):
    client, path = writable.client, writable.path("small")
    assert client.create(path, SMALL)
    assert not client.create(path, b"another")
    assert client.read(path) == SMALL


@pytest.mark.proves("create-only PUT, 8 racing: one wins")
def test_of_racing_creators_exactly_one_wins(writable):
    client, path = writable.client, writable.path("race")
    offers = [f"offer {i}".encode() for i in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as pool:
        won = list(pool.map(lambda offer: client.create(path, offer), offers))
    assert won.count(True) == 1
    assert client.read(path) == offers[won.index(True)]


@pytest.mark.proves("create-only multipart")
def test_a_second_create_in_parts_is_refused_and_changes_nothing(writable):
    client, path = writable.client, writable.path("large")
    first = bytes(LARGE_BYTES)
    assert client.create_in_parts(path, first)
    assert not client.create_in_parts(path, b"x" * LARGE_BYTES)
    assert client.read(path) == first
    assert client.unfinished(writable.bucket) == 0


@pytest.mark.proves("a change shows in the version")
def test_other_bytes_of_the_same_length_have_another_version(place):
    place.client.put(place.path("object"), b"before")
    before = place.client.version(place.path("object"))
    place.client.put(place.path("object"), b"after!")
    assert place.client.version(place.path("object")) != before


@pytest.mark.proves("range of a pinned version")
def test_a_range_of_a_version_that_is_gone_is_refused(place):
    place.client.put(place.path("object"), b"0123456789")
    version = place.client.version(place.path("object"))
    assert place.client.read_if(place.path("object"), version, 2, 5) == b"234"
    place.client.put(place.path("object"), b"abcdefghij")
    assert place.client.read_if(place.path("object"), version, 2, 5) is None


@pytest.mark.proves("listing after write, in pages")
def test_everything_written_is_listed_at_once(place):
    names = {f"folder/{i % 7}/{i:04d}" for i in range(LISTED)}
    with ThreadPoolExecutor(RACERS) as pool:
        list(pool.map(lambda name: place.client.put(place.path(name), b"x"), sorted(names)))
    assert place.client.names(place.bucket) == names


@pytest.mark.proves("an unfinished upload is invisible")
def test_an_unfinished_upload_is_not_seen_under_its_name(writable):
    client, path = writable.client, writable.path("unfinished")
    client.begin_upload(path, bytes(5 << 20))
    assert client.read(path) is None
    assert client.names(writable.bucket) == set()


@pytest.mark.proves("an aborted upload leaves nothing")
def test_an_aborted_upload_leaves_nothing(writable):
    client, path = writable.client, writable.path("aborted")
    abort = client.begin_upload(path, bytes(5 << 20))
    abort()
    assert client.read(path) is None
    assert client.names(writable.bucket) == set()
    assert client.unfinished(writable.bucket) == 0
