"""Make a plan: from what the inventory found and the recipe asks, what is built, and what is left out and why.

One process, no pixels. The plan is a function of its inputs: two runs over the same inventory give the same plan id.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mdfp import canonical
from mdfp.errors import UsageError
from mdfp.manifest import PaletteEntry, Relation
from schemas.case import Case, ObjectRecord, Reject
from schemas.plan import Assignment, ShardPlan
from schemas.reasons import Reason
from schemas.recipe import Recipe
from schemas.source import Source
from transforms import environment
from transforms.labels import palette as palettes
from transforms.pixel_version import PIXEL_VERSION
from transforms.plan import holes, packing, splits, terms
from transforms.plan.duplicates import Duplicate
from transforms.plan.holes import KnownHole
from transforms.plan.published import Published


@dataclass(frozen=True)
class Inventory:
    """What the inventory stage found."""

    cases: tuple[Case, ...]
    objects: tuple[ObjectRecord, ...]
    rejects: tuple[Reject, ...]
    patient_key: str
    """Fingerprint of the secret behind the pseudonyms."""


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
    cases: tuple[Case, ...]
    objects: tuple[ObjectRecord, ...]
    assignments: tuple[Assignment, ...]
    shards: tuple[ShardPlan, ...]
    rejects: tuple[Reject, ...]
    plan_id: str = field(default="")

    @property
    def planned(self) -> int:
        """Cases that have a place in a shard, known holes included."""
        return sum(len(s.cases) for s in self.shards)

    @property
    def edition(self) -> str:
        """Digest of the shards' fingerprints. Plans of one id differ in it when a file was copied or touched meanwhile."""
        return canonical.digest([s.fingerprint for s in self.shards])

    def left_out(self) -> list[Assignment]:
        """Cases that have no place in a shard."""
        return [a for a in self.assignments if a.shard is None]


PIXEL_SECTIONS = ("geometry", "intensity", "labels", "limits")
"""Parts of a recipe that reach voxels; they cannot change between generations of one corpus."""


def make_plan(
    recipe: Recipe,
    sources: Mapping[str, Source],
    inventory: Inventory,
    published: Published | None,
    selection: Selection = Selection(),
    known_holes: Mapping[str, KnownHole] | None = None,
) -> Plan:
    """The plan of the next generation.

    Args:
        recipe: what to build.
        sources: manifests of the recipe's sources, by id.
        inventory: what was found in them.
        published: what the corpus holds already, or None.
        selection: what the command line narrows it to.
        known_holes: what could not be made in earlier generations, by case id.

    Raises:
        UsageError: the corpus was built by another recipe or with another patient key; nothing to choose from.
    """
    _check_continues(recipe, inventory, published)
    key = recipe.splits.key or recipe.corpus
    cases = sorted(inventory.cases, key=lambda c: c.case_id)
    if twice := [a.case_id for a, b in itertools.pairwise(cases) if a.case_id == b.case_id]:
        raise UsageError(
            f"{len(twice)} case ids are given twice, for example {twice[0]!r}: sources whose ids differ in dots and dashes "
            "only, or a layout whose fields do not tell cases apart; rename the source or add a field to its patterns"
        )
    still = holes.unchanged(known_holes or {}, inventory.objects, sources, PIXEL_VERSION)
    verdicts = _selected(cases, recipe, sources, published, selection, {} if selection.retry_holes else still)
    candidates = [_without_labels(c) if recipe.labels.image_only else c for c in cases if c.case_id not in verdicts]

    published_split = {s.group: s.split for s in published.samples} if published else {}
    places = splits.place(candidates, recipe.splits, key, published_split)
    building = [c for c in candidates if places[c.case_id].left_out is None]
    split_of = {c.case_id: places[c.case_id].split for c in building}
    packs = packing.pack(building, split_of, recipe.shards, key, _first_numbers(published))

    entries = _palette(recipe, sources, published)
    position = {case_id: (p.shard, i) for p in packs for i, case_id in enumerate(p.cases)}
    assignments = []
    for case in cases:
        if case.case_id in verdicts:
            reason, detail = verdicts[case.case_id]
            assignments.append(_left_out(case, reason, detail))
            continue
        place = places[case.case_id]
        if place.left_out is not None:
            assignments.append(_left_out(case, place.left_out, place.detail))
            continue
        shard, index = position[case.case_id]
        group = splits.group_of(case)
        assignments.append(
            Assignment(case.case_id, case.source, place.split, place.fold, group, shard, index, None, "")
        )

    order = {case_id: (p.split, p.source, p.number, i) for p in packs for i, case_id in enumerate(p.cases)}
    planned = tuple(sorted(building, key=lambda c: order[c.case_id]))
    objects = sorted(
        (o for o in inventory.objects if o.case_id in order),
        key=lambda o: (order[o.case_id], o.array, o.ordinal, o.path),
    )
    plan = Plan(
        corpus=recipe.corpus,
        generation=published.manifest.number + 1 if published else 1,
        parent=published.manifest.number if published else None,
        revision=0,
        pixel_version=PIXEL_VERSION,
        environment=environment.locked(),
        patient_key=inventory.patient_key,
        recipe=recipe.without_locations(),
        sources={i: s.model_dump(mode="json") for i, s in sorted(sources.items())},
        palette=entries,
        relations=palettes.relations(entries),
        cases=planned,
        objects=tuple(objects),
        assignments=tuple(assignments),
        shards=(),
        rejects=tuple(
            sorted(inventory.rejects, key=lambda r: (r.source, r.case_id or "", r.reason, r.detail, r.path or ""))
        ),
    )
    return _with_shards(plan, packs_to_shards(plan, packs))


def revise(plan: Plan, duplicates: Sequence[Duplicate]) -> Plan:
    """The plan in which the given cases are `duplicate` holes. Only their shards get other fingerprints."""
    detail = {d.case_id: d.detail for d in duplicates}
    assignments = tuple(
        dataclasses.replace(a, left_out=Reason.DUPLICATE, detail=detail[a.case_id]) if a.case_id in detail else a
        for a in plan.assignments
    )
    revised = dataclasses.replace(plan, revision=plan.revision + 1, assignments=assignments)
    shards = tuple(
        dataclasses.replace(s, holes=tuple(c for c in s.cases if c in detail or c in s.holes)) for s in plan.shards
    )
    return _with_shards(revised, shards)


def packs_to_shards(plan: Plan, packs: Iterable[packing.Pack]) -> tuple[ShardPlan, ...]:
    """Shard plans, without fingerprints."""
    return tuple(
        ShardPlan(p.shard, p.split, p.source, plan.generation, p.cases, (), p.estimated_bytes, p.estimated_seconds, "")
        for p in packs
    )


def _with_shards(plan: Plan, shards: Sequence[ShardPlan]) -> Plan:
    pixels = _pixel_config(plan)
    cases = {c.case_id: c for c in plan.cases}
    assigned = {a.case_id: a for a in plan.assignments}
    objects: dict[str, list[ObjectRecord]] = {}
    for o in plan.objects:
        objects.setdefault(o.case_id, []).append(o)
    stamped = []
    for shard in shards:
        content = {
            "pixels": pixels,
            "shard": dataclasses.replace(shard, fingerprint=""),
            "cases": [cases[c] for c in shard.cases],
            "objects": [objects.get(c, []) for c in shard.cases],
            "assignments": [assigned[c] for c in shard.cases],
            "sources": {s: plan.sources[s] for s in sorted({cases[c].source for c in shard.cases})},
        }
        stamped.append(dataclasses.replace(shard, fingerprint=canonical.digest(content)))
    result = dataclasses.replace(plan, shards=tuple(stamped))
    return dataclasses.replace(result, plan_id=_plan_id(result))


def _pixel_config(plan: Plan) -> dict[str, Any]:
    return {
        "pixel_version": plan.pixel_version,
        "environment": environment.fingerprint(plan.environment),
        "recipe": {k: plan.recipe[k] for k in PIXEL_SECTIONS},
        "palette": plan.palette,
        "patient_key": plan.patient_key,
    }


def _plan_id(plan: Plan) -> str:
    # The time a local file was changed is not part of what a plan is: a copied folder gives the same plan. It is part
    # of a shard's fingerprint, so that a changed file is built again.
    content = {f.name: getattr(plan, f.name) for f in dataclasses.fields(plan) if f.name != "plan_id"}
    content["shards"] = [dataclasses.replace(s, fingerprint="") for s in plan.shards]
    content["objects"] = [dataclasses.replace(o, version=_stable_version(o.version)) for o in plan.objects]
    return canonical.digest(content)


def _stable_version(version: str) -> str:
    return "" if version.startswith("mtime:") else version


def _selected(
    cases: Sequence[Case],
    recipe: Recipe,
    sources: Mapping[str, Source],
    published: Published | None,
    selection: Selection,
    known_holes: Mapping[str, KnownHole],
) -> dict[str, tuple[Reason, str]]:
    """Why a case is not even a candidate, by case id."""
    known = {c.case_id for c in cases} | set(sources)
    if strange := [o for o in selection.only if o not in known]:
        raise UsageError(
            f"--only {strange[0]}: neither a source ({', '.join(sorted(sources))}) nor a case that the inventory found"
        )
    done = {s.case_id for s in published.samples} if published else set()
    verdicts: dict[str, tuple[Reason, str]] = {}
    taken: dict[str, int] = {}
    excluded = {(use.id, name) for use in recipe.sources for name in use.exclude}
    for case in cases:
        verdict: tuple[Reason, str] | None = None
        if case.case_id in done:
            verdict = Reason.NOT_SELECTED, "already published"
        elif selection.only and case.case_id not in selection.only and case.source not in selection.only:
            verdict = Reason.NOT_SELECTED, "outside --only"
        elif any(
            (case.source, name) in excluded
            for name in (case.case_id, case.case_id.removeprefix(f"{case.source.replace('.', '_')}-"))
        ):
            verdict = Reason.EXCLUDED, "excluded by the recipe"
        else:
            verdict = terms.gate(case.license, recipe.terms)
        if verdict is None and case.case_id in known_holes:
            verdict = known_holes[case.case_id].verdict()
        if verdict is None and selection.limit is not None:
            if taken.get(case.source, 0) >= selection.limit:
                verdict = Reason.NOT_SELECTED, f"beyond --limit {selection.limit}"
            taken[case.source] = taken.get(case.source, 0) + 1
        if verdict is not None:
            verdicts[case.case_id] = verdict
    return verdicts


def _check_continues(recipe: Recipe, inventory: Inventory, published: Published | None) -> None:
    if published is None:
        return
    manifest = published.manifest
    if manifest.corpus != recipe.corpus:
        raise UsageError(
            f"out: {recipe.out} holds the corpus {manifest.corpus!r}, the recipe builds {recipe.corpus!r}; "
            "choose another out:, or the corpus's own name"
        )
    if manifest.patient_key != inventory.patient_key:
        raise UsageError(
            "the corpus was built with another patient key, so its patients cannot be recognised (fingerprint "
            f"{manifest.patient_key}, yours {inventory.patient_key}); set MDFP_PATIENT_KEY to the key it was built with"
        )
    before = canonical.plain(_parsed(manifest.recipe))
    now = canonical.plain(recipe.without_locations())
    if changed := [k for k in PIXEL_SECTIONS if _voxel_part(before, k) != _voxel_part(now, k)]:
        raise UsageError(
            f"the recipe's {', '.join(changed)} changed since manifest {manifest.number}: samples of one corpus are made "
            "alike. Build into another out:, or restore it"
        )


def _voxel_part(recipe: dict[str, Any], section: str) -> Any:
    content = recipe.get(section)
    if section == "labels" and isinstance(content, dict):
        return {k: v for k, v in content.items() if k != "space"}  # a view: it never rewrites pixels
    return content


def _parsed(text: str) -> dict[str, Any]:
    import json

    return dict(json.loads(text))


def _without_labels(case: Case) -> Case:
    return dataclasses.replace(case, labels=())


def _left_out(case: Case, reason: Reason, detail: str) -> Assignment:
    return Assignment(case.case_id, case.source, None, None, splits.group_of(case), None, None, reason, detail)


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
