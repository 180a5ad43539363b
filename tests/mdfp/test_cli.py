from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mdfp.cli import BUILDER, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def mdfp(capsys, tmp_path, monkeypatch):
    """Runs the command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return left.value.code or 0, out, err

    return call


def test_info_tells_what_it_is(mdfp, written):
    code, out, _ = mdfp("info", written.root)
    assert code == 0
    assert "golden, manifest 1: 10 samples" in out
    code, out, _ = mdfp("info", written.root, "--json")
    assert json.loads(out)["palette"]["liver"] == 5


def test_ls_filters_and_counts(mdfp, written):
    code, out, _ = mdfp("ls", written.root, "--state", "liver=present", "--split", "train", "--limit", 2)
    assert code == 0
    assert "3 of 10 samples, 2 shown" in out
    code, out, _ = mdfp("ls", written.root, "--modality", "MR", "--json")
    assert [row["key"] for row in json.loads(out)] == ["gamma-00", "gamma-01"]
    assert json.loads(out)[0]["shape_xyz"] == [[39, 37, 35]]


def test_show_draws_a_picture(mdfp, written, tmp_path):
    code, out, _ = mdfp("show", written.root, "alpha-01", "-o", tmp_path / "a.png")
    assert code == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "present: kidney, kidney_left" in out
    code, _, err = mdfp("show", written.root, "alpha-01", "-o", tmp_path / "a.png")
    assert (code, "there already" in err) == (2, True)
    assert mdfp("show", written.root, "beta-00", "--space", "kidney_left,kidney")[0] == 0
    assert (tmp_path / "beta-00.png").exists()
    assert mdfp("show", written.root, "delta-00", "--json")[0] == 0


def test_verify_says_sound_or_lists_faults_with_code_1(mdfp, own):
    code, out, _ = mdfp("verify", own.root)
    assert (code, out.splitlines()[-1]) == (0, "7 shards, 10 samples: sound")
    (own.root / own.manifest.shards[0].path).write_bytes(b"")
    code, out, _ = mdfp("verify", own.root, "--quick")
    assert code == 1
    assert "bytes: expected" in out
    code, out, _ = mdfp("verify", own.root, "--json")
    assert code == 1
    assert json.loads(out)["faults"][0]["what"] == "bytes"


def test_stats_and_export(mdfp, written, tmp_path):
    code, out, _ = mdfp("stats", written.root)
    assert code == 0
    assert "left out: 1 of beta: label_grid" in out
    assert json.loads(mdfp("stats", written.root, "--json")[1])["modalities"] == {"CT": 8, "MR": 2}
    code, out, _ = mdfp("export", written.root, "alpha-00", "delta-00", "--out", tmp_path / "e", "--json")
    assert code == 0
    assert len(json.loads(out)) == 5
    code, _, err = mdfp("export", written.root, "alpha-00", "--out", tmp_path / "e")
    assert (code, "--force" in err) == (2, True)
    assert mdfp("export", written.root, "alpha-00", "--out", tmp_path / "e", "--force")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "{empty}"], "expected a corpus"),
        (["info", "{root}", "-n", "7"], "its newest manifest is 1"),
        (["info", "nosuch://x"], "nosuch"),
        (["ls", "{root}", "--state", "liver"], "expected STRUCTURE=STATE"),
        (["ls", "{root}", "--state", "liver=maybe"], "expected some of"),
        (["ls", "{root}", "--state", "livr=present"], "did you mean liver"),
        (["show", "{root}", "alpha-0"], "did you mean alpha-0"),
        (["show", "{root}", "alpha-00", "--space", "livr"], "did you mean liver"),
        (["export", "{root}", "alpha-00", "--out", "x", "--to", "dicom"], "expected nifti"),
        (["ls"], "Missing argument"),
        (["bogus"], "No such command"),
    ],
)
def test_wrong_use_is_one_message_and_code_2(mdfp, written, tmp_path, arguments, message):
    code, out, err = mdfp(*(a.format(root=written.root, empty=tmp_path) for a in arguments))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "x").exists()


def test_a_damaged_corpus_is_one_line_and_code_1(mdfp, own):
    (own.root / "index/000001.parquet").write_bytes(b"x")
    code, _, err = mdfp("stats", own.root)
    assert code == 1
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", BUILDER)
def test_building_is_done_elsewhere(mdfp, command):
    code, _, err = mdfp(command, "recipe.yaml")
    assert code == 2
    assert f"python -m pipelines {command}" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("command", ["info", "ls", "show", "verify", "stats", "export"])
def test_help_teaches_by_example(mdfp, command):
    code, out, _ = mdfp(command, "--help")
    assert code == 0
    assert f"Example: mdfp {command}" in out
    assert "Exit codes: 0 all is well" in mdfp("--help")[1]


def test_without_its_libraries_the_command_names_the_extra():
    code = "import sys; sys.modules['typer'] = None; sys.argv = ['mdfp']; import mdfp.__main__ as m; m.main()"
    hide = (
        "import importlib.util as u, sys; f = u.find_spec;"
        "u.find_spec = lambda n, *a: None if n == 'typer' else f(n, *a);" + code
    )
    done = subprocess.run([sys.executable, "-c", hide], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'mdfp[cli]'" in done.stderr


def test_importing_is_light():
    code = (
        "import sys, mdfp; bad = {'torch', 'apache_beam', 'blosc2', 'pyarrow', 'numpy'} & set(sys.modules);"
        "raise SystemExit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
