"""The promise: every engine gives the same bytes. Driven by `make engines`, which prints the table."""

from __future__ import annotations

import subprocess

import pytest

pytestmark = pytest.mark.engines


def test_it_builds_the_same_bytes(engine, raw, reference, beam_args, own_key, digests_of, rows, make_row, tmp_path):
    """From another working directory, with a scratch folder of its own, and leaving nothing running or lying about."""
    scratch = tmp_path / "scratch of one's own"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # A module that would hide one of ours, if workers looked where they stand.
    (elsewhere / "transforms.py").write_text("raise ImportError('the working directory is on the path')")
    more = (*engine.options, "--scratch-dir", str(scratch))
    ended, seconds = raw.run(tmp_path / "corpus", *more, cwd=elsewhere, beam=beam_args, **own_key)
    found = digests_of(tmp_path / "corpus")
    rows[engine.word] = make_row(engine.version, seconds, ended.returncode == 0 and found == reference)
    assert ended.returncode == 0, ended.stderr
    assert found == reference
    assert len([f for f in found if f.endswith(".tar")]) > 5
    assert list(scratch.iterdir()) == []
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
