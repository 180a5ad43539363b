"""Kills through Beam: the command line as people run it, with a worker process or the driver killed at a point."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mdfp
from examples import phantom
from mdfp.verify import verify
from tests.kills.points import by_name
from tests.kills.real import EQUAL, Death
from transforms.commit import PART_PREFIX

CHECKOUT = Path(__file__).resolve().parents[2]
RECIPE = CHECKOUT / "examples" / "recipes" / "demo.yaml"
TIMEOUT_S = 300

POINTS = (
    ("worker", "shard: tar half written on scratch"),
    ("worker", "shard: tar visible, no rows"),
    ("worker", "shard: rows visible, no marker"),
    ("driver", "publish: index visible, no manifest"),
    ("driver", "publish: manifest visible, no rejects"),
    ("worker", "shard: committed"),
    ("driver", "plan: all tables there, no header"),
)
"""Who dies, and where. The first five are what a quick run does."""

SITE = """
import os, sys

class Arming:
    # Wraps the protocol's functions when the first module that uses them is imported.
    def find_spec(self, name, path=None, target=None):
        if name == "transforms.build_shards":
            sys.meta_path.remove(self)
            from tests.kills import points

            def die_once():
                try:
                    os.close(os.open(os.environ["KILL_STAMP"], os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return
                points.die()

            points.arm(points.by_name(os.environ["KILL_POINT"]), 1, die_once)
        return None

role = "worker" if any("sdk_worker_main" in word for word in sys.orig_argv) else "driver"
if os.environ.get("KILL_WHO") == role:
    sys.meta_path.insert(0, Arming())
"""
"""The child's `sitecustomize`: all that it knows of its end."""


class Driver:
    """Builds a corpus of one phantom source with two worker processes.

    Args:
        folder: empty.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        phantom.write_bucket(folder / "bucket", scale="small", patients=8)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE)
        status, said = self.run(folder / "undisturbed")
        if status:
            raise RuntimeError(f"an undisturbed build ended with {status}: {said}")
        self.expected = digests(folder / "undisturbed")

    def run(self, out: Path, **environment: str) -> tuple[int, str]:
        """Exit status and standard error of a run.

        Raises:
            subprocess.TimeoutExpired: it hangs; it and its workers were killed.
        """
        words = [sys.executable, "-m", "pipelines", "run", str(RECIPE), "--out", str(out), "--only", "phantom-mr"]
        for source in phantom.SOURCES:
            words += ["--root", f"{source}={self.folder / 'bucket' / source}"]
        process = subprocess.Popen(
            [*words, "--workers", "2", "--quiet", "--json", "--max-holes", "0.9"],
            cwd=CHECKOUT,
            env=os.environ
            | {
                "PYTHONPATH": f"{self.folder / 'site'}{os.pathsep}{CHECKOUT}",
                "MDFP_PATIENT_KEY": "a key of sixteen bytes",
            }
            | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _, said = process.communicate(timeout=TIMEOUT_S)
        finally:
            # Workers of a killed driver are its group; what is left of them must not disturb the next run's time.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return process.returncode, said


def digests(corpus: Path) -> dict[str, str]:
    """sha256 of everything that must be equal."""
    files = [f for part in EQUAL for f in (corpus / part).rglob("*") if f.is_file() and PART_PREFIX not in f.name]
    return {str(f.relative_to(corpus)): hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files)}


def deaths(driver: Driver, count: int = len(POINTS)) -> Iterator[Death]:
    """Kill, look, resume, compare."""
    for number, (who, point) in enumerate(POINTS[:count]):
        by_name(point)
        out, stamp = driver.folder / f"corpus-{number}", driver.folder / f"stamp-{number}"
        found: list[str] = []
        try:
            status, said = driver.run(out, KILL_WHO=who, KILL_POINT=point, KILL_STAMP=str(stamp))
        except subprocess.TimeoutExpired:
            status, said = 0, ""
            found.append("the driver hangs")
        if who == "worker" and (status != 1 or "a worker process ended before its work was done" not in said):
            found.append(f"a driver whose worker was killed ended with {status}: {said[-300:]}")
        if who == "driver" and status != -signal.SIGKILL:
            found.append(f"the driver should have been killed, it ended with {status}: {said[-300:]}")
        if (out / "manifests").is_dir() and any(
            not f.name.startswith(PART_PREFIX) for f in (out / "manifests").iterdir()
        ):
            found += [f"verify: {fault}" for fault in verify(mdfp.open(str(out)), quick=True)]
        status, said = driver.run(out)
        if status:
            found.append(f"a resume ended with {status}: {said[-300:]}")
        if (now := digests(out)) != driver.expected:
            found.append(f"differs from an undisturbed build in {sorted(now.items() ^ driver.expected.items())}")
        yield Death(f"beam {who}: {point}", stamp.exists(), tuple(found))
