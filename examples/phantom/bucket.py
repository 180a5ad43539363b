"""The whole bucket: four sources as strangers would publish them, and the truth about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from examples.phantom import ct_dicom, ct_msd, ct_structures, dicom_file, mr
from examples.phantom.scale import SCALES, Scale
from examples.phantom.truth import Part, Truth
from mdfp.errors import UsageError

_SOURCES: Mapping[str, Callable[[Path, Scale, int], Part]] = {
    ct_dicom.ID: ct_dicom.write,
    ct_msd.ID: ct_msd.write,
    ct_structures.ID: ct_structures.write,
    mr.ID: mr.write,
}

SOURCES = tuple(_SOURCES)
"""Ids of the sources, which are the names of their folders in the bucket."""


def write_bucket(folder: str | Path, *, scale: str = "small", patients: int | None = None) -> Truth:
    """Write the four sources below a folder, each in a folder of its own.

    Args:
        folder: where to; it may not exist yet, or must be empty.
        scale: `demo` for bodies of true size, `small` for dolls of a fifth of it: the same cases in a few hundred
            kilobytes, for tests.
        patients: people with ordinary scans, dealt to the sources in turn; what is planted comes on top. Default: the
            scale's own number.

    Raises:
        UsageError: an unknown scale, a negative number, or a folder that holds something.
    """
    if scale not in SCALES:
        raise UsageError(f"unknown scale {scale!r}; one of {', '.join(SCALES)}")
    size = SCALES[scale]
    count = size.patients if patients is None else patients
    if count < 0:
        raise UsageError(f"the number of patients must be 0 or more, found {count}")
    root = Path(folder)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} is not an empty folder; name a new one")
    parts = []
    for i, (source, write) in enumerate(_SOURCES.items()):
        ordinary = (count + len(_SOURCES) - 1 - i) // len(_SOURCES)
        parts.append(write(root / source, size, ordinary))
    return Truth(
        cases=tuple(case for part in parts for case in part.cases),
        faults=tuple(fault for part in parts for fault in part.faults),
        findings=tuple(finding for part in parts for finding in part.findings),
        duplicates=(((ct_msd.ID, ct_msd.ORIGINAL.name), (ct_structures.ID, ct_structures.DUPLICATE)),),
        private_words=dicom_file.PRIVATE_WORDS,
    )
