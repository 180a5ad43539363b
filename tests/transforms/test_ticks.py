from __future__ import annotations

import multiprocessing

from transforms.ticks import Ticks


def _tick(folder, times):
    for _ in range(times):
        Ticks(folder).tick()


def test_processes_add_to_one_count(tmp_path):
    workers = [multiprocessing.get_context("spawn").Process(target=_tick, args=(str(tmp_path), n)) for n in (3, 4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    Ticks(tmp_path).tick()
    assert Ticks(tmp_path).count() == 8


def test_nothing_was_ticked_yet(tmp_path):
    assert Ticks(tmp_path).count() == 0


def test_a_folder_that_is_gone_is_passed_over(tmp_path):
    Ticks(tmp_path / "gone").tick()
    assert Ticks(tmp_path / "gone").count() == 0
