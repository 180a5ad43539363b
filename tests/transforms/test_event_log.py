"""Events are one line each, and say nothing but what their fields allow."""

from __future__ import annotations

import json
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.event_log import EventLog


def test_a_json_line_has_the_fields_that_were_given(tmp_path):
    log = EventLog("json", str(tmp_path / "log"))
    log.event(
        "WARNING",
        "a case is a hole",
        shard="train/a-00001",
        case="a-7",
        stage="build",
        reason="corrupt_gzip",
        seconds=1.23456,
    )
    assert json.loads((tmp_path / "log").read_text()) == {
        "severity": "WARNING", "message": "a case is a hole", "shard": "train/a-00001", "case": "a-7", "stage": "build",
        "reason": "corrupt_gzip", "seconds": 1.235,
    }  # fmt: skip


def test_text_is_for_people(tmp_path):
    EventLog("text", str(tmp_path / "log")).event("INFO", "shard committed", shard="train/a-00001", bytes_out=7)
    assert (tmp_path / "log").read_text() == "INFO shard committed shard=train/a-00001 bytes_out=7\n"


def test_off_says_nothing(tmp_path):
    EventLog("off", str(tmp_path / "log")).event("ERROR", "no")
    assert not (tmp_path / "log").exists()


def test_there_is_no_field_for_what_must_not_be_told(tmp_path):
    log = EventLog("json", str(tmp_path / "log"))
    with pytest.raises(TypeError, match="path"):
        log.event("INFO", "read", path="/a/patient/name.dcm")


def test_without_a_file_lines_go_where_the_engine_looks(caplog):
    with caplog.at_level(logging.INFO, logger="mdfp"):
        EventLog("json").event("INFO", "shard committed, 100 % sure", shard="train/a-00001")
    (record,) = caplog.records
    assert (record.levelname, json.loads(record.getMessage())["shard"]) == ("INFO", "train/a-00001")


def test_lines_of_many_writers_stay_whole(tmp_path):
    log = EventLog("json", str(tmp_path / "log"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: log.event("INFO", "x" * 200, case=str(n)), range(400)))
    cases = [json.loads(line)["case"] for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(map(int, cases)) == list(range(400))


def test_a_folder_that_is_gone_is_passed_over(tmp_path):
    EventLog("json", str(tmp_path / "gone" / "log")).event("INFO", "still running")


def test_it_travels_to_workers():
    log = EventLog("json", "/somewhere")
    assert pickle.loads(pickle.dumps(log)) == log
