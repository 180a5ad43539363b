"""A corpus, opened by URL: manifest, index, palette, and the way to samples and loaders."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mdfp import index as index_file
from mdfp.errors import CorpusError, NoCorpusError, UsageError
from mdfp.hierarchy import Hierarchy
from mdfp.index import Samples
from mdfp.label_space import LabelSpace, Unknown
from mdfp.manifest import Manifest, PaletteEntry, SplitTotal, manifest_path, parse
from mdfp.opened import OpenSample, Space
from mdfp.sites import members as site_members
from mdfp.store import CorpusStore

if TYPE_CHECKING:
    from mdfp.crops import Crops
    from mdfp.frames import Frames
    from mdfp.loader import Loader

LATEST = "LATEST"
"""A hint: the number of a recent manifest. Readers look further from there."""


def open(url: str, number: int | None = None, *, site: str | None = None, **options: Any) -> Corpus:
    """Open a corpus: the newest manifest, or a given one.

    Only what a manifest names is ever read; shards are not listed.

    Args:
        url: its folder, or any fsspec URL of it.
        number: number of a manifest, to read the corpus as it was then.
        site: one of its sites (`mdfp info` lists them): only that site's samples are there. No patient is in two sites.
        options: for the file system.

    Raises:
        NoCorpusError: there is no corpus, or no such manifest.
        CorpusError: it cannot be read.
        UsageError: no file system answers to the URL, or there is no such site.
    """
    store = CorpusStore(url, **options)
    found = newest(store) if number is None else number
    if found is None:
        raise NoCorpusError(
            f"{store.where()}: expected a corpus (a folder with manifests/000001.json), found none; "
            "give the folder that the recipe names as `out`, after its first publish"
        )
    path = manifest_path(found)
    try:
        data = store.read(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        last = newest(store)
        state = f"its newest manifest is {last}" if last else "it has no manifest: is this the folder of a corpus?"
        raise NoCorpusError(f"{store.where()}: expected manifest {found}; {state}") from error
    manifest = parse(data, store.where(path))
    if number is not None:
        _refuse_taken_back(store, manifest)
    if manifest.number != found:
        raise CorpusError(
            f"{store.where(path)}: expected manifest {found}, found one that says it is {manifest.number}"
        )
    return Corpus(store, manifest, site)


def _refuse_taken_back(store: CorpusStore, manifest: Manifest) -> None:
    """Raise when an earlier manifest names shards that were taken back and deleted since.

    Raises:
        CorpusError: it does.
    """
    last = newest(store)
    if last is None or last == manifest.number:
        return
    path = manifest_path(last)
    kept = {s.path for s in parse(store.read(path), store.where(path)).tars}
    gone = [s.path for s in manifest.tars if s.path not in kept and not store.exists(s.path)]
    if gone:
        raise CorpusError(
            f"{store.where()}: {len(gone)} of the {len(manifest.tars)} shards of manifest {manifest.number} hold samples that "
            f"were taken back since; open manifest {last}, the newest"
        )


def newest(store: CorpusStore) -> int | None:
    """Number of the newest manifest, None when there is none.

    The hint saves a listing; it may be missing, wrong or behind (its write is not part of publishing), so that later
    numbers are looked for one by one from there.
    """
    number = _hint(store)
    if number is None or not store.exists(manifest_path(number)):
        found = [int(m[1]) for n in store.names("manifests") if (m := re.fullmatch(r"(\d{6,})\.json", n))]
        number = max(found, default=0)
    while store.exists(manifest_path(number + 1)):
        number += 1
    return number or None


def _hint(store: CorpusStore) -> int | None:
    try:
        text = store.read(LATEST).decode("ascii", "replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return int(text) if re.fullmatch(r"[1-9]\d{0,8}", text) else None


def _check_site(store: CorpusStore, manifest: Manifest, site: str) -> None:
    where = f"{store.where()}, manifest {manifest.number}"
    if manifest.sites is None:
        raise UsageError(
            f"{where}: has no sites; say sites: {{by: source}} or {{by: site}} in the recipe, and run it again"
        )
    names = [s.site for s in manifest.sites.sites]
    if site not in names:
        near = difflib.get_close_matches(site, names, 1)
        raise UsageError(
            f"{where}: no site {site!r}" + (f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(names)}")
        )


class Corpus:
    """What one manifest names.

    Example:
        corpus = mdfp.open("s3://my-bucket/abdomen-ct")
        corpus.splits["train"].samples
        corpus.samples.where(split="train", states={"liver": "present"})
        corpus.sample("some-key").image()
    """

    def __init__(self, store: CorpusStore, manifest: Manifest, site: str | None = None):
        self.store = store
        self.manifest = manifest
        self.site = site
        """The site whose samples these are; None for all."""
        if site is not None:
            _check_site(store, manifest, site)

    def __repr__(self) -> str:
        if self.site is not None:
            return f"Corpus({self.store.where()!r}, number={self.manifest.number}, site={self.site!r})"
        return f"Corpus({self.store.where()!r}, number={self.manifest.number}, samples={self.manifest.samples})"

    def __getstate__(self) -> dict[str, Any]:
        # The index travels to loader workers, caches do not.
        return {"store": self.store, "manifest": self.manifest, "site": self.site, "samples": self.samples}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def name(self) -> str:
        """Name of the corpus."""
        return self.manifest.corpus

    @property
    def palette(self) -> tuple[PaletteEntry, ...]:
        """The integer of each structure in the stored masks."""
        return self.manifest.palette

    @cached_property
    def splits(self) -> dict[str, SplitTotal]:
        """What each split holds; of the view of a site, its samples and patients, and the shards that hold some of them."""
        if self.site is None:
            return {s.split: s for s in self.manifest.splits}
        return {s.split: self._part_of(s) for s in self.manifest.splits}

    def _part_of(self, split: SplitTotal) -> SplitTotal:
        mine = self.table.filter(pc.equal(self.table["split"], split.split))
        held = set(mine["shard"].unique().to_pylist())
        size = sum(s.bytes for s in self.manifest.shards if s.path in held)
        patients = len(mine["patient"].unique())
        return SplitTotal(split.split, mine.num_rows, patients, size, tuple(u for u in split.urls if u in held))

    @cached_property
    def samples(self) -> Samples:
        """The index, read on first use.

        Raises:
            CorpusError: an index file is missing or damaged.
        """
        table = index_file.read(self.store, self.manifest)
        if self.site is not None and self.manifest.sites is not None:
            table = table.filter(pa.array(site_members(table, self.manifest.sites, self.site)))
        return Samples(table)

    @property
    def table(self) -> pa.Table:
        """The index as an arrow table, for tools that speak it (pandas, polars, DuckDB)."""
        return self.samples.table

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The structures of the palette and around it."""
        return Hierarchy(self.manifest.palette, self.manifest.relations)

    @cached_property
    def _row(self) -> Mapping[str, int]:
        return {str(key): row for row, key in enumerate(self.table["key"].to_pylist())}

    @cached_property
    def _spaces(self) -> dict[tuple[tuple[str, ...], str], LabelSpace]:
        return {}

    @cached_property
    def _defaults(self) -> dict[str, LabelSpace]:
        return {}

    def label_space(self, classes: Space = None, *, unknown: Unknown = "ignore") -> LabelSpace:
        """A view of the labels: classes 1..n over structures. See `mdfp.label_space` for the rules.

        Args:
            classes: structure ids; or a mapping of class name → id or ids that count as one; or None for the space that
                the recipe names (every structure of the palette where it names none).
            unknown: what a structure nobody looked for is taken for: `"ignore"` or `"absent"`.

        Raises:
            UsageError: a structure the corpus does not know; the message names near ones.
        """
        if isinstance(classes, LabelSpace):
            return classes
        if classes is None:
            return self._default_space(unknown)
        if isinstance(classes, Mapping):
            return LabelSpace(classes, self.hierarchy, unknown=unknown)
        if isinstance(classes, str):
            raise UsageError(f"a label space is a list of structures, found the text {classes!r}; write [{classes!r}]")
        key = (tuple(classes), unknown)
        if key not in self._spaces:
            self._spaces[key] = LabelSpace(classes, self.hierarchy, unknown=unknown)
        return self._spaces[key]

    def _default_space(self, unknown: Unknown) -> LabelSpace:
        if unknown not in self._defaults:
            classes = self.manifest.label_space or tuple(e.structure for e in self.palette)
            fusion = self.manifest.fusion
            keep = [(pair.wider, pair.narrower) for pair in fusion.keep] if fusion else []
            self._defaults[unknown] = LabelSpace(classes, self.hierarchy, unknown=unknown, keep=keep)
        return self._defaults[unknown]

    def sample(self, key: str) -> OpenSample:
        """A sample by its key.

        Raises:
            UsageError: there is none of that key.
        """
        if key not in self._row:
            close = difflib.get_close_matches(key, self._row, 3)
            raise UsageError(
                f"{self.store.where()}: no sample {key!r}"
                + (f"; did you mean {', '.join(close)}?" if close else "; `mdfp ls` lists them")
            )
        return self.open(self._row[key])

    def open(self, row: int) -> OpenSample:
        """The sample at a row of the index."""
        return OpenSample(self, self.samples.record(row))

    def loader(
        self,
        split: str | Samples = "train",
        *,
        seed: int = 0,
        crops: Crops | Frames | None = None,
        batch: int | None = None,
        **how: Any,
    ) -> Loader:
        """Iterate over a split, or over samples that a filter left, in a deterministic order: `mdfp.loader.Loader`."""
        from mdfp.loader import Loader

        return Loader(self, split, seed=seed, crops=crops, batch=batch, **how)
