"""Writing a bucket: equal bytes, sizes, wrong use."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.phantom import write_bucket
from examples.phantom.__main__ import main
from mdfp.errors import UsageError

ROOT = Path(__file__).parents[2]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_equal_arguments_give_equal_bytes(small, tmp_path):
    folder, truth = small
    again = write_bucket(tmp_path / "somewhere" / "else", scale="small", patients=16)
    assert again == truth
    assert digests(tmp_path / "somewhere" / "else") == digests(folder)


def test_another_process_on_a_lesser_cpu_gives_equal_bytes(small, tmp_path):
    folder, _ = small
    # More people do not change the planted ones.
    command = [
        sys.executable,
        "-m",
        "examples.phantom",
        str(tmp_path / "bucket"),
        "--scale",
        "small",
        "--patients",
        "0",
    ]
    lesser = {**os.environ, "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX", "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run(command, cwd=ROOT, env=lesser, check=True, capture_output=True)
    theirs, ours = digests(tmp_path / "bucket"), digests(folder)
    del theirs["phantom-ct-msd/Task77_Phantom/dataset.json"]
    assert len(theirs) > 200
    assert {path: ours[path] for path in theirs} == theirs


def test_patients_are_dealt_to_the_sources_in_turn(tmp_path):
    truth = write_bucket(tmp_path / "bucket", patients=2)
    planted = write_bucket(tmp_path / "planted", patients=0)
    more = {(c.source, c.name) for c in truth.cases} - {(c.source, c.name) for c in planted.cases}
    assert {source for source, _ in more} == {"phantom-ct-dicom", "phantom-ct-msd"}
    assert len(more) == 2


def test_the_command_writes_the_bucket_and_its_truth(tmp_path, capsys):
    assert main([str(tmp_path / "bucket"), "--scale", "small", "--patients", "1"]) == 0
    truth = json.loads((tmp_path / "bucket.truth.json").read_text())
    assert {f["reason"] for f in truth["faults"]} >= {"corrupt_gzip", "missing_slices"}
    assert "7 planted faults" in capsys.readouterr().out


def test_a_folder_that_holds_something_is_left_alone(tmp_path, capsys):
    (tmp_path / "note.txt").write_text("mine")
    assert main([str(tmp_path), "--scale", "small"]) == 2
    assert "is not an empty folder; name a new one" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


def test_wrong_arguments_say_what_would_be_right(tmp_path):
    with pytest.raises(UsageError, match="unknown scale 'large'; one of demo, small"):
        write_bucket(tmp_path / "bucket", scale="large")
    with pytest.raises(UsageError, match="0 or more, found -1"):
        write_bucket(tmp_path / "bucket", patients=-1)
    assert not (tmp_path / "bucket").exists()
