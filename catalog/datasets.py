"""The catalog of public data sets: 972 rows of facts, what they share, and the words they are described with.

    from catalog import datasets
    catalog = datasets.load()
    catalog["kits23"].modalities          # ('CT',)
    catalog.table()                       # arrow, one row a data set; see catalog.query for SQL
    catalog.overlaps_of("kits23")         # links to data sets that share cases

The data is `datasets.jsonl`, `overlaps.jsonl` and `vocabularies.yaml` beside this module; docs/datasets.md says how to
add a row or correct one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pyarrow as pa

from catalog import check, sources
from mdfp import arrow
from mdfp.errors import UsageError
from schemas import jsonl_file, yaml_file
from schemas.dataset import DataSet, Overlap
from schemas.suggest import nearest
from schemas.vocabulary import Vocabularies

FOLDER = Path(__file__).parent
DATASETS, OVERLAPS, VOCABULARIES = "datasets.jsonl", "overlaps.jsonl", "vocabularies.yaml"

SHOWN = 20
"""Faults that a message lists; the rest are counted."""


@dataclass(frozen=True, eq=False)
class Catalog(Mapping[str, DataSet]):
    """Data sets by id, in the order of their ids.

    Attributes:
        datasets: the data sets.
        overlaps: which of them share cases.
        vocabularies: the words they are described with.
    """

    datasets: tuple[DataSet, ...]
    overlaps: tuple[Overlap, ...]
    vocabularies: Vocabularies

    @cached_property
    def _by_id(self) -> dict[str, DataSet]:
        return {d.id: d for d in self.datasets}

    def __getitem__(self, dataset: str) -> DataSet:
        return self._by_id[dataset]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def __len__(self) -> int:
        return len(self.datasets)

    def find(self, dataset: str) -> DataSet:
        """A data set by its id, in letters of either case; its name and aliases will do where they are one row's alone.

        Raises:
            UsageError: there is none, or several; the message names the nearest.
        """
        wanted = dataset.strip().lower()
        if wanted in self._by_id:
            return self._by_id[wanted]
        named = [d for d in self.datasets if wanted in {n.lower() for n in (d.name, *d.aliases)}]
        if len(named) == 1:
            return named[0]
        if named:
            raise UsageError(f"{dataset!r} is the name of {', '.join(d.id for d in named)}; expected the id of one")
        names = {n.lower(): d.id for d in self.datasets for n in (d.name, *d.aliases)} | {i: i for i in self._by_id}
        raise UsageError(f"no data set {dataset!r} in the catalog{nearest(dataset, names)}")

    def overlaps_of(self, dataset: str) -> tuple[Overlap, ...]:
        """Links that name a data set on either side."""
        return tuple(o for o in self.overlaps if dataset in (o.container, o.part))

    def table(self) -> pa.Table:
        """One row a data set, with the columns of `DataSet` and `sources`: ids of the manifests that read it."""
        return self._table

    @cached_property
    def _table(self) -> pa.Table:
        rows = arrow.to_table(DataSet, self.datasets)
        linked = [list(manifests().get(d.id, ())) for d in self.datasets]
        return rows.append_column("sources", pa.array(linked, pa.list_(pa.string())))

    def overlaps_table(self) -> pa.Table:
        """One row an overlap, with the columns of `Overlap`."""
        return arrow.to_table(Overlap, self.overlaps)


@cache
def load() -> Catalog:
    """The catalog in the tree, checked; later calls give the same object.

    Raises:
        UsageError: see `load_from`.
    """
    return load_from(FOLDER)


def load_from(folder: str | Path) -> Catalog:
    """A catalog from a folder with the three files.

    Raises:
        UsageError: a file is missing or something does not hold; a line for each fault, with file, line and remedy.
    """
    folder = Path(folder)
    words = yaml_file.load(Vocabularies, folder / VOCABULARIES)
    rows, wrong = jsonl_file.read(DataSet, folder / DATASETS)
    links, wrong_links = jsonl_file.read(Overlap, folder / OVERLAPS)
    # What is missing because its line is wrong would be reported again by every link to it.
    faults = [*wrong, *wrong_links]
    faults = faults or check.faults(rows, links, words, (str(folder / DATASETS), str(folder / OVERLAPS)))
    if faults:
        more = f"\n… and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UsageError("\n".join(faults[:SHOWN]) + more)
    return Catalog(tuple(r.record for r in rows), tuple(r.record for r in links), words)


@cache
def manifests() -> dict[str, tuple[str, ...]]:
    """Id of a data set -> ids of the sources in the tree that read it."""
    result: dict[str, tuple[str, ...]] = {}
    for source_id in sources.ids():
        dataset = sources.load(source_id).catalog
        if dataset is not None:
            result[dataset] = (*result.get(dataset, ()), source_id)
    return result
