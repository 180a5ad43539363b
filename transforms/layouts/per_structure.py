"""`per-structure`: one binary mask file per structure beside each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas import patterns
from schemas.layouts import PerStructureLayout
from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from schemas.source import Source
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found
from transforms.layouts.listing import Match, claim, unmatched
from transforms.layouts.paired import conflicts
from transforms.layouts.registry import Read, register
from transforms.store import ListedObject

_IMAGE, _MASK = 0, 1


@register("per-structure")
def per_structure(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of an image and its masks. A structure without a file is one that nobody looked for."""
    layout = source.layout
    if not isinstance(layout, PerStructureLayout):
        raise TypeError(f"expected a per-structure layout, found {layout.kind}")
    roles = [layout.image.path, layout.structures, *(i.path for i in layout.more_images)]
    shared = set(patterns.fields(roles[_IMAGE])) & set(patterns.fields(roles[_MASK]))
    order = [f for f in patterns.fields(roles[_IMAGE]) if f in shared]

    matches, rest = claim(listing, roles)
    groups: dict[tuple[str, ...], list[Match]] = {}
    for match in matches:
        fields = dict(match.fields)
        groups.setdefault(tuple(fields[f] for f in order), []).append(match)

    cases: list[CaseFiles] = []
    faults: list[Fault] = []
    passed_over: list[ListedObject] = []
    for key in sorted(groups):
        images = [m for m in groups[key] if m.role == _IMAGE]
        masks = [m for m in groups[key] if m.role == _MASK]
        if not images:
            detail = f"no image for this file: expected {layout.image.path} with the same fields"
            faults += [Fault(Reason.NO_IMAGE, detail, m.object.path, "object") for m in groups[key]]
            continue
        case, ignored = _case(source, layout, "_".join(key), images, masks)
        more, lacking = _more_images(layout, groups[key])
        case = replace(case, images=case.images + more, faults=case.faults + lacking)
        cases.append(case)
        passed_over += ignored
    return Found(tuple(cases), (*faults, *unmatched(rest)), (), tuple(passed_over))


def _more_images(
    layout: PerStructureLayout, matches: Sequence[Match]
) -> tuple[tuple[ArrayFiles, ...], tuple[Fault, ...]]:
    """The images besides the one that the masks belong to, and what is wrong with them."""
    images: list[ArrayFiles] = []
    faults: list[Fault] = []
    for role, channel in enumerate(layout.more_images, start=_MASK + 1):
        found = [m for m in matches if m.role == role]
        faults += conflicts(found, f"image {channel.name!r}", "case")
        if found:
            images.append(ArrayFiles(channel.name, tuple((m.object, None) for m in found), channel=channel.channel()))
        elif not channel.optional:
            detail = f"no file for the image {channel.name!r}: expected {channel.path} with the fields of its case"
            faults.append(Fault(Reason.MISSING_FILE, detail, None, "case"))
    return tuple(images), tuple(faults)


def _case(
    source: Source, layout: PerStructureLayout, name: str, images: Sequence[Match], masks: Sequence[Match]
) -> tuple[CaseFiles, list[ListedObject]]:
    """One case, and the masks that the table tells to ignore."""
    table = source.labels[layout.table].structures
    faults = conflicts(images, f"image {layout.image.name!r}", "case")
    by_name: dict[str, list[Match]] = {}
    for mask in masks:
        by_name.setdefault(dict(mask.fields)["structure"], []).append(mask)

    objects: list[tuple[ListedObject, str | None]] = []
    ignored: list[ListedObject] = []
    for file_name, found in sorted(by_name.items()):
        structure = table.get(file_name)
        if structure == BACKGROUND:
            ignored += [m.object for m in found]
            continue
        if structure is None:
            # The file's name is part of a structure's name in the data set, not of a person's; the manifest needs it.
            shown = f"{file_name!r}" if source.public_ids else "its name"
            detail = f"no structure for the mask {shown} in the table {layout.table!r}; add it, or map it to background"
            faults.append(Fault(Reason.UNMAPPED_LABEL, detail, found[0].object.path, "label"))
        faults += conflicts(found, "mask of one structure", "label")
        objects += [(m.object, structure) for m in found]
    labels: tuple[ArrayFiles, ...] = ()
    if objects:
        labels = (ArrayFiles(layout.table, tuple(objects), table=layout.table, image=layout.image.name),)
    fields = tuple(sorted(dict(images[0].fields).items()))
    image = ArrayFiles(layout.image.name, tuple((m.object, None) for m in images), channel=layout.image.channel())
    return CaseFiles(source.id, name, fields, (image,), labels, None, tuple(faults)), ignored
