from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.preprocess_data import STRUCTURES, make_pair
from benchmarks.preprocess_peers import LUT, nibabel_scipy, ours
from transforms.labels.palette import build


def test_the_pair_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = (make_pair(tmp_path / name, "warm-up") for name in ("a", "b"))
    assert first.image.read_bytes() == second.image.read_bytes()
    assert first.label.read_bytes() == second.label.read_bytes()


def test_ours_does_the_work_of_its_peers(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "warm-up")
    image, label = ours(pair, plain=True)
    their_image, their_label = nibabel_scipy(pair)
    assert image.dtype == their_image.dtype == np.int16
    assert np.abs(image.astype(int) - their_image).max() <= 1
    to_ours = {int(LUT[n]): e.value for n, s in enumerate(STRUCTURES, 1) for e in build(STRUCTURES) if e.structure == s}
    remapped = np.vectorize(lambda v: to_ours.get(int(v), 0))(their_label)
    assert (label != remapped).mean() < 0.01  # ties between two voxels


@pytest.mark.parametrize("plain", [True, False])
def test_both_rows_of_ours_have_one_grid(tmp_path: Path, plain: bool) -> None:
    image, label = ours(make_pair(tmp_path, "warm-up"), plain=plain)
    assert image.shape == label.shape == (13, 26, 21)
