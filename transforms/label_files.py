"""Which file of masks is of which published sample: by the fields of its path, and by nothing that lies in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
        strange: paths of files that no sample, pattern or table asks for, for the one who runs it; none of them is recorded.
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
    skipped = [patterns.compile_pattern(p) for p in spec.skip]
    sorting = _Sorting(spec, samples, by_case, _told_apart(spec, rows), keys)
    for o in objects:
        if not any(p.match(o.path) for p in skipped):
            sorting.take(o)
    return sorting.result(rows)


@dataclass
class _Sorting:
    """Gives one file after the other to its sample.

    Attributes:
        spec: how a path names a sample.
        samples: published samples by what a path calls them.
        by_case: whether that is their case id.
        pattern: the path's pattern with what images, sources and structures are called.
        keys: makes digests of paths.
    """

    spec: AddedLabels
    samples: Mapping[str, PublishedRow]
    by_case: bool
    pattern: str
    keys: PatientKeys
    found: dict[tuple[str, str], list[MaskFile]] = field(default_factory=dict)
    faulty: dict[tuple[str, str], tuple[Reason, str]] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    there: set[str] = field(default_factory=set)

    def take(self, o: ListedObject) -> None:
        """Give a file to its sample, or say why it is nobody's. What a path calls things is not repeated: it is free text."""
        fields = patterns.match(self.pattern, o.path) or patterns.match(self.spec.path, o.path)
        if fields is None:
            self._nobodys(o, Reason.UNMATCHED, f"the path is not of the form {self.spec.path}")
            return
        row = self.samples.get(fields["case" if self.by_case else "key"])
        if row is None or fields.get("source", row.source) != row.source:
            self._nobodys(o, Reason.NO_IMAGE, "the path names a sample that the corpus does not have")
            return
        image = _image(row, fields.get("image"), self.spec)
        if image is None:
            named = self.spec.image or ("another one" if "image" in fields else "one, without saying which")
            why = f"it has the images {', '.join(row.images)}, the masks are of {named}"
            self.faulty[row.key, ""] = Reason.NO_IMAGE, why
        elif self.spec.layer_of(image) in row.layers:
            self.there.add(row.key)
        else:
            self._mask(o, row, image, fields)

    def _mask(self, o: ListedObject, row: PublishedRow, image: str, fields: Mapping[str, str]) -> None:
        structure = None
        if self.spec.several:
            table = self.spec.labels
            structure = segment_names.look_up(fields[STRUCTURE_FIELD], table.structures, table.ignore_names)
            if structure == BACKGROUND:
                return
            if structure is None:
                why = "a mask file has a name that the table neither maps nor ignores"
                self.faulty[row.key, image] = Reason.UNMAPPED_LABEL, why
                self.strange.append(o.path)
                return
        file = MaskFile(row.shard, row.key, image, structure, o.path, o.bytes, o.version)
        self.found.setdefault((row.key, image), []).append(file)

    def _nobodys(self, o: ListedObject, reason: Reason, why: str) -> None:
        digest = self.keys.name(self.spec.layer, o.path)
        self.rejects.append(Reject(STAGE, self.spec.layer, None, reason, why, digest))
        self.strange.append(o.path)

    def result(self, rows: Sequence[PublishedRow]) -> Matched:
        """What came of it.

        Raises:
            UsageError: names of members would be too long for a tar.
        """
        for (key, image), files in self.found.items():
            if len({f.structure for f in files}) < len(files):
                why = f"{len(files)} files claim to be its mask of {image!r}"
                self.faulty[key, image] = Reason.CONFLICTING_FILES, why
        at = {r.key: r for r in rows}
        spoken = {key for key, _ in (*self.found, *self.faulty)} | self.there
        rejects = [
            *self.rejects,
            *(
                Reject(STAGE, at[key].source, at[key].case_id, reason, why, None)
                for (key, _), (reason, why) in self.faulty.items()
            ),
            *(
                Reject(STAGE, r.source, r.case_id, Reason.MISSING_LABEL, "no file is its mask", None)
                for r in rows
                if r.key not in spoken
            ),
        ]
        taken = [f for place, files in self.found.items() if place not in self.faulty for f in files]
        _check_names(taken, self.spec)
        taken.sort(key=lambda f: (f.shard, f.key, f.image, f.structure or "", f.path))
        return Matched(
            files=tuple(taken),
            rejects=tuple(sorted(rejects, key=order_of)),
            strange=tuple(sorted(self.strange)),
            there=len(self.there - {f.key for f in taken}),
        )


def order_of(reject: Reject) -> tuple[str, ...]:
    """Sorts rejects in one order, wherever they come from."""
    return reject.source, reject.case_id or "", str(reject.reason), reject.detail, reject.path or ""


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
    for name, choices in known.items():
        if choices and "{" not in "".join(choices):
            told = told.replace(f"{{{name}}}", f"{{{name}:(?i:{'|'.join(choices)})}}")
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
