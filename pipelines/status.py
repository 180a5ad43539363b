"""How far a build is: commit markers counted against the plan, on any store, while a run goes on anywhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mdfp import manifest as manifests
from pipelines.workspace import Workspace
from transforms.plan import files
from transforms.plan.published import newest_number
from transforms.shard import committed
from transforms.store import CorpusStore


@dataclass(frozen=True)
class Status:
    """Where a corpus stands."""

    plan_id: str | None
    revision: int
    shards_planned: int
    shards_done: int
    cases_planned: int
    cases_done: int
    samples: int
    bytes: int
    holes: dict[str, int]
    published: int
    """Number of the newest manifest; 0: nothing is published."""
    plan_published: bool
    """Whether that manifest is of this very plan."""

    @property
    def next_step(self) -> str:
        """The command to run now."""
        if self.plan_id is None:
            return "inventory, then plan"
        if self.plan_published:
            return "nothing: all is published" if self.shards_done == self.shards_planned else "repair"
        return "build" if self.shards_done < self.shards_planned else "publish"


def status(workspace: Workspace) -> Status:
    """Count markers against the newest plan. Reads nothing else, and no pixels."""
    corpus = workspace.corpus
    published = newest_number(corpus)
    newest = files.latest(corpus)
    if newest is None:
        return Status(None, 0, 0, 0, 0, 0, 0, 0, {}, published, False)
    plan = files.read(corpus, newest)
    markers = [m for m in (committed(corpus, s) for s in plan.shards) if m is not None]
    return Status(
        plan_id=plan.plan_id,
        revision=plan.revision,
        shards_planned=len(plan.shards),
        shards_done=len(markers),
        cases_planned=plan.planned,
        cases_done=sum(m.samples + len(m.holes) for m in markers),
        samples=sum(m.samples for m in markers),
        bytes=sum(m.bytes for m in markers),
        holes=dict(Counter(str(h.reason) for m in markers for h in m.holes)),
        published=published,
        plan_published=published > 0 and _plan_of(corpus, published) == plan.plan_id,
    )


def _plan_of(corpus: CorpusStore, number: int) -> str:
    path = manifests.manifest_path(number)
    return manifests.parse(corpus.read(path), corpus.url(path)).plan_id
