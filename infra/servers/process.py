"""A server as a process of this machine: a free port, a log, a check that it answers, and an end in every case."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

READY_TIMEOUT_S = 60.0
"""Longest that a server may take to answer; they need 0.1 to 2 s on an idle machine."""

STOP_TIMEOUT_S = 5.0
"""Between asking a server to stop and killing it."""

POLL_S = 0.05

HOST = "127.0.0.1"
"""Servers listen here only: they hold test data under credentials that are in this repository."""


class ServerError(Exception):
    """A server ended or did not answer in time; the message has the end of its log."""


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    words: Sequence[str], environment: Mapping[str, str], url: str, log: Path, *, timeout_s: float = READY_TIMEOUT_S
) -> Iterator[None]:
    """Start a program, wait until it answers at `url`, and stop it at the end, whatever the body does.

    Args:
        words: command line.
        environment: variables beside the ones of this process.
        url: any HTTP answer from here, an error too, says that it is up.
        log: file that gets what it prints.
        timeout_s: how long to wait for an answer.

    Raises:
        ServerError: it ended, or did not answer in time.
    """
    with log.open("wb") as output:
        # A session of its own: an interrupt at the terminal reaches it through us, after its clients are done.
        process = subprocess.Popen(
            [*_tied(), *words],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, url, log, timeout_s)
        yield
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and those it started; kill them when they do not go."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
        return


def _tied() -> list[str]:
    """Words that end a program when this process is killed and cannot end it: on Linux, where util-linux is."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while process.poll() is None:
        if _answers(url):
            return
        if time.monotonic() > end:
            raise ServerError(f"no answer at {url} after {timeout_s:g} s; the end of {log}:\n{_tail(log)}")
        time.sleep(POLL_S)
    raise ServerError(f"it ended with {process.returncode} before it answered; the end of {log}:\n{_tail(log)}")


def _answers(url: str) -> bool:
    # Proxies of the environment are for the world outside.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        direct.open(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:])
