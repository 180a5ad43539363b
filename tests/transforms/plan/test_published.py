from __future__ import annotations

import dataclasses
import shutil

import pytest

from mdfp import canonical
from mdfp.manifest import manifest_path
from mdfp.sample import Sample
from schemas.case import Reject
from schemas.plan import Marker
from schemas.reasons import Reason
from transforms import commit
from transforms.plan import files
from transforms.plan.history import load_holes
from transforms.plan.holes import made_of
from transforms.plan.inventory import objects_digest
from transforms.plan.published import load, newest_number
from transforms.publish import assemble, index_entry, rejects_path, table_bytes
from transforms.rows import made_digest, write_rows
from transforms.store import CorpusStore


@pytest.fixture
def store(tmp_path):
    return CorpusStore(str(tmp_path / "corpus"))


@pytest.fixture
def publish(store, make_tiny_plan, make_recipe, make_sample, sources):
    """Publish a generation as a build would, with the first case of each shard a hole."""

    def put(number=1, parent=None, **changes):
        plan = dataclasses.replace(make_tiny_plan(), generation=number, parent=number - 1 or None, **changes)
        files.write(plan, store)
        markers, fresh = [], []
        for shard in plan.shards:
            path = f"shards/{shard.shard}-{number:016}.tar"
            made = [make_sample(c, shard=path, split=shard.split, generation=number) for c in shard.cases[1:]]
            hole = Reject("build", shard.source, shard.cases[0], Reason.CORRUPT_GZIP, f"cut short {number}", None)
            rows = write_rows(made, shard, store) if made else None
            markers.append(
                Marker(
                    shard=shard.shard,
                    fingerprint=shard.fingerprint,
                    path=path if made else None,
                    bytes=1,
                    sha256="0" * 64,
                    samples=len(made),
                    made=made_digest(s.case_id for s in made),
                    rows=rows,
                    holes=(hole,),
                )
            )
            fresh += made
        entry = index_entry(number, markers)
        manifest = assemble(plan, markers, [entry], {}, make_recipe(), sources, parent)
        commit.create_bytes(table_bytes(Sample, fresh), store, entry.path)
        commit.create_bytes(canonical.pretty(manifest), store, manifest_path(number))
        rejects = [h for m in markers for h in m.holes] + list(plan.rejects)
        commit.replace(table_bytes(Reject, rejects), store, rejects_path(number))
        return plan, fresh

    return put


def test_nothing_is_published_in_an_empty_folder(store):
    assert newest_number(store) == 0
    assert load(store) is None
    assert load_holes(store) == {}


def test_samples_come_back_as_they_were(store, publish):
    _, fresh = publish()
    found = load(store)
    assert sorted(found.samples, key=lambda s: s.key) == sorted(fresh, key=lambda s: s.key)
    assert found.manifest.samples == len(fresh)


def test_the_newest_number_wins_and_other_files_are_passed_over(store, publish):
    publish()
    (store.folder / "manifests" / ".part-000009").write_text("left by a killed process")
    publish(2, load(store), plan_id="2" * 64)
    found = load(store)
    assert (newest_number(store), found.manifest.number, found.manifest.parent) == (2, 2, 1)
    assert {s.generation for s in found.samples} == {1, 2}


def test_rows_of_shards_that_no_manifest_names_are_not_samples(store, publish):
    publish()
    found = load(store)
    fewer = dataclasses.replace(found.manifest, number=2, parent=1, shards=found.manifest.shards[1:])
    commit.create_bytes(canonical.pretty(fewer), store, manifest_path(2))
    gone = found.manifest.shards[0].path
    assert {s.shard for s in load(store).samples} == {s.shard for s in found.samples} - {gone}


def test_holes_are_known_with_what_they_were_made_of(store, publish, sources):
    plan, _ = publish()
    holes = load_holes(store)
    assert set(holes) == {s.cases[0] for s in plan.shards}  # not the reject of the inventory
    case_id, hole = next(iter(holes.items()))
    objects = [o for o in plan.objects if o.case_id == case_id]
    source = sources[objects[0].source].model_dump(mode="json")
    assert hole.made_of == made_of(objects_digest(objects), source, plan.pixel_version)
    assert (hole.generation, hole.reason, hole.detail) == (1, Reason.CORRUPT_GZIP, "cut short 1")


def test_the_newest_verdict_on_a_hole_wins(store, publish):
    publish()
    publish(2, load(store), plan_id="2" * 64)
    assert {h.detail for h in load_holes(store).values()} == {"cut short 2"}


def test_holes_of_a_generation_whose_plan_was_deleted_are_tried_again(store, publish):
    plan, _ = publish()
    shutil.rmtree(store.folder / files.folder(plan))
    assert load_holes(store) == {}
