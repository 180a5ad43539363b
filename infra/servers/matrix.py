"""What the tests of a run proved of each server, as a table."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

BEGIN = "<!-- written by make stores: begin -->"
END = "<!-- written by make stores: end -->"


class Outcome(StrEnum):
    """What a test came to."""

    HOLDS = "yes"
    FAILED = "FAILED"
    NOT_ASKED = "–"


@dataclass(frozen=True)
class Proof:
    """One test on one server.

    Attributes:
        server: its name.
        says: the sentence that the test proves.
        outcome: what came of it.
        seconds: what the test itself took.
    """

    server: str
    says: str
    outcome: Outcome
    seconds: float


def proofs(junit_xml: str) -> list[Proof]:
    """Proofs of a run, in its order, from pytest's report; tests that name no server are left out."""
    found = []
    for case in ElementTree.fromstring(junit_xml).iter("testcase"):
        properties = {p.get("name"): p.get("value") or "" for p in case.iter("property")}
        if "server" not in properties or "proves" not in properties:
            continue
        if case.find("failure") is not None or case.find("error") is not None:
            outcome = Outcome.FAILED
        elif case.find("skipped") is not None:
            outcome = Outcome.NOT_ASKED
        else:
            outcome = Outcome.HOLDS
        found.append(Proof(properties["server"], properties["proves"], outcome, float(case.get("time") or 0)))
    return found


def table(found: Sequence[Proof], servers: Sequence[str]) -> list[list[str]]:
    """Rows of cells, the heading first: a sentence a row, a server a column. A sentence not tried on a server is –."""
    outcome: dict[tuple[str, str], Outcome] = {}
    for proof in found:
        # Several tests may bear one sentence: it holds when all of them do.
        before = outcome.get((proof.says, proof.server), proof.outcome)
        outcome[proof.says, proof.server] = (
            Outcome.FAILED if Outcome.FAILED in (before, proof.outcome) else proof.outcome
        )
    sentences = dict.fromkeys(proof.says for proof in found)
    rows = [["", *servers]]
    rows += [[s, *(str(outcome.get((s, server), Outcome.NOT_ASKED)) for server in servers)] for s in sentences]
    return rows


def failed(found: Iterable[Proof]) -> set[str]:
    """Servers of which something does not hold."""
    return {proof.server for proof in found if proof.outcome is Outcome.FAILED}


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    heading, *body = rows
    lines = [heading, ["---"] * len(heading), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n"


def plain(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def inserted(page: str, text: str) -> str:
    """A page with what is between its two markers replaced.

    Raises:
        ValueError: the page has not exactly one of each marker, in their order.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in tail or END in tail:
        raise ValueError(f"expected {BEGIN!r} and then {END!r}, once each")
    return f"{head}{BEGIN}\n{text}{END}{tail}"
