"""The order of a training run, and the batches of it.

The order of an epoch is a function of (seed, epoch) and of the samples asked for, and of nothing else: shards are
shuffled, then samples within windows of that order. Ranks and workers divide it without changing it:

    global order     s0  s1  s2  s3  s4  s5  s6  s7  …
    step 0, 2 ranks, batch 2:  rank 0 takes s0 s2, rank 1 takes s1 s3
    step 1:                    rank 0 takes s4 s6, rank 1 takes s5 s7
    workers of a rank:         worker w of W makes the steps w, w + W, w + 2W, …

so a DataLoader, which asks its workers in turn, hands on the same batches for any number of workers.

Where the corpus has a sampling plan (`mdfp.sampling`), an epoch of its train split is what that plan gives: as many places
as there are samples, some of which come up again and others not in this epoch. `sampling=None` gives each sample once.

Every rank has the same number of steps. With `uneven="repeat"` the order is continued from its beginning until the last
step is full (the batch marks those samples in `repeat`, so that a metric can leave them out); with `"drop"` what does not
fill a step is left out of the epoch.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mdfp.crops import Crop, Crops
from mdfp.draw import permutation
from mdfp.errors import UsageError
from mdfp.frames import FrameCrop, Frames
from mdfp.index import Samples
from mdfp.manifest import Sampling
from mdfp.opened import OpenSample
from mdfp.sampling import SamplingPlan

if TYPE_CHECKING:
    from mdfp.corpus import Corpus

Item = dict[str, Any] | list[Crop] | OpenSample
"""What a loader gives: batches, the crops of a visit, or opened samples."""

Uneven = Literal["repeat", "drop"]
"""What happens to samples that do not fill the last step of all ranks."""

STATE_VERSION = 1
"""Raised when a saved state would mean something else."""


class Loader:
    """Batches of crops, or opened samples, of one epoch at a time.

    Example:
        loader = corpus.loader("train", seed=7, crops=Crops(96, per_visit=2, foreground=0.5), batch=4, rank=0, world=8)
        for epoch in range(100):
            for batch in loader:             # ends after len(loader) steps, the same on every rank
                batch["image"]               # (8, 1, 96, 96, 96) float32
                batch["classes"]             # (8, 96, 96, 96) uint8

    Args:
        corpus: the corpus.
        split: a split's name, or samples that a filter left.
        seed: with the epoch it decides the order and the crops.
        crops: what to cut of volumes, or `Frames` to take of pictures; None to get opened samples one by one.
        batch: samples in a batch, each giving `crops.per_visit` crops; None to get crops one visit at a time.
        shuffle: False keeps the order of the index.
        window: samples that are shuffled among each other once shards are; 1 keeps shards whole, which reads remote
            shards in one go; None shuffles all samples freely.
        rank: number of this process among those that train together.
        world: how many they are.
        worker: number of this worker process within the rank.
        workers: how many they are.
        uneven: `"repeat"` or `"drop"`, see above.
        limit: take only the first so many samples of each epoch's order.
        prefetch: steps that a thread prepares ahead; 0 for none.
        sampling: `"corpus"` for the corpus's own plan, where it has one, on shuffled samples of the split that it is for;
            None for each sample once an epoch; or a plan of one's own.

    Raises:
        UsageError: arguments that make no order, a split without samples, or a plan that does not know its samples.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str | Samples = "train",
        *,
        seed: int = 0,
        crops: Crops | Frames | None = None,
        batch: int | None = None,
        shuffle: bool = True,
        window: int | None = 1024,
        rank: int = 0,
        world: int = 1,
        worker: int = 0,
        workers: int = 1,
        uneven: Uneven = "repeat",
        limit: int | None = None,
        prefetch: int = 0,
        sampling: Sampling | Literal["corpus"] | None = "corpus",
    ):
        for name, value, low in (
            ("batch", batch, 1),
            ("window", window, 1),
            ("limit", limit, 1),
            ("prefetch", prefetch, 0),
        ):
            if value is not None and value < low:
                raise UsageError(f"loader: {name} is at least {low}, found {value}")
        for name, number, total in (("rank", rank, world), ("worker", worker, workers)):
            if not 0 <= number < total:
                raise UsageError(f"loader: {name} is 0..{total - 1}, found {number}")
        if batch is not None and crops is None:
            raise UsageError("loader: samples differ in shape and make no batch; give crops=Crops(size), or batch=None")
        if uneven not in ("repeat", "drop"):
            raise UsageError(f"loader: uneven is 'repeat' or 'drop', found {uneven!r}")
        self.corpus, self.crops, self.batch = corpus, crops, batch
        self.seed, self.shuffle, self.window = seed, shuffle, window
        self.rank, self.world, self.worker, self.workers = rank, world, worker, workers
        self.uneven, self.limit, self.prefetch = uneven, limit, prefetch
        self.samples = split if isinstance(split, Samples) else corpus.samples.where(split=split)
        if not len(self.samples):
            splits = {s.split: s.samples for s in corpus.manifest.splits}
            raise UsageError(f"loader: no samples in {split!r}; this corpus has {splits}")
        if sampling == "corpus":
            sampling = self._own_sampling()
        elif sampling is not None and not shuffle:
            raise UsageError("loader: shuffle=False gives the order of the index; take sampling=None, or shuffle")
        self.plan = None if sampling is None else SamplingPlan(self.samples, sampling)
        """How often what comes up in an epoch; None: each sample once."""
        if crops is not None and crops.labels:
            crops.weights(corpus.label_space(crops.space, unknown=crops.unknown))  # complains now, not in a worker
        if self.steps == 0:
            raise UsageError(
                f"loader: {self._count()} samples do not fill one step of {world} ranks with batch {batch or 1}; "
                "take uneven='repeat', or a smaller batch"
            )
        self.epoch = 0
        """The epoch that the next iteration gives, or is giving."""
        self.step = 0
        """Step of the rank, in this epoch, that comes next."""

    def __len__(self) -> int:
        """Steps of an epoch that this worker makes (all of the rank's, for one worker)."""
        return len(range(self.worker, self.steps, self.workers))

    @property
    def steps(self) -> int:
        """Steps of an epoch: the same number for every rank."""
        per_step = self.world * (self.batch or 1)
        return self._count() // per_step if self.uneven == "drop" else -(-self._count() // per_step)

    def _own_sampling(self) -> Sampling | None:
        """The corpus's plan, where it is for these samples."""
        found = self.corpus.manifest.sampling
        if found is None or not self.shuffle or set(self.samples.column("split").unique().to_pylist()) != {found.split}:
            return None
        return found

    def _count(self) -> int:
        places = len(self.samples) if self.plan is None else len(self.plan)
        return min(places, self.limit or places)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Rows of the index in the order of an epoch, for all ranks together."""
        return self._drawn(epoch)[0]

    def _drawn(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(rows, visits) of an epoch; a visit above 0 is a sample that the sampling plan takes again."""
        if self.plan is not None:
            rows, visits = self.plan.order(self.seed, epoch, lambda rows, name: self._shuffled(rows, epoch, name))
        else:
            rows = self._shuffled(self.samples.rows, epoch) if self.shuffle else self.samples.rows
            visits = np.zeros(len(rows), dtype=np.int64)
        return rows[: self._count()], visits[: self._count()]

    def _shuffled(self, rows: npt.NDArray[np.int64], epoch: int, *name: str) -> npt.NDArray[np.int64]:
        if self.window is None:
            return rows[permutation(len(rows), "samples", self.seed, epoch, *name)]
        shards = self.samples.table["shard"].take(pa.array(rows)).to_numpy()
        # Shards are numbered by name: the order of rows in the index does not matter.
        names, number = np.unique(shards.astype(str), return_inverse=True)
        place = np.argsort(permutation(len(names), "shards", self.seed, epoch, *name))
        rows = rows[np.argsort(place[number], kind="stable")]
        parts = [rows[i : i + self.window] for i in range(0, len(rows), self.window)]
        return np.concatenate(
            [p[permutation(len(p), "window", self.seed, epoch, i, *name)] for i, p in enumerate(parts)]
        )

    def visits(self, epoch: int, step: int) -> list[tuple[int, int]]:
        """(row, visit) of this rank's samples in a step; a visit above 0 is of a sample that comes up again.

        It does so where the sampling plan takes it more than once, or to fill the last step.
        """
        rows, visits = self._order_of(epoch)
        most = int(visits.max()) + 1
        return [
            (int(rows[p % len(rows)]), int(visits[p % len(rows)]) + most * (p // len(rows))) for p in self._places(step)
        ]

    def _places(self, step: int) -> range:
        """This rank's places in a step, counted through the epoch and on from its beginning to fill the last step."""
        per_rank = self.batch or 1
        first = step * per_rank * self.world + self.rank
        return range(first, first + per_rank * self.world, self.world)

    def _order_of(self, epoch: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        known = getattr(self, "_known", None)
        if known is None or known[0] != epoch:
            self._known = known = (epoch, self._drawn(epoch))
        drawn: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] = known[1]
        return drawn

    def __iter__(self) -> Iterator[Item]:
        """What is left of the epoch; the next iteration gives the next one."""
        epoch = self.epoch
        first = self.step + (self.worker - self.step) % self.workers
        todo = range(first, self.steps, self.workers)
        for step, made in zip(todo, self._make(epoch, todo), strict=True):
            # Counted before it is handed on: a state taken while it is in use comes after it.
            self.step = step + 1
            yield made
        self.epoch, self.step = epoch + 1, 0

    def _make(self, epoch: int, steps: range) -> Iterator[Item]:
        if not self.prefetch:
            return (self.make(epoch, step) for step in steps)
        return self._ahead(epoch, steps)

    def make(self, epoch: int, step: int) -> Item:
        """What a step gives: a batch, a list of crops, or an opened sample. Any step may be asked for at any time."""
        visits = self.visits(epoch, step)
        opened = [(self.corpus.open(row), visit) for row, visit in visits]
        if self.crops is None:
            return opened[0][0]
        made: list[list[Crop]] = [
            list(self.crops.cut(s, seed=self.seed, epoch=epoch, visit=visit)) for s, visit in opened
        ]
        if self.batch is None:
            return made[0]
        count = self._count()
        repeat = [place >= count for place in self._places(step) for _ in range(self.crops.per_visit)]
        return collate([crop for crops in made for crop in crops], epoch, step, repeat)

    def _ahead(self, epoch: int, steps: range) -> Iterator[Item]:
        """The steps, made by a thread that is at most `prefetch` ahead. blosc2 and numpy let go of the GIL."""
        done: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(self.prefetch)
        stop = threading.Event()

        def put(item: tuple[Item | None, BaseException | None]) -> bool:
            while not stop.is_set():
                try:
                    done.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        def work() -> None:
            for step in steps:
                try:
                    item = (self.make(epoch, step), None)
                except BaseException as error:
                    put((None, error))  # raised again where the step is asked for
                    return
                if not put(item):
                    return

        thread = threading.Thread(target=work, name="mdfp-prefetch", daemon=True)
        thread.start()
        try:
            for _ in steps:
                made, error = done.get()
                if made is None:
                    assert error is not None
                    raise error
                yield made
        finally:
            stop.set()
            thread.join()

    def set_epoch(self, epoch: int) -> None:
        """Start at the beginning of an epoch."""
        self.epoch, self.step = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where the run is: what comes next after what was last handed on. Plain values, fit for JSON."""
        return {
            "version": STATE_VERSION,
            "epoch": self.epoch,
            "step": self.step,
            "seed": self.seed,
            "world": self.world,
            "batch": self.batch,
            "order": self._fingerprint(),
            "worker": [self.worker, self.workers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where a state was taken.

        A state of the whole rank (taken with one worker) continues with any number of workers. A state taken inside one of
        several workers continues in that worker of as many.

        Raises:
            UsageError: the state belongs to another order: other samples, seed, world or batch, or other workers.
        """
        if state.get("version") != STATE_VERSION:
            raise UsageError(
                f"loader state: expected version {STATE_VERSION}, found {state.get('version')}; start the epoch anew"
            )
        worker, workers = state["worker"]
        if workers > 1 and [worker, workers] != [self.worker, self.workers]:
            raise UsageError(
                f"loader state: taken in worker {worker} of {workers}, this is worker {self.worker} of {self.workers}; "
                f"use {workers} workers, or continue from a batch's numbers: loader.seek(epoch, step + 1)"
            )
        mine = self.state_dict()
        for name, remedy in (
            ("seed", "give the seed of the state"),
            ("world", "the order is divided by rank: use as many ranks, or start at an epoch with set_epoch"),
            ("batch", "use the batch of the state, or start at an epoch with set_epoch"),
            (
                "order",
                "it was taken with other samples, shuffle, window, limit, uneven or sampling; open the same manifest number",
            ),
        ):
            if state[name] != mine[name]:
                raise UsageError(f"loader state: {name} is {state[name]!r}, here it is {mine[name]!r}; {remedy}")
        self.seek(int(state["epoch"]), int(state["step"]))

    def seek(self, epoch: int, step: int) -> None:
        """Go to a step of an epoch; `step` counts the rank's steps, as `batch["step"]` does."""
        if not 0 <= step <= self.steps:
            raise UsageError(f"loader: an epoch has the steps 0..{self.steps - 1}, asked for {step}")
        self.epoch, self.step = epoch, step

    def _fingerprint(self) -> str:
        """Digest of everything but seed and epoch that the order is a function of."""
        found = hashlib.sha256()
        for key, shard in zip(self.samples.keys, self.samples.column("shard").to_pylist(), strict=True):
            found.update(f"{key}\0{shard}\n".encode())
        found.update(f"{self.shuffle} {self.window} {self.limit} {self.uneven}".encode())
        if self.plan is not None:
            found.update(f" {self.plan.fingerprint()}".encode())
        return found.hexdigest()[:16]


def collate(crops: list[Crop], epoch: int, step: int, repeat: list[bool]) -> dict[str, Any]:
    """Crops as one batch.

    Returns:
        `image` (n, images, z, y, x), or (n, images, t, z, y, x) of several time points; `classes` (n, z, y, x), absent
        without labels; `box` (n, 6) int64; `frames` (n, 2) int64, where all are of images over time; `key` and `source`,
        lists; `repeat` (n,) bool; `epoch` and `step`, numbers. Of `Frames`: `image` (n, channels, y, x), `classes`
        (n, y, x), `box` (n, 4), and the targets by name.
    """
    batch: dict[str, Any] = {"image": np.stack([c.image for c in crops])}
    if all(c.classes is not None for c in crops):
        batch["classes"] = np.stack([c.classes for c in crops if c.classes is not None])
    for name in crops[0].targets if isinstance(crops[0], FrameCrop) else ():
        batch[name] = np.stack([c.targets[name] for c in crops if isinstance(c, FrameCrop)])
    batch["box"] = np.array([c.box for c in crops], dtype=np.int64)
    if all(c.frames is not None for c in crops):
        batch["frames"] = np.array([c.frames for c in crops], dtype=np.int64)
    batch["key"] = [c.key for c in crops]
    batch["source"] = [c.source for c in crops]
    batch["repeat"] = np.array(repeat, dtype=bool)
    batch["epoch"], batch["step"] = epoch, step
    return batch
