"""A SEG or RTSTRUCT as a label: its segments, by the manifest's names, as masks that are drawn when their turn comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from schemas import segment_names
from schemas.case import CaseLabel
from schemas.label_table import LabelTable
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.labels.part import LabelPart, Mask
from transforms.read.drawing import open_drawing
from transforms.read.header import affine_of
from transforms.read.segment import Segment
from transforms.rejected import Rejected
from transforms.scratch import Bytes
from transforms.volume import Volume

T = TypeVar("T")
Run = Callable[[Callable[[], T]], T]
"""Calls a function that reads or decodes, and says what its faults mean."""


def drawn_part(case_label: CaseLabel, table: LabelTable, data: Bytes, limits: Limits, run: Run) -> LabelPart:
    """The label that a drawing is: one mask a segment, or one map of a label map's numbers.

    Segments may overlap, and several may be one structure: their union is it. Structures of the table without a segment
    are looked for only when the table says `looked_for: all`.

    Args:
        case_label: what the inventory says of it.
        table: what its segments' names mean.
        data: the file.
        limits: what an array may cost.
        run: around everything that reads or decodes.

    Raises:
        Rejected: UNMAPPED_LABEL; whatever opening it raises.
    """
    header = case_label.header
    opened = run(lambda: open_drawing(header, data, limits))
    meaning = {s.number: _structure(s, table) for s in opened.segments}
    also = frozenset(table.annotated()) if table.looked_for == "all" else frozenset[str]()
    if opened.label_map is not None:
        numbers = table.model_copy(update={"values": {opened.background: BACKGROUND} | meaning, "structures": {}})
        array = opened.label_map
        return LabelPart(case_label, numbers, ((lambda: run(lambda: Volume(array(), affine_of(header))), None),), also)

    def reader(number: int) -> Callable[[], Volume]:
        return lambda: run(lambda: Volume(opened.mask(number), affine_of(header)))

    masks: tuple[Mask, ...] = tuple((reader(n), s) for n, s in meaning.items() if s != BACKGROUND)
    if not masks:
        raise Rejected(Reason.MISSING_LABEL, "the manifest ignores all segments of the object")
    return LabelPart(case_label, table, masks, also)


def _structure(segment: Segment, table: LabelTable) -> str:
    found = segment_names.look_up(segment.name, table.structures, table.ignore_names)
    if found is None:
        raise Rejected(Reason.UNMAPPED_LABEL, f"the name of segment {segment.number} is neither mapped nor ignored")
    return found
