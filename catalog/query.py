"""Searching the catalog with DuckDB: filters in words, counts that count a data set once, and SQL.

A query's values of one kind are alternatives, its kinds all hold: CT or MR, and brain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from catalog.datasets import Catalog
from mdfp import arrow
from mdfp.errors import UsageError
from schemas import ontology
from schemas.dataset import DataSet
from schemas.suggest import nearest
from schemas.vocabulary import check

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

NONE = "none"
"""What asks for rows that state no value: `licenses=("none",)`."""

FACETS: Mapping[str, str] = {
    "modality": "modalities",
    "dimension": "dimensions",
    "task": "tasks",
    "anatomy": "anatomies",
    "label": "label",
    "access": "access",
    "license": "license",
    "license_status": "license_status",
    "family": "family",
    "year": "year",
    "organization": "organizations",
    "format": "image_formats",
    "issue": "issues",
}
"""Name of a facet -> the column whose values it counts."""

COUNTS = ("n_images", "n_volumes", "n_videos")

_TEXT = (
    "id", "name", "aliases", "family", "diseases", "structure_raw", "anatomies", "structures", "modalities", "modality_raw",
    "modality_subtypes", "tasks", "organizations", "challenge_series",
)  # fmt: skip
"""Columns in which words of a query are looked for."""


@dataclass(frozen=True)
class Query:
    """What is looked for. Empty: everything.

    Attributes:
        words: each must be part of some text of the row: name, disease, anatomy, organisation, …
        modalities: codes, for example CT.
        dimensions: 2d, 3d, …
        tasks: for example segmentation.
        anatomies: for example liver.
        structures: structures of the ontology known to be annotated; a narrower one counts: kidney finds kidney_left.
        licenses: SPDX ids, or `none` where no id could be read.
        access: open, registration, agreement or unknown.
        labels: labeled, unlabeled or mixed.
        families: series of releases.
        years: first and last year; None: open.
        readable: whether a source manifest reads it; None: either.
    """

    words: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    anatomies: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    access: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    years: tuple[int | None, int | None] = (None, None)
    readable: bool | None = None


@dataclass(frozen=True)
class Totals:
    """What data sets add up to, each counted once however many modalities it has.

    Items that several data sets share are counted in each: `overlaps` says how many known links there are among them.
    """

    datasets: int
    images: int
    volumes: int
    videos: int
    without_count: int
    approximate: int
    overlaps: int


@dataclass(frozen=True)
class FacetValue:
    """One value of a facet; a data set with several values is counted under each."""

    value: str | None
    datasets: int
    images: int
    volumes: int
    videos: int


def years(text: str) -> tuple[int | None, int | None]:
    """`2019`, `2019-`, `-2021` or `2019-2021` as first and last year.

    Raises:
        UsageError: it is none of these.
    """
    found = re.fullmatch(r"(\d{4})?(-?)(\d{4})?", text.strip())
    if not found or not (found[1] or found[3]) or (found[1] and found[3] and not found[2]):
        raise UsageError(f"years: expected 2019, 2019-, -2021 or 2019-2021, found {text!r}")
    first = int(found[1]) if found[1] else None
    last = int(found[3]) if found[3] else (first if not found[2] else None)
    if first is not None and last is not None and last < first:
        raise UsageError(f"years: expected the earlier year first, found {text!r}")
    return first, last


def checked(query: Query, catalog: Catalog) -> Query:
    """The query with its words as the vocabularies write them.

    Raises:
        UsageError: a word that the catalog does not have; the message names the nearest.
    """
    words = catalog.vocabularies
    spdx = sorted({d.license for d in catalog.datasets if d.license})
    known: dict[str, Iterable[str]] = {
        "modalities": words.words("modalities"),
        "dimensions": words.words("dimensions"),
        "tasks": words.words("tasks"),
        "anatomies": words.words("anatomies"),
        "licenses": (*spdx, NONE),
        "access": words.words("access"),
        "labels": words.words("labels"),
        "families": words.words("families"),
    }
    values: dict[str, Any] = {f.name: getattr(query, f.name) for f in fields(query)}
    for kind, valid in known.items():
        values[kind] = tuple(check(valid, word, kind) for word in values[kind])
    for structure in query.structures:
        ontology.load().check(structure, "structures")
    if query.words:
        texts = [_text(d) for d in catalog.datasets]
        for word in query.words:
            if not any(word.lower() in text for text in texts):
                tokens = {t for text in texts for t in re.split(r"[^\w-]+", text) if t}
                raise UsageError(f"no data set has the word {word!r}{nearest(word, tokens)}")
    return Query(**values)


def connect(catalog: Catalog) -> DuckDBPyConnection:
    """A database in memory with the tables of the catalog; it can read nothing else.

    Tables: `datasets` (`DataSet`, with `sources` and `search_text`), `links` (`Overlap`, whose name is a word of SQL),
    `modalities`, `anatomies`, `issues`, `families`.
    """
    import duckdb

    database = duckdb.connect(":memory:")
    text = pa.array([_text(d) for d in catalog.datasets], pa.string())
    words = catalog.vocabularies
    tables = {
        "datasets": catalog.table().append_column("search_text", text),
        "links": catalog.overlaps_table(),
        "modalities": pa.Table.from_pylist([m.model_dump() for m in words.modalities]),
        "anatomies": pa.Table.from_pylist(
            [a.model_dump() | {"structures": list(a.structures)} for a in words.anatomies]
        ),
        "issues": pa.Table.from_pylist([{"code": k, "meaning": v} for k, v in words.issues.items()]),
        "families": pa.Table.from_pylist([{"family": f} for f in words.families]),
    }
    for name, table in tables.items():
        database.register("incoming", table)
        database.execute(f"create table {name} as select * from incoming")
        database.unregister("incoming")
    database.execute("set enable_external_access = false")
    database.execute("set lock_configuration = true")
    return database


def where(query: Query) -> tuple[str, list[Any]]:
    """The condition of a (checked) query over the table `datasets`, and its parameters."""
    parts: list[str] = []
    values: list[Any] = []

    def add(condition: str, *given: Any) -> None:
        parts.append(condition)
        values.extend(given)

    for word in query.words:
        add("contains(search_text, ?)", word.lower())
    for column in ("modalities", "dimensions", "tasks", "anatomies"):
        if wanted := getattr(query, column):
            add(f"list_has_any({column}, ?::varchar[])", list(wanted))
    if query.structures:
        known = ontology.load()
        add(
            "list_has_any(structures, ?::varchar[])",
            sorted({s for wanted in query.structures for s in (wanted, *known.descendants(wanted))}),
        )
    for column, wanted in (("access", query.access), ("label", query.labels), ("family", query.families)):
        if wanted:
            add(f"list_contains(?::varchar[], {column})", list(wanted))
    if query.licenses:
        stated = [v for v in query.licenses if v != NONE]
        add(f"(list_contains(?::varchar[], license){' or license is null' if NONE in query.licenses else ''})", stated)
    first, last = query.years
    if first is not None:
        add("year >= ?", first)
    if last is not None:
        add("year <= ?", last)
    if query.readable is not None:
        add(f"len(sources) {'>' if query.readable else '='} 0")
    return " and ".join(f"({p})" for p in parts) or "true", values


class Search:
    """The data sets that a query finds, and what they add up to.

    Args:
        catalog: where to look.
        query: for what.

    Raises:
        UsageError: see `checked`.
    """

    def __init__(self, catalog: Catalog, query: Query):
        self.query = checked(query, catalog)
        self._catalog = catalog
        self._database = connect(catalog)
        condition, values = where(self.query)
        # Prepared statements cannot make views.
        self._database.execute(f"create table found as select * from datasets where {condition}", values)

    def table(self) -> pa.Table:
        """The rows found, those whose name has most of the words first, then by id."""
        words = [w.lower() for w in self.query.words]
        order = "len(list_filter(?::varchar[], lambda w: contains(lower(name), w)))"
        rows = f"select * exclude search_text from found order by {order} desc, id"
        return self._database.sql(rows, params=[words]).to_arrow_table()

    def ids(self) -> tuple[str, ...]:
        """Ids of the data sets found, in the order of `table`."""
        return tuple(self.table()["id"].to_pylist())

    def datasets(self) -> tuple[DataSet, ...]:
        """The data sets found, in the order of `table`."""
        return tuple(self._catalog[i] for i in self.ids())

    def totals(self) -> Totals:
        """What they add up to."""
        links = (
            "select count(*) from links where container in (select id from found) and part in (select id from found) "
            "and container <> part and relation not in ('none-known', 'statistic')"
        )
        row = self._database.execute(
            "select count(*), coalesce(sum(n_images), 0)::bigint, coalesce(sum(n_volumes), 0)::bigint, "
            "coalesce(sum(n_videos), 0)::bigint, coalesce(count_if(coalesce(n_images, n_volumes, n_videos) is null), 0), "
            f"coalesce(count_if(n_approx), 0), ({links}) from found"
        ).fetchall()[0]
        return Totals(*row)

    def facet(self, name: str) -> tuple[FacetValue, ...]:
        """How many data sets have each value of a facet: most first; None where a row has no value.

        Raises:
            UsageError: there is no such facet.
        """
        column = FACETS[check(FACETS, name, "facet")]
        value = column
        if column in _LISTS:
            # What follows the colon of an issue is a detail; no other list has colons.
            codes = f"list_transform({column}, lambda i: split_part(i, ':', 1))" if column == "issues" else column
            value = f"unnest(case when len({column}) = 0 then [null] else list_distinct({codes}) end)"
        rows = self._database.execute(
            "select v::varchar, count(*), coalesce(sum(n_images), 0)::bigint, coalesce(sum(n_volumes), 0)::bigint, "
            f"coalesce(sum(n_videos), 0)::bigint from (select {value} as v, n_images, n_volumes, n_videos from found) "
            "group by v order by 2 desc, 1 nulls last"
        ).fetchall()
        return tuple(FacetValue(*row) for row in rows)


def sql(catalog: Catalog, statement: str) -> pa.Table:
    """The result of a statement over the tables of `connect`.

    Raises:
        UsageError: DuckDB refuses it; its message says why.
    """
    import duckdb

    try:
        found = connect(catalog).sql(statement)
        if found is None:
            raise UsageError("sql: expected a query, found none")
        return found.to_arrow_table()
    except duckdb.Error as error:
        raise UsageError(f"sql: {error}") from error


def _text(d: DataSet) -> str:
    parts: list[str] = []
    for column in _TEXT:
        value = getattr(d, column)
        parts += [value] if isinstance(value, str) else value or ()
    return "\n".join(parts).lower()


_LISTS = frozenset(f.name for f in arrow.arrow_schema(DataSet) if pa.types.is_list(f.type))
