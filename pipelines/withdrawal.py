"""What other commands ask about withdrawals: whether one was interrupted, and whether a plan is older than one."""

from __future__ import annotations

from mdfp import manifest as manifests
from mdfp.errors import MdfpError, UsageError
from pipelines.workspace import Workspace
from transforms import withdrawn as tombstones
from transforms.plan.planner import Plan
from transforms.plan.published import Published, newest_number
from transforms.shard import read_marker
from transforms.store import CorpusStore
from transforms.withdraw import shard_of, superseded, taken_back

COLUMNS = ("case_id", "patient", "source")


class UnfinishedWithdrawalError(MdfpError):
    """A withdrawal was interrupted; until it is finished nothing else is published."""


def require_finished(workspace: Workspace, published: Published | None) -> None:
    """Make sure that what was taken back is out of the newest manifest and out of the markers it was built from.

    Where nothing was ever taken back this is one listing.

    Args:
        workspace: the corpus, and the recipe for the message.
        published: the newest state.

    Raises:
        UnfinishedWithdrawalError: it is not.
    """
    corpus = workspace.corpus
    withdrawn = tombstones.load(corpus)
    if published is None or not withdrawn:
        return
    left = sum(int(taken_back(rows, withdrawn).sum()) for rows in published.batches(COLUMNS))
    if left or _stale_markers(corpus, published):
        raise UnfinishedWithdrawalError(
            f"{corpus.root}: a withdrawal was interrupted ({left} of its samples are still published); finish it with:\n"
            f"  python -m pipelines withdraw {workspace.recipe_path} --yes"
        )


def _stale_markers(corpus: CorpusStore, published: Published) -> bool:
    """Whether a marker still names a tar that a withdrawal rewrote."""
    newest = published.manifest
    older = [_manifest(corpus, n) for n in range(1, newest_number(corpus))]
    tars, _ = superseded(newest, older)
    names = {shard_of(path) for path in tars}
    for o in corpus.list("commits") if names else ():
        name = o.path.removeprefix("commits/").rsplit(".", 2)[0]
        if name in names and o.path.endswith(".json") and read_marker(corpus, o.path).path in tars:
            return True
    return False


def _manifest(corpus: CorpusStore, number: int) -> manifests.Manifest:
    path = manifests.manifest_path(number)
    return manifests.parse(corpus.read(path), corpus.url(path))


def refuse_stale(corpus: CorpusStore, plan: Plan, published: Published | None) -> None:
    """Make sure that a plan which is not published yet takes nothing that was taken back after it was made.

    Raises:
        UsageError: it does.
    """
    withdrawn = tombstones.load(corpus)
    if not withdrawn or (published is not None and published.manifest.plan_id == plan.plan_id):
        return
    planned = {c for shard in plan.shards for c in shard.cases}
    hit = [
        a
        for a in plan.assignments
        if a.case_id in planned and (a.case_id in withdrawn.cases or a.source in withdrawn.sources)
    ]
    if hit:
        raise UsageError(
            f"the plan {plan.plan_id[:12]} holds {len(hit)} cases that were taken back since; make a new plan"
        )
