"""`make kills`: simulated histories, real deaths, and one line that says whether the guarantee held.

python -m tests.kills          everything
python -m tests.kills ci       200 histories, 50 kills of a bare writer and 5 through Beam
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from infra.servers.install import InstallError, Unavailable, cache_folder
from infra.servers.servers import SERVERS, running
from tests.kills import beam, real
from tests.kills.mutants import MUTANTS
from tests.kills.real import Death, Ground
from tests.kills.simulate import failures, prepared, tell

HISTORIES = {"all": 1000, "ci": 200}
ROUNDS = {"all": (1, 2, 3), "ci": (1, 2)}
"""How often a writer passes a point before it is killed there."""

AT_ANY_MOMENT = 12
"""Kills of a bare writer after a random time."""

BEAM_KILLS = {"all": len(beam.POINTS), "ci": 5}


def main(words: list[str]) -> int:
    """Run, print the table, and say how it went."""
    how = words[0] if words else "all"
    if how not in HISTORIES:
        sys.stderr.write(f"KILLS={how}: expected one of {', '.join(HISTORIES)}\n")
        return 2
    os.environ["PYTHONHASHSEED"] = "0"
    logging.getLogger("mdfp").setLevel(logging.CRITICAL)
    violations = 0
    began = time.monotonic()
    told, broken = _histories(HISTORIES[how])
    violations += broken
    _say(f"{told} histories, {broken} violated, {time.monotonic() - began:.0f} s")
    if how == "all":
        violations += _mutants()
    deaths: list[Death] = []
    with tempfile.TemporaryDirectory(prefix="mdfp-kills-") as name:
        folder = Path(name)
        began = time.monotonic()
        deaths += _watched(_local(folder, ROUNDS[how]))
        _say(f"{sum(d.killed for d in deaths)} kills of a bare writer on a folder, {time.monotonic() - began:.0f} s")
        if how == "all":
            began = time.monotonic()
            try:
                deaths += _watched(_on_s3(folder))
            except InstallError as error:
                violations += 1
                _say(f"NOT RUN, though it can be here: kills on S3: {error}")
            _say(f"kills of a bare writer on S3: {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        (folder / "beam").mkdir()
        deaths += _watched(beam.deaths(beam.Driver(folder / "beam"), BEAM_KILLS[how]))
        _say(f"kills through Beam: {time.monotonic() - began:.0f} s")
    _table(deaths)
    violations += sum(bool(d.violations) for d in deaths)
    kills = sum(d.killed for d in deaths)
    _say(f"kills: {told:,} interleavings, {kills} kills, {violations} violations")
    return 1 if violations else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _histories(count: int) -> tuple[int, int]:
    """Tell histories on all cores; print those that violate anything."""
    workers = len(os.sched_getaffinity(0))
    pieces = [range(n, count, workers) for n in range(workers)]
    broken = 0
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for seed, said in (failure for found in pool.imap_unordered(failures, pieces) for failure in found):
            broken += 1
            _say(f"{said}\n  again: python -m tests.kills.simulate {seed}")
    return count, broken


def _mutants() -> int:
    """Break the protocol; a mutant that nobody notices is a violation of what this proves."""
    missed = 0
    with prepared() as scratch:
        for name, mutant in MUTANTS.items():
            with mutant.at_work():
                caught = next((s for s in range(mutant.seeds) if tell(s, scratch, mutant.scenario).violations), None)
            missed += caught is None
            _say(f"broken on purpose: {name}: {'NOT CAUGHT' if caught is None else f'caught by history {caught}'}")
    return missed


def _watched(deaths: Iterable[Death]) -> list[Death]:
    found = []
    for death in deaths:
        found.append(death)
        for violation in death.violations:
            _say(f"VIOLATION at {death.point}: {violation}")
    return found


def _local(folder: Path, rounds: tuple[int, ...]) -> Iterable[Death]:
    (folder / "local").mkdir()
    ground = Ground(folder / "local")
    yield from real.deaths(ground, rounds)
    yield from real.deaths_at_any_moment(ground, AT_ANY_MOMENT)
    yield from real.repairs(ground)
    for story in (real.race, real.rivals, real.zombie):
        yield story(ground)
    for story in (partial(real.full_scratch, blind=False), partial(real.full_scratch, blind=True), real.full_corpus):
        try:
            yield story(ground)
        except PermissionError as error:
            _say(f"not run: a full disk: {error}")


def _on_s3(folder: Path) -> Iterable[Death]:
    """The same against a real S3 server, where this machine can run one.

    Raises:
        InstallError: it can, and the server could not be fetched or compiled.
    """
    server = SERVERS["versitygw"]
    try:
        installed = server.install(cache_folder(os.environ))
    except Unavailable as error:
        _say(f"not run: kills on S3: {error}")
        return
    (folder / "s3").mkdir()
    with ExitStack() as stack:
        started = stack.enter_context(running(server, installed, folder))
        os.environ.update(started.environment)
        import fsspec

        fsspec.filesystem(started.protocol, **started.options).call_s3("create_bucket", Bucket="kills")
        ground = Ground(folder / "s3", lambda name: f"s3://kills/{name}", dict(started.environment))
        for death in real.deaths(ground, rounds=(1, 2)):
            yield Death(f"s3: {death.point}", death.killed, death.violations)
        for story in (real.race, real.rivals, real.zombie):
            death = story(ground)
            yield Death(f"s3: {death.point}", death.killed, death.violations)


def _table(deaths: list[Death]) -> None:
    """Point × kills × outcome."""
    kills = Counter(d.point for d in deaths if d.killed)
    bad = Counter(d.point for d in deaths if d.violations)
    points = list(dict.fromkeys(d.point for d in deaths))
    width = max(map(len, points))
    _say(f"\n{'point':{width}}  kills  outcome")
    for point in points:
        _say(f"{point:{width}}  {kills[point]:5}  {'violated' if bad[point] else 'equal'}")
    _say("")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
