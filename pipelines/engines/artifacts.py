"""Engines that do not come with Beam's Python package: which versions, and where they lie once fetched.

Fetching and checking is `python -m infra.engines fetch`'s; here they are only looked for. Several versions live side by
side: a name holds its version.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mdfp.errors import UsageError

PRISM_VERSION = "2.77.0"
"""Of Beam's Go module; the same as the Python package's."""

JOB_SERVER_VERSION = "2.62.0"
"""Of Beam's Java runners: the newest whose parts, one by one, were to be had and checked. The job protocol between it and
Python 2.77 is what the tests of all engines run over."""

SPARK = "3.5.0"
"""Spark inside the job server. A cluster's must be the same: its classes are sent to executors."""

FLINK = "1.19"
"""Flink inside the job server."""


def cache() -> Path:
    """Folder of what was fetched or compiled, outside every checkout: `MDFP_CACHE`, or the user's own cache."""
    if given := os.environ.get("MDFP_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdfp"


@dataclass(frozen=True)
class Artifact:
    """Something to be fetched once.

    Attributes:
        name: the word that fetches it.
        what: for messages.
        path: below the cache.
    """

    name: str
    what: str
    path: str

    @property
    def file(self) -> Path:
        """Where it lies, when it is there."""
        return cache() / "engines" / self.path

    def require(self) -> Path:
        """Where it lies.

        Raises:
            UsageError: it was not fetched.
        """
        if not self.file.exists():
            raise UsageError(
                f"{self.what} is not there (looked for {self.file}); fetch it with: python -m infra.engines fetch {self.name}"
            )
        return self.file


PRISM = Artifact("prism", f"Prism {PRISM_VERSION}", f"prism-{PRISM_VERSION}/prism")

SPARK_JOB_SERVER = Artifact(
    "spark",
    f"Beam's job server for Spark {SPARK}",
    f"beam-{JOB_SERVER_VERSION}-spark-{SPARK}/job-server.jar",
)

FLINK_JOB_SERVER = Artifact(
    "flink",
    f"Beam's job server for Flink {FLINK}",
    f"beam-{JOB_SERVER_VERSION}-flink-{FLINK}/job-server.jar",
)

SPARK_DISTRIBUTION = Artifact("spark-cluster", f"Spark {SPARK} itself", f"spark-{SPARK}/pyspark")

ALL = (PRISM, SPARK_JOB_SERVER, FLINK_JOB_SERVER, SPARK_DISTRIBUTION)
