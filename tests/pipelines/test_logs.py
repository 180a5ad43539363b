"""Lines that workers append to a file reach whoever called, each once and whole."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from mdfp.errors import UsageError
from pipelines.logs import VARIABLE, following, log_format
from transforms.event_log import EventLog


def test_lines_are_shown_once_in_order_and_the_last_ones_too(tmp_path):
    shown = []
    log = EventLog("text", str(tmp_path / "log"))
    with following(tmp_path / "log", shown.append):
        for n in range(100):
            log.event("INFO", str(n))
    assert shown == [f"INFO {n}" for n in range(100)]


def test_no_line_is_no_fault(tmp_path):
    with following(tmp_path / "none", pytest.fail):
        pass


@pytest.mark.parametrize(
    ("given", "local", "expected"),
    [
        (None, True, "off"),
        (None, False, "json"),
        ("json", True, "json"),
        ("text", False, "text"),
        ("off", False, "off"),
    ],
)
def test_the_format_is_what_was_asked_for_or_the_usual_one(given, local, expected, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    if given:
        monkeypatch.setenv(VARIABLE, given)
    assert log_format(local=local) == expected


def test_another_format_is_refused(monkeypatch):
    monkeypatch.setenv(VARIABLE, "yaml")
    with pytest.raises(UsageError, match="MDFP_LOG_FORMAT=yaml: expected one of off, text, json"):
        log_format(local=True)


def test_local_workers_tell_in_json_lines_on_standard_error(command_line, tmp_path):
    """Two worker processes; everything on standard error but remarks is JSON, and nothing names a file of a source."""
    words = ("--only", "phantom-ct-msd", "--max-holes", "0.9", "--workers", "2", "--quiet", "--json")
    ended = command_line.run("run", tmp_path / "corpus", *words, **{VARIABLE: "json"})
    assert ended.returncode == 0, ended.stderr
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    told = Counter(line["message"] for line in lines)
    assert told["shard started"] == told["shard committed"] > 0
    assert {line["reason"] for line in lines if line["message"] == "a case is a hole"} >= {"corrupt_gzip"}
    assert {key for line in lines for key in line} <= {
        "severity", "message", "shard", "case", "stage", "reason", "seconds", "bytes_out",
    }  # fmt: skip
    assert str(command_line.bucket.folder) not in ended.stderr
    assert ".nii" not in ended.stderr
