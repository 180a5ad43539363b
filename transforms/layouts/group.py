"""Group a source's listing into cases, and account for every object in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from schemas import patterns
from schemas.case import Reject
from schemas.layouts import DicomLayout
from schemas.source import Source
from schemas.table_layout import TableLayout
from transforms.layouts import registry
from transforms.layouts.case_files import CaseFiles, Fault, Found, HeaderFile
from transforms.layouts.listing import Sorted, sort_out
from transforms.layouts.registry import Read
from transforms.layouts.tables import with_tables
from transforms.pseudonym import PatientKeys, slug
from transforms.refusal import refusal_of
from transforms.store import ListedObject

STAGE = "inventory"


@dataclass(frozen=True)
class Counts:
    """Where the objects of a listing went: `listed` is the sum of the others."""

    listed: int
    in_cases: int
    to_read: int
    """Grouped only once their headers were read (DICOM)."""
    rejected: int
    side: int
    """Files without an image, and those the manifest knows and does not ask for."""
    skipped: int
    """Files that match `skip:`."""

    def balanced(self) -> bool:
        """Whether every listed object is accounted for."""
        return self.listed == self.in_cases + self.to_read + self.rejected + self.side + self.skipped


@dataclass(frozen=True)
class Grouped:
    """A listing, grouped.

    Attributes:
        cases: what the listing alone tells, sorted by name.
        headers: objects to read before they can be grouped (DICOM).
        rejects: objects that belong to no case, and promised ones that are not there.
        counts: where every object went.
    """

    cases: tuple[CaseFiles, ...]
    headers: tuple[HeaderFile, ...]
    rejects: tuple[Reject, ...]
    counts: Counts


def group(source: Source, listing: Iterable[ListedObject], read: Read, keys: PatientKeys) -> Grouped:
    """Group a listing as the source's layout says. The order of the listing does not matter.

    Args:
        source: the manifest.
        listing: every object below the source's root.
        read: gives the bytes of a small side file; raises Rejected MISSING_FILE when it is not there.
        keys: makes pseudonyms for names that are not public.

    Raises:
        UsageError: the manifest does not fit the data set as a whole.
    """
    sound, refused = _refused(listing)
    listed = sort_out(sound, source.skip)
    if isinstance(source.layout, TableLayout):  # its texts and tables are among the files without an image
        listed = Sorted(tuple(sorted((*listed.candidates, *listed.side), key=lambda o: o.path)), listed.skipped, ())
    listed = _with_marks(listed, source)
    found = registry.get(source.layout.kind)(source, listed.candidates, read)
    counts = _count(listed, found)
    counts = replace(counts, listed=counts.listed + len(refused), rejected=counts.rejected + len(refused))
    cases = _with_names_of_their_own(with_tables(found.cases, source, (*listed.candidates, *listed.side), read))
    rejects = [to_reject(fault, source, keys, None) for fault in (*found.faults, *refused)]
    return Grouped(
        cases=tuple(sorted(cases, key=lambda c: c.name)),
        headers=found.headers,
        rejects=tuple(sorted(rejects, key=lambda r: (r.reason, r.path or "", r.detail))),
        counts=counts,
    )


def _with_marks(listed: Sorted, source: Source) -> Sorted:
    """A listing in which files of readers' marks are candidates, though their names are those of side files."""
    marks = source.layout.marks if isinstance(source.layout, DicomLayout) else None
    if marks is None:
        return listed
    named = {o.path for o in listed.side if patterns.match(marks.path, o.path) is not None}
    candidates = sorted((*listed.candidates, *(o for o in listed.side if o.path in named)), key=lambda o: o.path)
    return replace(listed, candidates=tuple(candidates), side=tuple(o for o in listed.side if o.path not in named))


def to_reject(fault: Fault, source: Source, keys: PatientKeys, case_id: str | None, stage: str = STAGE) -> Reject:
    """A fault as a record, its path replaced by a pseudonym unless the source's names are public."""
    return Reject(stage, source.id, case_id, fault.reason, fault.detail, shown_path(fault.path, source, keys))


def shown_path(path: str | None, source: Source, keys: PatientKeys) -> str | None:
    """`path` as records may show it: itself where the source's names are public, else its pseudonym."""
    return path if path is None or source.public_ids else keys.name(source.id, path)


def _refused(listing: Iterable[ListedObject]) -> tuple[list[ListedObject], list[Fault]]:
    """A listing without the members of archives that cannot be read, and a fault for each of those."""
    sound, refused = [], []
    for o in listing:
        verdict = refusal_of(o)
        if verdict is None:
            sound.append(o)
        else:
            refused.append(Fault(verdict.reason, verdict.detail, o.path, "object"))
    return sound, refused


def _count(listed: Sorted, found: Found) -> Counts:
    """Where every object went.

    Raises:
        RuntimeError: a layout lost an object or gave it twice, which is a bug of the layout.
    """
    candidates = {o.path for o in listed.candidates}
    faulty = [f.path for f in found.faults if f.path in candidates]
    placed = Counter(
        [o.path for case in found.cases for o in case.objects]
        + [h.object.path for h in found.headers]
        + [o.path for o in found.passed_over]
        + [path for path in faulty if path is not None]
    )
    if lost := candidates - placed.keys():
        raise RuntimeError(f"the layout lost {len(lost)} objects, for example {min(lost)!r}")
    if twice := [path for path, n in placed.items() if n > 1]:
        raise RuntimeError(f"the layout placed {len(twice)} objects twice, for example {min(twice)!r}")
    return Counts(
        listed=len(listed.candidates) + len(listed.skipped) + len(listed.side),
        in_cases=sum(len(case.objects) for case in found.cases),
        to_read=len(found.headers),
        rejected=len(faulty),
        side=len(listed.side) + len(found.passed_over),
        skipped=len(listed.skipped),
    )


def _with_names_of_their_own(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    """Cases, of which those whose names differ only in what a key cannot show (`A.1`, `a-1`) get pseudonyms as ids."""
    slugs = Counter(slug(c.name) for c in cases)
    return [replace(c, readable=slugs[slug(c.name)] == 1) for c in cases]
