"""Decoders that do what bad ones do, for a child process to run."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import numpy as np

from schemas.reasons import Reason
from transforms.rejected import Rejected


def echo(data):
    return np.frombuffer(data, np.uint8)


def matrix(data):
    return np.arange(6, dtype=">i2").reshape(2, 3)


def segfault(data):
    ctypes.string_at(0)


def abort(data):
    os.abort()


def hang(data):
    while True:
        pass


def sleep(data):
    time.sleep(60)


def eat(data):
    return np.ones(6 << 30, np.uint8)


def eat_slowly(data):
    kept = []
    while True:
        kept.append(bytearray(64 << 20))


def killed(data):
    os.kill(os.getpid(), signal.SIGKILL)


def reject(data):
    raise Rejected(Reason.UNREADABLE, "no such thing")


def bug(data):
    raise ZeroDivisionError("oh no")


def prints(data):
    sys.stdout.write("a" * 100_000)
    os.write(1, b"b" * 100)
    sys.stderr.write("MUSTERMANN")
    return echo(data)


def pid(data):
    return np.array([os.getpid()])
