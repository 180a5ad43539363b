from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from mdfp.crops import Crops
from mdfp.errors import MissingExtraError, UsageError

HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = [
    pytest.mark.torch,
    pytest.mark.skipif(not HAS_TORCH, reason="torch is not installed: pip install 'mdfp[torch]'"),
]
CROPS = Crops((8, 10, 12), per_visit=2, foreground=0.5)


@pytest.mark.skipif(HAS_TORCH, reason="torch is installed")
def test_without_torch_the_error_names_the_extra():
    with pytest.raises(MissingExtraError, match=r"pip install 'mdfp\[torch\]'"):
        import mdfp.torch_dataset  # noqa: F401


@pytest.fixture
def make(written):
    def made(**how):
        from mdfp.torch_dataset import TorchDataset

        return TorchDataset(written.open().loader("train", seed=9, crops=CROPS, batch=1, **how))

    return made


def run(data, **how):
    from torch.utils.data import DataLoader

    return DataLoader(data, batch_size=None, **how)


def of(batches):
    return [(b["epoch"], b["step"], tuple(b["key"]), float(b["image"].sum()), int(b["classes"].sum())) for b in batches]


class TestTorch:
    pytestmark = needs_torch

    def test_batches_are_tensors_of_the_same_numbers(self, make, written):
        import torch

        plain = list(written.open().loader("train", seed=9, crops=CROPS, batch=1))
        tensors = list(run(make()))
        assert len(tensors) == len(plain) == len(make())
        for a, b in zip(plain, tensors, strict=True):
            assert b["image"].dtype == torch.float32
            assert b["classes"].dtype == torch.uint8
            np.testing.assert_array_equal(a["image"], b["image"].numpy())
            np.testing.assert_array_equal(a["classes"], b["classes"].numpy())

    @pytest.mark.parametrize("workers", [1, 2, 3])
    def test_the_number_of_workers_changes_nothing(self, make, workers):
        data = make()
        for epoch in (0, 1):
            data.set_epoch(epoch)
            alone = make()
            alone.set_epoch(epoch)
            assert of(run(data, num_workers=workers)) == of(run(alone))

    def test_set_epoch_reaches_persistent_workers(self, make):
        data = make()
        loader = run(data, num_workers=2, persistent_workers=True)
        data.set_epoch(0)
        first = of(loader)
        data.set_epoch(1)
        second = of(loader)
        data.set_epoch(0)
        assert of(loader) == first != second

    def test_the_last_batch_tells_where_to_continue(self, make):
        whole = of(run(make()))
        data = make()
        it = iter(run(data, num_workers=2))
        seen = [next(it) for _ in range(3)]
        again = make()
        again.seek(seen[-1]["epoch"], seen[-1]["step"] + 1)
        assert of(seen) + of(run(again, num_workers=3)) == whole

    def test_state_without_workers(self, make):
        whole = of(run(make()))
        data = make()
        it = iter(run(data))
        seen = of([next(it) for _ in range(2)])
        state = json.loads(json.dumps(data.state_dict()))
        again = make()
        again.load_state_dict(state)
        assert seen + of(run(again)) == whole

    def test_a_loader_without_batches_is_refused(self, written):
        from mdfp.torch_dataset import TorchDataset

        with pytest.raises(UsageError, match="gives no batches"):
            TorchDataset(written.open().loader("train"))
