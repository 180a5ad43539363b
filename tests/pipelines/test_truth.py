"""What comes out is what was put in: states, sides, volumes, places, and every planted fault by its name."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import mdfp
from mdfp import geometry
from mdfp.labels import State
from schemas.reasons import Reason


def test_planned_is_samples_and_holes_to_the_last_case(corpus):
    from pipelines.build import audit

    markers = audit(corpus.workspace, corpus.plan)
    samples = [s.case_id for m in markers for s in m.samples]
    holes = [h.case_id for m in markers for h in m.holes]
    assert Counter(samples + holes) == Counter(c for s in corpus.plan.shards for c in s.cases)


def test_every_planted_fault_is_a_reject_with_its_reason(corpus):
    from pipelines.build import audit

    markers = audit(corpus.workspace, corpus.plan)
    found = Counter((r.source, r.reason) for r in corpus.plan.rejects)
    found.update((h.source, h.reason) for m in markers for h in m.holes)
    wanted = Counter((f.source, f.reason) for f in corpus.bucket.truth.faults)
    assert {k: found[k] for k in wanted} == dict(wanted)


def test_nothing_else_is_lost(corpus):
    from pipelines.build import audit

    markers = audit(corpus.workspace, corpus.plan)
    planted = Counter(f.reason for f in corpus.bucket.truth.faults)
    planted[Reason.DUPLICATE] += len(corpus.bucket.truth.duplicates)
    lost = Counter(r.reason for r in corpus.plan.rejects if r.case_id is not None)
    lost.update(h.reason for m in markers for h in m.holes)
    assert lost == planted
    assert len(corpus.samples) == len(corpus.bucket.truth.cases) - sum(planted.values())


def test_every_state_of_every_structure_is_right(corpus):
    wrong = []
    for sample in corpus.samples:
        truth = corpus.truth_of(sample.case_id)
        known = {s.structure: s for s in truth.structures}
        for s in sample.structures:
            if s.structure in known and s.state != known[s.structure].state:
                wrong.append((truth.source, truth.name, s.structure, str(s.state), str(known[s.structure].state)))
    assert not wrong


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
    pairs = 0
    opened = mdfp.open(str(corpus.folder))
    for sample in corpus.samples:
        centres = _centroids(opened, sample)
        for structure, centre in centres.items():
            twin = structure.replace("_left", "_right")
            if twin != structure and twin in centres:
                assert centre[0] < centres[twin][0], (sample.key, structure)  # RAS: the patient's left is at lower x
                pairs += 1
    assert pairs >= 5


def test_one_of_each_pair_of_equal_volumes_stays(corpus):
    kept = {(corpus.truth_of(s.case_id).source, corpus.truth_of(s.case_id).name) for s in corpus.samples}
    for pair in corpus.bucket.truth.duplicates:
        assert len(kept & set(pair)) == 1
    hashes = Counter(i.content_hash for s in corpus.samples for i in s.images)
    assert max(hashes.values()) == 1


def test_a_shared_patient_is_in_one_split(corpus):
    splits: dict[str, set[str]] = {}
    people: dict[str, set[str]] = {}
    for sample in corpus.samples:
        person = corpus.truth_of(sample.case_id).person
        splits.setdefault(person, set()).add(sample.split)
        people.setdefault(sample.patient, set()).add(person)
    assert all(len(s) == 1 for s in people.values())
    shared = [p for p in splits if len({corpus.truth_of(s.case_id).source for s in corpus.samples if corpus.truth_of(s.case_id).person == p}) > 1]
    for person in shared:
        same = {s.patient for s in corpus.samples if corpus.truth_of(s.case_id).person == person}
        if len(same) == 1:
            assert len(splits[person]) == 1


def test_private_words_of_headers_are_nowhere(corpus):
    words = [w.encode() for w in corpus.bucket.truth.private_words]
    assert words
    for file in corpus.folder.rglob("*"):
        if file.is_file() and file.parent.name != "objects":
            content = file.read_bytes()
            assert not [w for w in words if w in content], file.name


def test_volumes_and_places_are_the_analytic_ones(build_corpus, bucket, tmp_path_factory):
    """Organs over 5 ml: mm³ within 2 %, centroid within half an output voxel, at 1.5 mm and bodies of true size."""
    from examples import phantom

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
