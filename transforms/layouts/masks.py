"""Labels of one mask file for each structure, by the names that the label table gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from schemas.ontology.structures import BACKGROUND
from schemas.reasons import Reason
from schemas.source import Source
from schemas.table_layout import STRUCTURE_FIELD
from transforms.layouts.case_files import ArrayFiles, Fault
from transforms.layouts.listing import Match
from transforms.store import ListedObject


@dataclass(frozen=True)
class Masks:
    """The masks of one label.

    Attributes:
        arrays: the label, or nothing where its table ignores all masks.
        faults: masks whose name the table does not have.
        ignored: masks that it maps to background.
    """

    arrays: tuple[ArrayFiles, ...]
    faults: tuple[Fault, ...]
    ignored: tuple[ListedObject, ...]


def of_structures(
    matches: Sequence[Match],
    source: Source,
    table: str,
    name: str,
    image: str,
    companions: Mapping[str, tuple[ListedObject, ...]] | None = None,
) -> Masks:
    """The label of matched files, each of which names its structure by the field `{structure}` of its path.

    Args:
        matches: the files.
        source: the manifest.
        table: name of the label table.
        name: of the label within its case.
        image: name of its image.
        companions: files with the voxels of detached headers; such masks are refused.
    """
    named = [(dict(m.fields)[STRUCTURE_FIELD], m.object) for m in matches]
    beside = [o for m in matches for o in (companions or {}).get(m.object.path, ())]
    found = named_masks(named, source, table, name, image)
    if not beside:
        return found
    detail = "masks of one structure each are single files, not headers with their voxels beside them"
    return Masks(
        found.arrays, (*found.faults, Fault(Reason.UNSUPPORTED, detail, beside[0].path, "case")), found.ignored
    )


def named_masks(named: Iterable[tuple[str, ListedObject]], source: Source, table: str, name: str, image: str) -> Masks:
    """The label of files with the name that each has in `structures:` of a table. Several may show one structure.

    Args:
        named: name and file of each mask.
        source: the manifest.
        table: name of the label table.
        name: of the label within its case.
        image: name of its image.
    """
    known = source.labels[table].structures
    objects: list[tuple[ListedObject, str | None]] = []
    faults: list[Fault] = []
    ignored: list[ListedObject] = []
    for label, o in sorted(named, key=lambda entry: (entry[0], entry[1].path)):
        structure = known.get(label)
        if structure == BACKGROUND:
            ignored.append(o)
            continue
        if structure is None:
            shown = f"{label!r}" if source.public_ids else "its name"
            detail = f"no structure for the mask {shown} in the table {table!r}; add it, or map it to background"
            faults.append(Fault(Reason.UNMAPPED_LABEL, detail, o.path, "label"))
        objects.append((o, structure))
    arrays = (ArrayFiles(name, tuple(objects), table=table, image=image),) if objects else ()
    return Masks(arrays, tuple(faults), tuple(ignored))
