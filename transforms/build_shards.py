"""Beam: build shards from references to rows of a plan. Pixels are born and die inside one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics

from schemas.place import Place
from schemas.recipe import Recipe
from schemas.source import Source
from transforms import telemetry
from transforms.archive_store import open_source
from transforms.cancel import CancelWatch
from transforms.event_log import EventLog
from transforms.observe import Attempt, Observer
from transforms.plan.files import PlanReader
from transforms.same_code import require_same_code
from transforms.sample import SampleMaker
from transforms.shard import ShardBuilder
from transforms.stopwatch import Stopwatch
from transforms.store import CorpusStore
from transforms.ticks import Ticks


@dataclass(frozen=True)
class ShardStatus:
    """What became of one shard: small enough for any shuffle."""

    shard: str
    fingerprint: str
    samples: int
    holes: int
    bytes: int
    built: bool


@dataclass
class BuildShards(beam.PTransform):
    """Row numbers of a plan's shard table → a `ShardStatus` each; the shards themselves go to the corpus.

    One element costs, at its largest: the compressed bytes of two cases, one volume as read and one as stored, a shard on
    local scratch, and where several cases are made of one file `shared_files.SHARED_BYTES`.

    Attributes:
        out: where the corpus is.
        plan: folder of the plan whose shards these are, below the corpus.
        roots: (source id, where its files are).
        scratch: local folder for tars being built, on whatever machine a worker runs.
        attempts: how often a failing request to a store is tried.
        any_environment: accept other versions of libraries than the plan was made with.
        ticks: local folder for a progress display, or None.
        cancel: requests to stop that workers look for before each shard.
        log: where workers tell what happens.
    """

    out: Place
    plan: str
    roots: tuple[tuple[str, Place], ...]
    scratch: str
    attempts: int = 4
    any_environment: bool = False
    ticks: str | None = None
    cancel: CancelWatch = field(default_factory=CancelWatch)
    log: EventLog = field(default_factory=EventLog)

    def expand(self, numbers: beam.PCollection) -> beam.PCollection:
        """References are spread over workers first; plan rows and pixels are read after."""
        return (
            numbers
            | "SpreadShardNumbers" >> beam.Reshuffle()
            | "BuildAndCommitShard" >> beam.ParDo(BuildShardFn(self)).with_output_types(ShardStatus)
        )


class BuildShardFn(beam.DoFn):
    """Builds one shard per element; plan and stores are opened once per process."""

    def __init__(self, options: BuildShards):
        self._options = options
        self._built = Metrics.counter("BuildShards", "shards_built")
        self._skipped = Metrics.counter("BuildShards", "shards_skipped")
        self._samples = Metrics.counter("BuildShards", "samples")
        self._cancelled = Metrics.counter("BuildShards", "shards_cancelled")

    def setup(self) -> None:
        """Open the plan and the stores.

        Raises:
            UsageError: this worker's code is not what the plan was made for.
        """
        options = self._options
        self._corpus = corpus = CorpusStore(options.out)
        self._plan = PlanReader(corpus, options.plan)
        header = self._plan.header
        require_same_code(header["pixel_version"], header["environment"], any_environment=options.any_environment)
        ticks = Ticks(options.ticks) if options.ticks else None
        Path(options.scratch).mkdir(parents=True, exist_ok=True)
        self._observer = Observer(options.log)
        maker = sample_maker(self._plan, self._observer.watch)
        limits = maker.recipe.limits
        self._builder = ShardBuilder(
            maker=maker,
            roots={i: open_source(root, maker.sources[i], limits) for i, root in options.roots if i in maker.sources},
            corpus=corpus,
            scratch=Path(options.scratch),
            attempts=options.attempts,
            on_case=ticks.tick if ticks else lambda: None,
            observer=self._observer,
        )

    def process(self, number: int) -> Iterator[ShardStatus]:
        """Build the shard in that row of the plan's shard table; nothing when somebody asked builds to stop."""
        if self._options.cancel.request(self._corpus) is not None:
            self._cancelled.inc()
            self._options.log.event("WARNING", "cancelled: the shard is left for a later build", stage="build")
            return
        marker, built = self._builder.build(self._plan.work(number))
        (self._built if built else self._skipped).inc()
        self._samples.inc(marker.samples)
        if (attempt := self._observer.take()) is not None:
            count(attempt)
            telemetry.write(attempt.record, self._corpus)
        yield ShardStatus(marker.shard, marker.fingerprint, marker.samples, len(marker.holes), marker.bytes, built)


def count(attempt: Attempt) -> None:
    """Counters and distributions of one attempt, for the engine's own displays.

    An engine may run an element twice and count it twice; what was really made is what markers say.
    """
    record = attempt.record
    Metrics.counter("BuildShards", "cases_ok").inc(record.cases_ok)
    Metrics.counter("BuildShards", "bytes_in").inc(record.bytes_in)
    Metrics.counter("BuildShards", "bytes_out").inc(record.bytes_out)
    Metrics.counter("BuildShards", "retries").inc(record.retries)
    Metrics.counter("BuildShards", "nondeterministic_shards").inc(0 if record.deterministic else 1)
    for reason in attempt.reasons:
        Metrics.counter("BuildShards", f"holes_{reason}").inc()
    for stage in record.seconds:
        # Beam's distributions hold integers.
        Metrics.distribution("BuildShards", f"milliseconds_{stage.stage}").update(round(stage.seconds * 1000))


def sample_maker(plan: PlanReader, watch: Stopwatch | None = None) -> SampleMaker:
    """What makes samples after a plan."""
    from mdfp import arrow
    from mdfp.manifest import PaletteEntry

    header = plan.header
    return SampleMaker(
        recipe=recipe_of(header["recipe"]),
        sources={i: Source.model_validate(s) for i, s in header["sources"].items()},
        palette=tuple(arrow.from_dict(PaletteEntry, e) for e in header["palette"]),
        generation=header["generation"],
        watch=watch or Stopwatch(),
    )


def recipe_of(content: dict[str, object]) -> Recipe:
    """The recipe of a plan; where things lie is not part of it."""
    return Recipe.model_validate({**content, "out": "-"})
