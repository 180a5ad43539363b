"""What of a corpus's samples its manifest and its papers count: terms, groups of the sampling plan, sites, members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from mdfp import sampling
from mdfp.sites import SiteCount
from schemas.recipe import Recipe


@dataclass
class Census:
    """Counts of samples; `add` takes rows with the schema of `Sample`, some at a time.

    Attributes:
        recipe: says which groups and sites.
        licensed: samples by (source, licence).
        patients: patients by source.
        cells: samples of the train split by (source, group of the sampling plan).
        kinds: samples that have a member by (kind, array, extension) of it.
        sites: the sites, where the recipe asks for them.
    """

    recipe: Recipe
    licensed: Counter[tuple[str, str]] = field(default_factory=Counter)
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sites: SiteCount | None = None
    _patients: dict[str, set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.recipe.sites is not None:
            self.sites = SiteCount(self.recipe.sites.by)

    def add(self, table: pa.Table) -> None:
        """Count some rows."""
        if not table.num_rows:
            return
        sources = table["source"].to_pylist()
        self.licensed.update(zip(sources, table["license"].to_pylist(), strict=True))
        for source in set(sources):
            those = table["patient"].filter(pc.equal(table["source"], source))
            self._patients.setdefault(source, set()).update(those.unique().to_pylist())
        self._add_members(table["members"].combine_chunks())
        if self.recipe.sampling is not None:
            train = table.filter(pc.equal(table["split"], "train"))
            asked = self.recipe.sampling
            groups = sampling.groups_of(train, asked.by, asked.anatomy)
            self.cells.update(zip(train["source"].to_pylist(), groups, strict=True))
        if self.sites is not None:
            self.sites.add(table)

    def _add_members(self, lists: pa.Array) -> None:
        flat = pc.list_flatten(lists)
        names = pa.table(
            {
                "kind": pc.struct_field(flat, "kind"),
                "array": pc.struct_field(flat, "array"),
                "extension": pc.replace_substring_regex(pc.struct_field(flat, "name"), r"^.*\.", ""),
            }
        )
        counted = names.group_by(["kind", "array", "extension"]).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            self.kinds[row["kind"], row["array"], row["extension"]] += row["count_all"]

    @property
    def patients(self) -> Mapping[str, int]:
        """Patients of each source."""
        return {source: len(those) for source, those in sorted(self._patients.items())}

    @property
    def samples(self) -> Mapping[str, int]:
        """Samples of each source."""
        found: Counter[str] = Counter()
        for (source, _), n in self.licensed.items():
            found[source] += n
        return found
