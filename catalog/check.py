"""What must hold of the rows of the catalog: closed vocabularies, links that lead somewhere, doubts that fit the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mdfp.errors import UsageError
from schemas import licenses, ontology
from schemas.dataset import DataSet, Overlap
from schemas.jsonl_file import Row
from schemas.suggest import nearest
from schemas.vocabulary import Vocabularies, unknown

CLOSED = {
    "dimensions": "dimensions",
    "modalities": "modalities",
    "modality_subtypes": "modality_subtypes",
    "aux_objects": "aux_objects",
    "tasks": "tasks",
    "anatomies": "anatomies",
    "label": "labels",
    "access": "access",
    "access_basis": "access_basis",
    "license_status": "license_status",
    "image_formats": "image_formats",
    "source_categories": "sections",
    "family": "families",
}
"""Field of a data set -> vocabulary that its words are from."""

CLOSED_OF_OVERLAPS = {
    "family": "overlap_families",
    "relation": "relations",
    "found_by": "found_by",
    "confidence": "confidence",
}
"""The same for overlaps."""

SAID_WHEN: Mapping[str, tuple[str, Callable[[DataSet], bool]]] = {
    "license_missing": ("there is no license", lambda d: d.license is None),
    "year_missing": ("there is no year", lambda d: d.year is None),
    "anatomy_missing": ("there are no anatomies", lambda d: not d.anatomies),
    "task_missing": ("there are no tasks", lambda d: not d.tasks),
    "modality_missing": ("there are no modalities", lambda d: not d.modalities),
    "url_missing": ("there are no urls", lambda d: not d.urls),
    "count_missing": (
        "there is no n_images, n_volumes or n_videos",
        lambda d: d.n_images is None and d.n_volumes is None and d.n_videos is None,
    ),
    "label_conflict": ("label is mixed", lambda d: d.label == "mixed"),
    "task_reg_ambiguous": ("tasks has registration-or-regression", lambda d: "registration-or-regression" in d.tasks),
}
"""Issue -> when a row must have it, and may not have it otherwise."""


def faults(
    datasets: Sequence[Row[DataSet]], overlaps: Sequence[Row[Overlap]], words: Vocabularies, files: tuple[str, str]
) -> list[str]:
    """A message `file:line: id: field: …` for each fault; empty when all is right.

    Args:
        datasets: the data sets.
        overlaps: what they share.
        words: the vocabularies.
        files: what messages call the files of both.
    """
    result: list[str] = []
    for row in datasets:
        result += [f"{files[0]}:{row.line}: {row.record.id}: {m}" for m in _of_dataset(row.record, words)]
    result += [f"{files[0]}:{line}: {m}" for line, m in _of_order(datasets)]
    by_id = {row.record.id: row.record for row in datasets}
    for row in datasets:
        result += [f"{files[0]}:{row.line}: {row.record.id}: {m}" for m in _of_links(row.record, by_id)]
    for link in overlaps:
        result += [f"{files[1]}:{link.line}: {m}" for m in _of_overlap(link.record, words, by_id)]
    result += [f"{files[1]}:{line}: {m}" for line, m in _twice(overlaps)]
    used = {row.record.family for row in datasets}
    result += [
        f"{files[0]}: no data set is of the family {f!r} of the vocabulary" for f in words.families if f not in used
    ]
    return result


def _of_dataset(d: DataSet, words: Vocabularies) -> Iterator[str]:
    yield from _closed(d, CLOSED, words)
    for field in ("dimensions", "modalities", "tasks", "anatomies", "structures", "issues", "urls", "same_url_ids"):
        values = getattr(d, field)
        yield from (f"{field}: {v!r} is written twice" for v, n in Counter(values).items() if n > 1)
    for section in d.n_raw:
        if section.section not in words.sections:
            yield f"n_raw: {_unknown(section.section, words.sections)}"
    if d.license is not None:
        try:
            licenses.check(d.license)
        except UsageError as error:
            yield f"license: {error}"
    if (d.license is not None) != (d.license_status == "stated"):
        yield f"license_status: expected stated with a license and only then, found {d.license_status!r} with {d.license!r}"
    for structure in d.structures:
        try:
            ontology.load().check(structure, "structures")
        except UsageError as error:
            yield str(error)
    for url in (*d.urls, *((d.paper_url,) if d.paper_url else ())):
        if not url.startswith(("http://", "https://")):
            yield f"urls: expected an address with http:// or https://, found {url!r}"
    yield from _issues(d, words)


def _issues(d: DataSet, words: Vocabularies) -> Iterator[str]:
    codes = [i.partition(":")[0] for i in d.issues]
    yield from (f"issues: {_unknown(code, words.issues)}" for code in codes if code not in words.issues)
    for code, (when, holds) in SAID_WHEN.items():
        if holds(d) != (code in codes):
            found = "without" if holds(d) else "with"
            yield f"issues: expected {code!r} when {when} and only then, found a row {found} it"
    if "supervised_task_but_unlabeled" in codes and (d.label != "unlabeled" or not d.tasks):
        yield f"issues: 'supervised_task_but_unlabeled' is for unlabeled rows with tasks, found {d.label!r}, {list(d.tasks)}"


def _of_order(datasets: Sequence[Row[DataSet]]) -> Iterator[tuple[int, str]]:
    seen: dict[str, int] = {}
    before = ""
    for row in datasets:
        name = row.record.id
        if name in seen:
            yield row.line, f"{name}: expected every id once, found it first in line {seen[name]}"
        elif name < before:
            yield row.line, f"{name}: expected rows in the order of their ids, found it after {before!r}"
        seen.setdefault(name, row.line)
        before = name


def _of_links(d: DataSet, by_id: Mapping[str, DataSet]) -> Iterator[str]:
    for other in d.same_url_ids:
        if other not in by_id:
            yield f"same_url_ids: expected an id of the catalog, found {other!r}{nearest(other, tuple(by_id))}"
        elif other == d.id:
            yield "same_url_ids: names the data set itself"
        elif d.id not in by_id[other].same_url_ids:
            yield f"same_url_ids: expected {other!r} to name {d.id!r} too, it does not"


def _of_overlap(o: Overlap, words: Vocabularies, by_id: Mapping[str, DataSet]) -> Iterator[str]:
    yield from _closed(o, CLOSED_OF_OVERLAPS, words)
    for side in ("container", "part"):
        name = getattr(o, side)
        if name is None and getattr(o, f"{side}_name") is None:
            yield f"{side}: expected an id of the catalog, or {side}_name, found neither"
        elif name is not None and name not in by_id:
            yield f"{side}: expected an id of the catalog, found {name!r}{nearest(name, tuple(by_id))}"


def _twice(overlaps: Sequence[Row[Overlap]]) -> Iterator[tuple[int, str]]:
    seen: dict[Any, int] = {}
    for row in overlaps:
        o = row.record
        key = (o.relation, o.container, o.container_name, o.part, o.part_name)
        if key in seen:
            yield row.line, f"expected every link once, found it first in line {seen[key]}"
        seen.setdefault(key, row.line)


def _closed(record: object, fields: Mapping[str, str], words: Vocabularies) -> Iterator[str]:
    for field, vocabulary in fields.items():
        value = getattr(record, field)
        known = words.words(vocabulary)
        for word in (value,) if isinstance(value, str) else value or ():
            if word not in known:
                yield f"{field}: {_unknown(word, known)}"


def _unknown(word: str, known: Sequence[str] | Mapping[str, str]) -> str:
    return unknown(word, {k.lower(): k for k in known})
