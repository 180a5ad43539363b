from __future__ import annotations

import dataclasses
import os

import pytest

from transforms.fetch import fetch_case
from transforms.rejected import Rejected


@pytest.fixture
def work(world):
    work = world.reader.work(0)
    case = work.cases[0]
    return world, case, [o for o in work.objects if o.case_id == case.case_id]


def test_objects_come_by_array_with_their_bytes(work):
    world, case, objects = work
    fetched = fetch_case(case, objects, world.source, attempts=1)
    assert set(fetched.blobs) == {"image:ct", "label:organs"}
    ((blob, structure),) = fetched.blobs["image:ct"]
    assert structure is None
    assert blob.data == blob.local.read_bytes() == (world.root / blob.path).read_bytes()


def test_a_file_of_several_volumes_is_read_once(work, monkeypatch):
    world, case, objects = work
    image = objects[0]
    asked = [image, dataclasses.replace(image, array="image:second"), *objects[1:]]
    read, paths = world.source.read_object, []

    def counted(path, size, version):
        paths.append(path)
        return read(path, size, version)

    monkeypatch.setattr(world.source, "read_object", counted)
    fetched = fetch_case(case, asked, world.source, attempts=1)
    assert sorted(paths) == sorted({o.path for o in objects})
    assert fetched.blobs["image:second"][0][0].data is fetched.blobs[image.array][0][0].data


def test_a_changed_version_is_refused_and_a_changed_size_always(work):
    world, case, objects = work
    path = world.root / objects[0].path
    os.utime(path)
    with pytest.raises(Rejected, match=r"source_changed: the inventory saw \d+ bytes .* run the inventory again"):
        fetch_case(case, objects, world.source, attempts=1)
    fetch_case(case, objects, world.source, attempts=1, any_version=True)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Rejected, match="source_changed"):
        fetch_case(case, objects, world.source, attempts=1, any_version=True)


def test_a_missing_object_is_a_verdict(work):
    world, case, objects = work
    (world.root / objects[-1].path).unlink()
    with pytest.raises(Rejected, match="missing_file: the object is no longer there"):
        fetch_case(case, objects, world.source, attempts=1)


def test_what_may_pass_is_tried_again(work, monkeypatch):
    world, case, objects = work
    read, failures = world.source.read_object, [OSError("throttled"), OSError("again")]

    def flaky(path, size, version):
        if failures:
            raise failures.pop()
        return read(path, size, version)

    monkeypatch.setattr(world.source, "read_object", flaky)
    monkeypatch.setattr("time.sleep", lambda s: None)
    assert fetch_case(case, objects, world.source, attempts=3).blobs
    failures[:] = [OSError("throttled")] * 3
    with pytest.raises(OSError, match="throttled"):
        fetch_case(case, objects, world.source, attempts=3)
