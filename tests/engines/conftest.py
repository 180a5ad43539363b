"""The corpus of the engines' tests: phantom scans, small, and `python -m pipelines` on the engine asked for."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples import phantom

CHECKOUT = Path(__file__).parents[2]
RECIPE = CHECKOUT / "examples" / "recipes" / "demo.yaml"
ENVIRONMENT = dict(os.environ)
"""Before anything here ran: a pipeline in this process prepares the environment of its workers."""
KEY = "a key for tests, of sixteen bytes and more"
ASKED = "MDFP_ENGINES"
"""Engines to run, as `make engines` sets it; without it these tests are left out."""

ABSENT = "MDFP_ENGINES_ABSENT"
"""Engines that lack a program on this machine, for the last line."""


@dataclass(frozen=True)
class Tried:
    """An engine of the table.

    Attributes:
        word: how it is called in `make engines ENGINES=…`.
        options: of the command line, before `--`.
        version: what runs, for the table.
    """

    word: str
    options: tuple[str, ...]
    version: str


def tried() -> tuple[Tried, ...]:
    from apache_beam import __version__ as beam

    from pipelines.engines.artifacts import FLINK, JOB_SERVER_VERSION, PRISM_VERSION, SPARK

    spark, flink = (f"{e}, job server {JOB_SERVER_VERSION}" for e in (f"Spark {SPARK}", f"Flink {FLINK}"))
    return (
        Tried("local", ("--workers", "1"), f"Beam {beam}, in process"),
        Tried("processes", ("--workers", "2"), f"Beam {beam}, 2 processes"),
        Tried("embedded", ("--runner", "embedded", "--workers", "2"), f"Beam {beam}, portable"),
        Tried("prism", ("--runner", "prism", "--workers", "2"), f"Prism {PRISM_VERSION}"),
        Tried("spark-local", ("--runner", "spark", "--workers", "2"), f"{spark}, local[2]"),
        Tried("spark-cluster", ("--runner", "spark", "--workers", "2"), f"{spark}, master and worker"),
        Tried("flink", ("--runner", "flink", "--workers", "2"), f"{flink}, [local]"),
    )


@dataclass
class Row:
    """A line of the table."""

    version: str
    seconds: float
    equal: bool


ROWS: dict[str, Row] = {}


def asked() -> list[str]:
    return os.environ.get(ASKED, "").split()


def pytest_generate_tests(metafunc):
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", tried(), ids=lambda e: e.word, scope="session")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("engines") is None or Path(__file__).parent not in item.path.parents:
            continue
        callspec = getattr(item, "callspec", None)
        engine = callspec.params.get("engine") if callspec else None
        needed = {engine.word} if engine else {m for mark in item.iter_markers("needs_engine") for m in mark.args}
        if missing := needed - set(asked()):
            reason = f"{', '.join(sorted(missing))}: driven by `make engines`"
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """The table and its last line: after everything else that is printed."""
    if not asked() or hasattr(config, "workerinput"):
        return
    known = {e.word: e.version for e in tried()}
    wide = max(map(len, known.values()))
    write = sys.stdout.write
    write(f"\n{'engine':14} {'what':{wide}} {'seconds':>8}  equal\n")
    for word in asked():
        row = ROWS.get(word)
        version = known.get(word, "there is no such engine")
        write(
            f"{word:14} {version:{wide}} {f'{row.seconds:8.1f}' if row else '       -'}  "
            f"{('yes' if row.equal else 'NO') if row else 'DID NOT RUN'}\n"
        )
    absent = os.environ.get(ABSENT, "")
    rest = f"; cannot run here: {absent}" if absent else ""
    write(f"engines: {sum(r.equal for r in ROWS.values())} of {len(asked())} equal{rest}\n")
    sys.stdout.flush()


def pytest_sessionfinish(session, exitstatus):
    # A word that is no engine, or one whose test was left out, must not pass by.
    if asked() and exitstatus == 0 and set(ROWS) != set(asked()):
        session.exitstatus = 1


@dataclass(frozen=True)
class Raw:
    """The phantom data sets, and the command line over them."""

    folder: Path

    def run(
        self, out: Path, *more: str, cwd: Path, beam: tuple[str, ...] = (), **env: str
    ) -> tuple[subprocess.CompletedProcess[str], float]:
        """Run all four stages from a working directory that is not the checkout; returns what it took, too."""
        roots = [w for s in phantom.SOURCES for w in ("--root", f"{s}={self.folder / s}")]
        # -P keeps this process from importing what lies where it stands, and says nothing to workers: that is ours to do.
        words = [sys.executable, "-P", "-m", "pipelines", "run", str(RECIPE), "--out", str(out), *roots]
        words += ["--max-holes", "0.9"]
        words += [*more, *(("--", *beam) if beam else ())]
        environment = ENVIRONMENT | {"MDFP_PATIENT_KEY": KEY, "PYTHONPATH": str(CHECKOUT)} | env
        start = time.monotonic()
        ended = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        return ended, time.monotonic() - start


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Raw:
    folder = tmp_path_factory.mktemp("raw") / "bucket"
    phantom.write_bucket(folder, scale="small", patients=4)
    return Raw(folder)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of everything that must be equal wherever a corpus is built."""
    parts = ("shards", "manifests", "index", "rejects")
    files = sorted(f for part in parts for f in (folder / part).rglob("*") if f.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@pytest.fixture(scope="session")
def digests_of() -> Callable[[Path], dict[str, str]]:
    return digests


@pytest.fixture(scope="session")
def reference(raw, tmp_path_factory) -> dict[str, str]:
    """The corpus as one process builds it."""
    folder = tmp_path_factory.mktemp("reference")
    ended, _ = raw.run(folder / "corpus", "--workers", "1", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return digests(folder / "corpus")


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory):
    """A master, a worker and its pool; started by the first test that asks."""
    from infra.spark.standalone import cluster

    with cluster(tmp_path_factory.mktemp("spark"), cores=2, memory_mb=2048) as found:
        yield found


@pytest.fixture
def beam_args(engine, request) -> tuple[str, ...]:
    """What an engine needs after `--`."""
    if engine.word == "spark-cluster":
        return tuple(request.getfixturevalue("spark_cluster").beam_args())
    return ()


@pytest.fixture
def own_key(engine, tmp_path) -> dict[str, str]:
    """How workers come by the patient key: the pool of a cluster has no environment of ours, and reads the file."""
    if engine.word != "spark-cluster":
        return {}
    file = tmp_path / "patient.key"
    file.write_text(KEY)
    return {"MDFP_PATIENT_KEY": "", "MDFP_PATIENT_KEY_FILE": str(file)}


@pytest.fixture(scope="session")
def rows() -> dict[str, Row]:
    """The table, filled as engines end."""
    return ROWS


@pytest.fixture(scope="session")
def make_row() -> type[Row]:
    return Row
