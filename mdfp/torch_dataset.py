"""A corpus as a torch IterableDataset.

    loader = corpus.loader("train", seed=7, crops=Crops(96, foreground=0.5), batch=2)
    data = DataLoader(TorchDataset(loader), batch_size=None, num_workers=4)

`batch_size=None`: batches are made here, so that their order does not depend on the number of workers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdfp.errors import UsageError, require

require("torch", "torch")

import torch  # noqa: E402  (after the error that names the extra)
from torch.utils.data import IterableDataset, get_worker_info  # noqa: E402

from mdfp.loader import Loader  # noqa: E402


class TorchDataset(IterableDataset[dict[str, Any]]):
    """Batches of a loader as tensors, divided by rank and worker.

    Rank and world come from `torch.distributed` when it is initialised and the loader was given none; the worker from the
    DataLoader. Without workers each iteration is one epoch, and the next iteration the next epoch. With workers call
    `set_epoch(n)` before each, as with torch's DistributedSampler: it reaches persistent workers too.

    Continuing in the middle of an epoch: without workers, or with torchdata's StatefulDataLoader and an equal number of
    workers, `state_dict` and `load_state_dict` do it. With a plain DataLoader and workers, the workers are ahead of the
    training: keep the numbers of the last batch and call `seek(batch["epoch"], batch["step"] + 1)`; any number of workers
    may continue.

    Args:
        loader: of the whole rank (one worker), with `crops` and `batch`.

    Raises:
        UsageError: a loader that gives no batches, or one made for a worker.
    """

    def __init__(self, loader: Loader):
        super().__init__()
        if loader.batch is None:
            raise UsageError("TorchDataset: the loader gives no batches; make it with crops=Crops(size) and batch=n")
        if loader.workers != 1:
            raise UsageError("TorchDataset: give the loader of the whole rank; workers are counted here")
        if loader.world == 1 and torch.distributed.is_available() and torch.distributed.is_initialized():
            loader = _divided(loader, rank=torch.distributed.get_rank(), world=torch.distributed.get_world_size())
        self.loader = loader
        # (times it was set, epoch, step), in memory that workers share with the training process.
        self._start = torch.tensor([0, loader.epoch, loader.step], dtype=torch.int64).share_memory_()
        self._mine: Loader | None = None
        self._seen = 0

    def __len__(self) -> int:
        return self.loader.steps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        loader = self._own()
        if self._seen != int(self._start[0]):
            self._seen = int(self._start[0])
            loader.seek(int(self._start[1]), int(self._start[2]))
        for batch in loader:
            assert isinstance(batch, dict)
            yield tensors(batch)

    def _own(self) -> Loader:
        """The loader of this process: the rank's, or this worker's part of it."""
        info = get_worker_info()
        if info is None:
            return self.loader
        if self._mine is None:
            self._mine = _divided(self.loader, worker=info.id, workers=info.num_workers)
        return self._mine

    def set_epoch(self, epoch: int) -> None:
        """Start at the beginning of an epoch, in all workers."""
        self.seek(epoch, 0)

    def seek(self, epoch: int, step: int) -> None:
        """Go to a step of an epoch, in all workers.

        Raises:
            UsageError: an epoch has fewer steps.
        """
        self.loader.seek(epoch, step)
        self._start[1], self._start[2] = epoch, step
        self._start[0] += 1

    def state_dict(self) -> dict[str, Any]:
        """Where the run is; inside a worker, where that worker is."""
        return self._own().state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a state was taken; see `Loader.load_state_dict`."""
        loader = self._own()
        loader.load_state_dict(state)
        if loader is self.loader:
            self.seek(loader.epoch, loader.step)
        else:
            self._seen = int(self._start[0])


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    """A batch with its arrays as tensors that share their memory; 16-bit unsigned integers, which torch lacks, as int32."""
    return {name: _tensor(value) if isinstance(value, np.ndarray) else value for name, value in batch.items()}


def _tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.int32) if array.dtype == np.uint16 else array)


def _divided(loader: Loader, **part: int) -> Loader:
    made = copy.copy(loader)
    for name, value in part.items():
        setattr(made, name, value)
    return made
