"""Fetch engines: `python -m infra.engines fetch [prism|spark|flink|spark-cluster …]`; `list` says what is there.

Each is fetched by the ordinary client of its registry, compared with the checksums beside this file, and put into the
cache (`MDFP_CACHE`, else the user's) under a name that holds its version. What is there is not fetched again.
"""

from __future__ import annotations

import argparse
import sys
import time

from infra.engines import job_server, prism, spark_cluster
from infra.engines.fetch import FetchError, fetched
from pipelines.engines import artifacts

FETCHERS = {
    artifacts.PRISM: prism.make,
    artifacts.SPARK_JOB_SERVER: job_server.maker("spark-job-server"),
    artifacts.FLINK_JOB_SERVER: job_server.maker("flink-job-server"),
    artifacts.SPARK_DISTRIBUTION: spark_cluster.make,
}


def main() -> int:
    """1 when something that was asked for could not be fetched."""
    names = [a.name for a in FETCHERS]
    parser = argparse.ArgumentParser(prog="python -m infra.engines", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what is there")
    fetching = commands.add_parser("fetch", help="fetch what is not there")
    fetching.add_argument("names", nargs="*", help=f"of {', '.join(names)}; default: all")
    asked = parser.parse_args()
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
