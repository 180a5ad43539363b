"""Which file of masks is of which published sample: by the fields of its path, and by nothing that lies in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mdfp.errors import UsageError
from schemas import patterns, segment_names
from schemas.added_labels import AddedLabels
from schemas.case import Reject
from schemas.label_work import MaskFile
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from schemas.table_layout import STRUCTURE_FIELD
from transforms.pseudonym import PatientKeys
from transforms.sidecar import NAME_CHARACTERS, STAGE
from transforms.store import ListedObject


class PublishedRow(NamedTuple):
    """What of a published sample decides which masks are its."""

    key: str
    case_id: str
    source: str
    shard: str
    license: str
    images: Sequence[str]
    layers: Sequence[str]


@dataclass(frozen=True)
class Matched:
    """Files and the samples that they are of.

    Attributes:
        files: masks to add, sorted by shard, key, image and structure.
        rejects: files and samples that are left out, and why.
        strange: paths of files that no sample or pattern asks for, for the one who runs it; none of them is recorded.
        there: samples that have all their masks of this layer already.
    """

    files: tuple[MaskFile, ...]
    rejects: tuple[Reject, ...]
    strange: tuple[str, ...]
    there: int


def match(
    objects: Iterable[ListedObject], rows: Sequence[PublishedRow], spec: AddedLabels, keys: PatientKeys
) -> Matched:
    """Give each file to its sample.

    Args:
        objects: what lies below the root.
        rows: all published samples.
        spec: how a path names a sample.
        keys: makes digests of the paths that are recorded: a name of a file may name a person.

    Raises:
        UsageError: a path names a sample by its case, and cases have several samples (slices); or the layer's name is
            too long for the names of members.
    """
    by_case = "case" in patterns.fields(spec.path)
    samples = {(r.case_id if by_case else r.key): r for r in rows}
    if len(samples) < len(rows):
        raise UsageError(
            "path: names samples by {case}, and this corpus has several samples of a case; name them by {key}"
        )
    told = _told_apart(spec, rows)
    skipped = [patterns.compile_pattern(p) for p in spec.skip]
    found: dict[tuple[str, str], list[MaskFile]] = {}
    faulty: dict[tuple[str, str], tuple[Reason, str]] = {}
    rejects: list[Reject] = []
    strange: list[str] = []
    there: set[str] = set()
    for o in objects:
        if any(p.match(o.path) for p in skipped):
            continue
        fields = patterns.match(told, o.path) or patterns.match(spec.path, o.path)
        row = samples.get(fields["case" if by_case else "key"]) if fields else None
        if fields is None or row is None or fields.get("source", row.source) != row.source:
            reason, why = (
                (Reason.UNMATCHED, f"the path is not of the form {spec.path}")
                if fields is None
                else (Reason.NO_IMAGE, "the path names a sample that the corpus does not have")
            )
            rejects.append(Reject(STAGE, spec.layer, None, reason, why, keys.name(spec.layer, o.path)))
            strange.append(o.path)
            continue
        image = _image(row, fields.get("image"), spec)
        if image is None:
            asked = fields.get("image") or spec.image or "one, without saying which"
            faulty[row.key, ""] = (
                Reason.NO_IMAGE,
                f"it has the images {', '.join(row.images)}, the masks are of {asked}",
            )
            continue
        if spec.layer_of(image) in row.layers:
            there.add(row.key)
            continue
        structure = None
        if spec.several:
            structure = segment_names.look_up(fields[STRUCTURE_FIELD], spec.labels.structures, spec.labels.ignore_names)
            if structure == BACKGROUND:
                continue
            if structure is None:
                faulty[row.key, image] = (
                    Reason.UNMAPPED_LABEL,
                    f"a mask file is named {fields[STRUCTURE_FIELD]!r}, which the table neither maps nor ignores",
                )
                continue
        found.setdefault((row.key, image), []).append(
            MaskFile(row.shard, row.key, image, structure, o.path, o.bytes, o.version)
        )
    for (key, image), files in found.items():
        if len({f.structure for f in files}) < len(files):
            faulty[key, image] = Reason.CONFLICTING_FILES, f"{len(files)} files claim to be its mask of {image!r}"
    at = {r.key: r for r in rows}
    for (key, _), (reason, why) in sorted(faulty.items()):
        rejects.append(Reject(STAGE, at[key].source, at[key].case_id, reason, why, None))
    taken = [f for place, files in found.items() if place not in faulty for f in files]
    spoken = {key for key, _ in (*found, *faulty)} | there
    rejects += [
        Reject(STAGE, r.source, r.case_id, Reason.MISSING_LABEL, "no file is its mask", None)
        for r in rows
        if r.key not in spoken
    ]
    _check_names(taken, spec)
    taken.sort(key=lambda f: (f.shard, f.key, f.image, f.structure or "", f.path))
    rejects.sort(key=lambda r: (r.source, r.case_id or "", r.reason, r.detail, r.path or ""))
    return Matched(tuple(taken), tuple(rejects), tuple(sorted(strange)), len(there - {f.key for f in taken}))


def _told_apart(spec: AddedLabels, rows: Sequence[PublishedRow]) -> str:
    """The path's pattern with what images, sources and structures can be called: of `a_1_ct` the key is `a_1`, not `a`."""
    names = [*spec.labels.structures, *spec.labels.ignore_names]
    anything = {r"\*": "[^/]*", r"\?": "[^/]"}
    known = {
        "image": sorted({re.escape(i) for r in rows for i in r.images}),
        "source": sorted({re.escape(r.source) for r in rows}),
        STRUCTURE_FIELD: [re.sub(r"\\[*?]", lambda m: anything[m[0]], re.escape(n)) for n in names],
    }
    told = spec.path
    for field, choices in known.items():
        if choices and "{" not in "".join(choices):
            told = told.replace(f"{{{field}}}", f"{{{field}:(?i:{'|'.join(choices)})}}")
    return told


def _image(row: PublishedRow, named: str | None, spec: AddedLabels) -> str | None:
    """The image of a sample that a mask is of; None where it has no such, or several and none is named."""
    wanted = named or spec.image
    if wanted is None:
        return row.images[0] if len(row.images) == 1 else None
    return wanted if wanted in row.images else None


def _check_names(files: Sequence[MaskFile], spec: AddedLabels) -> None:
    longest = max((len(f"{f.key}.label.{spec.layer_of(f.image)}.b2nd") for f in files), default=0)
    if longest > NAME_CHARACTERS:
        raise UsageError(
            f"layer: {spec.layer} makes names of members of {longest} characters, a tar has at most {NAME_CHARACTERS}; "
            f"shorten it by {longest - NAME_CHARACTERS}"
        )
