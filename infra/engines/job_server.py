"""Beam's job servers for Spark and Flink: one jar, put together by Maven from parts that are compared first.

Beam publishes such a jar too (`beam-runners-spark-3-job-server`), of 200 to 300 MB. Here it is made of its parts, each
pinned by its own checksum in `jars.sha256`, which works with mirrors that refuse large files; give Beam's own with
`-- --spark_job_server_jar=…` when you have it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from infra.engines.fetch import FetchError, Make, compare, read_lock, run, sha256

HERE = Path(__file__).parent

MISSING = "Maven is not there; install it (on Debian: apt-get install maven), it brings Java along"

MAVEN = ("mvn", "-B", "-ntp", "-q")


def maker(name: str) -> Make:
    """What makes the job server that is described in the folder of that name."""

    def make(folder: Path) -> None:
        work = folder / "work"
        work.mkdir()
        shutil.copy(HERE / name / "pom.xml", work)
        compare(parts(work), read_lock(HERE / name / "jars.sha256"), name)
        run([*MAVEN, "package"], missing=MISSING, cwd=work)
        made = [f for f in (work / "target").glob("*.jar") if not f.name.startswith("original-")]
        if len(made) != 1:
            raise FetchError(f"{name}: expected one jar in {work / 'target'}, found {len(made)}")
        made[0].rename(folder / "job-server.jar")
        shutil.rmtree(work)

    return make


def parts(work: Path) -> dict[str, str]:
    """Checksum of each part of the project in a folder, by file name."""
    jars = work / "jars"
    run([*MAVEN, "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], missing=MISSING, cwd=work)
    found = {f.name: sha256(f) for f in sorted(jars.glob("*.jar"))}
    shutil.rmtree(jars)
    return found
