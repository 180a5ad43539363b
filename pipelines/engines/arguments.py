"""Beam's options as a user wrote them after `--`: what is refused in them."""

from __future__ import annotations

from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions
from apache_beam.runners.runner import create_runner

from mdfp.errors import UsageError


def named_runner(beam_args: Sequence[str]) -> str | None:
    """The runner that the options name, or None."""
    found: str | None = PipelineOptions(list(beam_args)).view_as(StandardOptions).runner
    return found


def check(beam_args: Sequence[str]) -> None:
    """Refuse what is no option, and what does not do what it says.

    Raises:
        UsageError: with the remedy.
    """
    if beam_args and not beam_args[0].startswith("--"):
        raise UsageError(f"after -- Beam options are expected (--name=value), found {beam_args[0]!r}")
    if PipelineOptions(list(beam_args)).view_as(SetupOptions).save_main_session:
        raise UsageError("--save_main_session is not needed: all functions live in importable modules; leave it out")
    runner = named_runner(beam_args)
    if runner is None:
        return
    if runner.endswith("DirectRunner"):
        raise UsageError(
            f"--runner={runner} changes engines silently, depending on what it can download; "
            "leave --runner out for the local one (FnApiRunner), or name the engine you mean"
        )
    try:
        create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner={runner}: {error}") from error
