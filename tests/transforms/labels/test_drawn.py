"""Segments become the parts of a label by their names: what is checked, what is united, what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from mdfp import geometry
from schemas.case import CaseLabel
from schemas.label_table import LabelTable
from schemas.recipe import Limits
from tests.drawn_objects import Scan, outline, rtstruct, seg, written
from transforms.labels.drawn import drawn_part
from transforms.labels.part import read_part
from transforms.read.header import array_header
from transforms.rejected import Rejected
from transforms.volume import VoxelGrid

pytest.importorskip("highdicom", reason="writes the objects; pip install -e '.[dev]'")

SCAN = Scan()
AFFINE = geometry.lps_to_ras(SCAN.affine_lps)
STRUCTURES = {"GTV*": "tumour_unspecified", "Liver": "liver", "Spleen": "spleen"}


class OnGrid:
    """An image that was not turned: its grid is the series'."""

    canonical = VoxelGrid(SCAN.shape_zyx, AFFINE)


def part_of(ds, form, **table):
    header = array_header(
        name="drawn", format=form, shape_zyx=SCAN.shape_zyx, affine_ras=AFFINE, dtype=np.dtype(np.uint8), scale=1.0,
        offset=0.0, file_bytes=1,
    )  # fmt: skip
    made = LabelTable(origin="expert", structures=STRUCTURES, ignore_names=("Body",), **table)
    return drawn_part(CaseLabel(header, "ct", "drawn", "expert"), made, written(ds), Limits(), lambda read: read())


def squares(*names):
    return rtstruct(SCAN, [(name, [outline(SCAN, (0.5 + n, 0.5, 3.5 + n, 3.5), 2)]) for n, name in enumerate(names)])


def sizes(part):
    return dict(read_part(part, OnGrid()).coded.sizes)


def test_segments_of_one_structure_are_united_and_ignored_ones_left_out():
    part = part_of(squares("GTV1", "gtv 2", "Liver", "BODY"), "rtstruct", looked_for="values_present")
    assert [structure for _, structure in part.masks] == ["tumour_unspecified", "tumour_unspecified", "liver"]
    assert sizes(part) == {"tumour_unspecified": 12, "liver": 9}


@pytest.mark.parametrize(
    ("looked_for", "checked"),
    [("values_present", {"tumour_unspecified"}), ("all", {"tumour_unspecified", "liver", "spleen"})],
)
def test_structures_without_a_segment_are_checked_only_when_all_are_looked_for(looked_for, checked):
    part = part_of(squares("GTV"), "rtstruct", looked_for=looked_for)
    assert read_part(part, OnGrid()).checked == checked


@pytest.mark.parametrize("looked_for", ["values_present", "all"])
def test_the_numbers_of_a_label_map_are_structures_and_an_ignored_one_is_background(looked_for):
    numbers = np.zeros(SCAN.shape_zyx, np.uint8)
    numbers[1, 1:3, 1:4], numbers[2, 4, 4:8], numbers[3, 2, 2], numbers[4, 0, :5] = 1, 2, 3, 4
    ds = seg(SCAN, numbers, ["Liver", "GTV a", "Body", "GTV b"], kind="LABELMAP")
    part = part_of(ds, "seg", looked_for=looked_for)
    assert sizes(part) == {"liver": 6, "tumour_unspecified": 9}
    expected = {"liver", "tumour_unspecified"} | ({"spleen"} if looked_for == "all" else set())
    assert read_part(part, OnGrid()).checked == expected


def test_a_number_that_no_segment_describes_is_unmapped():
    numbers = np.ones(SCAN.shape_zyx, np.uint8)
    numbers[1, 1, 1] = 2
    ds = seg(SCAN, numbers, ["Liver", "Spleen"], kind="LABELMAP")
    del ds.SegmentSequence[2]
    with pytest.raises(Rejected, match="unmapped_label"):
        read_part(part_of(ds, "seg"), OnGrid())


def test_a_name_without_a_meaning_is_unmapped_and_not_repeated():
    with pytest.raises(Rejected, match="unmapped_label") as fault:
        part_of(squares("GTV", "of Dr Quincy"), "rtstruct")
    assert "Quincy" not in str(fault.value)


def test_nothing_is_decoded_before_its_turn():
    ds = squares("GTV", "Liver")
    ds.ROIContourSequence[1].ContourSequence[0].ContourData[2] = "1e4"
    (tumour, _), (liver, _) = part_of(ds, "rtstruct").masks
    assert tumour().array_zyx.sum() == 9
    with pytest.raises(Rejected, match="label_grid"):
        liver()
