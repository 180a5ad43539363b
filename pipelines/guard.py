"""What every command does with errors: one message, and an exit code that scripts can rely on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import typer

from mdfp.errors import CancelledError, MdfpError, UsageError
from pipelines.console import Console

T = TypeVar("T")

FAILED, WRONG_USE, CANCELLED, INTERRUPTED = 1, 2, 3, 130
"""Exit codes other than 0."""


@dataclass(frozen=True)
class Call:
    """What a command was called with, so that whoever stops it is told the command that resumes."""

    console: Console
    resumable: bool


def guard(call: Call, action: Callable[[], T]) -> T:
    """Run a command; turn expected errors into one message and an exit code.

    Raises:
        typer.Exit: with one of the codes above.
    """
    try:
        return action()
    except UsageError as error:
        call.console.error(str(error))
        raise typer.Exit(WRONG_USE) from None
    except CancelledError as error:
        call.console.error(f"{error}{_resume(call)}")
        raise typer.Exit(CANCELLED) from None
    except OSError as error:  # before ours: some are both
        call.console.error(f"{error}. Nothing half-done is visible{_resume(call)}")
        raise typer.Exit(FAILED) from None
    except MdfpError as error:
        call.console.error(str(error))
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        call.console.error(f"interrupted. Nothing half-done is visible{_resume(call)}")
        _stop_children()
        raise typer.Exit(INTERRUPTED) from None


def _resume(call: Call) -> str:
    command = shlex.join(["python", "-m", "pipelines", *sys.argv[1:]])
    return f"; go on where it stopped with:\n  {command}" if call.resumable else ""


def _stop_children() -> None:
    """End worker processes that an interrupt left behind: they hold no lock and nothing half-done."""
    import psutil

    for child in psutil.Process().children(recursive=True):
        child.kill()
