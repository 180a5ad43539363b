"""What a listing holds besides a layout's arrays: skipped files, side files, companions, and what nobody asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from mdfp.errors import UsageError
from schemas import patterns
from schemas.reasons import Reason
from transforms.layouts.case_files import Fault
from transforms.store import ListedObject

SIDE_SUFFIXES = frozenset(
    {".json", ".csv", ".tsv", ".txt", ".md", ".rst", ".html", ".pdf", ".xls", ".xlsx", ".doc", ".docx", ".odt", ".bib"}
    | {".xml", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".log", ".py", ".ipynb", ".sh", ".m", ".r", ".sha256", ".md5"}
    | {".bval", ".bvec", ".url", ".lnk"}
)
"""Files that hold no image: documentation, tables, checksums, scripts. They are passed over, and counted."""

SIDE_NAMES = frozenset(
    {"license", "licence", "readme", "changelog", "citation", "authors", "notice", "md5sums", "sha256sums", "thumbs.db"}
)
"""The same, by their whole name in lower case."""

ARRAY_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".nhdr", ".dcm", ".dicom", ".ima")
"""Ends of file names that hold an image or a label, longest first where one ends in another."""

_COMPANIONS = {
    ".mhd": (".raw", ".zraw"),
    ".nhdr": (".raw", ".raw.gz", ".gz", ".zraw"),
    ".hdr": (".img", ".img.gz"),
}
"""Header file -> files with the voxels beside it, of the same stem (MetaImage, NRRD and NIfTI with detached data)."""


def stem(path: str) -> str:
    """The file's name without folder and without the ends of ARRAY_SUFFIXES: `a/liver_0.nii.gz` gives `liver_0`."""
    name = PurePosixPath(path).name
    for suffix in ARRAY_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def is_side_file(path: str) -> bool:
    """Whether a file holds no image, judged by its name: a README, a table, a hidden file."""
    name = PurePosixPath(path).name.lower()
    return (
        name.startswith(".")
        or name in SIDE_NAMES
        or PurePosixPath(name).suffix in SIDE_SUFFIXES
        or PurePosixPath(name).stem in SIDE_NAMES
    )


@dataclass(frozen=True)
class Sorted:
    """A listing in three parts.

    Attributes:
        candidates: objects that a layout may claim, sorted by path; side files that it may read are not among them.
        skipped: objects that match `skip:` of the source, such as macOS twins.
        side: files without an image.
    """

    candidates: tuple[ListedObject, ...]
    skipped: tuple[ListedObject, ...]
    side: tuple[ListedObject, ...]


def sort_out(listing: Iterable[ListedObject], skip: Sequence[str]) -> Sorted:
    """Take skipped and side files out of a listing.

    Args:
        listing: objects in any order.
        skip: patterns of files to look past.
    """
    candidates, skipped, side = [], [], []
    for o in sorted(listing, key=lambda o: o.path):
        if any(patterns.match(pattern, o.path) is not None for pattern in skip):
            skipped.append(o)
        elif is_side_file(o.path):
            side.append(o)
        else:
            candidates.append(o)
    return Sorted(tuple(candidates), tuple(skipped), tuple(side))


@dataclass(frozen=True)
class Match:
    """An object that one pattern claims."""

    object: ListedObject
    role: int
    """Place of the pattern in the list that was asked for."""
    fields: tuple[tuple[str, str], ...]
    """Fields and their values, sorted by field."""


def claim(candidates: Sequence[ListedObject], roles: Sequence[str]) -> tuple[list[Match], list[ListedObject]]:
    """Which pattern claims which object: the one with the most literal text that matches.

    So `{case}_seg.nii.gz` takes the labels and `{case}.nii.gz` the rest, in whatever order they are written.

    Args:
        candidates: objects.
        roles: patterns.

    Returns:
        Matches in the order of `candidates`, and the objects that no pattern claims.

    Raises:
        UsageError: two different patterns with as much literal text claim one object.
    """
    weights = [len(patterns.literal(p)) for p in roles]
    matches, rest = [], []
    for o in candidates:
        found = [
            (weights[i], i, fields) for i, p in enumerate(roles) if (fields := patterns.match(p, o.path)) is not None
        ]
        if not found:
            rest.append(o)
            continue
        best = max(weight for weight, _, _ in found)
        winners = [(i, fields) for weight, i, fields in found if weight == best]
        if len(winners) > 1:
            raise UsageError(
                f"layout: the patterns {' and '.join(repr(roles[i]) for i, _ in winners)} claim the same file; "
                "make one of them more specific, for example with an expression: {case:[0-9]+}"
            )
        index, fields = winners[0]
        matches.append(Match(o, index, tuple(sorted(fields.items()))))
    return matches, rest


def with_companions(
    objects: Sequence[ListedObject], candidates: Sequence[ListedObject]
) -> dict[str, tuple[ListedObject, ...]]:
    """For each detached header (MHD, NHDR, HDR) among `objects`: the files with its voxels, by the header's path.

    Args:
        objects: objects that a layout claimed.
        candidates: objects that it may claim.
    """
    present = {o.path: o for o in candidates}
    result = {}
    for o in objects:
        for suffix, ends in _COMPANIONS.items():
            if o.path.lower().endswith(suffix):
                base = o.path[: -len(suffix)]
                result[o.path] = tuple(present[base + end] for end in ends if base + end in present)
    return result


def unmatched(objects: Iterable[ListedObject]) -> tuple[Fault, ...]:
    """One fault for each object that no pattern of the layout asks for."""
    detail = (
        "no pattern of the source's layout asks for this file; name it in the layout, or under skip: to look past it"
    )
    return tuple(Fault(Reason.UNMATCHED, detail, o.path, "object") for o in objects)
