"""Ask the running builds of the newest plan to stop, wherever and on whatever engine they run."""

from __future__ import annotations

from dataclasses import dataclass

from mdfp.errors import UsageError
from pipelines.status import Status, status
from transforms import cancel as requests
from transforms.cancel import Mode
from transforms.plan import files
from transforms.store import CorpusStore


@dataclass(frozen=True)
class Cancelled:
    """A request that was made.

    Attributes:
        number: the how-manieth of this plan.
        mode: see `transforms.cancel.Mode`.
        status: how far the build was when the request was made.
    """

    number: int
    mode: Mode
    status: Status


def cancel(corpus: CorpusStore, mode: Mode) -> Cancelled:
    """Make a request.

    Args:
        corpus: whose builds are to stop.
        mode: `finish` or `now`.

    Raises:
        UsageError: there is nothing to stop: no plan, or all of it is built.
    """
    base = files.latest(corpus)
    found = status(corpus)
    if base is None:
        raise UsageError(f"{corpus.root}: there is no plan, so nothing is being built")
    if found.shards_done == found.shards_planned:
        raise UsageError(
            f"{corpus.root}: all {found.shards_planned} shards of the newest plan are built; there is nothing to stop"
        )
    return Cancelled(requests.ask(corpus, base, mode), mode, found)
