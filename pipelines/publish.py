"""Publish: audit, expectations over every sample, then the numbered manifest, which makes it all visible at once."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from expectations.outcome import ValidationResult
from expectations.pictures import PER_SAMPLE, Picture, draw_contact_sheet, draw_worst, worst_cases
from expectations.report import ReportData, render
from expectations.summary import Summary
from expectations.validate import SampleCheck
from mdfp import manifest as manifests
from mdfp.corpus import LATEST
from mdfp.errors import MdfpError
from mdfp.manifest import Manifest
from mdfp.sample import Sample
from pipelines import index_rows, withdrawal
from pipelines.build import Built, audit_published
from pipelines.console import Console
from pipelines.gate import outcomes_of, require_pass
from pipelines.pictures import reader
from pipelines.workspace import Workspace
from schemas.case import Reject
from schemas.source import Source
from transforms import commit, probe
from transforms import publish as assembly
from transforms.attribution import attribution
from transforms.bibtex import citations
from transforms.census import Census
from transforms.croissant import IndexFile, croissant
from transforms.plan.planner import Plan
from transforms.plan.published import Published, newest_number
from transforms.plan.published import load as load_published
from transforms.plan.terms import spelled_out
from transforms.store import CorpusStore
from transforms.views import changed

FINDINGS = "findings.parquet"
"""What was noticed while the files of the newest corpus were read, below the corpus."""

LOOKED_AT = 200
"""Samples that broke an expectation whose rows are read again, to choose the dozen that the report shows."""


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
    depends on: rejects, attribution, findings, contact sheet, report, and last the hint LATEST, which says that all is there.

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
    if not built.samples and published and not changed(plan.recipe, published.manifest):
        console.remark("no new samples: nothing to publish")
        return PublishedCorpus(published.manifest, rejects, new=False)
    withdrawal.refuse_stale(store, plan, published)
    if newest_number(store) + 1 != plan.generation:
        raise LostRaceError(
            f"the plan was made for manifest {plan.generation}, the newest is {newest_number(store)}; run plan, build "
            "and publish again (what is built stays)"
        )

    todo = index_rows.chunks(store, plan.generation, built.markers, published)
    with tempfile.TemporaryDirectory(prefix="mdfp-index-") as scratch:
        checked = _check(workspace, plan, todo, built, published, Path(scratch))
        require_pass(checked.result, store, console)
        manifest = assembly.assemble(
            plan,
            built.markers,
            [chunk.entry for chunk in todo if chunk.entry is not None],
            checked.passed.patients_of_splits(),
            workspace.recipe,
            workspace.sources,
            published,
            checked.census,
        )
        number = manifest.number
        index_rows.create(todo, Path(scratch), store)
    created = commit.create_bytes(manifests.dump(manifest), store, manifests.manifest_path(number))
    if not created and store.read(manifests.manifest_path(number)) != manifests.dump(manifest):
        raise LostRaceError(f"manifest {number} was published by another run meanwhile; run again to continue from it")
    _write_surroundings(workspace, plan, manifest, checked, rejects)
    return PublishedCorpus(manifest, rejects, new=created)


def views_changed(workspace: Workspace, plan: Plan) -> bool:
    """Whether there is a corpus, and the plan's recipe asks for other views of it: sampling, sites, what it says of itself."""
    published = load_published(workspace.corpus)
    return published is not None and changed(plan.recipe, published.manifest)


@dataclass(frozen=True)
class Checked:
    """All samples, judged and counted."""

    result: ValidationResult
    summary: Summary
    passed: index_rows.Passed
    census: Census


def _check(
    workspace: Workspace,
    plan: Plan,
    todo: Sequence[index_rows.Chunk],
    built: Built,
    published: Published | None,
    scratch: Path,
) -> Checked:
    newest, later = plan.generation, set[str]()
    if not built.samples and published:
        newest, later = _newest(published.manifest), _later(workspace.corpus, published.manifest)
    check = SampleCheck(plan.palette, newest, workspace.recipe, later=later)
    return _counted(check, workspace, todo, built.holes, scratch, plan.placed["case_id"])


def check_rows(workspace: Workspace, manifest: Manifest, todo: Sequence[index_rows.Chunk]) -> Checked:
    """Judge and count the rows of a manifest that adds no sample to its parent: all that it names are as planned.

    Args:
        workspace: the corpus.
        manifest: what is to be published, or is.
        todo: its rows.
    """
    return _judged(workspace, manifest, todo, (), pa.chunked_array([], pa.string()))


def _newest(manifest: Manifest) -> int:
    """Number of the generation that the newest samples are of; 0 for none."""
    return max((s.generation for s in manifest.shards), default=0)


def _later(store: CorpusStore, manifest: Manifest) -> set[str]:
    """Structures that came into the palette after the newest samples, with labels that were added to some."""
    newest = _newest(manifest)
    if not manifest.added or newest in (0, manifest.number):
        return set()
    path = manifests.manifest_path(newest)
    before = manifests.parse(store.read(path), store.url(path))
    return {e.structure for e in manifest.palette} - {e.structure for e in before.palette}


def _judged(
    workspace: Workspace,
    manifest: Manifest,
    todo: Sequence[index_rows.Chunk],
    holes: Sequence[Reject],
    cases: pa.ChunkedArray,
) -> Checked:
    """Judge and count the rows of a manifest; of an older one than is published, or of one that soon will be."""
    later = _later(workspace.corpus, manifest)
    check = SampleCheck(manifest.palette, _newest(manifest), workspace.recipe, later=later)
    return _counted(check, workspace, todo, holes, None, cases)


def _counted(
    check: SampleCheck,
    workspace: Workspace,
    todo: Sequence[index_rows.Chunk],
    holes: Sequence[Reject],
    scratch: Path | None,
    cases: pa.ChunkedArray,
) -> Checked:
    passed, census = index_rows.Passed(), Census(workspace.recipe)
    earlier: list[pa.Array] = []
    for chunk, table in zip(todo, index_rows.walk(todo, passed, scratch), strict=True):
        check.add(table)
        census.add(table)
        if chunk.entry is None:
            earlier.append(table["case_id"].combine_chunks())
    planned = pc.unique(pa.concat_arrays([cases.combine_chunks(), *earlier]))
    return Checked(check.finish(holes, planned), check.summary, passed, census)


def complete(workspace: Workspace, console: Console) -> None:
    """Write what belongs to the newest manifest and is not there; nothing when nothing is missing.

    It is not there after a publish that was killed right behind its manifest, and after a manifest that no build made.
    """
    store = workspace.corpus
    published = load_published(store)
    if published is None or _hint(store) == published.manifest.number:
        return
    withdrawal.require_finished(workspace, published)
    plan, markers = audit_published(workspace, published.manifest.plan_id)
    holes = [h for m in markers for h in m.holes]
    todo = index_rows.chunks(store, 0, (), published)
    checked = _judged(workspace, published.manifest, todo, holes, plan.placed["case_id"])
    rejects = tuple(assembly.all_rejects(plan, markers))
    console.remark(f"writing the report of manifest {published.manifest.number}, and what else goes with it")
    _write_surroundings(workspace, plan, published.manifest, checked, rejects)


def _hint(store: CorpusStore) -> int | None:
    try:
        return int(store.read(LATEST))
    except (FileNotFoundError, ValueError):
        return None


def _write_surroundings(
    workspace: Workspace,
    plan: Plan,
    manifest: Manifest,
    checked: Checked,
    rejects: tuple[Reject, ...],
) -> None:
    store = workspace.corpus
    commit.replace(assembly.table_bytes(Reject, rejects), store, assembly.rejects_path(manifest.number))
    if newest_number(store) > manifest.number:
        return  # what is not numbered speaks of the newest manifest, whose publish writes it
    _write_papers(plan, manifest, checked.census, store)
    write_report(workspace, plan, manifest, checked, rejects)
    commit.replace(f"{manifest.number}\n".encode(), store, LATEST)


def _write_papers(plan: Plan, manifest: Manifest, census: Census, store: CorpusStore) -> None:
    """Write what goes with a corpus that is handed on: ATTRIBUTION.md, citations.bib, croissant.json."""
    known = spelled_out({name: Source.model_validate(content) for name, content in plan.sources.items()})
    commit.replace(attribution(manifest, census, known).encode(), store, "ATTRIBUTION.md")
    commit.replace(citations(manifest).encode(), store, "citations.bib")
    indexes = [_index_file(store, entry.path) for entry in manifest.indexes]
    commit.replace(croissant(manifest, census, indexes), store, "croissant.json")


def _index_file(store: CorpusStore, path: str) -> IndexFile:
    local = store.local(path)
    data = local.read_bytes() if local is not None else store.read(path)
    return IndexFile(path, len(data), hashlib.sha256(data).hexdigest())


def write_report(
    workspace: Workspace,
    plan: Plan,
    manifest: Manifest,
    checked: Checked,
    rejects: tuple[Reject, ...],
) -> None:
    """Write report.html, findings.parquet and contact-sheet.png beside the corpus."""
    store = workspace.corpus
    commit.replace(assembly.parquet_bytes(checked.summary.found.table(rejects)), store, FINDINGS)
    read = reader(store)
    heading = f"{manifest.corpus}: a sample of each source, in radiological convention"
    sheet = draw_contact_sheet(checked.summary.richest, read, heading=heading)
    if sheet is not None:
        commit.replace(sheet, store, "contact-sheet.png")
    data = ReportData(
        manifest=manifest,
        samples=checked.summary,
        rejects=rejects,
        outcomes=(
            *outcomes_of("inventory", store),
            *outcomes_of("plan", store),
            *outcomes_of("sources", store),
            *checked.result.outcomes,
        ),
        cases_found=Counter(plan.table["source"].to_pylist() + [r.source for r in plan.rejects if r.case_id]),
        worst=draw_worst(worst_cases(_worth_a_look(checked), checked.result.outcomes), read),
        contact_sheet=None if sheet is None else Picture("Contact sheet", heading, sheet),
    )
    commit.replace(render(data).encode(), store, "report.html")


def _worth_a_look(checked: Checked) -> list[Sample]:
    """Samples that broke an expectation, gates first, and those whose volumes changed most."""
    broken = [o for o in checked.result.failures if o.suite == "samples" and o.table in PER_SAMPLE]
    keys = dict.fromkeys(failing.partition("/")[0] for o in broken for failing in o.failing)
    return checked.passed.find({*list(keys)[:LOOKED_AT], *checked.summary.changed})
