"""What workers tell an operator: one line for each event, as JSON or as text.

The fields are a closed list, so that no path of a source, no credential and nothing from a header can reach a log: a
case is named by its id, which is a pseudonym unless its source's names are public. Lines hold no clock and no host;
whatever collects them knows both.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from typing import Literal

LOGGER = logging.getLogger("mdfp")
"""Where lines go that have no file: on a cluster the engine's own handler takes them to its logs."""

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Format = Literal["off", "text", "json"]
FORMATS: tuple[Format, ...] = ("off", "text", "json")


@dataclass(frozen=True)
class EventLog:
    """Where events go. Plain values only: it travels to workers.

    Attributes:
        format: `json`: one JSON object a line; `text`: for people; `off`: nothing.
        file: local file that lines are appended to, for workers on the driver's own machine; None: Python's logging.
    """

    format: Format = "off"
    file: str | None = None

    def event(
        self,
        severity: Severity,
        message: str,
        *,
        shard: str | None = None,
        case: str | None = None,
        stage: str | None = None,
        reason: str | None = None,
        seconds: float | None = None,
        bytes_out: int | None = None,
    ) -> None:
        """Tell one thing.

        Args:
            severity: DEBUG, INFO, WARNING or ERROR, as Cloud Logging names them.
            message: a constant sentence; what varies is in the fields.
            shard: id of the shard.
            case: id of the case.
            stage: inventory, plan, build, publish; or what a worker was doing.
            reason: code from the closed list.
            seconds: how long it took.
            bytes_out: bytes written.
        """
        if self.format == "off":
            return
        fields = {
            "shard": shard,
            "case": case,
            "stage": stage,
            "reason": reason,
            "seconds": None if seconds is None else round(seconds, 3),
            "bytes_out": bytes_out,
        }
        given = {k: v for k, v in fields.items() if v is not None}
        if self.format == "json":
            line = json.dumps({"severity": severity, "message": message} | given)
        else:
            line = " ".join([severity, message, *(f"{k}={v}" for k, v in given.items())])
        if self.file is None:
            LOGGER.log(logging.getLevelName(severity), "%s", line)
        else:
            _append(self.file, line)


def _append(file: str, line: str) -> None:
    """One write of one line, which the operating system does not mix with another's. A log is not worth failing for."""
    try:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except FileNotFoundError:
        return
    try:
        os.write(handle, line.encode() + b"\n")
    finally:
        os.close(handle)
