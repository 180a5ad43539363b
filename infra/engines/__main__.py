"""Fetch engines (`python -m infra.engines fetch [prism|spark|flink|spark-cluster …]`), list them (`list`), try them (`prove`).

Each is fetched by the ordinary client of its registry, compared with the checksums beside this file, and put into the
cache (`MDFP_CACHE`, else the user's) under a name that holds its version. What is there is not fetched again.

`prove [WORD …]` builds one small corpus on each engine and compares the bytes, see tests/engines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from infra.engines import job_server, prism, spark_cluster
from infra.engines.fetch import FetchError, NotHereError, fetched
from pipelines.engines import artifacts, jvm
from pipelines.engines.artifacts import Artifact

FETCHERS = {
    artifacts.PRISM: prism.make,
    artifacts.SPARK_JOB_SERVER: job_server.maker("spark-job-server"),
    artifacts.FLINK_JOB_SERVER: job_server.maker("flink-job-server"),
    artifacts.SPARK_DISTRIBUTION: spark_cluster.make,
}

NEEDS: dict[str, tuple[Artifact, ...]] = {
    "local": (),
    "processes": (),
    "embedded": (),
    "prism": (artifacts.PRISM,),
    "spark-local": (artifacts.SPARK_JOB_SERVER,),
    "spark-cluster": (artifacts.SPARK_JOB_SERVER, artifacts.SPARK_DISTRIBUTION),
    "flink": (artifacts.FLINK_JOB_SERVER,),
}
"""What is tried, and what must be fetched for it."""

TESTS = Path(__file__).parents[2] / "tests" / "engines"


def prove(words: Sequence[str]) -> int:
    """Fetch what is needed, and run the engines' tests on these; all that can run here when none is named.

    Returns:
        Not 0 when one that can run here, or that was named, did not give the same bytes.
    """
    here, absent = [], []
    for word in words or NEEDS:
        try:
            for artifact in NEEDS[word]:
                fetched(artifact, FETCHERS[artifact])
            if word.startswith(("spark", "flink")) and jvm.java() is None:
                raise NotHereError("Java is not there")
        except NotHereError as error:
            print(f"{word} cannot run here: {error}", file=sys.stderr)
            absent.append(word)
        except FetchError as error:
            print(f"{word}: {error}", file=sys.stderr)
            return 1
        else:
            here.append(word)
    if absent and words:
        return 1
    command = [sys.executable, "-m", "pytest", "-q", "-m", "engines", "-p", "no:cacheprovider", str(TESTS)]
    environment = {**os.environ, "MDFP_ENGINES": " ".join(here), "MDFP_ENGINES_ABSENT": " ".join(absent)}
    return subprocess.run(command, env=environment, check=False).returncode


def main() -> int:
    """1 when something that was asked for could not be fetched."""
    names = [a.name for a in FETCHERS]
    parser = argparse.ArgumentParser(prog="python -m infra.engines", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is there")
    fetching = commands.add_parser("fetch", help="fetch what is not there")
    fetching.add_argument("names", nargs="*", help=f"of {', '.join(names)}; default: all")
    proving = commands.add_parser("prove", help="build one corpus on each and compare")
    proving.add_argument("words", nargs="*", help=f"of {', '.join(NEEDS)}; default: all that can run here")
    asked = parser.parse_args()
    if asked.command == "prove":
        if wrong := set(asked.words) - set(NEEDS):
            parser.error(f"{', '.join(sorted(wrong))}: expected {', '.join(NEEDS)}")
        return prove(asked.words)
    if asked.command == "list":
        for artifact in FETCHERS:
            print(f"{artifact.name:14} {artifact.what:40} {artifact.file if artifact.file.exists() else 'not fetched'}")
        return 0
    if wrong := set(asked.names) - set(names):
        parser.error(f"{', '.join(sorted(wrong))}: expected {', '.join(names)}")
    failed = 0
    for artifact, make in FETCHERS.items():
        if asked.names and artifact.name not in asked.names:
            continue
        start = time.monotonic()
        try:
            new = fetched(artifact, make)
        except FetchError as error:
            print(f"{artifact.name}: {error}", file=sys.stderr)
            failed += 1
            continue
        print(f"{artifact.name}: {artifact.file}" + (f" (took {time.monotonic() - start:.0f} s)" if new else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
