"""A phantom bucket of small scans, and corpora built from it through the real pipelines."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples import phantom
from examples.phantom.truth import CaseTruth, Truth
from mdfp import canonical
from mdfp.sample import Sample
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import Workspace, open_workspace
from transforms.plan import files
from transforms.plan.planner import Plan, Selection
from transforms.plan.published import load as load_published

CHECKOUT = Path(__file__).parents[2]
RECIPE = CHECKOUT / "examples" / "recipes" / "demo.yaml"
EVERYTHING = Selection()
ENVIRONMENT = dict(os.environ)
"""Before anything here ran: a pipeline in this process prepares the environment of its workers."""
KEY = "a key for tests, of sixteen bytes and more"


@pytest.fixture(scope="session", autouse=True)
def _patient_key():
    before = os.environ.get("MDFP_PATIENT_KEY")
    os.environ["MDFP_PATIENT_KEY"] = KEY
    yield
    if before is None:
        del os.environ["MDFP_PATIENT_KEY"]
    else:
        os.environ["MDFP_PATIENT_KEY"] = before


@dataclass(frozen=True)
class Bucket:
    """The raw data, and the truth about them."""

    folder: Path
    truth: Truth

    def roots(self) -> list[str]:
        return [f"{source}={self.folder / source}" for source in phantom.SOURCES]


@pytest.fixture(scope="session")
def bucket(tmp_path_factory) -> Bucket:
    folder = tmp_path_factory.mktemp("phantom") / "bucket"
    return Bucket(folder, phantom.write_bucket(folder, scale="small", patients=8))


@dataclass(frozen=True)
class BuiltCorpus:
    """A corpus that `run` made."""

    workspace: Workspace
    bucket: Bucket
    plan: Plan

    @property
    def folder(self) -> Path:
        assert self.workspace.corpus.folder is not None
        return self.workspace.corpus.folder

    @property
    def samples(self) -> tuple[Sample, ...]:
        published = load_published(self.workspace.corpus)
        assert published is not None
        return published.samples

    def truth_of(self, case_id: str) -> CaseTruth:
        """The truth about the case that became (or should have become) a sample."""
        found = next(o for o in self.plan.objects if o.case_id == case_id and o.array.startswith("image:"))
        return self.bucket.truth.case_of(found.source, found.path)

    def digests(self) -> dict[str, str]:
        return digests(self.folder)


def digests(folder: Path) -> dict[str, str]:
    """sha256 of everything that must be equal wherever the corpus is built."""
    parts = ("shards", "manifests", "index", "rejects")
    files = [f for part in parts for f in (folder / part).rglob("*") if f.is_file()]
    files = [f for f in files if not f.name.startswith(".part-")]  # what a killed process left behind
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)}


Build = Callable[..., BuiltCorpus]


@dataclass(frozen=True)
class CommandLine:
    """`python -m pipelines` as people run it: a process of its own."""

    bucket: Bucket

    def words(self, command: str, out: Path, *more: str, recipe: Path = RECIPE) -> list[str]:
        roots = [w for root in self.bucket.roots() for w in ("--root", root)]
        return [sys.executable, "-m", "pipelines", command, str(recipe), "--out", str(out), *roots, *more]

    def run(self, command: str, out: Path, *more: str, recipe: Path = RECIPE, **env: str):
        words = self.words(command, out, *more, recipe=recipe)
        env = ENVIRONMENT | {"MDFP_PATIENT_KEY": KEY} | env
        return subprocess.run(words, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)

    def start(self, command: str, out: Path, *more: str) -> subprocess.Popen[str]:
        """The same in the background, at the head of a process group of its own."""
        return subprocess.Popen(
            self.words(command, out, *more),
            cwd=CHECKOUT,
            env=ENVIRONMENT | {"MDFP_PATIENT_KEY": KEY},
            start_new_session=True,
            # A test run in the background of a shell ignores interrupts, and hands that on to what it starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="session")
def command_line(bucket) -> CommandLine:
    return CommandLine(bucket)


@pytest.fixture(scope="session")
def console() -> Console:
    """One that says nothing."""
    return Console(quiet=True, as_json=True)


@pytest.fixture(scope="session")
def make_workspace(bucket) -> Callable[..., Workspace]:
    def make(out: Path, *, recipe: Path = RECIPE, source: Bucket = bucket) -> Workspace:
        return open_workspace(recipe, source.roots(), str(out))

    return make


@pytest.fixture(scope="session")
def build_corpus(bucket, make_workspace, console) -> Build:
    """Run all four stages into a folder."""

    def build(
        out: Path,
        *,
        recipe: Path = RECIPE,
        workers: int = 1,
        source: Bucket = bucket,
        selection: Selection = EVERYTHING,
    ) -> BuiltCorpus:
        workspace = make_workspace(out, recipe=recipe, source=source)
        runs.run(workspace, selection, Engine(workers), BuildOptions(max_holes=0.9), console)
        return BuiltCorpus(workspace, source, read_latest(workspace))

    return build


@pytest.fixture(scope="session")
def corpus(build_corpus, tmp_path_factory) -> BuiltCorpus:
    """The corpus of the demo recipe, built in process."""
    return build_corpus(tmp_path_factory.mktemp("built") / "corpus")


@pytest.fixture(scope="session")
def plan_again() -> Callable[[Workspace], str]:
    """Write another edition of a corpus's plan, as after an upgrade: other fingerprints, and nothing of it built."""

    def write(workspace: Workspace) -> str:
        made = files.read(workspace.corpus, files.latest(workspace.corpus) or "")
        shards = tuple(dataclasses.replace(s, fingerprint=canonical.digest(s.fingerprint)) for s in made.shards)
        base = files.write(dataclasses.replace(made, shards=shards), workspace.corpus)
        assert files.editions(workspace.corpus, made.plan_id) == (base, files.folder(made))
        return base

    return write


@pytest.fixture(scope="session")
def digests_of() -> Callable[[Path], dict[str, str]]:
    return digests
