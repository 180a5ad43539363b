"""Buckets written once for the whole folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.phantom import Truth, write_bucket


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> tuple[Path, Truth]:
    """A bucket of dolls, with an ordinary patient of each kind in every source: its folder and the truth."""
    folder = tmp_path_factory.mktemp("phantom") / "bucket"
    return folder, write_bucket(folder, scale="small", patients=16)


@pytest.fixture(scope="session")
def full(tmp_path_factory) -> tuple[Path, Truth]:
    """A bucket of people of true size, with what is planted and nobody else."""
    folder = tmp_path_factory.mktemp("phantom") / "full"
    return folder, write_bucket(folder, scale="demo", patients=0)
