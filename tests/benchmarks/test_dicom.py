"""The benchmark of DICOM reading runs, and both readers see the same voxels."""

from __future__ import annotations

import json

import pytest

from benchmarks import dicom


def test_a_small_run_ends_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    dicom.main(["--slices", "4", "--rounds", "1"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.pop("voxels_equal") is True
    assert all(v > 0 for v in figures.values())
