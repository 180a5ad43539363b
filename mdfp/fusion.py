"""How the label space of a corpus came about: what each source draws, where sources differ, and what was decided.

The builder writes it into the plan and the manifest (`transforms.fusion`); a reader takes from it which wider classes
stand as alternatives of narrower ones (`keep`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated


class How(StrEnum):
    """How a source annotates a structure in its labelled cases. A source that never does has no entry."""

    ALWAYS = "always"
    """Looked for in every labelled case: without voxels it is absent."""
    MADE_UP = "made up"
    """Not drawn itself, and always known from the parts that together are all of it: a kidney from left and right."""
    WHERE_PRESENT = "where present"
    """Drawn where it is; where it is not drawn nothing is known."""
    PER_CASE = "per case"
    """In some labelled cases: as the source's table says, where a mask file is there, or in labels of one kind only."""
    IN_PARENT = "in a parent"
    """Only as part of something wider: a left kidney where kidneys are painted."""


class Stand(StrEnum):
    """What a source's mask of a structure says of something narrower, or of something beside it."""

    TOLD = "told apart"
    """Both are drawn: the structure is known with it and without it."""
    INCLUDES = "includes"
    """A fact says that the mask holds it, and it is not told apart."""
    EXCLUDES = "excludes"
    """A fact says that the mask leaves it out, and it is not drawn."""
    UNSTATED = "not stated"
    """The structure is drawn, the other is not, and no fact says what the mask holds."""
    WIDER = "wider only"
    """The wider structure is drawn, and nothing narrower."""
    NARROWER = "narrower only"
    """Something narrower is drawn, and the wider structure is not."""


class Severity(StrEnum):
    """What an open conflict means; the rule is in `transforms.fusion.conflicts`."""

    ERROR = "error"
    """One class would mean different things in different sources, and nothing in the data would show it: no plan is made."""
    WARNING = "warning"
    """Voxels are left to `ignore`, or a class holds what nobody stated: look at the proposal."""
    SETTLED = "settled"
    """The label space, or the recipe's word, leaves nothing open."""


@dataclass(frozen=True)
class Annotation:
    """What one source does with one structure."""

    structure: Annotated[str, "ontology id"]
    source: Annotated[str, "id of the source"]
    how: Annotated[How, "always, made up, where present, per case or in a parent"]
    parent: Annotated[str | None, "for `in a parent`, the structure that is drawn instead"]
    origin: Annotated[str, "who drew it; several are joined by +"]


@dataclass(frozen=True)
class Standing:
    """Where a source stands in a conflict."""

    source: Annotated[str, "id of the source"]
    stand: Annotated[Stand, "what its mask says"]


@dataclass(frozen=True)
class Conflict:
    """Sources that do not mean the same by one structure."""

    id: Annotated[str, "name in `labels: {resolve: ...}`: the structure, with +other where it is about what it holds"]
    kind: Annotated[str, "contents, undivided or part"]
    wider: Annotated[str, "the structure"]
    narrower: Annotated[tuple[str, ...], "what lies in or at it, or is a kind or part of it"]
    standing: Annotated[tuple[Standing, ...], "where each source that draws any of them stands"]
    offers: Annotated[tuple[str, ...], "resolutions that are possible"]
    proposal: Annotated[str, "the one that is proposed"]
    resolution: Annotated[str | None, "the one that the recipe chose"]
    severity: Annotated[Severity, "error, warning or settled"]
    detail: Annotated[str, "what it comes to, for a person"]


@dataclass(frozen=True)
class LeftOut:
    """A structure that sources draw and the space does not have."""

    structure: Annotated[str, "ontology id"]
    into: Annotated[str | None, "the class that its voxels count as; null for none"]
    why: Annotated[str, "for a person"]


@dataclass(frozen=True)
class Alternatives:
    """A wider class whose voxels stay it, though they may be a narrower class that was not told apart."""

    wider: Annotated[str, "ontology id"]
    narrower: Annotated[str, "ontology id"]


@dataclass(frozen=True)
class Fusion:
    """How the label space follows from the sources."""

    policy: Annotated[
        str, "union, intersection, coarse-to-fine, list (the recipe's own) or all (nothing was asked for)"
    ]
    space: Annotated[tuple[str, ...], "structures of the default label space, class 1 first"]
    left_out: Annotated[tuple[LeftOut, ...], "what is drawn and is no class"]
    keep: Annotated[tuple[Alternatives, ...], "wider classes that stand as alternatives"]
    annotations: Annotated[tuple[Annotation, ...], "structure x source; a pair that is not here is never annotated"]
    unlabelled: Annotated[tuple[str, ...], "sources without labels"]
    conflicts: Annotated[tuple[Conflict, ...], "where sources do not mean the same"]

    def how(self, structure: str, source: str) -> How | None:
        """How a source annotates a structure; None: never."""
        return next((a.how for a in self.annotations if (a.structure, a.source) == (structure, source)), None)
