"""How a job server's JVM is started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from mdfp.errors import UsageError
from pipelines.engines.tie import tied

DEFAULT = "java"
"""Beam's own word for it, found on the path."""


def java() -> str | None:
    """The Java program: of `JAVA_HOME`, or on the path; None when there is none."""
    home = os.environ.get("JAVA_HOME")
    if home and (program := Path(home) / "bin" / "java").exists():
        return str(program)
    return shutil.which(DEFAULT)


def require(launcher: str | None) -> None:
    """Make sure that Java is there.

    Args:
        launcher: what the user named; Beam's default counts as nothing.

    Raises:
        UsageError: there is none.
    """
    if launcher not in (None, DEFAULT):
        if shutil.which(str(launcher)) is None:
            raise UsageError(f"--job_server_java_launcher={launcher}: there is no such program")
        return
    if java() is None:
        raise UsageError(
            "Java is not there (neither JAVA_HOME nor java on the path); Spark and Flink need Java 11 or 17, "
            "on Debian the package openjdk-17-jre-headless"
        )


def arguments(properties: Sequence[str]) -> list[str]:
    """Beam's arguments for a job server's JVM with these properties.

    Where the system can do it, the JVM is tied to this process: it ends with it even when it is killed, instead of
    holding half a gigabyte and a port for ever.
    """
    command = tied(java() or DEFAULT)
    # Beam starts `launcher property… -jar …`: what comes between the launcher and the jar is ours to say.
    return [
        f"--job_server_java_launcher={command[0]}",
        *(f"--job_server_jvm_properties={word}" for word in [*command[1:], *properties]),
    ]
