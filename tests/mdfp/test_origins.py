"""Of several labels of one image the word of the first origin holds, structure by structure; others can be asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mdfp
from mdfp import arrow
from mdfp import index as index_file
from mdfp.crops import Crops
from mdfp.errors import UsageError
from mdfp.labels import State
from mdfp.origins import ORDER, kind_of, preference, view
from mdfp.sample import Sample
from mdfp.verify import verify

LIVER, SPLEEN = 5, 9
SHAPE = (20, 30, 40)


def block(value, low, high):
    mask = np.zeros(SHAPE, np.uint8)
    mask[low:high, 4:12, 6:20] = value
    return mask


@pytest.fixture(scope="module")
def corpus(golden, tmp_path_factory):
    """A liver that an expert drew and a model drew two slices lower; a spleen of the model's alone."""
    expert, model = block(LIVER, 4, 10), block(LIVER, 2, 8) + block(SPLEEN, 12, 15)
    draft = golden.Draft("one", "s", "train", SHAPE, 0, layers={"base": expert, "extra": model})
    written = golden.write_corpus(tmp_path_factory.mktemp("origins"), [draft])
    # The file says what the model drew; what the expert drew stands among the others, and is preferred all the same.
    record = written.samples["one"].record
    liver = next(state for state in record.structures if state.structure == "liver")
    assert liver.layer == "extra"
    n = int((expert == LIVER).sum())
    of_expert = replace(liver, layer="base", native_voxels=n, stored_voxels=n, box=(4, 4, 6, 10, 12, 20))
    changed = replace(record, others=(of_expert,))
    (entry,) = written.manifest.indexes
    pq.write_table(arrow.to_table(Sample, [changed]), written.root / entry.path)
    entry = replace(entry, rows_sha256=index_file.file_digest([changed], entry.digest_of))
    golden.write_manifest(written.root, replace(written.manifest, indexes=(entry,)))
    return mdfp.open(str(written.root)), changed, expert, model


def sample_of(corpus):
    return corpus[0].sample("one")


def test_a_corpus_with_several_labels_is_sound(corpus):
    assert verify(corpus[0]) == []


def test_the_experts_word_holds_and_the_model_fills_what_is_left(corpus):
    _, _, expert, model = corpus
    mask = sample_of(corpus).classes(["liver", "spleen"])
    np.testing.assert_array_equal(mask, np.select([expert == LIVER, model == SPLEEN], [1, 2], 0))


def test_origins_are_read_in_the_order_that_is_asked_for(corpus):
    _, _, expert, model = corpus
    sample = sample_of(corpus)
    told = sample.classes(["liver", "spleen"], origins=["model", "expert"])
    np.testing.assert_array_equal(told, np.select([model == LIVER, model == SPLEEN], [1, 2], 0))
    only = sample.classes(["liver", "spleen"], origins=["expert"])
    np.testing.assert_array_equal(only, np.where(expert == LIVER, 1, 255))  # nobody else looked at the spleen
    np.testing.assert_array_equal(sample.masks(["liver"], origins=["model"])[0], model == LIVER)
    np.testing.assert_array_equal(sample.multi_hot(["liver"], origins=["model"])[0], model == LIVER)
    assert sample.states(["spleen"], origins=["expert"]) == {"spleen": State.UNKNOWN}
    assert sample.states(["spleen"], origins=["model"]) == {"spleen": State.PRESENT}


def test_layers_that_are_named_are_read_as_they_are(corpus):
    _, _, _, model = corpus
    told = sample_of(corpus).classes(["spleen"], layers=["extra"])
    np.testing.assert_array_equal(told == 1, model == SPLEEN)


def test_every_part_says_what_the_whole_says(corpus):
    sample, box = sample_of(corpus), (3, 5, 7, 14, 12, 22)
    whole = sample.classes(["liver", "spleen"])
    np.testing.assert_array_equal(sample.classes(["liver", "spleen"], box=box), whole[3:14, 5:12, 7:22])


def test_what_is_not_an_origin_is_refused(corpus):
    for wrong, said in (
        (["human"], "found 'human'"),
        ("expert", "found 'expert'"),
        (["model", "model"], "named twice"),
    ):
        with pytest.raises(UsageError, match=said):
            sample_of(corpus).classes(["liver"], origins=wrong)


def test_crops_are_placed_on_and_read_from_the_origins_asked_for(corpus):
    crops = Crops((6, 8, 14), space=["liver"], foreground=1.0, origins=("model",))
    (crop,) = crops.cut(sample_of(corpus), seed=0, epoch=0)
    assert crop.aimed_at == "liver"
    z, y, x = (slice(a, b) for a, b in zip(crop.box[:3], crop.box[3:], strict=True))
    np.testing.assert_array_equal(crop.classes, (corpus[3] == LIVER)[z, y, x])


def test_names_of_readers_and_rules_are_kinds_of_origins():
    assert [kind_of(o) for o in ("expert", "reader-2", "consensus:majority", "nobody", None)] == [
        "expert", "expert", "consensus", "unknown", "unknown"
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.sampled_from(ORDER), st.sampled_from(["present", "absent", "merged", "partial"])), min_size=1
    ),
    st.lists(st.sampled_from(ORDER), unique=True),
)
@settings(max_examples=100, deadline=None)
def test_whoever_is_asked_first_of_those_who_speak_decides(corpus, said, origins):
    """By definition: direct words before `merged`, then the order asked for, then the order of the labels."""
    record = corpus[1]
    spleen = next(s for s in record.structures if s.structure == "spleen")
    statements = [replace(spleen, state=State(state), origin=o, layer=None) for o, state in said]
    states = tuple(statements[0] if s.structure == "spleen" else s for s in record.structures)
    found = view(replace(record, structures=states, others=tuple(statements[1:])), origins)
    heard = [s for s in statements if s.origin in origins]
    word = next(s for s in found.record.structures if s.structure == "spleen")
    if not heard:
        assert word.state is State.UNKNOWN
    else:
        direct = [s for s in heard if s.state is not State.MERGED] or heard
        first = min(direct, key=lambda s: origins.index(s.origin))
        assert (word.state, word.origin) == (first.state, first.origin)
        assert preference(word, origins) == min(preference(s, origins) for s in heard)


def test_one_origin_is_not_touched(golden, tmp_path):
    written = golden.write_corpus(tmp_path, golden.drafts()[:2])
    for sample in written.open().samples:
        assert view(sample).record is sample
    assert verify(written.open()) == []
