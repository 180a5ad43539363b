from __future__ import annotations

import pickle
import shutil
from dataclasses import replace

import fsspec
import numpy as np
import pytest

import mdfp
from mdfp.corpus import newest
from mdfp.errors import CorpusError, MissingExtraError, UsageError
from mdfp.store import CorpusStore


def test_a_corpus_opens_at_its_newest_manifest(corpus, written):
    assert corpus.manifest == written.manifest
    assert len(corpus.samples) == corpus.manifest.samples == len(written.samples)
    assert [p.structure for p in corpus.palette][:2] == ["kidney", "kidney_left"]
    assert corpus.splits["train"].samples == len(corpus.samples.where(split="train"))


@pytest.mark.parametrize("hint", ["1", "7", "", "nonsense", "0", None])
def test_latest_is_a_hint_only(own, golden, hint):
    golden.write_manifest(own.root, replace(own.manifest, number=2, parent=1))
    golden.write_manifest(own.root, replace(own.manifest, number=3, parent=2))
    (own.root / "LATEST").unlink()
    if hint is not None:
        (own.root / "LATEST").write_text(hint)
    assert own.open().manifest.number == 3
    assert own.open(number=2).manifest.number == 2


def test_a_missing_number_names_the_newest(own):
    with pytest.raises(CorpusError, match="expected manifest 9; its newest manifest is 1"):
        own.open(number=9)


def test_a_folder_that_is_no_corpus_is_told_so(tmp_path):
    with pytest.raises(CorpusError, match=r"expected a corpus .* found none"):
        mdfp.open(str(tmp_path))
    with pytest.raises(CorpusError, match="expected a corpus"):
        mdfp.open(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(CorpusError, match="expected a corpus"):
        mdfp.open(str(tmp_path / "file"))


def test_an_unknown_protocol_is_wrong_use():
    with pytest.raises((UsageError, MissingExtraError), match="nosuch"):
        mdfp.open("nosuch://bucket/corpus")


def test_a_manifest_that_is_not_json_is_named(own):
    (own.root / "manifests/000001.json").write_text("{")
    with pytest.raises(CorpusError, match=r"000001.json: expected a manifest in JSON"):
        own.open()


def test_shards_are_followed_from_manifests_and_never_listed(own):
    (own.root / "shards/train/stray-0000-aa.tar").write_bytes(b"stray")
    kept = tuple(s for s in own.manifest.shards if s.source != "beta")
    void = replace(own.manifest, shards=kept)
    (own.root / void.path()).write_bytes(mdfp_pretty(void))
    corpus = own.open()
    assert set(corpus.samples.column("source").to_pylist()) == {"alpha", "gamma", "delta"}


def mdfp_pretty(manifest):
    from mdfp import canonical

    return canonical.pretty(manifest)


def test_an_index_with_other_rows_than_the_manifest_says_is_a_fault(own):
    wrong = replace(own.manifest, indexes=(replace(own.manifest.indexes[0], rows=3),))
    (own.root / wrong.path()).write_bytes(mdfp_pretty(wrong))
    with pytest.raises(CorpusError, match=r"expected 3 rows as manifest 1 says, found 10"):
        _ = own.open().samples


def test_records_come_back_as_they_were_written(corpus, written):
    for key, recorded in written.samples.items():
        assert corpus.sample(key).record == recorded.record
    assert [s.key for s in corpus.samples] == corpus.samples.keys


def test_filters_choose_by_split_source_modality_and_state(corpus):
    samples = corpus.samples
    assert {s.source for s in samples.where(split="val")} == {"alpha", "beta"}
    assert samples.where(modality="MR").keys == ["gamma-00", "gamma-01"]
    assert len(samples.where(source=["alpha", "beta"])) == 7
    assert {s.source for s in samples.where(states={"liver": "present"})} == {"alpha"}
    assert {s.source for s in samples.where(states={"liver": ("present", "partial")})} == {"alpha", "gamma"}
    assert {s.source for s in samples.where(states={"spleen": "absent", "kidney_left": "present"})} == {"alpha"}
    assert len(samples.where(states={"heart": "unknown"})) == len(samples)
    assert samples.where(split="train").where(source="alpha").keys == ["alpha-00", "alpha-01", "alpha-02"]
    assert samples[2:4].keys == samples.keys[2:4]
    with pytest.raises(UsageError, match="expected some of"):
        samples.where(states={"liver": "maybe"})


def test_an_unknown_key_names_near_ones(corpus):
    with pytest.raises(UsageError, match="did you mean alpha-0"):
        corpus.sample("alpha-9")


def test_images_and_labels_equal_what_was_written(corpus, written):
    for key, recorded in written.samples.items():
        sample = corpus.sample(key)
        np.testing.assert_array_equal(sample.image(values="stored"), recorded.image)
        for layer, mask in recorded.layers.items():
            assert sample.label(layer).dtype == mask.dtype
            np.testing.assert_array_equal(sample.label(layer), mask)
        assert sample.snapshot()["key"] == key


def test_a_box_is_the_same_part(corpus, written):
    image = written.samples["alpha-01"].image
    part = corpus.sample("alpha-01").image(box=(3, 5, 60, 20, 41, 101), values="stored")
    np.testing.assert_array_equal(part, image[3:20, 5:41, 60:101])
    with pytest.raises(UsageError, match="not inside the shape"):
        corpus.sample("alpha-01").image(box=(0, 0, 0, 37, 60, 101))


def test_the_affine_of_a_box_keeps_every_voxel_in_place(corpus):
    from mdfp.geometry import apply

    sample = corpus.sample("alpha-01")
    whole, part = sample.affine(), sample.affine(box=(3, 5, 7, 20, 41, 50))
    np.testing.assert_allclose(apply(part, (1, 2, 4)), apply(whole, (8, 7, 7)), atol=1e-9)


def test_values_are_physical_or_normalised_by_the_record(corpus, written):
    for key in ("alpha-00", "gamma-00"):
        sample, stored = corpus.sample(key), written.samples[key].image.astype(np.float64)
        record = sample.record.images[0]
        physical = stored * record.scale + record.offset
        got = sample.image()
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, physical, rtol=1e-6)
        ready = sample.image(values="normalised")
        np.testing.assert_allclose(ready, np.clip((physical + 50) / 200, 0, 1), atol=1e-6)
        assert ready.min() >= 0
        assert ready.max() <= 1
    with pytest.raises(UsageError, match="expected normalised, physical or stored"):
        sample.image(values="hounsfield")


def test_a_shard_cut_short_is_a_corpus_error(own):
    record = own.samples["alpha-00"].record
    shard = own.root / record.shard
    shard.write_bytes(shard.read_bytes()[:3000])
    with pytest.raises(CorpusError, match=r"expected \d+ bytes at \d+, found \d+: cut short"):
        own.open().sample("alpha-00").image()
    shard.unlink()
    with pytest.raises(CorpusError, match="named by the manifest and not there"):
        own.open().sample("alpha-00").image()


def test_a_damaged_member_is_a_corpus_error(own):
    record = own.samples["alpha-00"].record
    shard = own.root / record.shard
    data = bytearray(shard.read_bytes())
    member = record.members[0]
    data[member.offset : member.offset + member.bytes] = bytes(member.bytes)
    shard.write_bytes(data)
    with pytest.raises(CorpusError, match=r"alpha-00.image.ct.b2nd of alpha-00 does not decode"):
        own.open().sample("alpha-00").image()


def test_any_fsspec_url_will_do(written):
    memory = fsspec.filesystem("memory")
    for file in written.root.rglob("*"):
        if file.is_file():
            memory.pipe(f"/golden/{file.relative_to(written.root).as_posix()}", file.read_bytes())
    corpus = mdfp.open("memory://golden")
    np.testing.assert_array_equal(corpus.sample("beta-00").image(values="stored"), written.samples["beta-00"].image)
    assert newest(CorpusStore("memory://golden")) == 1


def test_a_corpus_travels_to_other_processes(corpus, written):
    copy = pickle.loads(pickle.dumps(corpus))
    assert copy.samples.keys == corpus.samples.keys
    np.testing.assert_array_equal(copy.sample("alpha-00").image(), corpus.sample("alpha-00").image())


def test_a_later_generation_may_add_columns(own, golden):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = own.root / "index/000001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("later", pa.array(["x"] * table.num_rows)), path)
    assert len(own.open().samples[0].key) > 0
    shutil.rmtree(own.root / "shards")
    assert len(own.open().samples) == 10  # the index alone answers
