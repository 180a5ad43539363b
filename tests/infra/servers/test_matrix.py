from __future__ import annotations

import pytest

from infra.servers import matrix
from infra.servers.matrix import BEGIN, END, Outcome, Proof

JUNIT = """<testsuites><testsuite>
<testcase name="a" time="0.5"><properties><property name="server" value="one"/><property name="proves" value="x"/></properties>
</testcase>
<testcase name="b" time="1.5"><properties><property name="server" value="one"/><property name="proves" value="y"/></properties>
<failure message="no"/></testcase>
<testcase name="c" time="0"><properties><property name="server" value="two"/><property name="proves" value="x"/></properties>
<skipped message="read-only"/></testcase>
<testcase name="d" time="0"><properties><property name="server" value="two"/><property name="proves" value="y"/></properties>
<error message="broken"/></testcase>
<testcase name="e" time="9"/>
</testsuite></testsuites>"""


def test_proofs_are_read_with_what_came_of_them():
    assert matrix.proofs(JUNIT) == [
        Proof("one", "x", Outcome.HOLDS, 0.5),
        Proof("one", "y", Outcome.FAILED, 1.5),
        Proof("two", "x", Outcome.NOT_ASKED, 0.0),
        Proof("two", "y", Outcome.FAILED, 0.0),
    ]


def test_a_row_is_a_sentence_and_a_column_a_server():
    rows = matrix.table(matrix.proofs(JUNIT), ["two", "one", "three"])
    assert rows == [["", "two", "one", "three"], ["x", "–", "yes", "–"], ["y", "FAILED", "FAILED", "–"]]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_sentence_of_two_tests_holds_only_when_both_do(order):
    two = [Proof("one", "x", Outcome.HOLDS, 0), Proof("one", "x", Outcome.FAILED, 0)]
    assert matrix.table([two[i] for i in order], ["one"])[1] == ["x", "FAILED"]


def test_servers_with_a_failure_are_named():
    assert matrix.failed(matrix.proofs(JUNIT)) == {"one", "two"}
    assert matrix.failed([Proof("one", "x", Outcome.NOT_ASKED, 0)]) == set()


def test_a_page_keeps_what_is_outside_of_its_markers():
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert matrix.inserted(page, "new\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert matrix.inserted(matrix.inserted(page, "new\n"), "new\n") == matrix.inserted(page, "new\n")


@pytest.mark.parametrize("page", ["nothing", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_page_without_its_two_markers_is_refused(page):
    with pytest.raises(ValueError, match="once each"):
        matrix.inserted(page, "new")


def test_a_table_is_markdown_and_plain_text():
    rows = [["", "one"], ["a sentence", "yes"]]
    assert matrix.markdown(rows) == "|  | one |\n| --- | --- |\n| a sentence | yes |\n"
    assert matrix.plain(rows) == "            one\na sentence  yes"
