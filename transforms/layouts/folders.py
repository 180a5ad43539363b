"""`folders`: a file for each case, whose classes and split are fields of its path, and masks joined by these fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from schemas import patterns
from schemas.case import CaseAnnotation
from schemas.layouts import ImageChannel, label_names
from schemas.reasons import Reason
from schemas.source import Source
from schemas.table_layout import FoldersLayout
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found, Told
from transforms.layouts.listing import Match, claim, unmatched
from transforms.layouts.masks import of_structures
from transforms.layouts.paired import conflicts
from transforms.layouts.registry import Read, register
from transforms.layouts.tables import SPLITS
from transforms.store import ListedObject


@register("folders")
def folders(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of a folder tree: each matching file is one, named by all fields of its path."""
    layout = source.layout
    if not isinstance(layout, FoldersLayout):
        raise TypeError(f"expected a folders layout, found {layout.kind}")
    claimed, rest = claim(listing, [layout.image.path, *(label.path for label in layout.labels)])
    matches = [m for m in claimed if m.role == 0]
    order = patterns.fields(layout.image.path)
    channel = ImageChannel(name=layout.image.name, modality=layout.image.modality)
    cases: dict[str, CaseFiles] = {}
    faults = []
    for match in matches:
        fields = dict(match.fields)
        name = "_".join(fields[f] for f in order)
        if name in cases:
            detail = "two files whose paths have the same fields; add a field that tells them apart"
            faults.append(Fault(Reason.CONFLICTING_FILES, detail, match.object.path, "object"))
            continue
        classes, strange = _classes(layout, fields)
        cases[name] = CaseFiles(
            source.id,
            name,
            match.fields,
            (ArrayFiles(channel.name, ((match.object, None),), channel=channel),),
            split=SPLITS.get(fields[layout.split].lower()) if layout.split else None,
            faults=strange,
            told=Told(annotations=classes),
        )
    passed: list[ListedObject] = []
    for role in range(1, len(layout.labels) + 1):
        masks = [m for m in claimed if m.role == role]
        faults += _add_label(cases, masks, role, source, layout, passed)
    return Found(tuple(cases.values()), (*faults, *unmatched(rest)), passed_over=tuple(passed))


def _add_label(
    cases: dict[str, CaseFiles],
    masks: Sequence[Match],
    role: int,
    source: Source,
    layout: FoldersLayout,
    passed: list[ListedObject],
) -> list[Fault]:
    """Give each case its masks of one label (`cases` and `passed` grow); returns the faults of masks without an image."""
    label = layout.labels[role - 1]
    own = label_names(layout.labels)[role - 1]
    joined = [f for f in patterns.fields(layout.image.path) if f in patterns.fields(label.path)]
    waiting: dict[tuple[str, ...], list[Match]] = {}
    for match in masks:
        fields = dict(match.fields)
        waiting.setdefault(tuple(fields[f] for f in joined), []).append(match)
    given: set[tuple[str, ...]] = set()
    for name, case in cases.items():
        fields = dict(case.fields)
        key = tuple(fields[f] for f in joined)
        found = waiting.pop(key, [])
        arrays: tuple[ArrayFiles, ...] = ()
        wrong: tuple[Fault, ...] = ()
        if key in given:
            detail = f"several images share the fields of one label {label.path}; give its path the fields that tell them apart"
            wrong = (Fault(Reason.CONFLICTING_FILES, detail, None, "label"),)
        given |= {key} if found else set()
        if found and label.several:
            made = of_structures(found, source, label.table, own, layout.image.name)
            arrays, wrong = made.arrays, made.faults
            passed += made.ignored
        elif found:
            arrays = (
                ArrayFiles(own, tuple((m.object, None) for m in found), table=label.table, image=layout.image.name),
            )
            wrong = tuple(conflicts(found, f"label {own!r}", "label"))
        elif label.required and not wrong:
            detail = f"no label for the image: expected {label.path} with the fields of its case"
            wrong = (Fault(Reason.MISSING_LABEL, detail, None, "label"),)
        cases[name] = replace(case, labels=case.labels + arrays, faults=case.faults + wrong)
    detail = f"no image for this label: expected {layout.image.path} with the same fields"
    return [Fault(Reason.NO_IMAGE, detail, m.object.path, "object") for found in waiting.values() for m in found]


def _classes(layout: FoldersLayout, fields: dict[str, str]) -> tuple[tuple[CaseAnnotation, ...], tuple[Fault, ...]]:
    found = []
    for c in layout.classes:
        folder = fields[c.field]
        if c.values and folder not in c.values:
            detail = f"a folder without a meaning as {c.name!r}; the manifest knows {', '.join(sorted(c.values))}"
            return (), (Fault(Reason.BAD_ANNOTATION, detail, None, "case"),)
        value = c.values.get(folder, folder)
        image = layout.image.name if c.level == "image" else None
        found.append(CaseAnnotation("class", c.name, value, "present", c.level, c.origin, image, (), ()))
    return tuple(found), ()
