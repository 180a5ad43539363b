"""What a table says of a case, checked against the headers of its images; and whether a case may pass at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mdfp.sample import Finding
from schemas.case import CaseAnnotation, CaseImage, CaseText, ObjectRecord
from schemas.policy import BURNED_IN, Policy, Risk, risks_of
from schemas.reasons import Reason
from schemas.source import Source
from transforms.layouts.case_files import TextFile, Told
from transforms.rejected import Rejected

OUTSIDE_PX = 1.0
"""A box may reach so far beyond the picture: tables round, and count edges or pixels. A larger overhang is another picture's."""


@dataclass(frozen=True)
class Annotated:
    """Fields of a case's record that a table or a path gave."""

    annotations: tuple[CaseAnnotation, ...] = ()
    texts: tuple[CaseText, ...] = ()
    sex: str | None = None
    age_years: float | None = None
    site: str | None = None
    patient: str | None = None


def annotated(told: Told | None, images: Mapping[str, CaseImage]) -> Annotated:
    """What was told of a case, with fractions of a picture as pixels.

    Args:
        told: by its layout; None: nothing.
        images: by name, with the sizes of their headers.

    Raises:
        Rejected: BAD_ANNOTATION, a box or point outside its picture.
    """
    if told is None:
        return Annotated()
    found = [*told.annotations, *(_in_pixels(a, images) for a in told.fractions)]
    for annotation in found:
        _check_inside(annotation, images)
    texts = tuple(CaseText(t.name, t.kind, t.language, t.record_name if t.object else "", t.value) for t in told.texts)
    return Annotated(tuple(found), texts, told.sex, told.age_years, told.site, told.patient)


def _size(annotation: CaseAnnotation, images: Mapping[str, CaseImage]) -> tuple[int, int] | None:
    """Columns and rows of the picture that an annotation lies on; None where it lies on none."""
    image = images.get(annotation.image or "")
    if image is None:
        return None
    header = image.header
    return header.shape[header.axes.index("x")], header.shape[header.axes.index("y")]


def _in_pixels(annotation: CaseAnnotation, images: Mapping[str, CaseImage]) -> CaseAnnotation:
    size = _size(annotation, images)
    if size is None:
        return annotation
    x, y = size
    scale = (float(x), float(y), 0.0) * (len(annotation.index_xyz) // 3)
    shift = (0.5, 0.5, 0.0) * (len(annotation.index_xyz) // 3)
    index = tuple(v * s - h for v, s, h in zip(annotation.index_xyz, scale, shift, strict=True))
    return dataclasses.replace(annotation, index_xyz=index)


def _check_inside(annotation: CaseAnnotation, images: Mapping[str, CaseImage]) -> None:
    size = _size(annotation, images)
    if size is None or not annotation.index_xyz:
        return
    for axis, n in enumerate(size):
        for value in annotation.index_xyz[axis::3]:
            if not -0.5 - OUTSIDE_PX <= value <= n - 0.5 + OUTSIDE_PX:
                raise Rejected(
                    Reason.BAD_ANNOTATION,
                    f"a {annotation.kind} at {'xy'[axis]} {value + 0.5:g} from the edge of a picture of {size[0]}×{size[1]}",
                )


def text_records(told: Told | None, source: Source, name: str) -> tuple[ObjectRecord, ...]:
    """A record for every text of a case that lies in a file."""
    texts: tuple[TextFile, ...] = told.texts if told else ()
    return tuple(
        ObjectRecord(source.id, t.object.path, t.object.bytes, t.object.version, name, t.record_name, 0, None)
        for t in texts
        if t.object
    )


def check_policy(
    modalities: Iterable[str], findings: Iterable[Finding], texts: Sequence[CaseText], source: Source, policy: Policy
) -> None:
    """Whether what a case holds may pass: ultrasound, photographs, texts, and what its source or a header warns of.

    Args:
        modalities: of its images.
        findings: of their headers.
        texts: its texts.
        source: its manifest.
        policy: the recipe's.

    Raises:
        Rejected: POLICY_REFUSED, with the line to add to the recipe.
    """
    risks: set[Risk] = set(source.risks)
    for modality in modalities:
        risks |= risks_of(modality)
    if any(f.code == BURNED_IN for f in findings):
        risks.add(BURNED_IN)
    if texts:
        risks.add("text")
    if why := policy.refused(frozenset(risks)):
        raise Rejected(Reason.POLICY_REFUSED, why)
