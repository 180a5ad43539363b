"""`table`: a CSV or Parquet file with a row for each picture, and what its columns say of it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from schemas.case import CaseAnnotation
from schemas.layouts import ImageChannel
from schemas.reasons import Reason
from schemas.source import Source
from schemas.table_layout import (
    Cell,
    TableBoxes,
    TableClass,
    TableFindings,
    TableLabel,
    TableLayout,
    TableList,
    TableMeasurement,
    TablePoints,
    columns_of,
    fill,
)
from transforms.layouts.case_files import ArrayFiles, CaseFiles, Fault, Found, TextFile, Told
from transforms.layouts.listing import is_side_file, unmatched
from transforms.layouts.masks import named_masks
from transforms.layouts.registry import Read, register
from transforms.layouts.table_files import Files, named, path_of
from transforms.layouts.table_rows import Row, files_of, read_tables, split_of
from transforms.layouts.tables import SPLITS
from transforms.store import ListedObject

MAX_TEXT_BYTES = 200_000
"""A longer cell is no report: it would make a row too large to travel between workers."""

AGE_CAP_YEARS = 90.0
"""As for DICOM: with the rest of a record a higher age could point to a person."""

_SEXES = {"f": "F", "female": "F", "m": "M", "male": "M", "o": "O", "other": "O"}
_SUFFIX = re.compile(r"\.(png|jpe?g?|tiff?|dcm|dicom)$", re.IGNORECASE)


@register("table")
def table(source: Source, listing: Sequence[ListedObject], read: Read) -> Found:
    """Cases of a table. Rows with equal cells in the columns of `case:` are one case.

    Raises:
        UsageError: a table is missing, cannot be read, or lacks a column that the manifest names.
    """
    layout = source.layout
    if not isinstance(layout, TableLayout):
        raise TypeError(f"expected a table layout, found {layout.kind}")
    patient = columns_of(source.patient.id or "")
    tables = read_tables(layout, tuple(c for c in patient if c != "case"), listing, read)
    files, splits = Files(listing), split_of(layout.split_lists, read)
    key = columns_of(layout.case_template)
    cases: dict[tuple[str, ...], _Rows] = {}
    for row in tables[layout.path]:
        cases.setdefault(tuple(row[c] for c in key), _Rows()).own.append(row)
    for path, rows in tables.items():
        for row in rows if path != layout.path else ():
            # What another table says of a case that this one does not list belongs to nobody.
            if found := cases.get(tuple(row[c] for c in key)):
                found.joined.setdefault(path, []).append(row)

    made = [_case(cells, cases[cells], source, layout, files, splits) for cells in sorted(cases)]
    taken: dict[str, CaseFiles] = {}
    kept = []
    for case in made:
        if other := next((o.path for o in case.objects if o.path in taken), None):
            detail = "a file that another row names too; give the columns that tell cases apart as case:"
            case = _without_files(case, Fault(Reason.CONFLICTING_FILES, detail, other, "case"))
        taken |= {o.path: case for o in case.objects}
        kept.append(case)
    rest = [o for o in listing if o.path not in taken]
    own = {file for path in tables for file in files_of(path, listing)}
    passed = tuple(o for o in rest if o.path in own or is_side_file(o.path))
    strange = [o for o in rest if o.path not in own and not is_side_file(o.path)]
    return Found(tuple(kept), unmatched(strange), passed_over=passed)


@dataclass
class _Rows:
    own: list[Row] = field(default_factory=list)
    joined: dict[str, list[Row]] = field(default_factory=dict)

    def of(self, table: str | None) -> list[Row]:
        return self.own if table is None else self.joined.get(table, [])


class _BadRowError(Exception):
    """A row says what its manifest gives no meaning to."""


def _case(
    cells: tuple[str, ...],
    rows: _Rows,
    source: Source,
    layout: TableLayout,
    present: Files,
    splits: Mapping[str, str],
) -> CaseFiles:
    name = _SUFFIX.sub("", "_".join(cells))
    faults: list[Fault] = []
    images = _images(rows.own, layout, present, faults)
    texts: tuple[TextFile, ...] = ()
    told, split = Told(), None
    labels: tuple[ArrayFiles, ...] = ()
    try:
        texts = _texts(rows, layout, present)
        labels = _labels(rows.own, layout, source, images, present, faults)
        exact, fractions = _annotations(rows, layout, images)
        told = Told(
            annotations=exact,
            fractions=fractions,
            texts=texts,
            sex=_sex(_one(rows, layout.sex)),
            age_years=_age(_one(rows, layout.age)),
            site=_one(rows, layout.site),
            patient=_patient(source, rows.own[0], name),
        )
        split = _split(_one(rows, layout.split)) if layout.split_lists is None else _listed(rows.own, layout, splits)
    except _BadRowError as error:
        faults.append(Fault(Reason.BAD_ANNOTATION, str(error), None, "case"))
    arrays = tuple(i.files for i in images)
    return CaseFiles(source.id, name or "-", (), arrays, labels, split=split, faults=tuple(faults), told=told)


def _without_files(case: CaseFiles, fault: Fault) -> CaseFiles:
    """The case as a fault: its files are another's."""
    return CaseFiles(case.source, case.name, case.fields, (), faults=(*case.faults, fault))


@dataclass(frozen=True)
class _Image:
    """An image of a case, the file that a row names for it, and the role it fills."""

    files: ArrayFiles
    role: str
    path: str


def _images(rows: Sequence[Row], layout: TableLayout, present: Files, faults: list[Fault]) -> list[_Image]:
    """Images of a case. Rows that name different files for one role give `xray`, `xray_2`, … in the table's order."""
    found: list[_Image] = []
    for spec in layout.images:
        channel = ImageChannel(name=spec.name, modality=spec.modality)
        paths: dict[str, Row] = {}
        for row in rows:
            if not spec.optional or named(spec.file, row):
                paths.setdefault(path_of(spec.file, row), row)
        for number, (path, row) in enumerate(paths.items(), start=1):
            name = spec.name if number == 1 else f"{spec.name}_{number}"
            o = present.find(spec.file, row)
            if o is not None:
                renamed = channel.model_copy(update={"name": name})
                found.append(_Image(ArrayFiles(name, ((o, None),), channel=renamed), spec.name, path))
            elif not spec.optional:
                detail = f"the file that a row names for the image {spec.name!r} is not there (file: {spec.file})"
                faults.append(Fault(Reason.MISSING_FILE, detail, None, "case"))
    if not found and not faults:
        faults.append(Fault(Reason.MISSING_FILE, "none of the images that a row may have is there", None, "case"))
    return found


def _labels(
    rows: Sequence[Row],
    layout: TableLayout,
    source: Source,
    images: Sequence[_Image],
    present: Files,
    faults: list[Fault],
) -> tuple[ArrayFiles, ...]:
    """Masks of a case, each of the image that its row names; what is wrong with them goes to `faults`.

    Raises:
        _BadRowError: a row does not say which image it speaks of.
    """
    found: dict[str, ArrayFiles] = {}
    for spec in layout.labels:
        by_image: dict[str, dict[str, tuple[str | None, ListedObject]]] = {}
        for row in rows:
            image = _image_of(row, spec.image, layout, images)
            if image is not None:
                by_image.setdefault(image, {}).update(_masks(spec, row, present))
        for image, found_masks in by_image.items():
            here = list(found_masks.values())
            if not here and spec.required:
                detail = f"the mask that a row must have is not there ({', '.join(t for _, t in spec.templates)})"
                faults.append(Fault(Reason.MISSING_LABEL, detail, None, "label"))
            own = next(n for n in _names_for(spec.table, image) if n not in found)
            if spec.several:
                made = named_masks([(name or "", o) for name, o in here], source, spec.table, own, image)
                faults += made.faults
                found |= {a.name: a for a in made.arrays}
            elif here:
                if len(here) > 1:
                    detail = f"{len(here)} files claim to be the label {spec.table!r} of one image, expected one"
                    faults.append(Fault(Reason.CONFLICTING_FILES, detail, here[1][1].path, "label"))
                objects = tuple((o, None) for _, o in here)
                found[own] = ArrayFiles(own, objects, table=spec.table, image=image)
    return tuple(found.values())


def _masks(spec: TableLabel, row: Row, present: Files) -> dict[str, tuple[str | None, ListedObject]]:
    """The masks that a row names and that are there, by path, each with the name that it has in the table's structures."""
    found: dict[str, tuple[str | None, ListedObject]] = {}
    for name, template in spec.templates:
        o = present.find(template, row) if named(template, row) else None
        if o is not None:
            found[o.path] = name, o
    return found


def _names_for(table: str, image: str) -> Iterator[str]:
    """Names that a label may have within its case, in order of preference."""
    yield from (table, f"{table}_{image}")
    yield from (f"{table}_{image}_{n}" for n in itertools.count(2))


def _texts(rows: _Rows, layout: TableLayout, present: Files) -> tuple[TextFile, ...]:
    found = []
    for spec in layout.texts:
        o, value = None, None
        mine = rows.of(spec.table)
        if spec.column:
            cells = list(dict.fromkeys(row[spec.column] for row in mine if row[spec.column]))
            if len(cells) > 1:
                raise _BadRowError(f"{len(cells)} different texts {spec.name!r} of one case, expected one")
            value = cells[0] if cells else None
            if value is not None and len(value.encode()) > MAX_TEXT_BYTES:
                raise _BadRowError(f"a text {spec.name!r} of more than {MAX_TEXT_BYTES} bytes in a cell")
        elif spec.file:
            paths = {path_of(spec.file, row): row for row in mine if named(spec.file, row)}
            if len(paths) > 1:
                raise _BadRowError(f"{len(paths)} different files of the text {spec.name!r} of one case, expected one")
            o = next((present.find(spec.file, row) for row in paths.values()), None)
        if o is not None or value is not None:
            found.append(TextFile(spec.name, spec.kind, spec.language, o, value))
        elif not spec.optional:
            raise _BadRowError(f"the text {spec.name!r} that every row must have is not there")
    return tuple(found)


def _annotations(
    rows: _Rows, layout: TableLayout, images: Sequence[_Image]
) -> tuple[tuple[CaseAnnotation, ...], tuple[CaseAnnotation, ...]]:
    """Annotations in pixels, and those in fractions of the picture; equal ones once.

    Raises:
        _BadRowError: a cell without a meaning, or two statements that exclude each other.
    """
    exact: dict[CaseAnnotation, None] = {}
    fractions: dict[CaseAnnotation, None] = {}
    for entry in (*layout.classes, *layout.findings, *layout.measurements):
        told: list[CaseAnnotation] = []
        for row in rows.of(entry.table):
            image = _image_of(row, None, layout, images) if entry.level == "image" else None
            told += _statements(entry, row, image)
        if isinstance(entry, TableFindings) and entry.several == "uncertain":
            told = _of_readers(told)
        exact |= dict.fromkeys(told)
    places: tuple[TableBoxes | TablePoints, ...] = (*layout.boxes, *layout.points)
    for place in places:
        for row in rows.of(place.table):
            found = _placed(place, row, layout, images)
            if found is not None:
                (exact if place.unit == "pixels" else fractions)[found] = None
    said: dict[tuple[str, str, str | None], CaseAnnotation] = {}
    for a in exact:
        if a.kind != "box" and not a.index_xyz:
            other = said.setdefault((a.kind, a.name, a.image), a)
            if (other.value, other.state) != (a.value, a.state):
                raise _BadRowError(f"two rows of one case differ in {a.name!r}")
    return tuple(exact), tuple(fractions)


def _of_readers(told: Sequence[CaseAnnotation]) -> list[CaseAnnotation]:
    """Findings of one case that several readers stated: uncertain where they differ. Who says nothing has no say."""
    said: dict[tuple[str, str | None], list[CaseAnnotation]] = {}
    for a in told:
        said.setdefault((a.name, a.image), []).append(a)
    result = []
    for each in said.values():
        states = {a.state for a in each} - {"unknown"}
        state = next(iter(states)) if len(states) == 1 else "uncertain" if states else "unknown"
        result.append(replace(each[0], state=state))
    return result


def _image_of(row: Row, role: str | None, layout: TableLayout, images: Sequence[_Image]) -> str | None:
    """Name of the image that a row speaks of: the one whose file it names, else the only one."""
    role = role or layout.images[0].name
    mine = [i for i in images if i.role == role]
    template = next(s.file for s in layout.images if s.name == role)
    if all(c in row for c in columns_of(template)):
        path = path_of(template, row)
        if same := [i for i in mine if i.path == path]:
            return same[0].files.name
    if len(mine) > 1:
        raise _BadRowError(f"a row does not say which of {len(mine)} images {role!r} it speaks of")
    return mine[0].files.name if mine else None


def _statements(
    entry: TableClass | TableFindings | TableList | TableMeasurement, row: Row, image: str | None
) -> list[CaseAnnotation]:
    def made(kind: str, name: str, value: str | None, state: str) -> CaseAnnotation:
        return CaseAnnotation(kind, name, value, state, entry.level, entry.origin, image, (), ())

    if isinstance(entry, TableClass):
        cell = row[entry.column]
        if not cell and "" not in entry.values:
            return []
        return [made("class", entry.name, _meaning(entry.column, cell, entry.values), "present")]
    if isinstance(entry, TableFindings):
        named = {**{c: c for c in entry.columns}, **entry.named}
        return [made("class", n, None, _meaning(c, row[c], dict(entry.values))) for c, n in named.items()]
    if isinstance(entry, TableList):
        listed = [e.strip() for e in row[entry.column].split(entry.separator) if e.strip()]
        if entry.unnamed == "ignore":
            listed = [e for e in listed if e in entry.names or e in entry.absent_if]
        there = {
            _meaning(entry.column, e, entry.names)
            for e in listed
            if e not in entry.nothing and e not in entry.absent_if
        }
        others = entry.others
        if any(e in entry.absent_if for e in listed):
            if there:
                raise _BadRowError(f"column {entry.column!r} lists findings, and that there are none")
            others = "absent"
        names = dict.fromkeys(entry.names.values())
        return [made("class", n, None, "present" if n in there else others) for n in names]
    cell = row[entry.column]
    if not cell:
        return []
    if _number(cell) is None:
        raise _BadRowError(f"column {entry.column!r} holds a measurement that is no number")
    return [made("measurement", entry.name, f"{cell} {entry.unit}" if entry.unit else cell, "present")]


def _meaning(column: str, cell: str, values: Mapping[str, str]) -> str:
    """What a cell means: by its text, or by its number where both are numbers (1, 1.0).

    Raises:
        _BadRowError: nothing; the cell itself is not quoted.
    """
    if not values or cell in values:
        return values.get(cell, cell)
    number = _number(cell)
    for key, meaning in values.items():
        if number is not None and _number(key) == number:
            return meaning
    raise _BadRowError(
        f"column {column!r} holds a value without a meaning; the manifest knows {', '.join(repr(k) for k in values)}"
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _placed(
    spec: TableBoxes | TablePoints, row: Row, layout: TableLayout, images: Sequence[_Image]
) -> CaseAnnotation | None:
    """The box or point of a row; None where all its cells are empty. Coordinates: `move_on_flat`."""
    box = isinstance(spec, TableBoxes)
    needed = (*spec.corner, *(spec.size or spec.opposite or ())) if isinstance(spec, TableBoxes) else spec.at
    if not any(row[c] for c in needed):
        return None
    numbers = [_number(row[c]) for c in needed]
    if any(n is None for n in numbers):
        raise _BadRowError(f"columns {', '.join(needed)} do not all hold numbers")
    x, y, *more = (float(n) for n in numbers if n is not None)
    corners = [(x, y)]
    if isinstance(spec, TableBoxes):
        if spec.size is not None:
            width, height = more
            left, upper = (x - width / 2, y - height / 2) if spec.centred else (x, y)
            corners = [(left, upper), (left + width, upper + height)]
        else:
            corners = [(x, y), (more[0], more[1])]
        if not (corners[0][0] < corners[1][0] and corners[0][1] < corners[1][1]):
            raise _BadRowError("a box without width or height, or with exchanged corners")
    # Edges of pixels are half a pixel before their centres; fractions become edges once the size is known.
    shift = 0.5 if spec.unit == "pixels" and spec.measured == "edges" else 0.0
    index = tuple(v for px, py in corners for v in (px - shift, py - shift, 0.0))
    image = _image_of(row, spec.image, layout, images)
    name = spec.name or _meaning(spec.column or "", row[spec.column or ""], spec.names)
    return CaseAnnotation("box" if box else "point", name, None, "present", "image", spec.origin, image, index, ())


def _one(rows: _Rows, cell: Cell | None) -> str | None:
    """The first cell of a case that says something, in the manifest's words."""
    if cell is None:
        return None
    found = next((row[cell.column] for row in rows.of(cell.table) if row[cell.column]), None)
    if found is None:
        return None
    return _meaning(cell.column, found, cell.values) if cell.values else found


def _listed(rows: Sequence[Row], layout: TableLayout, splits: Mapping[str, str]) -> str | None:
    """The split that lists give a case.

    Raises:
        _BadRowError: its rows are in several.
    """
    column = layout.split_lists.column if layout.split_lists else ""
    found = {splits[row[column]] for row in rows if row[column] in splits}
    if len(found) > 1:
        raise _BadRowError(f"the lists of splits put one case into {' and '.join(sorted(found))}")
    return next(iter(found), None)


def _split(word: str | None) -> str | None:
    return None if word is None else SPLITS.get(word.lower())


def _sex(word: str | None) -> str | None:
    return None if word is None else _SEXES.get(word.lower())


def _age(text: str | None) -> float | None:
    """Years, from a number or a DICOM age string in years (058Y)."""
    number = None if text is None else _number(text.rstrip("Yy"))
    return None if number is None or number < 0 else min(AGE_CAP_YEARS, number)


def _patient(source: Source, row: Row, name: str) -> str:
    """The patient's id: the template of the manifest over the row's cells, else the case itself.

    Raises:
        _BadRowError: the cells are empty: two such rows would be one patient, or one patient two.
    """
    template = source.patient.id
    if template is None:
        return name
    wanted = columns_of(template)
    if wanted and not any(({"case": name} | row)[c] for c in wanted):
        raise _BadRowError(f"the cells that name the patient ({template}) are empty")
    return fill(template, {"case": name, **row})
