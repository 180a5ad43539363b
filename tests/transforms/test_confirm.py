from __future__ import annotations

import subprocess
import sys

import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms import confirm as module
from transforms.confirm import UnconfirmedError, confirm
from transforms.read.array import Blob
from transforms.rejected import Rejected


@pytest.fixture
def image(world):
    """(header, its sound bytes) of a NIfTI image."""
    case = world.reader.work(0).cases[0]
    return case.images[0].header, (world.root / f"{case.case_id.removeprefix('tiny-')}.nii.gz").read_bytes()


VERDICT = Rejected(Reason.CORRUPT_GZIP, "the stream is cut short")


def test_a_fault_of_the_file_is_confirmed_by_a_fresh_process(image):
    header, data = image
    assert confirm(VERDICT, header, [Blob("x.nii.gz", data[:-40])], Limits()) is VERDICT


def test_a_fault_of_this_process_is_no_verdict_on_the_file(image):
    header, data = image
    with pytest.raises(UnconfirmedError, match=r"this process could not read a file .*a fresh one could"):
        confirm(VERDICT, header, [Blob("x.nii.gz", data)], Limits())
    assert issubclass(UnconfirmedError, OSError)


def test_a_file_on_disk_is_read_there(image, tmp_path):
    header, data = image
    (tmp_path / "x.nii.gz").write_bytes(data[:-40])
    assert confirm(VERDICT, header, [Blob("x.nii.gz", b"", tmp_path / "x.nii.gz")], Limits()) is VERDICT


def test_what_no_process_could_see_differently_is_not_asked_twice(image, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: pytest.fail("no process is needed"))
    verdict = Rejected(Reason.BAD_SPACING, "0 mm")
    assert confirm(verdict, image[0], [Blob("x", image[1])], Limits()) is verdict


def run_instead(monkeypatch, code):
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **k: real([sys.executable, "-c", code], **k))


def test_a_decoder_that_dies_is_a_verdict_of_its_own(image, monkeypatch):
    run_instead(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    found = confirm(VERDICT, image[0], [Blob("x", image[1])], Limits())
    assert found.reason == Reason.DECODER_CRASH
    assert "died twice, with signal 11" in found.detail


def test_a_decoder_that_dies_once_is_asked_again(image, monkeypatch, tmp_path):
    died = tmp_path / "died"
    run_instead(
        monkeypatch,
        f"import os, pathlib, signal, sys; p = pathlib.Path({str(died)!r})\n"
        "if p.exists(): sys.exit(3)\n"
        "p.touch(); os.kill(os.getpid(), signal.SIGSEGV)",
    )
    assert confirm(VERDICT, image[0], [Blob("x", image[1])], Limits()) is VERDICT


def test_a_decoder_that_was_killed_from_outside_is_no_verdict(image, monkeypatch):
    """The kernel kills for memory: that may pass."""
    run_instead(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(UnconfirmedError, match="was killed"):
        confirm(VERDICT, image[0], [Blob("x", image[1])], Limits())


def test_a_process_that_does_not_end_is_no_verdict(image, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    run_instead(monkeypatch, "import time; time.sleep(30)")
    with pytest.raises(UnconfirmedError, match=r"did not end within 0\.2 s"):
        confirm(VERDICT, image[0], [Blob("x", image[1])], Limits())


def test_a_bug_in_the_second_process_is_told(image, monkeypatch):
    run_instead(monkeypatch, "raise ZeroDivisionError('oh no')")
    with pytest.raises(UnconfirmedError, match="oh no"):
        confirm(VERDICT, image[0], [Blob("x", image[1])], Limits())
