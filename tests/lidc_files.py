"""Files of marks as LIDC-IDRI has them, written by the test: nodules by their borders, names and dates to look for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Pixel = tuple[int, int]
"""Column, row."""

SECRETS = ("Quincy", "2005-11-03", "IL057_127364", "540461523", "troll.example")
"""What stands in the files and must stand nowhere else."""

GRADES = {
    "subtlety": 5, "internalStructure": 1, "calcification": 6, "sphericity": 3, "margin": 3, "lobulation": 2,
    "spiculation": 4, "texture": 5, "malignancy": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Roi:
    """One edge map on the slice with that SOPInstanceUID."""

    uid: str
    pixels: Sequence[Pixel]
    inclusion: str = "TRUE"
    z: str = "-103.0"


@dataclass(frozen=True)
class Drawn:
    """One nodule."""

    rois: Sequence[Roi]
    grades: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """One reading session."""

    nodules: Sequence[Drawn] = ()
    non_nodules: Sequence[Roi] = ()


def rectangle(x0: int, y0: int, x1: int, y1: int) -> list[Pixel]:
    """The outer border of the pixels [x0, x1) × [y0, y1): a closed ring around them, corners included."""
    top = [(x, y0 - 1) for x in range(x0 - 1, x1 + 1)]
    right = [(x1, y) for y in range(y0, y1 + 1)]
    bottom = [(x, y1) for x in range(x1 - 1, x0 - 2, -1)]
    left = [(x0 - 1, y) for y in range(y1 - 1, y0 - 2, -1)]
    return [*top, *right, *bottom, *left]


def line(a: Pixel, b: Pixel) -> list[Pixel]:
    """Pixels from a to b, without b, each a neighbour of the one before (along an edge or a corner)."""
    steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    return [(a[0] + round((b[0] - a[0]) * n / steps), a[1] + round((b[1] - a[1]) * n / steps)) for n in range(steps)]


def _points(pixels: Sequence[Pixel], tag: str) -> str:
    return "".join(f"<{tag}><xCoord>{x}</xCoord><yCoord>{y}</yCoord></{tag}>\n" for x, y in pixels)


def _roi(roi: Roi) -> str:
    return (
        f"<roi><imageZposition>{roi.z} </imageZposition><imageSOP_UID>{roi.uid}</imageSOP_UID>"
        f"<inclusion>{roi.inclusion}</inclusion>\n{_points(roi.pixels, 'edgeMap')}</roi>"
    )


def _session(reader: Reader) -> str:
    parts = ["<annotationVersion>3.12</annotationVersion><servicingRadiologistID>540461523</servicingRadiologistID>"]
    for drawn in reader.nodules:
        grades = "".join(f"<{n}>{v}</{n}>" for n, v in drawn.grades.items())
        characteristics = f"<characteristics>{grades}</characteristics>" if grades else ""
        rois = "".join(map(_roi, drawn.rois))
        parts.append(
            f"<unblindedReadNodule><noduleID>IL057_127364</noduleID>{characteristics}{rois}</unblindedReadNodule>"
        )
    for mark in reader.non_nodules:
        parts.append(
            f"<nonNodule><nonNoduleID>1459</nonNoduleID><imageZposition>{mark.z}</imageZposition>"
            f"<imageSOP_UID>{mark.uid}</imageSOP_UID>{_points(mark.pixels, 'locus')}</nonNodule>"
        )
    return f"<readingSession>{''.join(parts)}</readingSession>"


def lidc_xml(series: str, readers: Sequence[Reader], *, root: str = "LidcReadMessage", prolog: str = "") -> bytes:
    """A file of marks on a series."""
    header = (
        "<ResponseHeader><Version>1.7</Version><DateRequest>2005-11-03</DateRequest>"
        "<RequestingSite>Dr Quincy</RequestingSite><TaskDescription>Second unblinded read</TaskDescription>"
        f"<SeriesInstanceUid>{series}</SeriesInstanceUid><StudyInstanceUID>1.2.3.1</StudyInstanceUID></ResponseHeader>"
    )
    body = "\n".join(map(_session, readers))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{prolog}<{root} uid="1.3.6.1" xmlns="http://www.nih.gov" '
        f'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="http://www.nih.gov http://troll.example/lidc/LidcReadMessage.xsd">\n{header}\n{body}\n</{root}>'
    ).encode()
