"""Views of one site: no patient in two, nothing lost, and nobody moves when a corpus grows."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mdfp
from mdfp.corpus import Corpus
from mdfp.errors import UsageError
from mdfp.manifest import dump
from mdfp.sites import UNSTATED, count, members
from mdfp.wds import sampled, shard_urls

rows = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p2", "p3", "p4", "p5"]),
        st.sampled_from(["north", "south", "west", None]),
        st.integers(1, 3),
        st.sampled_from(["train", "val", "test"]),
    ),
    min_size=1,
    max_size=40,
)


def table_of(found):
    columns = list(zip(*found, strict=True)) or [(), (), (), ()]
    types = dict(
        zip(("group", "site", "generation", "split"), (pa.string(), pa.string(), pa.int64(), pa.string()), strict=True)
    )
    return pa.table({n: pa.array(list(c), t) for (n, t), c in zip(types.items(), columns, strict=True)})


@given(rows)
def test_each_patient_is_in_one_site_and_each_sample_too(found):
    table = table_of(found)
    sites = count([table], "site")
    masks = {s.site: members(table, sites, s.site) for s in sites.sites}
    assert sum(m.astype(int) for m in masks.values()).tolist() == [1] * table.num_rows
    groups = {site: set(table.filter(pa.array(m))["group"].to_pylist()) for site, m in masks.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    for s in sites.sites:
        assert (s.samples, s.groups) == (int(masks[s.site].sum()), len(groups[s.site]))
        assert s.train + s.val + s.test == s.samples
    # Nobody goes to a site that does not have him.
    own = {(group, site or UNSTATED) for group, site, *_ in found}
    assert all((group, site) in own for site, those in groups.items() for group in those)
    several = {group for group, *_ in found if len({s for g, s in own if g == group}) > 1}
    assert {m.group for m in sites.moved} == several


@given(rows, st.integers(0, 40))
def test_a_later_generation_moves_nobody_and_parts_count_like_the_whole(found, cut):
    earlier = [r for r in found if r[2] == 1]
    if earlier:
        first, all_ = count([table_of(earlier)], "site"), count([table_of(found)], "site")
        table = table_of(earlier)
        for s in first.sites:
            mine = set(table.filter(pa.array(members(table, first, s.site)))["group"].to_pylist())
            now = set(table.filter(pa.array(members(table, all_, s.site)))["group"].to_pylist())
            assert mine == now
    parts = [t for t in (table_of(found[:cut]), table_of(found[cut:])) if t.num_rows]
    assert count(parts, "site") == count([table_of(found)], "site")


@given(rows, st.randoms())
def test_the_order_of_rows_does_not_matter(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    assert count([table_of(shuffled)], "site") == count([table_of(found)], "site")


def test_the_larger_part_decides_then_the_name():
    found = [
        ("p", "b", 1, "train"),
        ("p", "a", 1, "train"),
        ("q", "b", 1, "train"),
        ("q", "b", 1, "val"),
        ("q", "a", 1, "test"),
    ]
    sites = count([table_of(found)], "site")
    assert [(m.group, m.site, m.others, m.samples) for m in sites.moved] == [
        ("p", "a", ("b",), 1),
        ("q", "b", ("a",), 1),
    ]


@pytest.fixture
def divided(written, corpus):
    """The corpus of the other tests with a site for each source, written beside it."""
    sites = count([corpus.table], "source")
    manifest = dataclasses.replace(corpus.manifest, sites=sites)
    return Corpus(corpus.store, manifest), manifest


def test_a_view_holds_its_site_and_nothing_else(divided, written):
    whole, manifest = divided
    seen = []
    for entry in manifest.sites.sites:
        view = Corpus(whole.store, manifest, entry.site)
        assert len(view.samples) == entry.samples
        assert {s.source for s in view.samples} == {entry.site}
        assert view.splits["train"].samples == entry.train
        with pytest.raises(UsageError, match="no sample"):
            view.sample(next(k for k in whole.samples.keys if k not in set(view.samples.keys)))
        seen += view.samples.keys
        assert set(view.samples.where(split="train").keys) == (
            {s.key for s in view.loader("train")} if entry.train else set()
        )
    assert sorted(seen) == sorted(whole.samples.keys)


def test_a_stream_of_shards_leaves_out_other_sites(divided):
    whole, manifest = divided
    site = next(s.site for s in manifest.sites.sites if s.train)
    view = Corpus(whole.store, manifest, site)
    stream = [{"__key__": key} for key in whole.samples.keys]
    assert {s["__key__"] for s in sampled(view, "train")(stream)} == set(view.samples.where(split="train").keys)
    assert set(shard_urls(view, "train")) <= set(shard_urls(whole, "train"))


def test_a_site_that_is_not_there_is_named(divided, written):
    whole, manifest = divided
    with pytest.raises(UsageError, match=r"has no sites; say sites: \{by: source\}"):
        mdfp.open(str(written.root), site="alpha")
    name = manifest.sites.sites[0].site
    with pytest.raises(UsageError, match=f"did you mean '{name}'"):
        Corpus(whole.store, manifest, name + "s")


def test_a_manifest_without_views_reads_as_before(corpus):
    content = json.loads(dump(corpus.manifest))
    assert not {"sites", "sampling", "profile", "exceptions"} & set(content)
    assert all("origins" not in t for t in content["terms"])
