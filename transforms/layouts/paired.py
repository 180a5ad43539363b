"""`paired`: images and labels joined by the fields of their paths."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import patterns
from schemas.layouts import PairedLayout, label_names
from schemas.reasons import Reason
from schemas.source import Source
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found
from transforms.layouts.listing import Match, claim, unmatched, with_companions
from transforms.layouts.masks import of_structures
from transforms.layouts.registry import Read, register
from transforms.store import ListedObject


@register("paired")
def paired(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of a paired layout. The fields that all patterns share tell which files belong together."""
    layout = source.layout
    if not isinstance(layout, PairedLayout):
        raise TypeError(f"expected a paired layout, found {layout.kind}")
    roles = [i.path for i in layout.images] + [f.path for f in layout.labels]
    shared = set.intersection(*(set(patterns.fields(p)) for p in roles))
    order = [f for f in patterns.fields(layout.images[0].path) if f in shared]

    matches, rest = claim(listing, roles)
    companions = with_companions([m.object for m in matches], rest)
    taken = {o.path for found in companions.values() for o in found}

    groups: dict[tuple[str, ...], list[Match]] = {}
    for match in matches:
        fields = dict(match.fields)
        groups.setdefault(tuple(fields[f] for f in order), []).append(match)
    cases: list[CaseFiles] = []
    faults: list[Fault] = []
    passed: list[ListedObject] = []
    for key in sorted(groups):
        case = _case(source, layout, "_".join(key), groups[key], companions, passed)
        if isinstance(case, CaseFiles):
            cases.append(case)
        else:
            faults += case
    strange = unmatched(o for o in rest if o.path not in taken)
    return Found(tuple(cases), (*faults, *strange), passed_over=tuple(passed))


def _case(
    source: Source,
    layout: PairedLayout,
    name: str,
    matches: Sequence[Match],
    companions: dict[str, tuple[ListedObject, ...]],
    passed: list[ListedObject],
) -> CaseFiles | list[Fault]:
    """One case, or the faults of label files that have no image at all; masks that a table ignores go to `passed`."""
    by_role: dict[int, list[Match]] = {}
    for match in matches:
        by_role.setdefault(match.role, []).append(match)
    if not any(role < len(layout.images) for role in by_role):
        asked = " or ".join(i.path for i in layout.images)
        return [
            Fault(Reason.NO_IMAGE, f"no image for this label: expected {asked} with the same fields", o.path, "object")
            for m in matches
            for o in (m.object, *companions.get(m.object.path, ()))
        ]

    faults: list[Fault] = []
    images: list[ArrayFiles] = []
    fields: dict[str, str] = {}
    for role, channel in enumerate(layout.images):
        found = by_role.get(role, [])
        if not found:
            if not channel.optional:
                detail = f"no file for the image {channel.name!r}: expected {channel.path} with the fields of its case"
                faults.append(Fault(Reason.MISSING_FILE, detail, None, "case"))
            continue
        for match in found:
            fields = {**dict(match.fields), **fields}
        faults += conflicts(found, f"image {channel.name!r}", "case")
        images.append(ArrayFiles(channel.name, _objects(found, companions), channel=channel.channel()))

    labels: list[ArrayFiles] = []
    for role, (label, own) in enumerate(
        zip(layout.labels, label_names(layout.labels), strict=True), start=len(layout.images)
    ):
        found = by_role.get(role, [])
        there = any(i.name == label.image for i in images)
        if not found:
            if label.required and there:
                detail = f"no label for the image {label.image!r}: expected {label.path} with the fields of its case"
                faults.append(Fault(Reason.MISSING_LABEL, detail, None, "label"))
            continue
        if not there:
            detail = f"the label is of the image {label.image!r}, which its case does not have"
            faults.append(Fault(Reason.NO_IMAGE, detail, found[0].object.path, "label"))
        if label.several:
            masks = of_structures(found, source, label.table, own, label.image, companions)
            passed += masks.ignored
            faults += masks.faults
            labels += masks.arrays
            continue
        faults += conflicts(found, f"label {own!r}", "label")
        objects = _objects(found, companions)
        labels.append(ArrayFiles(own, objects, table=label.table, image=label.image, reader=label.reader))
    return CaseFiles(source.id, name, tuple(sorted(fields.items())), tuple(images), tuple(labels), None, tuple(faults))


def _objects(
    matches: Sequence[Match], companions: dict[str, tuple[ListedObject, ...]]
) -> tuple[tuple[ListedObject, str | None], ...]:
    return tuple((o, None) for m in matches for o in (m.object, *companions.get(m.object.path, ())))


def conflicts(matches: Sequence[Match], role: str, concerns: str) -> list[Fault]:
    """A fault when more than one file claims a place in a case.

    Args:
        matches: files of one role.
        role: what the role is called in the message.
        concerns: `case` or `label`.
    """
    if len(matches) < 2:
        return []
    detail = f"{len(matches)} files claim to be the {role} of one case, expected one; name one under skip:"
    return [Fault(Reason.CONFLICTING_FILES, detail, matches[1].object.path, "label" if concerns == "label" else "case")]
