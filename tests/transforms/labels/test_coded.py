from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from schemas.label_table import LabelTable
from schemas.reasons import Reason
from transforms.labels.coded import IGNORED, Coded, label_map, structure_mask
from transforms.rejected import Rejected

TABLE = LabelTable(origin="expert", values={0: "background", 1: "liver", 2: "spleen", -3: "aorta"}, ignore=(9,))


def per_voxel(coded: Coded) -> list[set[str]]:
    return [set(coded.members[int(c)]) for c in coded.codes_zyx.ravel()]


@pytest.mark.parametrize("dtype", ["<u1", "<i1", "<i2", ">i2", "<i4", ">i4", "<i8", "<f4", ">f4", "<f8", "<f2"])
def test_every_number_type_gives_the_same_structures(dtype: str) -> None:
    values = [0, 1, 2, 9, 1, 0] if dtype == "<u1" else [0, 1, 2, 9, 1, -3]
    array = np.array(values).astype(dtype).reshape(1, 2, 3)
    coded = label_map(array[:, ::-1], 1.0, 0.0, TABLE)
    meaning = {0: set(), 1: {"liver"}, 2: {"spleen"}, 9: {IGNORED}, -3: {"aorta"}}
    assert per_voxel(coded) == [meaning[int(v)] for v in array[:, ::-1].ravel()]
    assert coded.sizes["liver"] == 2
    assert coded.codes_zyx.itemsize <= 2


def test_small_integers_are_not_copied() -> None:
    array = np.array([[[0, 1], [2, 0]]], np.int16)
    assert np.shares_memory(label_map(array, 1.0, 0.0, TABLE).codes_zyx, array)


def test_the_slope_is_applied_before_the_table() -> None:
    stored = np.array([0, 127, 255], np.uint8).reshape(1, 1, 3)
    table = LabelTable(origin="model", values={0: "background", 1: "liver", 2: "spleen"})
    scale = float(np.float32(2 / 255))
    with pytest.raises(Rejected, match=r"0\.996\S* \(1 voxels\).*interpolation"):
        label_map(stored, scale, 0.0, table)
    stored[0, 0, 1] = 0
    assert label_map(stored, scale, 0.0, table).sizes == {"spleen": 1}
    shifted = label_map(np.array([[[-1.0, 0.0, 1.0]]], np.float32), 1.0, 1.0, table)
    assert shifted.sizes == {"liver": 1, "spleen": 1}


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_an_unmapped_value_is_refused_with_its_voxels(dtype: Any) -> None:
    array = np.array([0, 1, 7, 7, 40], dtype).reshape(1, 1, 5)
    with pytest.raises(Rejected, match=r"found also 7 \(2 voxels\), 40 \(1 voxels\); map each") as raised:
        label_map(array, 1.0, 0.0, TABLE)
    assert raised.value.reason is Reason.UNMAPPED_LABEL


def test_background_is_not_taken_for_granted() -> None:
    table = LabelTable(origin="expert", values={1: "liver"})
    with pytest.raises(Rejected, match=r"found also 0 \(1 voxels\)"):
        label_map(np.array([[[0, 1]]], np.uint8), 1.0, 0.0, table)


@pytest.mark.parametrize("wrong", [1.5, np.nan, np.inf])
def test_values_that_are_no_integers_are_refused(wrong: float) -> None:
    with pytest.raises(Rejected, match="label values are integers; found") as raised:
        label_map(np.array([[[0.0, 1.0, wrong]]]), 1.0, 0.0, TABLE)
    assert raised.value.reason is Reason.LABEL_NOT_INTEGER


def test_values_far_apart_are_numbered() -> None:
    table = LabelTable(origin="expert", values={0: "background", 2_000_000: "liver", -5: "spleen"})
    array = np.array([[[0, 2_000_000, -5, -5]]], np.int32)
    coded = label_map(array, 1.0, 0.0, table)
    assert per_voxel(coded) == [set(), {"liver"}, {"spleen"}, {"spleen"}]


def test_an_image_given_as_a_label_is_refused_before_it_is_numbered() -> None:
    array = np.arange(70_000, dtype=np.float64).reshape(1, 100, 700) * 3
    with pytest.raises(Rejected, match="70000 distinct values"):
        label_map(array, 1.0, 0.0, TABLE)


def test_a_mask_of_one_structure_may_use_any_one_value() -> None:
    table = LabelTable(origin="expert", structures={"l": "liver"}, ignore=(9,))
    for value in (1, 255):
        coded = structure_mask(np.array([[[0, value, 9]]], np.uint8), 1.0, 0.0, "liver", table)
        assert per_voxel(coded) == [set(), {"liver"}, {IGNORED}]
    with pytest.raises(Rejected, match=r"mask of liver is expected to hold 0 and one other value; found 1 .*, 2 "):
        structure_mask(np.array([[[0, 1, 2]]], np.uint8), 1.0, 0.0, "liver", table)
