"""`folders`: a file for each case, whose classes and split are fields of its path."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import patterns
from schemas.case import CaseAnnotation
from schemas.reasons import Reason
from schemas.source import ImageChannel, Source
from schemas.table_layout import FoldersLayout
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found, Told
from transforms.layouts.listing import claim, unmatched
from transforms.layouts.registry import Read, register
from transforms.layouts.tables import SPLITS
from transforms.store import ListedObject


@register("folders")
def folders(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of a folder tree: each matching file is one, named by all fields of its path."""
    layout = source.layout
    if not isinstance(layout, FoldersLayout):
        raise TypeError(f"expected a folders layout, found {layout.kind}")
    matches, rest = claim(listing, [layout.image.path])
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
    return Found(tuple(cases.values()), (*faults, *unmatched(rest)))


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
