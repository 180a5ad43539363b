"""A decoder that crashes, hangs or eats memory costs its item and nothing else."""

from __future__ import annotations

import multiprocessing
import os
import time
from functools import partial

import numpy as np
import psutil
import pytest

from schemas.reasons import Reason
from schemas.recipe import Limits
from tests.hostile import series
from transforms.confirm import confirm
from transforms.read import dicom_pixels, isolated
from transforms.read.isolated import ChildError, ChildLimits
from transforms.rejected import Rejected

LIMITS = ChildLimits(memory_bytes=1 << 30, cpu_s=1, wall_s=20)


def run(name, data=b"", limits=LIMITS):
    return isolated.run(f"tests.transforms.read.broken_decoders:{name}", data, limits)


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    assert [c for c in psutil.Process().children() if c.status() == psutil.STATUS_ZOMBIE] == []


def test_arrays_come_back_as_they_are():
    data = os.urandom(5_000_000)
    assert run("echo", data).tobytes() == data
    assert run("echo", memoryview(data)[7:]).tobytes() == data[7:]
    found = run("matrix")
    assert found.dtype == np.dtype(">i2")
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_one_child_does_all_the_work():
    assert run("pid")[0] == run("pid")[0] != os.getpid()


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("segfault", Reason.DECODER_CRASH, "signal 11"),
        ("abort", Reason.DECODER_CRASH, "signal 6"),
        ("hang", Reason.DECODER_TIMEOUT, "1 s of processor time"),
        ("eat", Reason.DECODER_MEMORY, "1073741824 bytes"),
        ("eat_slowly", Reason.DECODER_MEMORY, "1073741824 bytes"),
        ("reject", Reason.UNREADABLE, "no such thing"),
    ],
)
def test_what_a_file_does_is_a_reject_and_the_next_item_works(name, reason, message):
    patient = ChildLimits(
        LIMITS.memory_bytes, 1 if name == "hang" else 30, 60
    )  # zeroing a gigabyte takes its time, too
    with pytest.raises(Rejected, match=message) as verdict:
        run(name, limits=patient)
    assert verdict.value.reason == reason
    assert run("echo", b"next").tobytes() == b"next"


def test_what_the_machine_does_may_pass():
    with pytest.raises(ChildError, match="killed with signal 9"):
        run("killed")
    with pytest.raises(ChildError, match=r"did not answer within 0\.5 s"):
        run("sleep", limits=ChildLimits(1 << 30, 1, 0.5))
    assert issubclass(ChildError, OSError)
    assert run("echo", b"next").tobytes() == b"next"


def test_a_bug_of_ours_raises():
    with pytest.raises(RuntimeError, match="ZeroDivisionError: oh no"):
        run("bug")


def test_what_a_decoder_prints_is_no_answer_and_reaches_no_log(capfd):
    assert run("prints", b"1").tobytes() == b"1"
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def _other(queue):
    queue.put(int(run("pid")[0]))


def test_a_fork_has_a_child_of_its_own():
    mine = int(run("pid")[0])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=partial(_other, queue))
    process.start()
    other = queue.get(timeout=30)
    process.join()
    assert other != mine
    assert run("pid")[0] == mine
    for _ in range(100):
        if not psutil.pid_exists(other):
            break
        time.sleep(0.05)
    assert not psutil.pid_exists(other)


@pytest.mark.parametrize(("decoder", "reason"), [("segfault", Reason.DECODER_CRASH), ("hang", Reason.DECODER_TIMEOUT)])
def test_a_slice_whose_decoder_dies_is_refused_and_the_next_is_read(monkeypatch, decoder, reason):
    real = isolated.run
    name = f"tests.transforms.read.broken_decoders:{decoder}"
    files = series.files("dies", series._jpeg2000, syntax=series.JPEG2000, slices=2)
    monkeypatch.setattr(isolated, "run", lambda function, data: real(name, data, LIMITS))
    with pytest.raises(Rejected) as verdict:
        dicom_pixels.pixels(files["dies/000.dcm"])
    assert verdict.value.reason == reason
    # A fresh process has said so already: the verdict is not asked for again.
    assert confirm(verdict.value, None, [], Limits()) is verdict.value
    monkeypatch.undo()
    plain = np.frombuffer(series.dataset("dies", 1).PixelData, "<u2")
    assert dicom_pixels.pixels(files["dies/001.dcm"]).array_yx.ravel().tolist() == plain.tolist()


def test_plain_pixels_start_no_child():
    isolated._end()
    assert dicom_pixels.pixels(series.encoded(series.dataset("plain", 0))).array_yx.shape == (16, 20)
    assert isolated._children == []
