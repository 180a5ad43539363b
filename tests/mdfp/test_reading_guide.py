"""The scripts of docs/reading.md do what the guide says, as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs/reading.md"


def scripts() -> list[str]:
    return re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)


def the_one_with(text: str) -> str:
    (script,) = [s for s in scripts() if text in s]
    return script


def run(script: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(GUIDE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_plain_webdataset_without_this_library(written, tmp_path):
    pytest.importorskip("webdataset", reason="webdataset is not installed: pip install 'mdfp[webdataset]'")
    script = the_one_with("def b2nd")
    assert "mdfp" not in script
    assert len([line for line in script.splitlines() if line.strip()]) <= 20
    (tmp_path / "corpus").symlink_to(written.root)
    out = run(script, tmp_path)
    liver = int((written.samples["alpha-00"].layers["base"] == 5).sum())
    assert f"alpha-00 (40, 70, 50) {liver}" in out
    assert "delta-00 (22, 28, 31) None" in out


def test_tarfile_and_blosc2_alone(written, tmp_path):
    shard = written.manifest.shards[0].path
    script = the_one_with("import tarfile").replace("corpus/shards/train/….tar", str(written.root / shard))
    assert "mdfp" not in script
    assert "alpha-00 image ct (40, 70, 50) int16" in run(script, tmp_path)


def test_the_library(written, tmp_path):
    script = the_one_with("corpus.splits[").replace("s3://my-bucket/abdomen-ct", str(written.root))
    run(script.replace("(0, 0, 0, 64, 96, 96)", "(0, 0, 0, 6, 9, 9)"), tmp_path)
