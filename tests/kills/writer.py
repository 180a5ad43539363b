"""A bare writer: plan, build and publish in one process, without an engine, to be killed by its parent's order."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.publish import LostRaceError
from pipelines.repair import repair
from tests.kills import points, world
from transforms.build_shards import BuildShardFn
from transforms.plan.planner import Selection

NURSERY = multiprocessing.get_context("forkserver")
"""Children start as copies of one process that has imported everything and has no threads."""
NURSERY.set_forkserver_preload(["tests.kills.writer"])

FAILED = 1
"""Exit status of a writer that met what may pass; what it was lies beside its scratch folder."""

LOST = 3
"""Exit status of a writer that others were faster than, again and again."""


@dataclass(frozen=True)
class Order:
    """What a writer shall do.

    Attributes:
        corpus: URL or folder.
        raw: folder of the sources.
        scratch: folder for tars being built.
        only: what it selects; nothing: all.
        job: `run` or `repair`.
        point: name of the point at which something happens to it, or None.
        occurrence: the how-many-eth time it passes the point.
        happens: `die` or `stop`.
        half_copies: whether it dies half-way through the copy of a tar from scratch.
        blind: whether it takes every disk for empty, as one does when others fill it meanwhile.
        environment: for the process.
    """

    corpus: str
    raw: str
    scratch: str
    only: tuple[str, ...] = ()
    job: str = "run"
    point: str | None = None
    occurrence: int = 1
    happens: str = "die"
    half_copies: bool = False
    blind: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def start(order: Order) -> BaseProcess:
    """Start a writer."""
    process = NURSERY.Process(target=_live, args=(order,), daemon=True)
    process.start()
    return process


def ended(process: BaseProcess, timeout_s: float = 120) -> int:
    """Exit status of a writer; negative: the signal that killed it.

    Raises:
        TimeoutError: it does not end.
    """
    process.join(timeout_s)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"a writer did not end within {timeout_s} s")
    return process.exitcode


def write_sources(folder: Path) -> None:
    """The files of both sources."""
    for source, files in world.contents().items():
        (folder / source).mkdir(parents=True)
        for name, data in files.items():
            (folder / source / name).write_bytes(data)
            os.utime(folder / source / name, ns=(0, 0))


def _live(order: Order) -> None:
    os.environ.update(order.environment)
    logging.getLogger("mdfp").setLevel(logging.CRITICAL)
    if order.blind:
        shutil.disk_usage = lambda _: SimpleNamespace(free=1 << 40)  # type: ignore[assignment,misc]
    with world.cheap(local=True):
        act: Callable[[], None] = points.die if order.happens == "die" else points.stop
        if order.point is not None:
            points.arm(points.by_name(order.point), order.occurrence, act)
        if order.half_copies:
            points.copy_half(act)
        try:
            (_repair if order.job == "repair" else _run)(order)
        except LostRaceError:
            os._exit(LOST)
        except OSError as error:
            Path(f"{order.scratch}.error").write_text(f"{type(error).__name__}: {error}")
            os._exit(FAILED)
    os._exit(0)


def _run(order: Order) -> None:
    space = world.workspace(order.corpus, order.raw)
    options = BuildOptions(scratch=Path(order.scratch), attempts=2, max_holes=0.9)
    runs.run(space, Selection(only=order.only), BareEngine(), options, world.CONSOLE)  # type: ignore[arg-type]


def _repair(order: Order) -> None:
    space = world.workspace(order.corpus, order.raw)
    done = repair(space, BuildOptions(scratch=Path(order.scratch), attempts=2), deep=True, console=world.CONSOLE)
    if done.lost:
        raise OSError(str(done.lost))


@dataclass(frozen=True)
class BareEngine:
    """Builds shards one after the other, here."""

    workers: int = 1
    local: bool = False
    stop: Callable[[], bool] | None = None

    def run(self, build: Callable[[Any], object], **_: object) -> None:
        """Run a graph of numbers and one transform over them."""
        build(_Graph())


class _Graph:
    def __init__(self, values: tuple[int, ...] | None = None):
        self._values = values

    def __or__(self, step: Any) -> Any:
        step = getattr(step, "transform", step)
        if self._values is None:
            return _Graph(tuple(step.values))
        function = BuildShardFn(step)
        function.setup()
        for number in self._values:
            list(function.process(number))
        return None
