"""Driver and workers refuse to run code that a plan was not made for."""

from __future__ import annotations

import dataclasses

import pytest

from mdfp.errors import UsageError
from transforms import environment, same_code
from transforms.build_shards import BuildShardFn, BuildShards
from transforms.same_code import require_same_code

NOW = environment.locked()


def test_the_same_code_is_accepted():
    require_same_code(same_code.PIXEL_VERSION, NOW)


def test_another_pixel_version_is_refused_whatever_is_accepted_otherwise():
    with pytest.raises(UsageError, match=r"pixel version 0.*workers run the same code"):
        require_same_code(0, NOW, any_environment=True)


def test_other_libraries_are_refused_unless_accepted():
    other = NOW | {"numpy": "0.1"}
    with pytest.raises(UsageError, match=r"planned 0\.1.*--rebuild"):
        require_same_code(same_code.PIXEL_VERSION, other)
    require_same_code(same_code.PIXEL_VERSION, other, any_environment=True)


def test_a_worker_of_another_version_than_its_plan_builds_nothing(world, monkeypatch):
    from transforms.plan import files

    monkeypatch.setattr(same_code, "PIXEL_VERSION", same_code.PIXEL_VERSION + 1)
    options = BuildShards(
        str(world.corpus.folder), files.folder(world.plan), (("tiny", str(world.root)),), str(world.scratch)
    )
    with pytest.raises(UsageError, match="make a new plan"):
        BuildShardFn(options).setup()
    monkeypatch.undo()
    function = BuildShardFn(dataclasses.replace(options))
    function.setup()
    assert [status.built for status in function.process(0)] == [True]
