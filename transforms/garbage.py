"""What of a corpus nobody needs: decided from one listing, what manifests and markers name, and age.

Only folders that the builder writes are looked at; whatever else lies there is somebody else's and is never named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transforms.commit import PART_PREFIX
from transforms.telemetry import marker_of


@dataclass(frozen=True)
class Stored:
    """An object of the corpus.

    Attributes:
        path: below the corpus.
        bytes: size.
        modified: Unix time of its creation, by the store's clock.
    """

    path: str
    bytes: int
    modified: float


@dataclass(frozen=True)
class Needed:
    """What must stay.

    Attributes:
        objects: named by a manifest, or by a marker that stays: shards, sidecars, index rows, index files.
        markers: of the newest plan and of every published one.
        plans: folders of these plans.
        inventories: folders of inventories that stay.
    """

    objects: frozenset[str]
    markers: frozenset[str]
    plans: frozenset[str]
    inventories: frozenset[str]


@dataclass(frozen=True)
class Garbage:
    """An object that nobody needs.

    Attributes:
        object: which.
        kind: shards, sidecars, labels (additions that were given up), rows, index, markers, plans, inventories, telemetry or
            parts.
    """

    object: Stored
    kind: str


KINDS = ("markers", "labels", "shards", "sidecars", "rows", "index", "plans", "inventories", "telemetry", "parts")
"""In the order in which they are deleted: a marker goes before what it names, so that no marker ever names nothing."""

_CONTENT = {"shards": "shards", "sidecars": "sidecars", "rows": "rows", "index": "index"}
_FOLDERS = {"plans": "plans", "inventory": "inventories", "labels": "labels"}


def garbage(stored: Sequence[Stored], needed: Needed, *, older_than_s: float, now: float) -> list[Garbage]:
    """Objects that may be deleted, markers first.

    An object that is not named by anything may be one that a running build is about to name, so it must be old as well.
    A plan, an inventory or an addition of labels is as old as its youngest file.

    Args:
        stored: everything below the corpus.
        needed: what must stay.
        older_than_s: age from which something counts as left behind.
        now: Unix time.
    """
    before = now - older_than_s
    youngest: dict[str, float] = {}
    for o in stored:
        if folder := _folder(o.path):
            youngest[folder] = max(youngest.get(folder, o.modified), o.modified)
    found = [Garbage(o, kind) for o in stored if (kind := _kind(o, needed, youngest, before)) is not None]
    return sorted(found, key=lambda g: (KINDS.index(g.kind), g.object.path))


def _kind(o: Stored, needed: Needed, youngest: dict[str, float], before: float) -> str | None:
    top, _, rest = o.path.partition("/")
    if o.path.rsplit("/", 1)[-1].startswith(PART_PREFIX):
        return "parts" if o.modified < before else None
    if o.modified >= before or not rest:
        return None
    if top in _CONTENT:
        return None if o.path in needed.objects else _CONTENT[top]
    if top == "commits":
        return None if o.path in needed.markers else "markers"
    if top in _FOLDERS:
        folder = _folder(o.path)
        if folder is None or folder in needed.plans | needed.inventories or youngest[folder] >= before:
            return None
        return _FOLDERS[top]
    if top == "telemetry":
        return None if _about(rest, needed) else "telemetry"
    return None


def _folder(path: str) -> str | None:
    """The plan, inventory or addition of labels that a file belongs to, or None."""
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] in _FOLDERS and len(parts) > 2 else None


def _about(rest: str, needed: Needed) -> bool:
    """Whether a telemetry file is about a plan that stays."""
    kind, _, name = rest.partition("/")
    if kind == "shards":
        return marker_of(f"telemetry/{rest}") in needed.markers
    if kind == "cancel":  # <plan>-<number>.json
        return f"plans/{name.rsplit('-', 1)[0]}" in needed.plans
    return True


def total(found: Iterable[Garbage]) -> dict[str, tuple[int, int]]:
    """(objects, bytes) by kind, in the order of `KINDS`."""
    sums: dict[str, tuple[int, int]] = {}
    for g in found:
        count, size = sums.get(g.kind, (0, 0))
        sums[g.kind] = (count + 1, size + g.object.bytes)
    return {kind: sums[kind] for kind in KINDS if kind in sums}
