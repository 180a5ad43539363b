"""Rows of JSON lines: what is written is read again, in one form, and nothing else is that form."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from schemas import jsonl_file
from schemas.dataset import DataSet, Overlap, SectionCount, SplitCounts

WORDS = st.text(min_size=1, max_size=12)
LISTS = st.lists(WORDS, max_size=3).map(tuple)
COUNTS = st.none() | st.integers(0, 10**9)
DATASETS = st.builds(
    DataSet,
    id=st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True),
    name=WORDS,
    aliases=LISTS,
    family=st.none() | WORDS,
    year=st.none() | st.integers(1980, 2100),
    modalities=LISTS,
    n_images=COUNTS,
    n_approx=st.booleans(),
    n_raw=st.lists(st.builds(SectionCount, WORDS, WORDS), max_size=2).map(tuple),
    splits=st.none() | st.builds(SplitCounts, COUNTS, COUNTS, COUNTS, COUNTS),
    label=WORDS,
    access=WORDS,
    access_basis=WORDS,
    license_status=WORDS,
    issues=LISTS,
)


@given(st.lists(DATASETS, max_size=5))
def test_what_is_written_is_read_again(records):
    text = "".join(f"{jsonl_file.dumps(r)}\n" for r in records)
    rows, faults = jsonl_file.parse(DataSet, text, "x")
    assert faults == ()
    assert [r.record for r in rows] == records
    assert [r.line for r in rows] == [*range(1, len(records) + 1)]


@given(DATASETS, st.randoms())
def test_a_row_in_another_form_is_read_and_told(record, random):
    canonical = jsonl_file.dumps(record)
    items = [*json.loads(canonical).items()]
    random.shuffle(items)
    other = json.dumps(dict(items), ensure_ascii=False)
    rows, faults = jsonl_file.parse(DataSet, f"{other}\n", "x")
    assert [r.record for r in rows] == [record]
    assert (faults == ()) == (other == canonical)
    assert all(f.startswith("x:1: ") for f in faults)


def test_faults_do_not_hide_each_other():
    wrong = '{"id": "A b", "name": "", "label": 3}\n{"relation": 1}\n'
    _, faults = jsonl_file.parse(DataSet, wrong, "f")
    assert [f.partition(": ")[0] for f in faults].count("f:1") == 6
    assert any("'access' is missing" in f for f in faults)
    assert any("label: expected a valid string, found 3" in f for f in faults)
    assert any(f.startswith("f:2: unknown key 'relation'") for f in faults)


def test_an_empty_file_has_no_rows():
    assert jsonl_file.parse(Overlap, "", "x") == ((), ())


def test_a_last_line_without_its_newline_is_read():
    line = '{"family": "f", "relation": "r", "confidence": "high", "sources": ["s"]}'
    rows, faults = jsonl_file.parse(Overlap, line, "x")
    assert faults == ()
    assert rows[0].record.sources == ("s",)
