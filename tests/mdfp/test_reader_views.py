"""`origins=` says who is asked and in which order; `reader=` picks among the readers of those."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdfp
from mdfp import arrow
from mdfp import index as index_file
from mdfp.class_mask import UNTOLD
from mdfp.crops import Crops
from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.origins import ORDER
from mdfp.sample import Reading, Sample
from mdfp.verify import verify

LIVER, SPLEEN = 5, 9
SHAPE = (20, 30, 40)
LAYERS = {
    "organ_reader1": ("reader-1", (2, 8)),
    "organ_reader2": ("reader-2", (4, 10)),
    "organ_consensus": ("consensus:union", (2, 10)),
    "extra": ("model", (5, 13)),
}
CHOICES = [list(p) for n in range(1, 4) for p in permutations(("expert", "consensus", "model"), n)]


def block(value, low, high):
    mask = np.zeros(SHAPE, np.uint8)
    mask[low:high, 4:12, 6:20] = value
    return mask


DRAWN = {origin: block(LIVER, *planes) == LIVER for origin, planes in LAYERS.values()}


def statements(golden, layers):
    """What each layer's label says of every structure of the palette."""
    return {
        name: tuple(
            replace(s, origin=LAYERS[name][0]) if s.state is State.PRESENT else s
            for s in golden.structure_states(golden.Draft("-", "-", "train", SHAPE, 0, layers={name: mask}))
        )
        for name, mask in layers.items()
    }


def with_readers(record, said):
    """The record as the builder writes it: the word of the first origin, what else was said, each reading."""
    readers = [name for name in said if name != "extra"]
    group = said["organ_consensus" if "organ_consensus" in said else "organ_reader1"]
    words = [g if g.state is not State.UNKNOWN else m for g, m in zip(group, said["extra"], strict=True)]
    others = [m for g, m in zip(group, said["extra"], strict=True) if State.UNKNOWN not in (g.state, m.state)]
    readings = [
        Reading(LAYERS[n][0], "ct", "organ", (n,), tuple(s for s in said[n] if s.structure == "liver")) for n in readers
    ]
    labels = [replace(label, origin=LAYERS[label.layer][0]) for label in record.labels]
    return replace(
        record, labels=tuple(labels), structures=tuple(words), others=tuple(others), readings=tuple(readings)
    )


@pytest.fixture(scope="module")
def corpus(golden, tmp_path_factory):
    """Two readers' livers, what a rule makes of them (`fused` alone), and a model's liver and spleen."""
    model = {"extra": block(LIVER, 5, 13) + block(SPLEEN, 15, 18)}
    kept = {n: block(LIVER, *planes) for n, (_, planes) in LAYERS.items() if n.startswith("organ_reader")} | model
    fused = {"organ_consensus": block(LIVER, 2, 10), **kept}
    drafts = [
        golden.Draft(key, "s", "train", SHAPE, n, layers=layers)
        for n, (key, layers) in enumerate({"fused": fused, "kept": kept, "plain": model}.items())
    ]
    written = golden.write_corpus(tmp_path_factory.mktemp("views"), drafts, per_shard=3)
    rows = [written.samples["fused"].record, written.samples["kept"].record, written.samples["plain"].record]
    rows = [
        *(with_readers(r, statements(golden, layers)) for r, layers in zip(rows, (fused, kept), strict=False)),
        rows[2],
    ]
    (entry,) = written.manifest.indexes
    pq.write_table(arrow.to_table(Sample, rows), written.root / entry.path)
    entry = replace(entry, rows_sha256=index_file.file_digest(rows, entry.digest_of))
    golden.write_manifest(written.root, replace(written.manifest, indexes=(entry,)))
    return mdfp.open(str(written.root))


def answers(key, origins, reader):
    """By definition: the readers that are asked, each with who is asked beside them; one mask for each."""
    order = list(ORDER) if origins is None else origins
    readers = {o: m for o, m in DRAWN.items() if o.startswith("reader-")} if "expert" in order else {}
    rule = {"consensus:union": DRAWN["consensus:union"]} if "consensus" in order and key == "fused" else {}
    heard = {None: rule or readers, "consensus": rule}.get(reader, {o: m for o, m in readers.items() if o == reader})
    beside = [(order.index("model"), DRAWN["model"])] if "model" in order else []
    found = []
    for origin, mask in heard.items() or [(None, None)]:
        own = [] if mask is None else [(order.index("expert" if origin.startswith("reader") else "consensus"), mask)]
        found.append(min((*own, *beside), key=lambda ranked: ranked[0])[1] if own or beside else None)
    return found


def expected(key, origins, reader):
    found = answers(key, origins, reader)
    if found[0] is None:
        return np.full(SHAPE, UNTOLD, np.uint8)
    same = np.logical_and.reduce([found[0] == mask for mask in found])
    return np.where(same, found[0], UNTOLD).astype(np.uint8)


def test_a_corpus_with_readers_and_a_model_is_sound(corpus):
    # The snapshots in the shard are of the drafts, without readers.
    assert [fault for fault in verify(corpus) if not fault.file.endswith(".json")] == []


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["fused", "kept"]),
    st.sampled_from([None, list(ORDER), *CHOICES]),
    st.sampled_from([None, "reader-1", "reader-2", "reader-3", "consensus"]),
)
def test_origins_say_who_is_asked_and_reader_picks_among_them(corpus, key, origins, reader):
    sample, asked = corpus.sample(key), {"origins": origins, "reader": reader}
    if key == "kept" and reader == "consensus":
        with pytest.raises(UsageError, match="asked for 'consensus'"):
            sample.classes(["liver"], **asked)
        return
    told = expected(key, origins, reader)
    np.testing.assert_array_equal(sample.classes(["liver"], **asked), told)
    np.testing.assert_array_equal(sample.masks(["liver"], **asked)[0], told)
    np.testing.assert_array_equal(sample.multi_hot(["liver"], **asked)[0], told)
    np.testing.assert_array_equal(sample.marginal(["liver"], **asked).target, told)
    box = (3, 5, 7, 14, 12, 22)
    np.testing.assert_array_equal(sample.classes(["liver"], box=box, **asked), told[3:14, 5:12, 7:22])
    known = answers(key, origins, reader)[0] is not None
    assert sample.states(["liver"], **asked)["liver"] is (State.PRESENT if known else State.UNKNOWN)


def test_the_order_that_stands_when_none_is_given_is_the_order(corpus):
    for key in ("fused", "kept", "plain"):
        sample = corpus.sample(key)
        np.testing.assert_array_equal(
            sample.classes(["liver", "spleen"]), sample.classes(["liver", "spleen"], origins=ORDER)
        )


def test_a_model_is_heard_where_readers_said_nothing(corpus):
    sample = corpus.sample("fused")
    told = sample.classes(["liver", "spleen"], reader=2)
    np.testing.assert_array_equal(told == 1, DRAWN["reader-2"])
    np.testing.assert_array_equal(told == 2, block(SPLEEN, 15, 18) == SPLEEN)
    # Of the experts nobody looked for a spleen; where the reader drew liver it is none.
    of_experts = sample.classes(["spleen"], origins=["expert"], reader=2)
    np.testing.assert_array_equal(of_experts, np.where(DRAWN["reader-2"], 0, UNTOLD))


def test_layers_that_are_named_choose_among_readers_and_origins(corpus):
    sample = corpus.sample("fused")
    np.testing.assert_array_equal(sample.classes(["liver"], layers=["organ_reader2"]), DRAWN["reader-2"])
    np.testing.assert_array_equal(sample.classes(["liver"], layers=["extra"]), DRAWN["model"])
    both = sample.classes(["liver"], layers=["organ_reader1", "organ_reader2", "extra"], origins=["model", "expert"])
    np.testing.assert_array_equal(both, DRAWN["model"])


def test_who_has_no_readers_answers_whoever_is_asked_for(corpus):
    plain = corpus.sample("plain")
    np.testing.assert_array_equal(plain.classes(["spleen"], reader=1), plain.classes(["spleen"]))


def test_where_readers_differ_a_voxel_may_be_what_each_of_them_says(corpus):
    sample = corpus.sample("kept")
    found = sample.marginal(["liver", "spleen"])
    assert found.groups == ((0,), (1,), (2,))
    differ = DRAWN["reader-1"] != DRAWN["reader-2"]
    np.testing.assert_array_equal(found.set_of == found.sets.index((0, 1)), differ)
    np.testing.assert_array_equal(found.target == UNTOLD, differ)
    np.testing.assert_array_equal(found.target[~differ], sample.classes(["liver", "spleen"])[~differ])


@pytest.mark.parametrize(
    ("key", "origins", "reader", "who"),
    [
        ("fused", None, None, "consensus:union"),
        ("fused", ("expert",), None, "reader-1"),
        ("fused", ("expert",), 2, "reader-2"),
        ("fused", ("model",), 2, "model"),
        ("kept", None, None, "reader-1"),
    ],
)
def test_crops_are_placed_on_what_is_asked_for(corpus, key, origins, reader, who):
    sample = corpus.sample(key)
    (state,) = [s for s in sample.seen_by(origins, reader).structures if s.structure == "liver"]
    assert (state.state, state.box[0], state.box[3]) == (
        State.PRESENT, int(DRAWN[who].any((1, 2)).argmax()), int(np.flatnonzero(DRAWN[who].any((1, 2)))[-1]) + 1
    )  # fmt: skip
    crops = Crops((6, 8, 14), space=["liver"], foreground=1.0, origins=origins, reader=reader)
    (crop,) = crops.cut(sample, seed=0, epoch=0)
    z, y, x = (slice(a, b) for a, b in zip(crop.box[:3], crop.box[3:], strict=True))
    assert crop.aimed_at == "liver"
    np.testing.assert_array_equal(
        crop.classes, expected(key, origins and list(origins), reader and f"reader-{reader}")[z, y, x]
    )


def test_crops_refuse_what_is_no_origin():
    with pytest.raises(UsageError, match="found 'human'"):
        Crops(8, origins=("human",))
