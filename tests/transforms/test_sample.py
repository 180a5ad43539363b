from __future__ import annotations

import dataclasses
import json

import nibabel
import numpy as np
import pytest

from mdfp import arrow
from mdfp.codecs import VolumeCodec
from mdfp.labels import State
from mdfp.sample import Snapshot
from schemas.reasons import Reason
from transforms.build_shards import sample_maker
from transforms.fetch import fetch_case
from transforms.rejected import Rejected
from transforms.sample import check_invariants


@pytest.fixture
def make(make_world):
    """Make the sample of the first case of a world."""

    def run(before=lambda world: None, **recipe):
        world = make_world(**recipe)
        before(world)
        world = make_world(**recipe)  # the inventory of what is there now
        work = world.reader.work(0)
        case = next(c for c in work.cases if c.case_id == "tiny-c0")
        assignment = next(a for a in work.assignments if a.case_id == case.case_id)
        objects = [o for o in work.objects if o.case_id == case.case_id]
        fetched = fetch_case(case, objects, world.source, attempts=1)
        return sample_maker(world.reader).make(fetched, assignment)

    return run


def relabel(change):
    def apply(world):
        path = world.file(0, label=True)
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)

    return apply


def test_a_sample_is_image_label_and_snapshot(make):
    made = make()
    assert [(p.kind, p.array) for p in made.payloads] == [("image", "ct"), ("label", "base"), ("json", "")]
    assert made.record.key == made.record.case_id == "tiny-c0"
    (image,) = made.record.images
    decoded = VolumeCodec().decode(made.payloads[0].data)
    assert decoded.shape == image.stored.shape == (9, 13, 16)
    assert image.stored.orientation == "RAS"
    mask = VolumeCodec().decode(made.payloads[1].data)
    assert mask.shape == decoded.shape
    states = {s.structure: s for s in made.record.structures}
    assert {s.state for s in states.values()} == {State.PRESENT}
    for s in states.values():
        assert (mask == s.value).sum() == s.stored_voxels > 0


def test_the_snapshot_says_what_the_record_says(make):
    made = make()
    snapshot = arrow.from_dict(Snapshot, json.loads(made.payloads[-1].data))
    for field in dataclasses.fields(Snapshot):
        if hasattr(made.record, field.name):
            assert getattr(snapshot, field.name) == getattr(made.record, field.name), field.name


def test_the_same_case_gives_the_same_payloads(make):
    assert make() == make()


def test_a_faulty_label_rejects_the_case_or_leaves_the_image(make):
    stray = relabel(lambda a: np.where(a == 2, 77, a).astype(np.uint8))
    with pytest.raises(Rejected, match=r"unmapped_label.*77"):
        make(stray)
    made = make(stray, labels={"on_fault": "image_only"})
    assert made.record.labels == ()
    assert {s.state for s in made.record.structures} == {State.UNKNOWN}
    (warning,) = made.record.warnings
    assert warning.startswith("label left out: unmapped_label: ")
    assert [p.kind for p in made.payloads] == ["image", "json"]


def test_an_unreadable_label_is_the_labels_fault(make):
    def cut(world):
        path = world.file(0, label=True)
        path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(Rejected) as verdict:
        make(cut)
    assert verdict.value.reason == Reason.LABEL_UNREADABLE
    assert "corrupt_gzip" in verdict.value.detail
    assert make(cut, labels={"on_fault": "image_only"}).record.labels == ()


def test_an_unreadable_image_rejects_whatever_becomes_of_labels(make):
    def cut(world):
        world.file(0).write_bytes(world.file(0).read_bytes()[:-30])

    with pytest.raises(Rejected, match="corrupt_gzip"):
        make(cut, labels={"on_fault": "image_only"})


def test_image_only_knows_of_no_structure(make):
    made = make(labels="image_only")
    assert made.record.structures == ()
    assert [p.kind for p in made.payloads] == ["image", "json"]


def test_invariants_of_a_record(make, make_world):
    made = make()
    world = make_world()
    maker = sample_maker(world.reader)

    def check(**changes):
        check_invariants(dataclasses.replace(made.record, **changes), maker.recipe, maker.palette)

    check()
    (image,) = made.record.images
    low = dataclasses.replace(image.stored_intensity, minimum=-3000.0)
    with pytest.raises(Rejected, match=r"invariant: ct: CT minimum -3000\.0 HU, expected at least -1024"):
        check(images=(dataclasses.replace(image, stored_intensity=low),))
    odd = dataclasses.replace(image.stored_intensity, mean=9999.0)
    with pytest.raises(Rejected, match=r"mean 9999.0 outside"):
        check(images=(dataclasses.replace(image, stored_intensity=odd),))
    wide = dataclasses.replace(image.stored, spacing_xyz_mm=(3.0, 3.0, 4.0))
    with pytest.raises(Rejected, match=r"spacing \(3.0, 3.0, 4.0\) mm, asked for \(3.0, 3.0, 3.0\)"):
        check(images=(dataclasses.replace(image, stored=wide),))
    with pytest.raises(Rejected, match=r"no state for \['spleen'\]"):
        check(structures=tuple(s for s in made.record.structures if s.structure != "spleen"))
    with pytest.raises(Rejected, match="in layer 'base', which is not there"):
        check(labels=())
    empty = tuple(dataclasses.replace(s, native_voxels=0) for s in made.record.structures)
    with pytest.raises(Rejected, match="liver is present with no voxel"):
        check(structures=empty)
