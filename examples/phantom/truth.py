"""What is true of a phantom bucket: every case and structure, every planted fault, and what a builder should make of it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.phantom.anatomy import Person, Point
from examples.phantom.scan import ScanGrid, merged_into
from mdfp import geometry
from mdfp.labels import State
from schemas.reasons import Reason


@dataclass(frozen=True)
class StructureTruth:
    """What is true of one structure in one case.

    Attributes:
        structure: ontology id.
        state: what a source that tells the truth says of it: present, absent, unknown or merged.
        mm3: analytic volume of what is drawn under this name alone: a liver drawn together with its tumour is counted
            without it; a kidney whose sides are drawn has nothing of its own and counts 0. None unless present.
        centroid_ras_mm: analytic centroid of the same, world mm, RAS; the patient's left is x < 0. None where there is
            nothing of its own.
        whole_mm3: analytic volume of the organ with everything in it.
        value: number that its voxels hold before noise (HU, or the MR's own numbers).
        vanishes: whether it is drawn in one native voxel, too little to survive resampling to 1.5 mm or more.
        merged_into: structure that was drawn instead, for state merged.
    """

    structure: str
    state: State
    mm3: float | None = None
    centroid_ras_mm: Point | None = None
    whole_mm3: float | None = None
    value: float | None = None
    vanishes: bool = False
    merged_into: str | None = None


@dataclass(frozen=True)
class CaseTruth:
    """What is true of one case.

    Attributes:
        source: id of its source.
        name: its name in the source: the file's stem or the folder; patient_series for DICOM.
        person: who it is; equal for equal people across sources.
        modality: CT or MR.
        image_paths: its image's objects below the source's root, in anatomical order for a series.
        label_paths: its labels' objects.
        shape_xyz: voxels of the image as stored. Where a fault is planted in it, this is what it was before.
        spacing_xyz_mm: spacing of the image as stored.
        orientation: directions its stored axes point to.
        structures: one entry for each structure that any phantom source draws.
        reason: why it cannot become a sample, for a planted fault; None for a sound case.
    """

    source: str
    name: str
    person: str
    modality: str
    image_paths: tuple[str, ...]
    label_paths: tuple[str, ...]
    shape_xyz: tuple[int, int, int]
    spacing_xyz_mm: Point
    orientation: str
    structures: tuple[StructureTruth, ...]
    reason: Reason | None = None

    def structure(self, structure: str) -> StructureTruth:
        """What is true of a structure; unknown for one that no phantom source draws."""
        for s in self.structures:
            if s.structure == structure:
                return s
        return StructureTruth(structure, State.UNKNOWN)


@dataclass(frozen=True)
class PlantedFault:
    """Something that must come out as a reject, with this reason.

    Attributes:
        source: id of the source.
        name: name of the case; of none, where an object by itself is at fault.
        reason: expected reason code.
        paths: the objects at fault, below the source's root.
        detail: what was done to them.
    """

    source: str
    name: str
    reason: Reason
    paths: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class PlantedFinding:
    """Something odd that must be noticed and must not cost the case.

    Attributes:
        source: id of the source.
        name: name of the case.
        kind: `duplicates` (slices twice), `left_out` (a scout among the slices), `padding` (voxels outside the scan).
        paths: the objects concerned, below the source's root.
    """

    source: str
    name: str
    kind: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """What is true of a bucket.

    Attributes:
        cases: every case, sound or not.
        faults: planted faults; each makes one reject, and nothing else does, duplicates apart.
        findings: planted oddities; none makes a case fail.
        duplicates: pairs of (source, name) whose images hold equal pixels: one of each pair must not become a sample.
        private_words: words planted in headers that must not appear in a corpus, report or log.
    """

    cases: tuple[CaseTruth, ...]
    faults: tuple[PlantedFault, ...]
    findings: tuple[PlantedFinding, ...]
    duplicates: tuple[tuple[tuple[str, str], tuple[str, str]], ...]
    private_words: tuple[str, ...]

    def case(self, source: str, name: str) -> CaseTruth:
        """The case of that name.

        Raises:
            KeyError: there is none.
        """
        for case in self.cases:
            if (case.source, case.name) == (source, name):
                return case
        raise KeyError(f"no case {name!r} in {source!r}")

    def case_of(self, source: str, path: str) -> CaseTruth:
        """The case that an image object belongs to.

        Raises:
            KeyError: it belongs to none, for example a scout.
        """
        for case in self.cases:
            if case.source == source and path in case.image_paths:
                return case
        raise KeyError(f"{path!r} of {source!r} is no case's image")

    def reasons(self) -> dict[str, int]:
        """How many rejects of each reason the faults make, duplicates among samples not counted."""
        return dict(Counter(str(f.reason) for f in self.faults))

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        text = json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True)
        Path(path).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Part:
    """What is true of one source of a bucket."""

    cases: tuple[CaseTruth, ...]
    faults: tuple[PlantedFault, ...] = ()
    findings: tuple[PlantedFinding, ...] = ()


def structures_of(
    body: Person,
    drawn: Collection[str],
    every: Sequence[str],
    values: dict[str, int] | None = None,
    tiny: str | None = None,
) -> tuple[StructureTruth, ...]:
    """What is true of each structure when some are drawn.

    Args:
        body: who was scanned.
        drawn: structures that somebody looked for and drew where they are; `kidney` stands for both as one.
        every: structures to list.
        values: number that a structure's voxels hold, by structure.
        tiny: structure that is drawn in one voxel only.
    """
    return tuple(_structure(body, structure, set(drawn), values or {}, tiny == structure) for structure in every)


def _structure(body: Person, structure: str, drawn: set[str], values: dict[str, int], tiny: bool) -> StructureTruth:
    sides = {f"{structure}_left", f"{structure}_right"}
    if structure not in drawn and sides <= drawn:
        there = [o.mm3 for s, o in body.organs.items() if s in sides]
        state = State.PRESENT if there else State.ABSENT
        return StructureTruth(structure, state, mm3=0.0 if there else None, whole_mm3=sum(there) if there else None)
    if structure not in drawn:
        whole = merged_into(structure)
        if whole != structure and whole in drawn:
            return StructureTruth(structure, State.MERGED, merged_into=whole)
        return StructureTruth(structure, State.UNKNOWN)
    parts = [o for s, o in body.organs.items() if structure in (s, merged_into(s))]
    if not parts:
        return StructureTruth(structure, State.ABSENT)
    whole_mm3 = sum(p.mm3 for p in parts)
    # A tumour lies wholly in the liver: where it is drawn, the liver's own voxels are the rest.
    carved = [o for s, o in body.organs.items() if (structure, s) == ("liver", "liver_tumour") and s in drawn]
    mm3 = whole_mm3 - sum(c.mm3 for c in carved)
    x, y, z = (
        (sum(p.mm3 * p.centre_ras_mm[a] for p in parts) - sum(c.mm3 * c.centre_ras_mm[a] for c in carved)) / mm3
        for a in range(3)
    )
    value = values.get(structure, values.get(f"{structure}_left"))
    return StructureTruth(structure, State.PRESENT, mm3, (x, y, z), whole_mm3, value, tiny)


def moved(structures: Sequence[StructureTruth], was: ScanGrid, now: ScanGrid) -> tuple[StructureTruth, ...]:
    """The same when a header claims that the same voxels lie on another grid.

    Args:
        structures: what is true on the grid that was scanned.
        was: that grid.
        now: the grid of the header, with axes in the same order.
    """
    factor = now.voxel_mm3 / was.voxel_mm3
    result = []
    for s in structures:
        if s.mm3 is not None and s.whole_mm3 is not None:
            centroid = now.position_of(was.index_of(s.centroid_ras_mm)) if s.centroid_ras_mm else None
            s = dataclasses.replace(s, mm3=s.mm3 * factor, whole_mm3=s.whole_mm3 * factor, centroid_ras_mm=centroid)
        result.append(s)
    return tuple(result)


def case_truth(
    source: str,
    name: str,
    body: Person,
    modality: str,
    grid: ScanGrid,
    structures: tuple[StructureTruth, ...],
    *,
    images: Sequence[str],
    labels: Sequence[str] = (),
    reason: Reason | None = None,
) -> CaseTruth:
    """The record of one case; shape, spacing and orientation are the grid's."""
    z, y, x = grid.shape_zyx
    return CaseTruth(
        source=source,
        name=name,
        person=body.name,
        modality=modality,
        image_paths=tuple(images),
        label_paths=tuple(labels),
        shape_xyz=(x, y, z),
        spacing_xyz_mm=geometry.spacing_xyz_mm(grid.affine_ras),
        orientation=geometry.orientation_code(grid.affine_ras),
        structures=structures,
        reason=reason,
    )
