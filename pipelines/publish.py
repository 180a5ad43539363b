"""Publish: audit, expectations over every sample, then the numbered manifest, which makes it all visible at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from expectations.outcome import ValidationResult
from expectations.pictures import Picture, draw_contact_sheet, draw_worst, worst_cases
from expectations.report import ReportData, render
from expectations.validate import validate_samples
from mdfp import canonical
from mdfp import manifest as manifests
from mdfp.corpus import LATEST
from mdfp.errors import MdfpError
from mdfp.manifest import Manifest
from mdfp.sample import Sample
from pipelines import withdrawal
from pipelines.build import Built, audit
from pipelines.console import Console
from pipelines.gate import outcomes_of, require_pass
from pipelines.pictures import reader
from pipelines.workspace import Workspace
from schemas.case import Reject
from transforms import commit, probe
from transforms import publish as assembly
from transforms.plan import files
from transforms.plan.planner import Plan
from transforms.plan.published import load as load_published
from transforms.plan.published import newest_number
from transforms.rows import read_samples
from transforms.store import CorpusStore


class LostRaceError(MdfpError):
    """Another publish claimed the same manifest number first."""


@dataclass(frozen=True)
class PublishedCorpus:
    """What is visible now."""

    manifest: Manifest
    rejects: tuple[Reject, ...]
    new: bool
    """False: this very plan was published before, or it brought nothing new; nothing was written."""

    def line(self, store: CorpusStore) -> str:
        """One line for people."""
        return f"publish: manifest {self.manifest.number} of {store.root}" + (
            "" if self.new else " (was there already)"
        )


def publish(workspace: Workspace, built: Built, console: Console) -> PublishedCorpus:
    """Make a finished build visible. Running it again changes nothing, but for writing what a killed run left undone.

    Order: the index (invisible without a manifest), the manifest (create-only: the compare-and-swap), then what nothing
    depends on: rejects, attribution, contact sheet, report, and last the hint LATEST, which says that all is there.

    Raises:
        GateError: an expectation does not hold; nothing is published.
        LostRaceError: another publish was faster.
        PreconditionsError: the store lets two writers replace each other's objects.
    """
    store, plan = workspace.corpus, built.plan
    probe.require(store)
    published = load_published(store)
    rejects = tuple(assembly.all_rejects(plan, built.markers))
    if published and published.manifest.plan_id == plan.plan_id:
        complete(workspace, console)
        return PublishedCorpus(published.manifest, rejects, new=False)
    if not built.samples and published:
        console.remark("no new samples: nothing to publish")
        return PublishedCorpus(published.manifest, rejects, new=False)
    withdrawal.refuse_stale(store, plan, published)
    if newest_number(store) + 1 != plan.generation:
        raise LostRaceError(
            f"the plan was made for manifest {plan.generation}, the newest is {newest_number(store)}; run plan, build "
            "and publish again (what is built stays)"
        )

    fresh = [s for m in built.markers for s in read_samples(store, m)]
    earlier: list[Sample] = list(published.samples) if published else []
    planned = {c for shard in plan.shards for c in shard.cases} | {s.case_id for s in earlier}
    result = validate_samples([*earlier, *fresh], built.holes, planned, palette=plan.palette, recipe=workspace.recipe)
    require_pass(result, store, console)

    entry = assembly.index_entry(plan.generation, built.markers)
    patients = Counter(split for split, _ in {(s.split, s.patient) for s in [*earlier, *fresh]})
    manifest = assembly.assemble(plan, built.markers, [entry], patients, workspace.recipe, workspace.sources, published)
    number = manifest.number
    commit.create_bytes(assembly.table_bytes(Sample, fresh), store, manifest.indexes[-1].path)
    created = commit.create_bytes(canonical.pretty(manifest), store, manifests.manifest_path(number))
    if not created and store.read(manifests.manifest_path(number)) != canonical.pretty(manifest):
        raise LostRaceError(f"manifest {number} was published by another run meanwhile; run again to continue from it")
    _write_surroundings(workspace, plan, manifest, [*earlier, *fresh], rejects, result)
    return PublishedCorpus(manifest, rejects, new=created)


def complete(workspace: Workspace, console: Console) -> None:
    """Write what a publish that was killed right after its manifest left undone; nothing when nothing is missing."""
    store = workspace.corpus
    published = load_published(store)
    if published is None or _hint(store) == published.manifest.number:
        return
    withdrawal.require_finished(workspace, published)
    plan = files.read(store, files.find(store, published.manifest.plan_id))
    markers = audit(workspace, plan)
    holes = [h for m in markers for h in m.holes]
    planned = {c for shard in plan.shards for c in shard.cases} | {s.case_id for s in published.samples}
    result = validate_samples(published.samples, holes, planned, palette=plan.palette, recipe=workspace.recipe)
    rejects = tuple(assembly.all_rejects(plan, markers))
    console.remark(f"writing what a former run left undone: the report of manifest {published.manifest.number}")
    _write_surroundings(workspace, plan, published.manifest, list(published.samples), rejects, result)


def _hint(store: CorpusStore) -> int | None:
    try:
        return int(store.read(LATEST))
    except (FileNotFoundError, ValueError):
        return None


def _write_surroundings(
    workspace: Workspace,
    plan: Plan,
    manifest: Manifest,
    samples: list[Sample],
    rejects: tuple[Reject, ...],
    result: ValidationResult,
) -> None:
    store = workspace.corpus
    commit.replace(assembly.table_bytes(Reject, rejects), store, assembly.rejects_path(manifest.number))
    if newest_number(store) > manifest.number:
        return  # what is not numbered speaks of the newest manifest, whose publish writes it
    commit.replace(assembly.attribution(manifest).encode(), store, "ATTRIBUTION.md")
    write_report(workspace, plan, manifest, samples, rejects, result)
    commit.replace(f"{manifest.number}\n".encode(), store, LATEST)


def write_report(
    workspace: Workspace,
    plan: Plan,
    manifest: Manifest,
    samples: list[Sample],
    rejects: tuple[Reject, ...],
    result: ValidationResult,
) -> None:
    """Write report.html and contact-sheet.png beside the corpus."""
    store = workspace.corpus
    read = reader(store)
    heading = f"{manifest.corpus}: a sample of each source, in radiological convention"
    sheet = draw_contact_sheet(samples, read, heading=heading)
    if sheet is not None:
        commit.replace(sheet, store, "contact-sheet.png")
    data = ReportData(
        manifest=manifest,
        samples=samples,
        rejects=rejects,
        outcomes=(
            *outcomes_of("inventory", store),
            *outcomes_of("plan", store),
            *outcomes_of("sources", store),
            *result.outcomes,
        ),
        cases_found=Counter([a.source for a in plan.assignments] + [r.source for r in plan.rejects if r.case_id]),
        worst=draw_worst(worst_cases(samples, result.outcomes), read),
        contact_sheet=None if sheet is None else Picture("Contact sheet", heading, sheet),
    )
    commit.replace(render(data).encode(), store, "report.html")
