"""What stopped a worker. Beam tells of errors in other processes as the text of a traceback; here it is an error again."""

from __future__ import annotations

import builtins
import importlib
import re

from mdfp.errors import MdfpError

_TRACEBACK = "Traceback (most recent call last):"

_JAVA = re.compile(r"\n\s*\tat .*\Z", re.S)
"""The stack of a JVM, which an engine adds to what a worker said."""

_RAISED = re.compile(
    r"^(?P<type>[A-Za-z_][\w.]*): (?P<message>.+?)(?: \[while running '(?P<step>[^']+)'\])?\s*\Z", re.M | re.S
)
"""The last exception of a traceback: it stands at the start of a line and goes on to the end."""


class WorkerError(MdfpError, OSError):
    """A worker could not go on, for a reason that may pass or that its message tells how to remove."""


def expected(error: BaseException) -> bool:
    """Whether an error's message is made for people, so that no traceback is needed."""
    return isinstance(error, (MdfpError, OSError, KeyboardInterrupt))


def translated(error: RuntimeError) -> WorkerError | None:
    """The error a worker raised, when it is one of ours or of the operating system's; None for a bug.

    Args:
        error: what Beam raised in its stead, with the worker's traceback as its message.
    """
    last = _JAVA.sub("", str(error).rpartition(_TRACEBACK)[2])
    # Lines of a traceback are indented; the exception is the last line that is not, and what follows it.
    starts = [m.start() for m in re.finditer(r"^[A-Za-z_][\w.]*: ", last, re.M)]
    match = _RAISED.match(last, starts[0]) if starts else None
    if match is not None and match["type"] == "RuntimeError":
        # What has a number before its message, as the system's own errors do, is raised anew as text by Beam.
        match = _RAISED.match(match["message"])
    if match is None:
        return None
    kind = _class(match["type"])
    if kind is None or not issubclass(kind, (MdfpError, OSError)):
        return None
    return WorkerError(match["message"].strip())


def _class(name: str) -> type | None:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module) if module else builtins, attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None
