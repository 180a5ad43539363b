from __future__ import annotations

import itertools

from mdfp import arrow
from mdfp.sample import Sample
from transforms.plan.duplicates import resolve


def twins(published, built):
    return resolve([arrow.to_table(Sample, published)], [arrow.to_table(Sample, [s]) for s in built])


def losers(published, built):
    return [d.case_id for d in twins(published, built)]


def test_different_pixels_are_no_duplicates(make_sample):
    assert losers([], [make_sample("a-1", pixels="1"), make_sample("a-2", pixels="2")]) == []


def test_the_test_copy_wins_then_val_then_train(make_sample):
    copies = [make_sample(f"a-{n}", split=s) for n, s in enumerate(("train", "val", "test"))]
    assert losers([], copies) == ["a-0", "a-1"]
    assert losers([], copies[:2]) == ["a-0"]


def test_what_is_published_wins_over_everything(make_sample):
    old = make_sample("b-9", split="train")
    assert losers([old], [make_sample("a-1", split="test"), make_sample("a-2")]) == ["a-1", "a-2"]


def test_a_published_sample_is_no_duplicate_of_itself(make_sample):
    assert losers([make_sample("a-1")], [make_sample("a-1")]) == []


def test_labels_win_and_then_the_name(make_sample):
    bare, labelled = make_sample("a-1"), make_sample("a-2", labels=("x",))
    assert losers([], [bare, labelled]) == ["a-1"]
    assert losers([], [make_sample("b-1"), make_sample("a-7")]) == ["b-1"]


def test_the_order_does_not_matter(make_sample):
    samples = [
        make_sample("a-1"), make_sample("a-2", labels=("x",)), make_sample("b-1", split="val"), make_sample("b-2", pixels="2")
    ]  # fmt: skip
    answers = {tuple(twins([], order)) for order in itertools.permutations(samples)}
    assert len(answers) == 1


def test_the_verdict_names_the_kept_one_and_compares_labels(make_sample):
    (same,) = twins([], [make_sample("a-1", labels=("x",)), make_sample("a-2", labels=("x",))])
    assert (same.case_id, same.kept) == ("a-2", "a-1")
    assert same.detail == "the same pixels as a-1 (train); their labels are equal"
    (other,) = twins([], [make_sample("a-1", labels=("x",)), make_sample("a-2", labels=("y",))])
    assert other.detail.endswith("their labels are not equal")
