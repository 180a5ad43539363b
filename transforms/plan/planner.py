"""Make a plan: from what the inventory found and the recipe asks, what is built, and what is left out and why.

One process, no pixels. The plan is a function of its inputs: two runs over the same inventory give the same plan id.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog import origins
from mdfp import arrow, canonical
from mdfp.errors import UsageError
from mdfp.fusion import Fusion
from mdfp.manifest import PaletteEntry, Relation
from schemas.case import Case, ObjectRecord, Reject
from schemas.plan import Assignment, PlannedCase, ShardPlan
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from transforms import environment
from transforms.fusion.report import fuse, require_resolved
from transforms.labels import palette as palettes
from transforms.pixel_version import PIXEL_VERSION
from transforms.plan import continues, holes, identity, inheritance, packing, splits, terms
from transforms.plan.holes import KnownHole
from transforms.plan.inventory import Inventory, InventoryTable, records_of
from transforms.plan.published import Published
from transforms.withdrawn import Withdrawn

__all__ = ["Inventory", "InventoryTable", "Plan", "Selection", "make_plan", "with_shards"]


@dataclass(frozen=True)
class Selection:
    """What the command line narrows a plan to."""

    only: tuple[str, ...] = ()
    """Sources or cases; none: all."""
    limit: int | None = None
    """Cases per source."""
    retry_holes: bool = False
    """Plan again what was a hole in an earlier generation."""


@dataclass(frozen=True)
class Plan:
    """What will be built. Everything a worker needs to know is in here."""

    corpus: str
    generation: int
    parent: int | None
    revision: int
    pixel_version: int
    environment: dict[str, str]
    patient_key: str
    recipe: dict[str, Any]
    sources: dict[str, dict[str, Any]]
    palette: tuple[PaletteEntry, ...]
    relations: tuple[Relation, ...]
    table: pa.Table
    """A `PlannedCase` for each case of the inventory, sorted by case id."""
    shards: tuple[ShardPlan, ...]
    rejects: tuple[Reject, ...]
    rows: CaseRows = field(compare=False)
    """The whole rows of at least the planned cases."""
    plan_id: str = field(default="")
    fusion: Fusion | None = None
    """How the label space follows from the sources: of the recipe and the sources alone, so not part of the id."""
    doubts: tuple[str, ...] = ()
    """What nobody has settled of the terms: origins, and images that are published under several."""

    @property
    def planned(self) -> int:
        """Cases that have a place in a shard, known holes included."""
        return sum(len(s.cases) for s in self.shards)

    @property
    def edition(self) -> str:
        """Digest of the shards' fingerprints. Plans of one id differ in it when a file was copied or touched meanwhile."""
        return canonical.digest([s.fingerprint for s in self.shards])

    @property
    def image_only(self) -> bool:
        """Whether labels are left out."""
        return Recipe.model_validate({**self.recipe, "out": "-"}).labels.image_only

    @cached_property
    def placed(self) -> pa.Table:
        """The rows of `table` that have a place in a shard, in the order of the shards."""
        number = {s.shard: n for n, s in enumerate(self.shards)}
        table = self.table.filter(pc.is_valid(self.table["shard"]))
        names = table["shard"].combine_chunks().dictionary_encode()
        shard = np.array([number[n] for n in names.dictionary.to_pylist()], np.int64)[np.asarray(names.indices)]
        return table.take(pa.array(np.lexsort((table["position"].to_numpy(), shard))))

    @property
    def relicensed(self) -> dict[str, str]:
        """Licences of the samples of which more hold than of their cases, by case id."""
        some = self.table.filter(pc.is_valid(self.table["terms"]))
        return dict(zip(some["case_id"].to_pylist(), some["terms"].to_pylist(), strict=True))

    def left_out(self) -> list[Assignment]:
        """Cases that have no place in a shard, but for those that are published."""
        nowhere = pc.and_(pc.is_null(self.table["shard"]), pc.invert(self._published()))
        return arrow.from_table(Assignment, self.table.filter(nowhere))

    def published(self) -> Counter[str]:
        """Cases that an earlier generation holds, by source."""
        return Counter(self.table["source"].filter(self._published()).to_pylist())

    def _published(self) -> pa.ChunkedArray:
        return pc.fill_null(pc.equal(self.table["left_out"], pa.scalar(str(Reason.PUBLISHED))), False)

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """`table` as records: for small plans."""
        return tuple(arrow.from_table(Assignment, self.table))

    @property
    def cases(self) -> tuple[Case, ...]:
        """The planned cases in the order of the shards: for small plans."""
        return tuple(case for case, _ in self._records())

    @property
    def objects(self) -> tuple[ObjectRecord, ...]:
        """Their objects, in the same order: for small plans."""
        return tuple(o for _, objects in self._records() for o in objects)

    def _records(self) -> list[tuple[Case, tuple[ObjectRecord, ...]]]:
        order = {case_id: n for n, case_id in enumerate(self.placed["case_id"].to_pylist())}
        found = [r for rows in self.rows.batches() for r in records_of(rows) if r[0].case_id in order]
        if self.image_only:
            found = [(dataclasses.replace(c, labels=()), o) for c, o in found]
        held = self.relicensed
        found = [(dataclasses.replace(c, license=held.get(c.case_id, c.license)), o) for c, o in found]
        return sorted(found, key=lambda r: order[r[0].case_id])


class CaseRows(Protocol):
    """Where whole rows of cases come from."""

    def batches(self) -> Iterator[pa.Table]:
        """Rows with the columns of a `Case` and its `objects`, a bounded number at a time."""


def make_plan(
    recipe: Recipe,
    sources: Mapping[str, Source],
    inventory: Inventory | InventoryTable,
    published: Published | None,
    selection: Selection = Selection(),
    known_holes: Mapping[str, KnownHole] | None = None,
    withdrawn: Withdrawn | None = None,
    known: identity.Known | None = None,
) -> Plan:
    """The plan of the next generation.

    Args:
        recipe: what to build.
        sources: manifests of the recipe's sources, by id.
        inventory: what was found in them.
        published: what the corpus holds already, or None.
        selection: what the command line narrows it to.
        known_holes: what could not be made in earlier generations, by case id.
        withdrawn: what was taken back for good.
        known: which case is which, where somebody looked; None: patients alone are kept together.

    Raises:
        UsageError: the corpus was built by another recipe or with another patient key, or holds samples that the recipe's
            profile refuses; nothing to choose from.
    """
    found = inventory.table() if isinstance(inventory, Inventory) else inventory
    continues.require(recipe, found.patient_key, published)
    gate = terms.Compiler(recipe.terms, sources)
    if published is not None and recipe.terms.profile:
        terms.require_fitting(gate, recipe.corpus, published.licenses())
    key = recipe.splits.key or recipe.corpus
    table = found.deciding.sort_by("case_id")
    cases = _candidates(table, gate)
    if twice := [a.case_id for a, b in itertools.pairwise(cases) if a.case_id == b.case_id]:
        raise UsageError(
            f"{len(twice)} case ids are given twice, for example {twice[0]!r}: sources whose ids differ in dots and dashes "
            "only, or a layout whose fields do not tell cases apart; rename the source or add a field to its patterns"
        )
    still: Mapping[str, KnownHole] = {}
    if known_holes and not selection.retry_holes:
        mine = table.filter(pc.is_in(table["case_id"], value_set=pa.array(sorted(known_holes))))
        still = holes.unchanged(known_holes, mine, sources, PIXEL_VERSION)
    verdicts = _selected(cases, recipe, sources, published, selection, still, withdrawn or Withdrawn(), gate)
    candidates = [c for c in cases if c.case_id not in verdicts]

    groups = splits.Groups()
    settled = inheritance.Settled()
    if known is None:
        places = splits.place(candidates, recipe.splits, key, published.split_of_group() if published else {})
    else:
        decided_groups = identity.decide(known, published.members() if published else ())
        groups = decided_groups.groups
        places = splits.place(candidates, recipe.splits, key, decided_groups.published, groups)
        placed = [c for c in candidates if places[c.case_id].left_out is None]
        settled = inheritance.settle(placed, inheritance.copies(cases, known.graph.image), gate)
        places |= {
            c: dataclasses.replace(places[c], left_out=reason, detail=detail)
            for c, (reason, detail) in settled.refused.items()
        }
        places |= _without_copies(candidates, places, known, published, recipe)
    building = [c for c in candidates if places[c.case_id].left_out is None]
    split_of = {c.case_id: places[c.case_id].split for c in building}
    packs = packing.pack(building, split_of, recipe.shards, key, _first_numbers(published))
    del candidates, building, split_of

    fusion = fuse(recipe.labels, sources.values())
    require_resolved(fusion)
    entries = _palette(recipe, sources, published)
    decided = _decided(table, cases, verdicts, places, packs, groups, settled.licenses)
    del table, cases, verdicts, places  # a million of each
    plan = Plan(
        corpus=recipe.corpus,
        generation=published.manifest.number + 1 if published else 1,
        parent=published.manifest.number if published else None,
        revision=0,
        pixel_version=PIXEL_VERSION,
        environment=environment.locked(),
        patient_key=found.patient_key,
        recipe=recipe.without_locations(),
        sources={i: s.model_dump(mode="json") for i, s in sorted(sources.items())},
        palette=entries,
        relations=palettes.relations(entries),
        table=decided,
        shards=(),
        fusion=fusion,
        doubts=(*(d for _, s in sorted(sources.items()) for d in origins.doubts(s)), *settled.doubts),
        rejects=tuple(
            sorted(found.rejects, key=lambda r: (r.source, r.case_id or "", r.reason, r.detail, r.path or ""))
        ),
        rows=found,
    )
    return with_shards(plan, packs_to_shards(plan, packs))


class Candidate(NamedTuple):
    """What of a case decides where it goes."""

    case_id: str
    source: str
    patient: str
    split: str | None
    license: str | None
    estimated_bytes: int
    estimated_seconds: float
    label_tables: Sequence[str]


def _without_copies(
    candidates: Sequence[Candidate],
    places: Mapping[str, splits.Place],
    known: identity.Known,
    published: Published | None,
    recipe: Recipe,
) -> dict[str, splits.Place]:
    """Places of the candidates that are left out because another case is the same picture."""
    placed = [c for c in candidates if places[c.case_id].left_out is None]
    old = {case_id: split for case_id, _, split in published.members()} if published else {}
    losers = identity.copies(
        known.graph, placed, old, recipe.splits, recipe.duplicates, image_only=recipe.labels.image_only
    )
    return {
        d.case_id: dataclasses.replace(places[d.case_id], left_out=Reason.DUPLICATE, detail=d.detail) for d in losers
    }


def _candidates(table: pa.Table, gate: terms.Compiler) -> list[Candidate]:
    columns = [table[name].to_pylist() for name in Candidate._fields]
    columns[Candidate._fields.index("license")] = list(
        map(gate.holding, table["source"].to_pylist(), table["license"].to_pylist())
    )
    return [Candidate(*values) for values in zip(*columns, strict=True)]


def _decided(
    table: pa.Table,
    cases: Sequence[Candidate],
    verdicts: Mapping[str, tuple[Reason, str]],
    places: Mapping[str, splits.Place],
    packs: Sequence[packing.Pack],
    known: splits.Groups,
    licenses: Mapping[str, str],
) -> pa.Table:
    """The plan's table, from what was decided about each case."""
    position = {case_id: (p, i) for p in packs for i, case_id in enumerate(p.cases)}
    names = {id(p): p.shard for p in packs}
    rows: list[tuple[object, ...]] = []
    for case in cases:
        if case.case_id in verdicts:
            reason, detail = verdicts[case.case_id]
            rows.append((None, None, None, None, str(reason), detail))
            continue
        place = places[case.case_id]
        if place.left_out is not None:
            rows.append((None, None, None, None, str(place.left_out), place.detail))
        else:
            pack, index = position[case.case_id]
            rows.append((place.split, place.fold, names[id(pack)], index, None, ""))
    decided = dict(
        zip(("split", "fold", "shard", "position", "left_out", "detail"), zip(*rows, strict=True), strict=True)
    )
    groups = [splits.group_of(c, known) for c in cases]
    stated = table["license"].to_pylist()
    held = [licenses.get(c.case_id, c.license) for c in cases]
    schema = arrow.arrow_schema(PlannedCase)
    arrays = []
    for f in schema:
        if f.name == "group":
            arrays.append(pa.array(groups, f.type))
        elif f.name == "terms":
            more = [now if now != before else None for now, before in zip(held, stated, strict=True)]
            arrays.append(pa.array(more, f.type))
        elif f.name in ("split", "fold", "shard", "position", "left_out", "detail"):
            arrays.append(pa.array(decided.get(f.name, ()), f.type))
        else:
            arrays.append(table[f.name].combine_chunks())
    return pa.Table.from_arrays(arrays, schema=schema)


def packs_to_shards(plan: Plan, packs: Iterable[packing.Pack]) -> tuple[ShardPlan, ...]:
    """Shard plans, without fingerprints."""
    return tuple(
        ShardPlan(p.shard, p.split, p.source, plan.generation, p.cases, (), p.estimated_bytes, p.estimated_seconds, "")
        for p in packs
    )


_STAMPED = (
    "case_id",
    "source",
    "split",
    "fold",
    "group",
    "position",
    "left_out",
    "detail",
    "case_digest",
    "days_from_first",
)
"""What of a planned case goes into its shard's fingerprint, beside the digest of its objects."""


def with_shards(plan: Plan, shards: Sequence[ShardPlan]) -> Plan:
    """The plan with these shards, their fingerprints, and its id.

    A fingerprint covers everything that the bytes of a shard are a function of, the versions of local files among them,
    so that a changed file is built again. The id of the plan covers the same and what is left out, but for when local
    files were changed: a copied folder gives the same plan.
    """
    plan = dataclasses.replace(plan, shards=tuple(shards))
    pixels = canonical.digest(_pixel_config(plan))
    sources = {name: canonical.digest(content) for name, content in plan.sources.items()}
    placed = plan.placed
    columns = [placed[name].to_pylist() for name in _STAMPED]
    licensed = placed["terms"].to_pylist()
    exact, stable = placed["objects_digest"].to_pylist(), placed["content_digest"].to_pylist()
    source = columns[_STAMPED.index("source")]
    stamped: list[ShardPlan] = []
    whole = hashlib.sha256()
    start = 0
    for shard in shards:
        stop = start + len(shard.cases)
        cases = list(zip(*(c[start:stop] for c in columns), strict=True))
        if any(licensed[start:stop]):  # only here: the other shards keep their fingerprints
            cases = [(*case, more) for case, more in zip(cases, licensed[start:stop], strict=True)]
        head = {
            "pixels": pixels,
            "shard": dataclasses.replace(shard, fingerprint="", cases=()),
            "sources": {s: sources[s] for s in sorted(set(source[start:stop]))},
        }
        both = hashlib.sha256(canonical.dumps(head) + json.dumps(cases, ensure_ascii=False).encode())
        whole.update(both.digest() + "".join(stable[start:stop]).encode())
        both.update("".join(exact[start:stop]).encode())
        stamped.append(dataclasses.replace(shard, fingerprint=both.hexdigest()))
        start = stop
    result = dataclasses.replace(plan, shards=tuple(stamped))
    return dataclasses.replace(result, plan_id=_plan_id(result, whole.hexdigest()))


def _plan_id(plan: Plan, shards: str) -> str:
    apart = ("table", "shards", "rows", "plan_id", "fusion", *(() if plan.doubts else ("doubts",)))
    content = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan) if f.name not in apart}
    out = plan.table.filter(pc.is_null(plan.table["shard"])).select(
        ["case_id", "source", "group", "left_out", "detail"]
    )
    left_out = hashlib.sha256()
    for batch in out.to_batches(max_chunksize=100_000):
        rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
        left_out.update(json.dumps(list(rows), ensure_ascii=False).encode())
    return canonical.digest({**content, "shards": shards, "left_out": left_out.hexdigest()})


def _pixel_config(plan: Plan) -> dict[str, Any]:
    return {
        "pixel_version": plan.pixel_version,
        "environment": environment.fingerprint(plan.environment),
        "recipe": {k: _without_resolve(plan.recipe[k]) for k in continues.PIXEL_SECTIONS if k in plan.recipe},
        "palette": plan.palette,
        "patient_key": plan.patient_key,
    }


def _without_resolve(section: Any) -> Any:
    return {k: v for k, v in section.items() if k != "resolve"} if isinstance(section, dict) else section


def _selected(
    cases: Sequence[Candidate],
    recipe: Recipe,
    sources: Mapping[str, Source],
    published: Published | None,
    selection: Selection,
    known_holes: Mapping[str, KnownHole],
    withdrawn: Withdrawn,
    gate: terms.Compiler,
) -> dict[str, tuple[Reason, str]]:
    """Why a case is not even a candidate, by case id."""
    asked = set(selection.only)
    known = {c.case_id for c in cases if c.case_id in asked} | set(sources)
    if strange := [o for o in selection.only if o not in known]:
        raise UsageError(
            f"--only {strange[0]}: neither a source ({', '.join(sorted(sources))}) nor a case that the inventory found"
        )
    done = published.case_ids() if published else frozenset()
    verdicts: dict[str, tuple[Reason, str]] = {}
    taken: dict[str, int] = {}
    excluded = {(use.id, name) for use in recipe.sources for name in use.exclude}
    for case in cases:
        verdict: tuple[Reason, str] | None = None
        if withdrawn.has(case):
            verdict = Reason.WITHDRAWN, "taken back, and not to be used again"
        elif case.case_id in done:
            verdict = Reason.PUBLISHED, "already published"
        elif selection.only and case.case_id not in selection.only and case.source not in selection.only:
            verdict = Reason.NOT_SELECTED, "outside --only"
        elif excluded and any(
            (case.source, name) in excluded
            for name in (case.case_id, case.case_id.removeprefix(f"{case.source.replace('.', '_')}-"))
        ):
            verdict = Reason.EXCLUDED, "excluded by the recipe"
        else:
            verdict = gate.verdict(case.source, case.license)
        if verdict is None and case.case_id in known_holes:
            verdict = known_holes[case.case_id].verdict()
        if verdict is None and selection.limit is not None:
            if taken.get(case.source, 0) >= selection.limit:
                verdict = Reason.NOT_SELECTED, f"beyond --limit {selection.limit}"
            taken[case.source] = taken.get(case.source, 0) + 1
        if verdict is not None:
            verdicts[case.case_id] = verdict
    return verdicts


def _first_numbers(published: Published | None) -> dict[tuple[str, str], int]:
    first: dict[tuple[str, str], int] = {}
    for shard in published.manifest.shards if published else ():
        number = int(shard.path.rsplit("/", 1)[-1].rsplit("-", 2)[-2])
        key = (shard.split, shard.source)
        first[key] = max(first.get(key, 0), number + 1)
    return first


def _palette(recipe: Recipe, sources: Mapping[str, Source], published: Published | None) -> tuple[PaletteEntry, ...]:
    annotated: set[str] = set()
    if not recipe.labels.image_only:
        for source in sources.values():
            annotated |= set(source.annotated())
    return palettes.build(sorted(annotated), previous=published.manifest.palette if published else ())
