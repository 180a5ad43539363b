"""What is noticed while data is read: the closed list of findings, and the corpus's table of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

FINDINGS = {
    "duplicates": "slices that are there more than once with the same pixels: one of each is taken",
    "irregular": "steps between slices differ within the tolerance: interpolated onto a regular grid",
    "tilted": "slices sheared by gantry tilt: shifted upright",
    "mixed": "one series held several volumes: each is a case of its own",
    "left_out": "instances of a series that are no slices of its volume",
    "rescale_varies": "the rescale slope differs from slice to slice: applied slice by slice",
    "suv": "PET activity expressed as SUV by body weight",
    "lossy": "pixels that were compressed with loss before publication",
    "multiframe": "slices that came as frames of one object",
    "mosaic": "slices that came as tiles of one picture",
    "temporal": "several time points at each position: one array, or each a case of its own, as the recipe says",
    "irregular_times": "time points that follow each other at no one step: the time of each is kept where slices agree",
    "burned_in": "names may be burned into the picture: it passes by the recipe's policy alone",
    "orientation": "a picture that its file says to turn: turned",
    "spacing_unknown": "a distance that is not measured at the patient: not taken for a spacing",
    "geometry_override": "the source manifest corrects the spacing of the header",
    "qform_differs": "qform and sform of a NIfTI file disagree",
    "sform_passed_over": "by the source manifest the qform places the voxels of a NIfTI file",
    "pixdim_differs": "spacing and affine of a NIfTI file disagree",
    "scaling_ignored": "scl_slope and scl_inter of a NIfTI file that give no physical values",
    "unit_converted": "lengths were not in millimetres: converted",
    "unit_unstated": "no unit of length: taken for millimetres",
    "incomplete": "fewer slices than the series announces",
    "origin_differs": "who drew a label, as the object says, is not what the manifest says: the manifest counts",
    "mark_position_differs": "marks whose z is not that of the slice they name: the slice they name counts",
    "label_left_out": "the image is sound and its label is not: the image alone is taken",
}
"""Code → what it means and what was done about it. A reader that finds something else adds its line."""


@dataclass(frozen=True)
class FoundRow:
    """One thing that was noticed about a case: a row of `findings.parquet`."""

    source: Annotated[str, "id of the source"]
    case_id: Annotated[str | None, "the case, when there was one"]
    where: Annotated[str | None, "the array it concerns; null for a whole case or object"]
    code: Annotated[str, "what: a finding, or the reason code of something left out"]
    meaning: Annotated[str, "what the code means and what is done about it"]
    detail: Annotated[str, "the numbers, for a person"]
    outcome: Annotated[str, "sample, or left out"]
    path: Annotated[str | None, "object below the source's root, where the source has public ids; else its digest"]
