"""Labels that are added later are read as if they had been there from the start; nothing else changes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import mdfp
from mdfp.labels import IGNORE
from mdfp.verify import verify
from tests import added_labels as world

GEOMETRIES = {
    "native": {"geometry": {"spacing_mm": "native"}},
    "cropped": {"geometry": {"spacing_mm": [2.0, 2.0, 3.0], "crop": "foreground"}},
    "nearest": {"geometry": {"spacing_mm": [1.0, 1.5, 2.0]}, "labels": {"resample": "nearest", "thin": ["aorta"]}},
}
ORIGINS = (None, ("expert",), ("model",), ("model", "expert"), ("expert", "model"))


@pytest.fixture(scope="module", params=list(GEOMETRIES))
def pair(request, tmp_path_factory, console):
    """One corpus built with both labels, one to which the model's were added."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = GEOMETRIES[request.param]
    once = world.make(folder / "once", console, "expert", "model", **recipe)
    later = world.make(folder / "later", console, "expert", **recipe)
    done = later.add(console)
    assert (done.samples, done.there, done.manifest) == (7, 0, 2)
    assert done.reasons == {"missing_label": 2}
    return mdfp.open(str(once.out)), mdfp.open(str(later.out))


def said(record, states):
    """Statements without what may differ: the integer of a structure, the name of its layer."""
    plain = (dataclasses.replace(s, value=0, layer="" if s.layer else None) for s in states)
    return sorted(plain, key=lambda s: (s.structure, str(s.origin), s.state))


def in_words(corpus, mask):
    """A stored mask with the corpus's integers replaced by those of a fixed list."""
    table = np.zeros(int(np.iinfo(mask.dtype).max) + 1, np.uint8)
    for entry in corpus.palette:
        table[entry.value] = 1 + world.STRUCTURES.index(entry.structure)
    table[IGNORE[mask.dtype.name]] = 255
    return table[mask]


def test_the_corpora_are_sound(pair):
    for corpus in pair:
        assert verify(corpus) == []


def test_every_statement_is_as_if_both_labels_had_been_there(pair):
    once, later = pair
    keys = {s.key for s in once.samples}
    assert keys == {s.key for s in later.samples}
    for key in sorted(keys):
        a, b = once.sample(key).record, later.sample(key).record
        if [x.origin for x in b.labels] != ["expert"] and b.labels:
            assert [s.structure for s in b.structures] == [e.structure for e in later.palette]
        known = {
            s.structure for s in b.structures
        }  # nothing was added to the others: their entries are of their generation
        assert said(a, [s for s in a.structures if s.structure in known]) == said(b, b.structures), key
        assert said(a, [s for s in a.others if s.structure in known]) == said(b, b.others), key
        assert len(a.labels) == len(b.labels)
        for x, y in zip(a.labels, b.labels, strict=True):
            assert (x.image, x.dtype, x.origin, x.native) == (y.image, y.dtype, y.origin, y.native)
            mine, theirs = once.sample(key).label(x.layer), later.sample(key).label(y.layer)
            np.testing.assert_array_equal(in_words(once, mine), in_words(later, theirs))


@pytest.mark.parametrize("origins", ORIGINS, ids=str)
@pytest.mark.parametrize("unknown", ["ignore", "absent"])
def test_readers_get_the_same_targets(pair, origins, unknown):
    once, later = pair
    spaces = (
        list(world.STRUCTURES),
        ["kidney_left", "liver"],
        ["kidney", "spleen", "liver_tumour"],
        {"abdomen": ["liver", "spleen"], "aorta": "aorta"},
    )
    for key in sorted(s.key for s in once.samples):
        a, b = once.sample(key), later.sample(key)
        for space in spaces:
            how = {"origins": origins, "unknown": unknown}
            np.testing.assert_array_equal(a.classes(space, **how), b.classes(space, **how), err_msg=f"{key} {space}")
            np.testing.assert_array_equal(a.multi_hot(space, **how), b.multi_hot(space, **how), err_msg=key)
            np.testing.assert_array_equal(a.masks(space, **how), b.masks(space, **how), err_msg=key)
            mine, theirs = a.marginal(space, **how), b.marginal(space, **how)
            assert mine.groups == theirs.groups
            np.testing.assert_array_equal(mine.target, theirs.target, err_msg=key)
            assert a.states(space, origins=origins) == b.states(space, origins=origins), (key, space)


def test_images_and_shards_stay_as_they_were(pair):
    _, later = pair
    before = mdfp.open(str(later.store.url), 1)
    assert before.manifest.shards == later.manifest.shards
    assert (before.manifest.schema_version, later.manifest.schema_version) == (2, 3)
    assert [(e.structure, e.value) for e in before.palette] == [
        (e.structure, e.value) for e in later.palette[: len(before.palette)]
    ]
    assert verify(before) == []
