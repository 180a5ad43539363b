from __future__ import annotations

import hashlib
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdfp.crops import Crops
from mdfp.draw import Draws, permutation
from mdfp.errors import CorpusError, UsageError


def keys(loader):
    return [s.key for s in loader]


def test_draws_are_the_same_for_ever():
    draws = Draws("crop", 1, 2, "key", 0)
    assert [draws.bits() for _ in range(2)] == [773781584886212595, 2166174113677574688]
    assert permutation(8, "shards", 1, 2).tolist() == [5, 7, 3, 0, 4, 1, 2, 6]


@given(n=st.integers(1, 500), name=st.text(max_size=5))
def test_a_permutation_has_each_number_once(n, name):
    assert sorted(permutation(n, name)) == list(range(n))


def test_draws_are_even():
    draws = Draws("even")
    counts = np.bincount([draws.below(7) for _ in range(7000)], minlength=7)
    assert counts.min() > 850
    assert 0.45 < np.mean([draws.uniform() for _ in range(2000)]) < 0.55


def test_the_order_is_a_function_of_seed_and_epoch(corpus, written):
    first = keys(corpus.loader("train", seed=5))
    assert keys(written.open().loader("train", seed=5)) == first
    assert sorted(first) == sorted(corpus.samples.where(split="train").keys)
    loader = corpus.loader("train", seed=5)
    assert keys(loader) == first
    assert keys(loader) != first  # the next epoch
    loader.set_epoch(0)
    assert keys(loader) == first
    assert keys(corpus.loader("train", seed=6)) != first
    assert keys(corpus.loader("train", shuffle=False)) == corpus.samples.where(split="train").keys


def test_a_window_of_one_keeps_shards_whole(corpus):
    loader = corpus.loader("train", seed=3, window=1)
    shards = [s.record.shard for s in loader]
    assert len([1 for a, b in pairwise(shards) if a != b]) == len(set(shards)) - 1


def test_any_samples_may_be_loaded(corpus):
    chosen = corpus.samples.where(states={"liver": "present"}, split="train")
    assert sorted(keys(corpus.loader(chosen, window=None))) == ["alpha-00", "alpha-01", "alpha-02"]
    assert len(keys(corpus.loader("train", limit=3))) == 3


@settings(max_examples=60, deadline=None)
@given(
    world=st.integers(1, 5),
    batch=st.integers(1, 4),
    workers=st.integers(1, 4),
    uneven=st.sampled_from(["repeat", "drop"]),
    epoch=st.integers(0, 3),
)
def test_ranks_and_workers_divide_one_order(corpus, world, batch, workers, uneven, epoch):
    crops = Crops(8, labels=False)
    whole = corpus.loader("train", seed=1)
    order = [corpus.samples.record(int(r)).key for r in whole.order(epoch)]
    if uneven == "drop" and world * batch > len(order):
        with pytest.raises(UsageError, match="do not fill one step"):
            corpus.loader("train", seed=1, crops=crops, batch=batch, world=world, uneven="drop")
        return
    made = {}
    for rank in range(world):
        one = corpus.loader("train", seed=1, crops=crops, batch=batch, rank=rank, world=world, uneven=uneven)
        steps = [one.visits(epoch, s) for s in range(one.steps)]
        many = {}
        for worker in range(workers):
            part = corpus.loader(
                "train",
                seed=1,
                crops=crops,
                batch=batch,
                rank=rank,
                world=world,
                uneven=uneven,
                worker=worker,
                workers=workers,
            )
            assert len(part) == len(range(worker, one.steps, workers))
            many |= {s: part.visits(epoch, s) for s in range(worker, part.steps, workers)}
        assert [many[s] for s in range(one.steps)] == steps
        made[rank] = steps
    assert len({len(s) for s in made.values()}) == 1
    # Woven together again, the ranks give the global order.
    woven = []
    for step in range(len(made[0])):
        for i in range(batch):
            woven += [made[rank][step][i] for rank in range(world)]
    seen = [corpus.samples.record(row).key for row, _ in woven]
    n = len(order)
    assert seen == [order[i % n] for i in range(len(seen))]
    assert [visit for _, visit in woven] == [i // n for i in range(len(seen))]
    assert (len(seen) >= n) if uneven == "repeat" else (n - world * batch < len(seen) <= n)


def digest(batch):
    found = hashlib.sha256()
    for name in ("image", "classes", "box", "repeat"):
        found.update(np.ascontiguousarray(batch[name]).tobytes())
    return (found.hexdigest(), tuple(batch["key"]), batch["epoch"], batch["step"])


CROPS = Crops((12, 16, 20), per_visit=2, foreground=0.5)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_state_taken_in_the_middle_continues_exactly(corpus, written, prefetch):
    def make():
        return written.open().loader("train", seed=4, crops=CROPS, batch=2, prefetch=prefetch)

    whole = [digest(b) for loader in [make()] for _ in range(2) for b in loader]
    assert len(whole) == 2 * make().steps == 8
    for stop in range(9):
        loader, seen = make(), []
        while len(seen) < stop:
            for batch in loader:
                seen.append(digest(batch))
                if len(seen) == stop:
                    break
        state = json.loads(json.dumps(loader.state_dict()))
        again = make()
        again.load_state_dict(state)
        while len(seen) < 8:
            seen += [digest(b) for b in again]
        assert seen[:8] == whole


def test_a_state_continues_with_other_workers_when_it_is_the_ranks(corpus):
    loader = corpus.loader("train", seed=4, crops=CROPS, batch=1)
    rest = [digest(b) for b in loader][3:]
    loader.seek(0, 3)
    state = loader.state_dict()
    woven = {}
    for worker in range(3):
        part = corpus.loader("train", seed=4, crops=CROPS, batch=1, worker=worker, workers=3)
        part.load_state_dict(state)
        woven |= {b["step"]: digest(b) for b in part}
    assert [woven[s] for s in sorted(woven)] == rest


def test_a_state_of_something_else_is_refused(corpus):
    def make(split="train", **how):
        return corpus.loader(split, **{"seed": 4, "crops": CROPS, "batch": 2, **how})

    state = make().state_dict()
    for other, message in (
        (make(seed=5), "seed is 4, here it is 5"),
        (make(world=2), "world is 1, here it is 2.*as many ranks"),
        (make(batch=3), "batch is 2, here it is 3"),
        (make("val"), "other samples"),
        (make(window=1), "other samples, shuffle, window"),
    ):
        with pytest.raises(UsageError, match=message):
            other.load_state_dict(state)
    with pytest.raises(UsageError, match="taken in worker 1 of 2, this is worker 0 of 1"):
        make().load_state_dict(make(worker=1, workers=2).state_dict())
    with pytest.raises(UsageError, match="expected version"):
        make().load_state_dict({})


def test_repeats_are_marked_and_cut_elsewhere(corpus):
    loader = corpus.loader("val", seed=2, crops=Crops(16), batch=4)
    (batch,) = list(loader)
    assert batch["repeat"].tolist() == [False, False, True, True]
    assert batch["key"][0] == batch["key"][2]
    assert batch["box"][0].tolist() != batch["box"][2].tolist()


def test_wrong_use_says_what_would_be_right(corpus):
    with pytest.raises(UsageError, match=r"no samples in 'tset'; this corpus has {'train'"):
        corpus.loader("tset")
    with pytest.raises(UsageError, match="samples differ in shape"):
        corpus.loader("train", batch=2)
    with pytest.raises(UsageError, match=r"rank is 0..1, found 2"):
        corpus.loader("train", rank=2, world=2)
    with pytest.raises(UsageError, match="batch is at least 1"):
        corpus.loader("train", crops=CROPS, batch=0)
    with pytest.raises(UsageError, match=r"foreground names \['heart'\]"):
        corpus.loader("train", crops=Crops(8, foreground={"heart": 1.0}), batch=1)


@pytest.mark.parametrize("prefetch", [0, 1])
def test_a_fault_in_a_shard_is_raised_where_the_batch_is_asked_for(own, prefetch):
    for shard in (own.root / "shards/train").glob("alpha*"):
        shard.write_bytes(b"")
    loader = own.open().loader("train", crops=CROPS, batch=1, prefetch=prefetch)
    with pytest.raises(CorpusError, match="cut short"):
        list(loader)


def test_leaving_a_prefetching_loop_stops_its_thread(corpus):
    import threading

    loader = corpus.loader("train", crops=CROPS, batch=1, prefetch=2)
    for _ in loader:
        break
    del _
    import gc

    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "mdfp-prefetch"]
