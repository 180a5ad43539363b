"""The words of `--runner`."""

from __future__ import annotations

from mdfp.errors import UsageError
from pipelines.engines.dataflow import Dataflow
from pipelines.engines.embedded import Embedded
from pipelines.engines.flink import Flink
from pipelines.engines.launch import Launcher
from pipelines.engines.local import Local
from pipelines.engines.prism import Prism
from pipelines.engines.spark import Spark
from schemas.suggest import nearest

LAUNCHERS: dict[str, Launcher] = {
    "local": Local(),
    "embedded": Embedded(),
    "prism": Prism(),
    "spark": Spark(),
    "flink": Flink(),
    "dataflow": Dataflow(),
}


def launcher(word: str) -> Launcher:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return LAUNCHERS[word]
    except KeyError:
        raise UsageError(
            f"--runner {word}: expected one of {', '.join(LAUNCHERS)}{nearest(word, list(LAUNCHERS))}; "
            "any other runner of Beam's goes after --, as -- --runner=NAME with all its options"
        ) from None
