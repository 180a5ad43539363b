"""What comes out is what was put in: states, sides, volumes, places, and every planted fault by its name."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest

import mdfp
from examples import phantom
from mdfp import arrow, geometry
from mdfp.labels import State
from mdfp.verify import verify
from pipelines.build import audit
from schemas.case import Reject
from schemas.reasons import Reason
from transforms.rows import read_samples


def test_planned_is_samples_and_holes_to_the_last_case(corpus):
    markers = audit(corpus.workspace, corpus.plan)
    samples = [s.case_id for m in markers for s in read_samples(corpus.workspace.corpus, m)]
    holes = [h.case_id for m in markers for h in m.holes]
    assert Counter(samples + holes) == Counter(c for s in corpus.plan.shards for c in s.cases)


def test_every_planted_fault_is_a_reject_with_its_reason(corpus):
    markers = audit(corpus.workspace, corpus.plan)
    found = Counter((r.source, r.reason) for r in corpus.plan.rejects)
    found.update((h.source, h.reason) for m in markers for h in m.holes)
    wanted = Counter((f.source, f.reason) for f in corpus.bucket.truth.faults)
    assert {k: found[k] for k in wanted} == dict(wanted)


def test_nothing_else_is_lost(corpus):
    truth = corpus.bucket.truth
    markers = audit(corpus.workspace, corpus.plan)
    planted = Counter(f.reason for f in truth.faults)
    planted[Reason.DUPLICATE] += len(truth.duplicates)
    lost = Counter(r.reason for r in corpus.plan.rejects)
    lost.update(h.reason for m in markers for h in m.holes)
    assert lost == planted
    assert not corpus.plan.left_out()
    faulty = sum(c.reason is not None for c in truth.cases)
    assert len(corpus.samples) == len(truth.cases) - faulty - len(truth.duplicates)


def test_what_was_left_out_is_written_down_with_its_reason(corpus):
    truth = corpus.bucket.truth
    (file,) = (corpus.folder / "rejects").glob("*.parquet")
    written = arrow.from_table(Reject, pq.read_table(file))
    assert Counter(r.reason for r in written) == Counter(truth.reasons()) + Counter(duplicate=len(truth.duplicates))
    assert all(r.detail for r in written)


def test_the_published_corpus_is_sound(corpus):
    assert verify(mdfp.open(str(corpus.folder))) == []


def test_every_state_of_every_structure_is_right(corpus):
    wrong = []
    for sample in corpus.samples:
        truth = corpus.truth_of(sample.case_id)
        found = {s.structure: s.state for s in sample.structures}
        wanted = {s.structure: s.state for s in truth.structures}
        assert set(found) == set(wanted)
        wrong += [(truth.source, truth.name, s, str(found[s]), str(wanted[s])) for s in found if found[s] != wanted[s]]
    assert not wrong
    assert {s.state for sample in corpus.samples for s in sample.structures} >= {
        State.PRESENT, State.ABSENT, State.UNKNOWN, State.MERGED
    }  # fmt: skip


def test_a_lesion_smaller_than_a_voxel_is_vanished_not_absent(corpus):
    checked = 0
    for sample in corpus.samples:
        for truth in corpus.truth_of(sample.case_id).structures:
            if truth.vanishes:
                (found,) = [s for s in sample.structures if s.structure == truth.structure]
                assert found.state == State.PRESENT
                assert found.vanished
                assert found.stored_voxels == 0
                assert found.native_voxels
                checked += 1
    assert checked


def test_left_and_right_are_never_swapped(corpus):
    pairs = lone = 0
    opened = mdfp.open(str(corpus.folder))
    for sample in corpus.samples:
        centres = _centroids(opened, sample)
        true = {s.structure: s.centroid_ras_mm for s in corpus.truth_of(sample.case_id).structures}
        for structure, centre in centres.items():
            if not structure.endswith(("_left", "_right")):
                continue
            # Also where the other side was taken out: each lies at its own place, which is not the other's.
            assert np.linalg.norm(np.array(centre) - true[structure]) < 3.0, (sample.key, structure)
            right = structure.replace("_left", "_right")
            other = right if structure != right else structure.replace("_right", "_left")
            if other not in centres:
                lone += 1
            elif structure != right:
                assert centre[0] < centres[right][0], (sample.key, structure)  # RAS: the patient's left is at lower x
                pairs += 1
    assert pairs >= 15
    assert lone >= 1


def test_one_of_each_pair_of_equal_volumes_stays(corpus):
    kept = {(corpus.truth_of(s.case_id).source, corpus.truth_of(s.case_id).name) for s in corpus.samples}
    for pair in corpus.bucket.truth.duplicates:
        assert len(kept & set(pair)) == 1
    hashes = Counter(i.content_hash for s in corpus.samples for i in s.images)
    assert max(hashes.values()) == 1


def test_patients_are_the_people_and_each_is_in_one_split(corpus):
    people, patients, splits = defaultdict(set), defaultdict(set), defaultdict(set)
    sources = defaultdict(set)
    for sample in corpus.samples:
        person = corpus.truth_of(sample.case_id).person
        people[sample.patient].add(person)
        patients[person].add(sample.patient)
        splits[person].add(sample.split)
        sources[person].add(sample.source)
    assert all(len(p) == 1 for p in (*people.values(), *patients.values(), *splits.values()))
    assert max(len(s) for s in sources.values()) == 2


def test_private_words_of_headers_are_nowhere(corpus):
    words = corpus.bucket.truth.private_words
    assert words
    for name, content in _everything_written(corpus.folder):
        assert not [w for w in words if w.encode() in content], name


def test_file_names_of_a_source_that_are_not_public_stay_with_the_builder(corpus):
    """Workers must find the files, so that inventory/ and plans/ name them; what readers and people get does not."""
    private = [s for s in corpus.plan.sources.values() if not s["public_ids"]]
    assert [s["id"] for s in private] == ["phantom-ct-dicom"]
    paths = [p for c in corpus.bucket.truth.cases if c.source == "phantom-ct-dicom" for p in c.image_paths]
    words = {part.encode() for p in paths for part in (p.rsplit("/", 1)[1], p.split("/ST01")[0])}
    for name, content in _everything_written(corpus.folder):
        if not name.startswith(("inventory/", "plans/")):
            assert not [w for w in words if w in content], name


def _everything_written(folder):
    """Every file below a folder as bytes; tables as text too, because their columns are compressed."""
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name, content = str(file.relative_to(folder)), file.read_bytes()
            yield name, name.encode() + content
            if file.suffix == ".parquet":
                yield name, json.dumps(pq.read_table(file).to_pylist()).encode()
            elif file.suffix == ".gz":
                yield name, gzip.decompress(content)


def test_volumes_and_places_are_the_analytic_ones(build_corpus, bucket, tmp_path_factory):
    """Organs over 5 ml: mm³ within 2 %, centroid within half an output voxel, at 1.5 mm and bodies of true size."""
    folder = tmp_path_factory.mktemp("true-size")
    true_size = type(bucket)(folder / "bucket", phantom.write_bucket(folder / "bucket", scale="demo", patients=0))
    built = build_corpus(folder / "corpus", source=true_size)
    opened = mdfp.open(str(built.folder))
    checked = 0
    for sample in built.samples:
        truth = {s.structure: s for s in built.truth_of(sample.case_id).structures}
        spacing = np.array(sample.images[0].stored.spacing_xyz_mm)
        centres = _centroids(opened, sample)
        for s in sample.structures:
            true = truth.get(s.structure)
            if s.state != State.PRESENT or true is None or true.mm3 is None or true.mm3 < 5000:
                continue
            assert s.stored_mm3 == pytest.approx(true.mm3, rel=0.02), (sample.key, s.structure)
            off = np.abs(np.array(centres[s.structure]) - np.array(true.centroid_ras_mm)) / spacing
            assert off.max() <= 0.5, (sample.key, s.structure, off)
            checked += 1
    assert checked >= 20


def _centroids(opened, sample):
    """World centroid (RAS mm) of every structure, from the stored masks."""
    result = {}
    for s in sample.structures:
        if s.stored_voxels and s.layer:
            mask = opened.sample(sample.key).label(s.layer) == s.value
            z, y, x = (axis.mean() for axis in np.nonzero(mask))
            result[s.structure] = geometry.apply(opened.sample(sample.key).affine(), (x, y, z))
    return result
