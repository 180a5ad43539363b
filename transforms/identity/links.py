r"""What somebody knows of cases of two sources: a table, or a rule that joins the names of one with those of the other.

A rule is two patterns. Cases whose named groups are equal are one:

    Rule("brats-2021", r"BraTS2021_(?P<n>\d+)", "upenn-gbm", r"UPENN-GBM-(?P<n>\d+)_11", "derived", "doi:…")
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mdfp.errors import UsageError
from schemas.identity import IdentityEdge, IdentityLink, Kind
from transforms.pseudonym import PatientKeys, case_id


@dataclass(frozen=True)
class Rule:
    """How the names of two sources' cases go together.

    Attributes:
        source_a: id of a source.
        pattern_a: regular expression with named groups that matches a whole name of a case.
        source_b: id of the other.
        pattern_b: the same for its names; its groups have the same names.
        kind: what is known: derived, same_patient, …
        evidence: who says so.

    Raises:
        UsageError: a pattern is none, names no group, or the two name different ones.
    """

    source_a: str
    pattern_a: str
    source_b: str
    pattern_b: str
    kind: str
    evidence: str

    def __post_init__(self) -> None:
        groups = []
        for pattern in (self.pattern_a, self.pattern_b):
            try:
                groups.append(sorted(re.compile(pattern).groupindex))
            except re.error as error:
                raise UsageError(
                    f"link {self.source_a} - {self.source_b}: {pattern!r} is no pattern: {error}"
                ) from error
        if not groups[0] or groups[0] != groups[1]:
            raise UsageError(
                f"link {self.source_a} - {self.source_b}: expected the same named groups in both patterns, found "
                f"{groups[0]} and {groups[1]}"
            )

    def links(self, names_a: Iterable[str], names_b: Iterable[str]) -> list[IdentityLink]:
        """A link for each two names whose groups are equal; names that do not match are passed over."""
        theirs: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name in sorted(set(names_b)):
            if found := re.fullmatch(self.pattern_b, name):
                theirs[_fields(found)].append(name)
        result = []
        for name in sorted(set(names_a)):
            if found := re.fullmatch(self.pattern_a, name):
                result += [
                    IdentityLink(self.source_a, name, self.source_b, other, self.kind, self.evidence)
                    for other in theirs.get(_fields(found), ())
                ]
        return result


def _fields(found: re.Match[str]) -> tuple[str, ...]:
    return tuple(value or "" for _, value in sorted(found.groupdict().items()))


@dataclass(frozen=True)
class Resolved:
    """Links as edges between case ids, and those whose cases are not there."""

    edges: tuple[IdentityEdge, ...]
    unresolved: tuple[IdentityLink, ...]


def resolve(links: Sequence[IdentityLink], case_ids: Iterable[str], keys: PatientKeys | None) -> Resolved:
    """Find the cases that links name: by id, or by their name in the source, which a pseudonym may stand for.

    Args:
        links: rows of a table.
        case_ids: the cases that there are.
        keys: make pseudonyms; None: names are looked for as they are.
    """
    known = frozenset(case_ids)

    def find(source: str, name: str) -> str | None:
        spellings = [name, f"{source}-{name}"]
        if keys is not None:
            spellings += [case_id(source, name, keys, public=public) for public in (True, False)]
        return next((s for s in spellings if s in known), None)

    edges, unresolved = [], []
    for link in links:
        a, b = find(link.source_a, link.case_a), find(link.source_b, link.case_b)
        if a is None or b is None:
            unresolved.append(link)
        else:
            low, high = sorted((a, b))
            edges.append(IdentityEdge(low, high, Kind.LINK, None, f"{link.kind}: {link.evidence}"))
    return Resolved(tuple(edges), tuple(unresolved))
