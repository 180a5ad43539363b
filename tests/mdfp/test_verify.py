from __future__ import annotations

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from mdfp import canonical
from mdfp.stats import statistics
from mdfp.verify import verify


def whats(faults):
    return {(f.file.split("#")[-1].split("/")[-1], f.what) for f in faults}


def test_a_sound_corpus_has_no_faults(corpus):
    seen = []
    assert verify(corpus, done=seen.append) == []
    assert seen == list(corpus.manifest.shards)


def test_all_faults_are_found_not_the_first(own):
    shards = {s.source: s for s in own.manifest.shards if s.split == "train"}
    first = own.samples["beta-00"].record
    path = own.root / first.shard
    data = bytearray(path.read_bytes())
    member = next(m for m in first.members if m.kind == "image")
    data[member.offset + 200] ^= 0xFF
    path.write_bytes(data)
    (own.root / shards["gamma"].path).unlink()
    cut = own.root / shards["delta"].path
    cut.write_bytes(cut.read_bytes()[:2000])
    faults = verify(own.open())
    found = whats(faults)
    assert (path.name, "sha256") in found
    assert (shards["gamma"].path.split("/")[-1], "file") in found
    assert (cut.name, "bytes") in found
    assert any(f.what == "tar" and cut.name in f.file for f in faults)
    fault = next(f for f in faults if f.what == "bytes")
    assert str(fault).startswith(f"{shards['delta'].path}: bytes: expected {shards['delta'].bytes}, found 2000")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: replace(r, key="other"), "key"),
        (lambda r: replace(r, images=(replace(r.images[0], dtype="uint8"),)), "dtype"),
        (
            lambda r: replace(r, images=(replace(r.images[0], stored=replace(r.images[0].stored, shape=(1, 2, 3))),)),
            "shape",
        ),
        (
            lambda r: replace(
                r, structures=tuple(replace(s, stored_voxels=(s.stored_voxels or 0) + 1) for s in r.structures)
            ),
            "voxels of liver",
        ),
        (
            lambda r: replace(r, structures=tuple(replace(s, box=(0, 0, 0, 1, 1, 1)) for s in r.structures)),
            "box of liver",
        ),
        (lambda r: replace(r, members=r.members[:-1]), "member"),
        (lambda r: replace(r, members=(replace(r.members[0], offset=0), *r.members[1:])), "offset and bytes"),
        (lambda r: replace(r, members=(replace(r.members[0], name="x"), *r.members[1:])), "member"),
    ],
)
def test_each_difference_between_index_and_shard_is_a_fault(own, change, what):
    import pyarrow.parquet as pq

    from mdfp import arrow
    from mdfp.sample import Sample

    rows = [change(s.record) if s.record.key == "alpha-00" else s.record for s in own.samples.values()]
    pq.write_table(arrow.to_table(Sample, rows), own.root / "index/000001.parquet")
    found = {f.what for f in verify(own.open())}
    assert what in found
    assert "sha256 of its shards" in found


def test_an_index_of_schema_version_1_is_verified_by_its_rows(own):
    import json

    from mdfp.index import Samples, read_one, rows_digest

    path = own.root / "manifests/000001.json"
    content = json.loads(path.read_bytes())
    (entry,) = content["indexes"]
    del entry["digest_of"]
    assert [f.what for f in verify(rewritten(own, path, content))] == ["sha256 of its rows"]
    rows = Samples(read_one(own.open().store, entry["path"]))
    entry["rows_sha256"] = rows_digest(rows)
    assert verify(rewritten(own, path, content)) == []


def rewritten(own, path, content):
    import json

    path.write_text(json.dumps(content | {"schema_version": 1}))
    return own.open()


def test_a_value_outside_the_palette_is_a_fault(own, golden, tmp_path):
    draft = golden.drafts()[0]
    draft.layers["base"][0, 0, 0] = 77
    root = tmp_path / "bad"
    root.mkdir()
    faults = verify(golden.write_corpus(root, [draft]).open())
    assert [f.what for f in faults] == ["value"]
    assert "77 in 1 voxels" in str(faults[0])


def test_a_stray_member_is_a_fault(own):
    record = own.samples["delta-00"].record
    path = own.root / record.shard
    with tarfile.open(path, "a") as tar:
        info = tarfile.TarInfo("stray.json")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"{}"))
    assert ("stray.json", "member") in whats(verify(own.open(), quick=True))


def test_an_unreadable_index_is_a_fault_too(own):
    (own.root / "index/000001.parquet").write_bytes(b"nonsense")
    faults = verify(own.open())
    assert [f.what for f in faults] == ["readable"]


def test_a_split_total_that_is_wrong_is_a_fault(own):
    splits = tuple(replace(s, samples=s.samples + 1) for s in own.manifest.splits)
    wrong = replace(own.manifest, splits=splits)
    (own.root / wrong.path()).write_bytes(canonical.pretty(wrong))
    assert {f.what for f in verify(own.open())} == {"samples of split train", "samples of split val"}


def test_statistics_count_what_is_there(corpus, written):
    found = statistics(corpus)
    assert {(g.source, g.split): g.samples for g in found.groups} == {
        ("alpha", "train"): 3,
        ("alpha", "val"): 1,
        ("beta", "train"): 2,
        ("beta", "val"): 1,
        ("gamma", "train"): 2,
        ("delta", "train"): 1,
    }
    liver = {c.source: c for c in found.structures if c.structure == "liver"}
    assert liver["alpha"].states == {"present": 4}
    assert liver["gamma"].states == {"partial": 2}
    assert liver["beta"].states == {"unknown": 3}
    voxels = sum(int((r.layers["base"] == 5).sum()) for k, r in written.samples.items() if k.startswith("alpha"))
    assert liver["alpha"].stored_mm3 == voxels
    assert found.modalities == {"CT": 8, "MR": 2}
    assert found.holes == {"beta: label_grid": 1}
    assert sum(g.bytes for g in found.groups) < sum(s.bytes for s in corpus.manifest.shards)
    assert np.all([g.bytes > 0 for g in found.groups])
