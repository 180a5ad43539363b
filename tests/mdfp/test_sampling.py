"""The sampling plan: shares, caps, rounds, and that ranks and interruptions change nothing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp.crops import Crops
from mdfp.errors import UsageError
from mdfp.index import Samples
from mdfp.loader import Loader
from mdfp.manifest import Sampling, SamplingCap, SamplingCell
from mdfp.sampling import SamplingPlan, allocate, epoch_places, groups_of, weigh
from mdfp.wds import sampled

SOURCES = "abcde"

cells = st.dictionaries(
    st.tuples(st.sampled_from(SOURCES), st.sampled_from(["CT", "MR", "PT"])), st.integers(1, 60), min_size=1, max_size=8
)
exponents = st.sampled_from([0.0, 0.25, 0.5, 1.0])


@st.composite
def capped(draw):
    """(samples by cell, exponent, caps): one source at least has none."""
    found = draw(cells)
    sources = sorted({s for s, _ in found})
    chosen = draw(st.lists(st.sampled_from(sources), unique=True, max_size=len(sources) - 1))
    caps = []
    for source in chosen:
        if draw(st.booleans()):
            caps.append(SamplingCap(source, draw(st.floats(0.05, 1.0)), None))
        else:
            caps.append(SamplingCap(source, None, draw(st.integers(1, 50))))
    return found, draw(exponents), tuple(caps)


def made(found, exponent=1.0, caps=(), by="modality"):
    """The samples of cells in an index, in shards of ten, and the plan of them."""
    rows = [(source, group) for (source, group), n in sorted(found.items()) for _ in range(n)]
    order = np.random.default_rng(0).permutation(len(rows))
    rows = [rows[i] for i in order]
    table = pa.table(
        {
            "key": [f"k{i:04d}" for i in range(len(rows))],
            "source": [r[0] for r in rows],
            "split": ["train"] * len(rows),
            "modalities": [[r[1]] for r in rows],
            "images": pa.array(
                [[{"acquisition": {"body_part": None}}] for _ in rows],
                pa.list_(pa.struct([("acquisition", pa.struct([("body_part", pa.string())]))])),
            ),
            "shard": [f"shards/train/{r[0]}-{i // 10}.tar" for i, r in enumerate(rows)],
        }
    )
    weights = weigh(found, exponent, caps)
    listed = tuple(SamplingCell(*cell, found[cell], weights[cell]) for cell in sorted(weights))
    return Samples(table), Sampling("train", by, exponent, tuple(caps), listed)


def loader_of(samples, held, **how):
    corpus = SimpleNamespace(samples=samples, manifest=SimpleNamespace(sampling=held, splits=()))
    return Loader(corpus, samples, **how)


@given(cells)
def test_proportional_weighs_samples(found):
    total = sum(found.values())
    assert weigh(found, 1.0, ()) == pytest.approx({c: n / total for c, n in found.items()})


@given(cells)
def test_equal_weighs_groups(found):
    groups = Counter()
    for (_, group), weight in weigh(found, 0.0, ()).items():
        groups[group] += weight
    assert groups == pytest.approx(dict.fromkeys(groups, 1 / len(groups)))


@given(cells, exponents)
def test_a_temperature_lies_between(found, exponent):
    sizes = Counter()
    for (_, group), n in found.items():
        sizes[group] += n
    total = sum(n**exponent for n in sizes.values())
    expected = {(s, g): sizes[g] ** exponent / total * n / sizes[g] for (s, g), n in found.items()}
    assert weigh(found, exponent, ()) == pytest.approx(expected)


@settings(deadline=None)
@given(capped())
def test_caps_hold_and_nothing_is_lost(world):
    found, exponent, caps = world
    samples, sampling = made(found, exponent, caps)
    plan = SamplingPlan(samples, sampling)
    assert sum(c.weight for c in sampling.cells) == pytest.approx(1)
    assert len(plan) == len(samples)
    taken = Counter()
    for (source, _), places in plan.places.items():
        taken[source] += places
    for cap in caps:
        if cap.samples is not None:
            assert taken[cap.source] <= cap.samples
        else:
            assert taken[cap.source] <= cap.share * len(plan) + 1e-6
    # A source without a cap never loses by the caps of others.
    free = weigh(found, exponent, ())
    for cell in sampling.cells:
        if cell.source not in {c.source for c in caps}:
            assert cell.weight >= free[cell.source, cell.group] - 1e-9


@given(cells, exponents, st.integers(1, 500))
def test_places_are_the_weights_rounded(found, exponent, length):
    weights = weigh(found, exponent, ())
    given_ = allocate(weights, length, ())
    assert sum(given_.values()) == length
    assert all(abs(n - weights[cell] * length) < 1 + 1e-6 for cell, n in given_.items())


def drawn(plan, seed, epoch):
    return plan.order(seed, epoch, lambda rows, name: rows)


@settings(max_examples=50, deadline=None)
@given(cells, exponents, st.integers(0, 20))
def test_an_epoch_takes_each_cell_as_often_as_its_weight_says(found, exponent, epoch):
    samples, sampling = made(found, exponent)
    plan = SamplingPlan(samples, sampling)
    rows, visits = drawn(plan, 1, epoch)
    counts = Counter(rows.tolist())
    for cell, mine in plan.rows.items():
        often = [counts[int(r)] for r in mine]
        assert sum(often) == plan.places[cell]
        assert max(often) - min(often) <= 1
    # The visits of a sample are numbered, so that its crops differ.
    pairs = list(zip(rows.tolist(), visits.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert {v for r, v in pairs if counts[r] == 1} <= {0}
    assert plan.repeats == (max(counts.values()) > 1)


@settings(max_examples=50, deadline=None)
@given(cells, exponents)
def test_a_round_of_epochs_sees_samples_that_are_left_out_once(found, exponent):
    samples, sampling = made(found, exponent)
    plan = SamplingPlan(samples, sampling)
    for cell, mine in plan.rows.items():
        places = plan.places[cell]
        if not 0 < places < len(mine):
            continue
        seen = Counter()
        for epoch in range(len(mine) // places):
            seen.update(set(drawn(plan, 2, epoch)[0].tolist()) & set(mine.tolist()))
        assert set(seen.values()) == {1}
        assert len(seen) == len(mine) // places * places


@settings(max_examples=50, deadline=None)
@given(cells, exponents, st.integers(0, 5))
def test_every_stretch_of_an_epoch_has_its_share_of_each_cell(found, exponent, epoch):
    samples, sampling = made(found, exponent)
    plan = SamplingPlan(samples, sampling)
    rows, _ = drawn(plan, 3, epoch)
    for cell, mine in plan.rows.items():
        taken = np.cumsum(np.isin(rows, mine))
        due = plan.places[cell] / len(plan) * np.arange(1, len(rows) + 1)
        assert np.abs(taken - due).max() <= len(plan.rows) + 1


def test_over_many_epochs_samples_of_a_cell_come_up_alike():
    samples, sampling = made({("a", "CT"): 50, ("b", "MR"): 7}, 0.0)
    plan = SamplingPlan(samples, sampling)
    seen = Counter()
    for epoch in range(300):
        seen.update(drawn(plan, 0, epoch)[0].tolist())
    for cell, mine in plan.rows.items():
        often = np.array([seen[int(r)] for r in mine])
        assert often.sum() == 300 * plan.places[cell]
        assert abs(often - often.mean()).max() < 0.15 * often.mean(), cell


def test_the_same_numbers_give_the_same_order_and_others_another():
    samples, sampling = made({("a", "CT"): 50, ("b", "MR"): 7}, 0.0)
    first = loader_of(samples, sampling, seed=1)
    assert np.array_equal(first.order(4), loader_of(samples, sampling, seed=1).order(4))
    assert not np.array_equal(first.order(4), first.order(5))
    assert not np.array_equal(first.order(4), loader_of(samples, sampling, seed=2).order(4))


@settings(max_examples=40, deadline=None)
@given(
    found=cells,
    exponent=exponents,
    world=st.integers(1, 4),
    workers=st.integers(1, 3),
    uneven=st.sampled_from(["repeat", "drop"]),
    epoch=st.integers(0, 3),
)
def test_ranks_have_equal_steps_and_share_one_order(found, exponent, world, workers, uneven, epoch):
    samples, sampling = made(found, exponent)
    if uneven == "drop" and len(samples) < world:
        return
    ranks = [loader_of(samples, sampling, seed=5, rank=r, world=world, uneven=uneven) for r in range(world)]
    assert len({r.steps for r in ranks}) == 1
    visits = [[r.visits(epoch, s)[0] for s in range(r.steps)] for r in ranks]
    woven = [v for step in zip(*visits, strict=True) for v in step]
    order = ranks[0].order(epoch).tolist()
    assert [row for row, _ in woven] == [order[i % len(order)] for i in range(len(woven))]
    assert len(set(woven)) == len(woven)  # a sample that comes up again has another visit
    if not ranks[0].plan.repeats:
        whole = [{row for row, _ in mine[: len(order) // world]} for mine in visits]
        assert sum(map(len, whole)) == len(set().union(*whole))
    part = [loader_of(samples, sampling, seed=5, worker=w, workers=workers) for w in range(workers)]
    alone = loader_of(samples, sampling, seed=5)
    many = {s: p.visits(epoch, s) for w, p in enumerate(part) for s in range(w, p.steps, workers)}
    assert [many[s] for s in range(alone.steps)] == [alone.visits(epoch, s) for s in range(alone.steps)]


GOLDEN = {
    (): ("ec0b3a15a1044ad3", "6973bedb4254c668"),
    (("window", None),): ("2550708fad842d15", "a0b76ed44987eda1"),
    (("window", 10), ("limit", 50)): ("4ee876fac9fc02e1", "dfb50d600e6bee7f"),
    (("shuffle", False),): ("12d3075b4593417d", "6ad4ed79eb1701bf"),
}
"""Orders and fingerprints of a loader without a plan: states that were saved must go on to mean the same."""


@pytest.mark.parametrize("how", GOLDEN)
def test_without_a_plan_the_order_is_for_ever(how):
    names = ["abc"[i % 3] for i in range(97)]
    table = pa.table(
        {
            "key": [f"k{i:03d}" for i in range(97)],
            "source": names,
            "split": ["train"] * 97,
            "shard": [f"shards/train/{s}-{i // 20}.tar" for i, s in enumerate(names)],
        }
    )
    loader = loader_of(Samples(table), None, seed=3, world=2, rank=1, **dict(how))
    order = [[loader.visits(epoch, step) for step in range(loader.steps)] for epoch in range(3)]
    digest = hashlib.sha256(json.dumps(order).encode()).hexdigest()[:16]
    assert (digest, loader.state_dict()["order"]) == GOLDEN[how]


def test_a_plan_is_for_shuffled_samples_of_its_split():
    samples, sampling = made({("a", "CT"): 5, ("b", "MR"): 5}, 0.0)
    assert loader_of(samples, sampling).plan is not None
    assert loader_of(samples, sampling, sampling=None).plan is None
    assert loader_of(samples, sampling, shuffle=False).plan is None
    assert loader_of(samples, None, sampling=sampling).plan is not None
    moved = samples.table.set_column(2, "split", pa.array(["val"] * 10))
    assert loader_of(Samples(moved), sampling).plan is None
    mixed = samples.table.set_column(2, "split", pa.array(["val"] + ["train"] * 9))
    assert loader_of(Samples(mixed), sampling).plan is None


def test_a_part_of_the_samples_shares_the_places_among_its_cells():
    samples, sampling = made({("a", "CT"): 30, ("b", "MR"): 10, ("c", "PT"): 20}, 0.0)
    part = samples.where(source=["a", "b"])
    plan = SamplingPlan(part, sampling)
    assert plan.places == {("a", "CT"): 20, ("b", "MR"): 20}


def test_where_all_are_capped_by_number_an_epoch_is_shorter():
    caps = (SamplingCap("a", None, 4), SamplingCap("b", None, 3))
    samples, sampling = made({("a", "CT"): 30, ("b", "MR"): 10}, 1.0, caps)
    plan = SamplingPlan(samples, sampling)
    assert plan.places == {("a", "CT"): 4, ("b", "MR"): 3}
    assert loader_of(samples, sampling).steps == 7
    assert epoch_places({"a", "b"}, 40, (SamplingCap("a", 0.5, None), SamplingCap("b", None, 3))) == 6


def test_wrong_use_says_what_would_be_right():
    samples, sampling = made({("a", "CT"): 5, ("b", "MR"): 5}, 0.0)
    with pytest.raises(UsageError, match="shuffle=False gives the order of the index"):
        loader_of(samples, None, sampling=sampling, shuffle=False)
    with pytest.raises(UsageError, match=r"no weight to \('b', 'MR'\); take sampling=None"):
        SamplingPlan(samples, Sampling("train", "modality", 0.0, (), sampling.cells[:1]))
    with pytest.raises(UsageError, match="leave 40% of an epoch to nobody"):
        weigh({("a", "CT"): 5, ("b", "MR"): 5}, 1.0, (SamplingCap("a", 0.3, None), SamplingCap("b", 0.3, None)))
    with pytest.raises(UsageError, match="by is source, modality or anatomy"):
        groups_of(samples.table, "mood", {})


def test_the_anatomy_is_the_files_word_then_the_recipes():
    images = pa.array(
        [
            [{"acquisition": {"body_part": None}}, {"acquisition": {"body_part": " ABDOMEN"}}],
            [{"acquisition": {"body_part": None}}],
            [],
        ],
        pa.list_(pa.struct([("acquisition", pa.struct([("body_part", pa.string())]))])),
    )
    table = pa.table({"source": ["a", "a", "b"], "modalities": [["CT", "PT"], ["CT"], []], "images": images})
    assert groups_of(table, "anatomy", {"a": "liver"}) == ["abdomen", "liver", "unknown"]
    assert groups_of(table, "modality", {}) == ["CT+PT", "CT", ""]
    assert groups_of(table, "source", {}) == ["a", "a", "b"]


@pytest.fixture
def weighted(corpus, written):
    """The corpus of the other tests, its sources weighed alike."""
    import dataclasses

    train = corpus.samples.where(split="train")
    found = Counter((s, s) for s in train.column("source").to_pylist())
    weights = weigh(found, 0.0, ())
    listed = tuple(SamplingCell(*cell, found[cell], weights[cell]) for cell in sorted(weights))
    opened = written.open()
    opened.manifest = dataclasses.replace(opened.manifest, sampling=Sampling("train", "source", 0.0, (), listed))
    return opened


def digest_of(batch):
    found = hashlib.sha256()
    for name in ("image", "classes", "box", "repeat"):
        found.update(np.ascontiguousarray(batch[name]).tobytes())
    return found.hexdigest(), tuple(batch["key"]), batch["epoch"], batch["step"]


CROPS = Crops((12, 16, 20), per_visit=2, foreground=0.5)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_run_goes_on_exactly_from_the_middle_of_an_epoch(weighted, prefetch):
    def make():
        return weighted.loader("train", seed=4, crops=CROPS, batch=2, prefetch=prefetch)

    assert make().plan is not None
    total = 2 * make().steps
    whole = [digest_of(b) for loader in [make()] for _ in range(2) for b in loader]
    for stop in range(total + 1):
        loader, seen = make(), []
        while len(seen) < stop:
            for batch in loader:
                seen.append(digest_of(batch))
                if len(seen) == stop:
                    break
        again = make()
        again.load_state_dict(json.loads(json.dumps(loader.state_dict())))
        while len(seen) < total:
            seen += [digest_of(b) for b in again]
        assert seen[:total] == whole


def test_a_state_of_another_plan_is_refused(weighted):
    state = weighted.loader("train", seed=4, crops=CROPS, batch=2).state_dict()
    with pytest.raises(UsageError, match="sampling"):
        weighted.loader("train", seed=4, crops=CROPS, batch=2, sampling=None).load_state_dict(state)


def test_a_sample_that_comes_up_again_is_cut_elsewhere_and_counts(weighted):
    loader = weighted.loader("train", seed=4, crops=Crops(8, labels=False), batch=1)
    cut = [(b["key"][0], tuple(b["box"][0]), bool(b["repeat"][0])) for b in loader]
    often = Counter(key for key, *_ in cut)
    again = [key for key, n in often.items() if n > 1]
    assert again
    assert not any(repeat for *_, repeat in cut)
    assert any(len({box for k, box, _ in cut if k == key}) > 1 for key in again)


def test_a_stream_of_shards_takes_each_sample_as_often_as_the_loader(weighted):
    wds = pytest.importorskip("webdataset")
    from mdfp.wds import shard_urls

    urls = [u.removeprefix("file://") for u in shard_urls(weighted, "train")]
    for epoch in range(3):
        stream = wds.WebDataset(urls, shardshuffle=False).compose(sampled(weighted, "train", seed=4, epoch=epoch))
        loader = weighted.loader("train", seed=4)
        keys = weighted.table["key"].to_pylist()
        assert Counter(s["__key__"] for s in stream) == Counter(keys[r] for r in loader.order(epoch))
