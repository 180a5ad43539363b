"""Every row of the manifest of real files is read as independent tools read it, or refused for the right reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.formats.walk import walk

ROOT = os.environ.get("MDFP_TESTDATA")


@pytest.mark.skipif(not ROOT, reason="MDFP_TESTDATA does not name the folder of real files")
def test_every_real_file_is_as_its_manifest_says() -> None:
    rows = list(walk(Path(ROOT or "")))
    assert len(rows) >= 60
    assert {r.path: r.wrong for r in rows if r.wrong} == {}
