"""Build what a plan says: shards, markers, and a plan revision when equal pixels turn up under two names."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mdfp.errors import MdfpError
from pipelines import index_rows, logs, withdrawal
from pipelines.console import Console
from pipelines.runner import Engine
from pipelines.workspace import Workspace
from schemas.case import Reject
from schemas.plan import Marker
from schemas.reasons import Reason
from transforms import probe
from transforms.build_shards import BuildShards
from transforms.cancel import CancelWatch
from transforms.event_log import EventLog
from transforms.plan import duplicates, files
from transforms.plan.planner import Plan
from transforms.plan.published import Published
from transforms.plan.published import load as load_published
from transforms.plan.revision import revise
from transforms.references import References
from transforms.rows import made_digest
from transforms.same_code import require_same_code
from transforms.shard import committed
from transforms.ticks import Ticks

MAX_REVISIONS = 5
"""Rounds of duplicates at most. The second finds none, unless a tie is broken by what the first left out."""


READERS = 8
"""Markers that are read at a time: on an object store each is three requests."""


WANTED_HOLES = frozenset({Reason.DUPLICATE, Reason.NO_SLICE, Reason.TERMS_REFUSED, Reason.TERMS_UNKNOWN})
"""Holes that say nothing against a source: the recipe asks for them."""


class AuditError(MdfpError):
    """Planned cases, samples and holes do not add up. Never expected; nothing is published."""


class TooManyHolesError(MdfpError):
    """More cases of a source could not be made than `--max-holes` allows."""


@dataclass(frozen=True)
class BuildOptions:
    """How a build behaves.

    Attributes:
        scratch: local folder for tars being built; None: the system's temporary folder.
        attempts: how often a failing request to a store is tried.
        max_holes: fraction of a source's cases, published ones included, that may be holes (duplicates not counted).
        rebuild: accept another environment than the plan was made in.
    """

    scratch: Path | None = None
    attempts: int = 4
    max_holes: float = 0.1
    rebuild: bool = False


@dataclass(frozen=True)
class Built:
    """A finished build."""

    plan: Plan
    markers: tuple[Marker, ...]

    @property
    def samples(self) -> int:
        """Samples in all shards."""
        return sum(m.samples for m in self.markers)

    @property
    def holes(self) -> tuple[Reject, ...]:
        """Planned cases that could not be made."""
        return tuple(h for m in self.markers for h in m.holes)

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(m.bytes for m in self.markers)


def build(workspace: Workspace, plan: Plan, engine: Engine, options: BuildOptions, console: Console) -> Built:
    """Build every shard of a plan that is not committed yet, resolve duplicates, and audit.

    Raises:
        UsageError: the plan was made in another environment.
        TooManyHolesError: see `BuildOptions.max_holes`.
        AuditError: planned cases, samples and holes do not add up.
        CancelledError: somebody asked for it since this build began; an earlier request is passed over.
        OSError: a store or disk failed for longer than the retries; run again to go on where it stopped.
    """
    published = load_published(workspace.corpus)
    withdrawal.refuse_stale(workspace.corpus, plan, published)
    watch = CancelWatch().also(workspace.corpus, files.folder(plan))
    if any(number for _, number in watch.known):
        console.remark("an earlier build of this plan was cancelled; going on where it stopped")
    for _ in range(MAX_REVISIONS):
        build_missing(workspace, plan, engine, options, console, watch)
        watch.check(workspace.corpus)
        built = Built(plan, audit(workspace, plan))
        if workspace.recipe.duplicates == "keep":
            break
        fresh = index_rows.each(workspace.corpus, built.markers, duplicates.COLUMNS)
        earlier = published.batches(duplicates.COLUMNS) if published else iter(())
        twins = duplicates.resolve(earlier, fresh)
        if not twins:
            break
        found = "1 sample has" if len(twins) == 1 else f"{len(twins)} samples have"
        console.remark(
            f"{found} the pixels of another one; building the shards again without {'it' if len(twins) == 1 else 'them'}"
        )
        doubts, plan = plan.doubts, revise(plan, twins)
        for doubt in plan.doubts[len(doubts) :]:
            console.remark(f"terms: {doubt}")
        watch = watch.also(workspace.corpus, files.folder(plan))  # before others can see the plan, and cancel it
        files.write(plan, workspace.corpus)
    _check_holes(built, published, options)
    return built


def build_missing(
    workspace: Workspace,
    plan: Plan,
    engine: Engine,
    options: BuildOptions,
    console: Console,
    watch: CancelWatch | None = None,
) -> int:
    """Build the shards of a plan that are not committed yet, without looking at what came of it.

    Args:
        workspace: the corpus and its sources.
        plan: what to build.
        engine: where.
        options: how.
        console: for progress.
        watch: requests to stop that are looked for; None: those about this plan, from now on.

    Returns:
        The number of shards that were missing; no engine is started for none.

    Raises:
        UsageError: the plan was made in another environment.
        PreconditionsError: the store lets two writers replace each other's objects.
    """
    require_same_code(plan.pixel_version, plan.environment, any_environment=options.rebuild)
    probe.require(workspace.corpus)
    missing = [n for n, shard in enumerate(plan.shards) if committed(workspace.corpus, shard) is None]
    # Largest first: the schedule only; what is in a shard does not depend on it.
    missing.sort(key=lambda n: (-plan.shards[n].estimated_seconds, n))
    cases = sum(len(plan.shards[n].cases) for n in missing)
    if not missing:
        return 0
    corpus = workspace.corpus
    seen = watch or CancelWatch().also(corpus, files.folder(plan))
    engine = dataclasses.replace(engine, stop=lambda: seen.request(corpus) == "now")
    with tempfile.TemporaryDirectory(prefix="mdfp-build-", dir=scratch_folder(options)) as folder:
        log = EventLog(logs.log_format(local=engine.local), str(Path(folder) / "log") if engine.local else None)
        ticks = Ticks(folder) if engine.local else None
        transform = BuildShards(
            out=workspace.corpus.place,
            plan=files.folder(plan),
            roots=tuple(sorted(workspace.places.items())),
            scratch=folder if engine.local else str(options.scratch or tempfile.gettempdir()),
            attempts=options.attempts,
            any_environment=options.rebuild,
            ticks=folder if engine.local else None,
            cancel=seen,
            log=log,
        )

        def count() -> int:
            return ticks.count() if ticks else _committed_cases(workspace, plan, missing)

        with console.progress("build", cases, count), logs.following(Path(folder) / "log", console.log):
            engine.run(lambda p: p | "ShardNumbers" >> References(missing) | transform, tasks=len(missing))
    return len(missing)


def scratch_folder(options: BuildOptions) -> Path | None:
    """The folder that the user gave, made when it is not there; None: the system's."""
    if options.scratch is not None:
        options.scratch.mkdir(parents=True, exist_ok=True)
    return options.scratch


def _committed_cases(workspace: Workspace, plan: Plan, numbers: Sequence[int]) -> int:
    return sum(len(plan.shards[n].cases) for n in numbers if committed(workspace.corpus, plan.shards[n]))


def audit(workspace: Workspace, plan: Plan) -> tuple[Marker, ...]:
    """The markers of all shards of a plan, after making sure that every planned case is a sample or a hole.

    Raises:
        AuditError: a shard is not committed, or the numbers do not add up.
    """
    markers = []
    sliced = plan.recipe.get("slices") is not None  # a volume gives one sample or more
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(lambda shard: committed(workspace.corpus, shard), plan.shards))
    for shard, marker in zip(plan.shards, found, strict=True):
        if marker is None:
            raise AuditError(f"shard {shard.shard} is not committed; run build again to make it")
        lost = {h.case_id for h in marker.holes}
        kept = [c for c in shard.cases if c not in lost]
        if (
            not lost <= set(shard.cases)
            or len(lost) != len(marker.holes)
            or not (marker.samples == len(kept) or (sliced and marker.samples > len(kept)))
            or made_digest(kept) != marker.made
        ):
            raise AuditError(
                f"shard {shard.shard}: {len(shard.cases)} cases planned, {marker.samples} samples and "
                f"{len(marker.holes)} holes found"
            )
        markers.append(marker)
    return tuple(markers)


def audit_published(workspace: Workspace, plan_id: str) -> tuple[Plan, tuple[Marker, ...]]:
    """The plan of a manifest and its markers: of the newest edition that is built, for a later one may only be planned.

    Raises:
        AuditError: none of them is.
        CorpusError: there is no such plan.
    """
    failed: AuditError | None = None
    for base in files.editions(workspace.corpus, plan_id):
        plan = files.read(workspace.corpus, base)
        try:
            return plan, audit(workspace, plan)
        except AuditError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def _check_holes(built: Built, published: Published | None, options: BuildOptions) -> None:
    # One broken file among a few new ones of a large source is no reason to stop: what is published counts too.
    cases = Counter(built.plan.placed["source"].to_pylist())
    cases.update(published.sources() if published else {})
    holes = Counter(h.source for h in built.holes if h.reason not in WANTED_HOLES)
    for source, count in sorted(holes.items()):
        if count > options.max_holes * cases[source]:
            reasons = Counter(str(h.reason) for h in built.holes if h.source == source)
            raise TooManyHolesError(
                f"{source}: {count} of {cases[source]} cases could not be made "
                f"({', '.join(f'{r}: {n}' for r, n in reasons.most_common())}), more than --max-holes "
                f"{options.max_holes:g} allows; look at the reasons, or raise --max-holes"
            )
