"""The rules that a data set must pass by itself. What a row does not state, it does not pass: rules fail closed.

A rule that the query leaves out is not in force, and then nothing need be stated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.blueprint import count
from catalog.blueprint.query import BlueprintQuery
from catalog.blueprint.terms import Terms
from catalog.query import NONE
from schemas.dataset import DataSet


@dataclass(frozen=True)
class Failure:
    """Why a rule leaves a data set out.

    Attributes:
        rule: its name.
        reason: what was expected and what was found.
        unknown: whether the fact is missing, so that the data set might fit.
    """

    rule: str
    reason: str
    unknown: bool = False


FEW = 5
"""Licences of a query that a reason lists; of more it gives the number."""

Rule = Callable[[DataSet, Terms, BlueprintQuery], Failure | None]


def dimension(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """The data set has the dimension; with volumes_as_2d volumes will do for pictures."""
    if query.dimension is None:
        return None
    fits = {"2d", "3d"} if query.volumes_as_2d else {query.dimension}
    if not row.dimensions:
        return Failure("dimension", "no dimension is stated", unknown=True)
    if not fits & set(row.dimensions):
        return Failure("dimension", f"expected {query.dimension}, found {', '.join(row.dimensions)}")
    return None


def mixed_dimensions(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """With `exclude`, the data set has no dimension but the one asked for."""
    if query.mixed_dimensions == "include" or not row.dimensions:
        return None
    fits = {"2d", "3d"} if query.volumes_as_2d else {query.dimension}
    if other := [d for d in row.dimensions if d not in fits]:
        return Failure("mixed_dimensions", f"also has {', '.join(other)}")
    return None


def modalities(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """The data set has one of the modalities."""
    return _any("modalities", row.modalities, query.modalities)


def mixed_modalities(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """With `asked`, all modalities of the data set are asked for; with `exclude`, it has one."""
    if query.mixed_modalities == "asked" and (other := [m for m in row.modalities if m not in query.modalities]):
        return Failure("mixed_modalities", f"also has {', '.join(other)}")
    if query.mixed_modalities == "exclude" and len(row.modalities) > 1:
        return Failure("mixed_modalities", f"has {', '.join(row.modalities)}")
    return None


def tasks(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """The data set is meant for one of the tasks."""
    return _any("tasks", row.tasks, query.tasks)


def anatomies(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """The data set shows one of the anatomies."""
    return _any("anatomies", row.anatomies, query.anatomies)


def licenses(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """Every licence that the row, its manifests or their origins state is on the list; none passes only by the word `none`."""
    if query.licenses is None or terms.allowed(query.licenses):
        return None
    if not terms.known and NONE not in query.licenses:
        return Failure("licenses", f"no licence is known ({row.license_status})", unknown=True)
    accepted = [i for i in query.licenses if i != NONE]
    found = ", ".join(terms.known or (NONE,))
    if set(terms.known) <= set(accepted) and (strange := set(terms.inherited) - set(query.licenses)):
        found += f", and {', '.join(sorted(strange))} of data sets that its cases come from"
    wanted = " or ".join(accepted) if len(accepted) <= FEW else f"one of the {len(accepted)} licences of the query"
    return Failure("licenses", f"expected {wanted or 'no licence'}, found {found}")


def include_unlabeled(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """With `false`, the data set has labels; partly labelled ones have."""
    if query.include_unlabeled or row.label != "unlabeled":
        return None
    doubt = "supervised_task_but_unlabeled" in row.issues
    why = "marked unlabeled, for a task that needs labels" if doubt else "has no labels"
    return Failure("include_unlabeled", why, unknown=doubt)


def minimum_images(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """The data set has so many items of the kind asked for; a volume or film is one."""
    if query.minimum_images is None:
        return None
    stated = count.of(row, query)
    if stated.items is None:
        return Failure("minimum_images", "no count is stated", unknown=True)
    if stated.items < query.minimum_images:
        more = " and a kind without a count" if stated.partial else ""
        reason = f"expected {query.minimum_images:,} or more, found {stated.items:,}{more}"
        return Failure("minimum_images", reason, unknown=stated.partial)
    return None


def released_since(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """Released in that year or later."""
    if query.released_since is None:
        return None
    if row.year is None:
        return Failure("released_since", "no year is stated", unknown=True)
    if row.year < query.released_since:
        return Failure("released_since", f"expected {query.released_since} or later, found {row.year}")
    return None


def released_until(row: DataSet, terms: Terms, query: BlueprintQuery) -> Failure | None:
    """Released in that year or earlier."""
    if query.released_until is None:
        return None
    if row.year is None:
        return Failure("released_until", "no year is stated", unknown=True)
    if row.year > query.released_until:
        return Failure("released_until", f"expected {query.released_until} or earlier, found {row.year}")
    return None


def _any(rule: str, stated: Sequence[str], wanted: Sequence[str]) -> Failure | None:
    if not wanted or set(stated) & set(wanted):
        return None
    if not stated:
        return Failure(rule, "nothing is stated", unknown=True)
    return Failure(rule, f"expected {' or '.join(wanted)}, found {', '.join(stated)}")


RULES: dict[str, Rule] = {
    r.__name__: r
    for r in (
        dimension, mixed_dimensions, modalities, mixed_modalities, tasks, anatomies, licenses, include_unlabeled,
        minimum_images, released_since, released_until,
    )
}  # fmt: skip
"""In the order in which they are told."""
