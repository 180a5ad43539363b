"""What the generator knows of its world, so that what comes out of a run can be compared with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from examples.phantom.anatomy import Person
from examples.phantom.truth import structures_of
from examples.world.scans import Scan
from examples.world.sources import EVERY_STRUCTURE
from mdfp.labels import State


@dataclass(frozen=True)
class WorldCase:
    """A case of a data set.

    Attributes:
        source: id of the data set.
        name: its name there.
        person: who it is.
        scan: which examination, by whom and when; equal for all copies.
        copy: whether the picture was rewritten: it is not as first published.
        image_paths: objects of its images below the source's root; those of an archive as `part.zip/member`.
        states: what its labels say of each structure of `EVERY_STRUCTURE`.
        findings: what its row says.
        tests: whether its source gives it to test.
    """

    source: str
    name: str
    person: str
    scan: str
    copy: bool
    image_paths: tuple[str, ...]
    states: Mapping[str, State]
    findings: Mapping[str, str]
    tests: bool = False


@dataclass(frozen=True)
class WorldTruth:
    """Every case of the world."""

    cases: tuple[WorldCase, ...]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def case_of(
    source: str, name: str, scan: Scan, copy: bool, paths: Collection[str], states: Mapping[str, State]
) -> WorldCase:
    """A case without findings."""
    return WorldCase(source, name, scan.person, scan.name, copy, tuple(paths), states, {})


def states_of(body: Person, drawn: Collection[str], *, absent_is_said: bool = True) -> dict[str, State]:
    """State of each structure.

    Args:
        body: what of the person is in the picture.
        drawn: structures that the labels speak of.
        absent_is_said: whether labels say of a structure that it is not there; else nobody knows. Without it `drawn`
            holds no `kidney` and no `lung`.
    """
    told = [s for s in drawn if absent_is_said or s in body.organs]
    return {s.structure: s.state for s in structures_of(body, told, EVERY_STRUCTURE)}
