"""Decoders that can crash, hang or take all memory run in a child process of this one, with limits.

One child for each process, started at the first use and kept: starting it costs half a second, a slice then costs the way
through two pipes. When it dies or is killed the next call starts another.

What is permanent and what may pass (design, section 10):

* it died of a signal that decoders die of, twice, the second time in a fresh child: DECODER_CRASH;
* it used up its processor time, twice: DECODER_TIMEOUT. Processor time is counted and not the clock, so a machine that
  stands still condemns no file;
* it asked for more memory than it may have: DECODER_MEMORY. The limit is on addresses (RLIMIT_AS), not on what the
  machine has left;
* it was killed from outside (the kernel, for memory), or did not answer in a long time without computing: `ChildError`,
  which may pass and is tried again by callers.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import math
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from schemas.reasons import Reason
from transforms.rejected import Rejected
from transforms.scratch import Bytes

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Signals by which a decoder dies of what it reads. Others come from outside and may pass."""

_ATTEMPTS = 2
_HEAD_BYTES = 8
_REJECTED, _NO_MEMORY, _FAILED = "rejected", "memory", "failed"


@dataclass(frozen=True)
class ChildLimits:
    """What one call may cost.

    Attributes:
        memory_bytes: addresses that the child may take beyond those it has when it is ready.
        cpu_s: whole seconds of processor time.
        wall_s: seconds by the clock after which a child that does not answer is given up.
    """

    memory_bytes: int = 4 << 30
    cpu_s: int = 60
    wall_s: float = 600.0


class ChildError(OSError):
    """The child was killed from outside, or did not answer: this machine's fault, not the file's. It may pass."""


class _DiedError(Exception):
    """The child ended before it answered."""

    def __init__(self, signal_number: int):
        super().__init__(signal_number)
        self.signal = signal_number


def run(function: str, data: Bytes, limits: ChildLimits | None = None) -> npt.NDArray[Any]:
    """The array that a decoder makes of bytes, computed in the child.

    Args:
        function: `package.module:name`; takes bytes, returns an array of numbers.
        data: its argument.
        limits: what the call may cost; None: the defaults.

    Raises:
        Rejected: what the function raises as such; DECODER_CRASH, DECODER_TIMEOUT, DECODER_MEMORY.
        ChildError: what may pass.
        RuntimeError: the function raised something else: a bug of ours.
    """
    limits = limits or ChildLimits()
    with _lock:
        for attempt in range(1, _ATTEMPTS + 1):
            child = _child(limits)
            try:
                return child.call(function, data, limits)
            except _DiedError as death:
                _end()
                if attempt < _ATTEMPTS:
                    continue
                raise _verdict(death.signal, limits) from death
            except ChildError:
                _end()
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _verdict(signal_number: int, limits: ChildLimits) -> Exception:
    if signal_number == signal.SIGXCPU:
        return Rejected(
            Reason.DECODER_TIMEOUT, f"the decoder was not done after {limits.cpu_s} s of processor time, twice"
        )
    if signal_number in CRASHES:
        return Rejected(Reason.DECODER_CRASH, f"the decoder died twice, with signal {signal_number}")
    return ChildError(f"a decoder's process was killed with signal {signal_number}: too little memory?")


class _Child:
    """A process that waits for work on its standard input."""

    def __init__(self, limits: ChildLimits):
        self.owner = os.getpid()
        self.limits = limits
        self.process = subprocess.Popen(
            [sys.executable, "-m", "transforms.read.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders quote what they read: no header may reach a log
            cwd=Path(__file__).resolve().parents[2],
            bufsize=0,
        )

    def call(self, function: str, data: Bytes, limits: ChildLimits) -> npt.NDArray[Any]:
        if self.process.stdin is None or self.process.stdout is None:
            raise TypeError("the child has no pipes")
        until = time.monotonic() + limits.wall_s
        order = json.dumps({"function": function, "bytes": len(data), "limits": asdict(limits)}).encode()
        self._send([len(order).to_bytes(_HEAD_BYTES, "little"), order, data], until)
        answer = json.loads(self._receive(int.from_bytes(self._receive(_HEAD_BYTES, until), "little"), until))
        if "kind" in answer:
            raise _raised(answer, limits)
        array = np.empty(answer["shape"], np.dtype(answer["dtype"]))
        self._receive_into(array.reshape(-1).view(np.uint8).data, until)
        return array

    def _send(self, parts: Sequence[Bytes], until: float) -> None:
        out = self.process.stdin
        if out is None:
            raise TypeError("the child has no pipes")
        for part in parts:
            view = memoryview(part)
            while view:
                self._wait([], [out], until)
                try:
                    view = view[os.write(out.fileno(), view[: 1 << 16]) :]
                except BrokenPipeError:
                    raise self._died() from None

    def _receive(self, n: int, until: float) -> bytearray:
        data = bytearray(n)
        self._receive_into(memoryview(data), until)
        return data

    def _receive_into(self, view: memoryview, until: float) -> None:
        source: IO[bytes] | None = self.process.stdout
        if source is None:
            raise TypeError("the child has no pipes")
        while view:
            self._wait([source], [], until)
            n = os.readv(source.fileno(), [view])
            if not n:
                raise self._died()
            view = view[n:]

    def _wait(self, readers: list[Any], writers: list[Any], until: float) -> None:
        ready = select.select(readers, writers, [], max(0.0, until - time.monotonic()))
        if not ready[0] and not ready[1]:
            raise ChildError(f"a decoder's process did not answer within {self.limits.wall_s:g} s")

    def _died(self) -> _DiedError:
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        if code >= 0:
            raise RuntimeError(f"a decoder's process ended with status {code}; expected it to wait for work")
        return _DiedError(-code)

    def end(self) -> None:
        """Kill and collect it: no zombie is left."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


def _raised(answer: dict[str, Any], limits: ChildLimits) -> Exception:
    if answer["kind"] == _REJECTED:
        return Rejected(_REASONS[answer["reason"]], answer["detail"])
    if answer["kind"] == _NO_MEMORY:
        return Rejected(
            Reason.DECODER_MEMORY, f"decoding asks for more than the allowed {limits.memory_bytes} bytes of memory"
        )
    return RuntimeError(f"{answer['detail']} in a decoder's process")


_REASONS = {r.value: r for r in Reason}
_lock = threading.Lock()
_children: list[_Child] = []


def _child(limits: ChildLimits) -> _Child:
    """This process's child; after a fork another one, since its pipes belong to the parent."""
    if _children and (_children[0].owner != os.getpid() or _children[0].limits != limits):
        _end()
    if not _children:
        _children.append(_Child(limits))
    return _children[0]


def _end() -> None:
    while _children:
        _children.pop().end()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork)


def _serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Work until the parent closes its end: what `run` talks to."""
    limited = False
    while head := orders.read(_HEAD_BYTES):
        order = json.loads(orders.read(int.from_bytes(head, "little")))
        module, _, name = order["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        if not limited:
            _limit_memory(order["limits"]["memory_bytes"])
            limited = True
        array, answer = None, {}
        try:
            data = orders.read(order["bytes"])
            _limit_time(order["limits"]["cpu_s"])
            array = np.ascontiguousarray(function(data))
            answer = {"shape": array.shape, "dtype": array.dtype.str}
        except Rejected as verdict:
            answer = {"kind": _REJECTED, "reason": verdict.reason.value, "detail": verdict.detail}
        except MemoryError:
            answer = {"kind": _NO_MEMORY}
        except Exception as error:  # a bug of ours travels to the parent, which raises
            answer = {"kind": _FAILED, "detail": f"{type(error).__name__}: {str(error)[:200]}"}
        data = b""
        text = json.dumps(answer).encode()
        answers.write(len(text).to_bytes(_HEAD_BYTES, "little") + text)
        if array is not None:
            answers.write(array.reshape(-1).view(np.uint8).data)
        answers.flush()


def _limit_memory(more_bytes: int) -> None:
    statm = Path("/proc/self/statm")
    if not statm.exists():  # macOS, whose kernel does not keep this limit either
        return
    pages = int(statm.read_text(encoding="ascii").split()[0])
    allowed = pages * resource.getpagesize() + more_bytes
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def _limit_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def _main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it ends
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)  # a decoder that prints must not be taken for an answer
    # Imported before memory is limited: what a decoder needs to be there at all is no part of what it may take.
    importlib.import_module("transforms.read.decoders")
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
