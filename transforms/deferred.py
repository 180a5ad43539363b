"""Deferred inventory: rows from a published table of series, no header read; each series is diagnosed when it is built.

A row has one object, the folder in which the series' instances lie. A worker that builds it lists the folder, reads the
headers and asks for one volume, with the very functions of a full inventory; what is no volume becomes a hole.
"""

from __future__ import annotations

import datetime
import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mdfp import arrow
from mdfp.errors import UsageError
from mdfp.sample import Acquisition
from schemas import licenses
from schemas.case import ArrayHeader, Case, CaseImage, ObjectRecord, Reject
from schemas.inventory import InventoryRow
from schemas.layouts import DicomLayout
from schemas.published import PublishedSeries
from schemas.reasons import Reason
from schemas.recipe import Geometry, Recipe
from schemas.source import Source
from transforms.estimate import INSTANCE_S, SNAPSHOT_BYTES, ArrayCost, estimate
from transforms.inventory_series import image_name, inventory_series, read_header
from transforms.layouts.group import group, shown_path
from transforms.plan.inventory import make_row
from transforms.pseudonym import PatientKeys, case_id
from transforms.rejected import Rejected
from transforms.retry import with_retries
from transforms.store import SourceStore

VERDICT = "deferred"
"""Verdict of an image whose headers nobody has read."""

ASSUMED_SPACING_MM = {"CT": (0.7, 0.7, 2.0), "MR": (0.9, 0.9, 3.0), "PT": (4.0, 4.0, 3.3)}
"""Spacing x, y, z that estimates of time and bytes suppose, since no table tells it; it goes nowhere else. CT: 512 pixels on a
field of view of 36 cm."""

OTHER_SPACING_MM = (1.0, 1.0, 2.0)
"""The same of other modalities."""

VOXEL_BYTES = 2
"""Bytes of a voxel in the archive, uncompressed: compressed series have more voxels than is estimated."""

_SCHEMA = arrow.arrow_schema(PublishedSeries)

_NO_KEYS = PatientKeys(b"pseudonyms that nobody sees")
"""Diagnosis makes pseudonyms, which those of the plan replace: building needs no secret."""


def read_table(path: Path) -> pa.Table:
    """A published table with the columns of `PublishedSeries`, in the order of its folders.

    Raises:
        UsageError: no such file, other columns, nulls where none may be, a folder or series twice, a folder that leads
            out of the root, an unknown licence.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected the published table of a deferred inventory (parquet), found nothing")
    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise UsageError(f"{path}: expected parquet: {error}") from error
    if missing := sorted(set(_SCHEMA.names) - set(table.column_names)):
        raise UsageError(f"{path}: expected the columns {', '.join(_SCHEMA.names)}; {', '.join(missing)} missing")
    try:
        table = table.select(_SCHEMA.names).cast(_SCHEMA)
    except (pa.ArrowInvalid, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    for field in _SCHEMA:
        if not field.nullable and table[field.name].null_count:
            raise UsageError(f"{path}: expected {field.name} in every row, {table[field.name].null_count} have none")
    wrong = [f for f in table["folder"].to_pylist() if f.startswith("/") or {"", ".", ".."} & set(f.split("/"))]
    if wrong:
        raise UsageError(f"{path}: expected folders below the source's root, found {wrong[0]!r}")
    for name in ("folder", "series_instance_uid"):
        if (twice := table.num_rows - len(pc.unique(table[name]))) > 0:
            raise UsageError(f"{path}: expected every {name} once, {twice} are there again")
    for name in pc.unique(table["license"]).to_pylist():
        licenses.check(name)
    if table.num_rows and (pc.min(table["instances"]).as_py() < 1 or pc.min(table["bytes"]).as_py() < 0):
        raise UsageError(f"{path}: expected at least one instance and no negative size")
    return table.sort_by("folder")


def digest(table: pa.Table) -> str:
    """sha256 of a table's values, whatever file they came in."""
    result = hashlib.sha256()
    for name in table.column_names:
        result.update(repr((name, table[name].to_pylist())).encode())
    return result.hexdigest()


def rejects(table: pa.Table, source: Source, keys: PatientKeys) -> tuple[Reject, ...]:
    """What the manifest leaves out: excluded series (`exclude:`, by SeriesInstanceUID) and modalities it does not take."""
    layout = _layout(source)
    result = []
    for uid, modality, folder in zip(
        *(table[n].to_pylist() for n in ("series_instance_uid", "modality", "folder")), strict=True
    ):
        verdict = None
        if uid in source.exclude:
            verdict = Reason.EXCLUDED, f"excluded by the source manifest: {source.exclude[uid]}"
        elif layout.modalities and modality not in layout.modalities:
            verdict = Reason.NOT_SELECTED, f"modality {modality}, the manifest takes {', '.join(layout.modalities)}"
        if verdict:
            name = case_id(source.id, uid, keys, public=False)
            result.append(Reject("inventory", source.id, name, *verdict, shown_path(folder, source, keys)))
    return tuple(result)


def rows(table: pa.Table, source: Source, keys: PatientKeys, wanted: Geometry) -> pa.Table:
    """A row of an inventory for each series that the manifest takes, in the order of the table.

    Patients are pseudonyms in the namespace of the source; with the same namespace, an id of two collections is one person.

    Args:
        table: as `read_table` gives it.
        source: the manifest; its layout is dicom.
        keys: makes pseudonyms.
        wanted: the recipe's geometry, for the estimates.
    """
    layout = _layout(source)
    keep = pc.invert(pc.is_in(table["series_instance_uid"], pa.array(list(source.exclude), pa.string())))
    if layout.modalities:
        keep = pc.and_(keep, pc.is_in(table["modality"], pa.array(layout.modalities)))
    table = table.filter(keep)
    count = table.num_rows
    modalities = sorted(pc.unique(table["modality"]).to_pylist())
    templates = arrow.to_table(InventoryRow, [make_row(_template(m), (), None) for m in modalities])
    made = templates.take(pc.index_in(table["modality"], pa.array(modalities, pa.string())))
    series, folders = table["series_instance_uid"].to_pylist(), table["folder"].to_pylist()
    size = table["bytes"].to_numpy()
    instances = table["instances"].to_numpy()
    voxels = size // VOXEL_BYTES
    kinds = np.array([_per_voxel(m, wanted) for m in modalities], np.float64).reshape(-1, 2)
    costs = kinds[pc.index_in(table["modality"], pa.array(modalities, pa.string())).to_numpy().astype(np.int64)]
    patients = _each(table["patient_id"], lambda p: keys.patient(source.patient.namespace, p))
    facts = zip(series, table["modality"].to_pylist(), patients, table["license"].to_pylist(), strict=True)
    held = [_digest(f, b, n) for f, b, n in zip(folders, size.tolist(), instances.tolist(), strict=True)]
    columns = {
        "case_id": [case_id(source.id, s, keys, public=False) for s in series],
        "source": [source.id] * count,
        "patient": patients,
        "study": _each(table["study_instance_uid"], keys.uid),
        "series": [keys.uid(s) for s in series],
        "license": table["license"],
        "estimated_seconds": np.round(instances * INSTANCE_S + voxels * costs[:, 0], 3),
        "estimated_bytes": SNAPSHOT_BYTES + (voxels * costs[:, 1]).astype(np.int64),
        "objects": _objects(made.schema.field("objects").type, folders, size, instances, table["modality"].to_pylist()),
        "study_day": _days(table["study_date"].to_pylist(), patients, keys),
        "case_digest": [_digest(*f) for f in facts],
        "objects_digest": held,
        "content_digest": held,
        "object_count": instances,
        "object_bytes": size,
        "voxels": voxels,
    }
    for name, values in columns.items():
        field = made.schema.field(name)
        column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, field.type)
        made = made.set_column(made.schema.get_field_index(name), field, column)
    return made


def is_deferred(case: Case) -> bool:
    """Whether a case's headers are still to be read."""
    return len(case.images) == 1 and case.images[0].header.verdict == VERDICT


def diagnose(
    case: Case, objects: Sequence[ObjectRecord], source: Source, store: SourceStore, recipe: Recipe, *, attempts: int
) -> tuple[Case, tuple[ObjectRecord, ...]]:
    """The case with the headers of its series read, and its instances as objects.

    Who it is, its split and its terms stay those of the plan; the rest is what the headers say.

    Args:
        case: a deferred case of a plan.
        objects: its folder.
        source: the manifest.
        store: the source's bucket.
        recipe: for limits, geometry and policy.
        attempts: how often a failing request is tried.

    Raises:
        Rejected: MISSING_FILE or SOURCE_CHANGED where the folder does not hold what the table says; NOT_A_VOLUME where the
            series is several volumes; else what the diagnosis of the series found.
        OSError: what may pass, after `attempts`.
    """
    folder = objects[0].path
    expected = int(objects[0].version.partition(":")[2])
    listing = with_retries(lambda: list(store.below(folder)), attempts=attempts)
    if not listing:
        raise Rejected(Reason.MISSING_FILE, "the folder of the series holds nothing")
    if len(listing) != expected:
        raise Rejected(Reason.SOURCE_CHANGED, f"expected {expected} instances as published, found {len(listing)}")
    grouped = group(source, listing, store.read, _NO_KEYS)
    if grouped.rejects:
        raise Rejected(grouped.rejects[0].reason, grouped.rejects[0].detail)
    read = list(
        store.each(lambda file: with_retries(lambda: read_header(file, store), attempts=attempts), grouped.headers)
    )
    found = inventory_series(
        read,
        source,
        store,
        _NO_KEYS,
        recipe.limits,
        on_fault="image_only",
        wanted=recipe.geometry,
        policy=recipe.policy,
    )
    volumes = [f for f in found if f.case is not None]
    if not volumes:
        reject = next(r for f in found for r in f.rejects)
        raise Rejected(reject.reason, reject.detail)
    if len(volumes) > 1:
        raise Rejected(
            Reason.NOT_A_VOLUME,
            f"the series holds {len(volumes)} volumes, expected one; a full inventory makes a case of each",
        )
    [made] = volumes
    assert made.case is not None  # that is what volumes are
    kept = ("case_id", "patient", "study", "series", "timepoint", "days_from_first", "site", "split", "license")
    whole = replace(made.case, **{name: getattr(case, name) for name in kept})
    return whole, tuple(replace(o, case_id=case.case_id) for o in made.objects)


def _layout(source: Source) -> DicomLayout:
    if not isinstance(source.layout, DicomLayout):
        raise TypeError(f"expected a dicom layout, found {source.layout.kind}")
    return source.layout


def _template(modality: str) -> Case:
    header = ArrayHeader(
        image_name(modality), "dicom", "zyx", (), None, None, None, None, "int16", 1.0, 0.0, None, VERDICT, 0
    )
    image = CaseImage(header, modality, Acquisition())
    return Case(
        case_id="", source="", patient="", study=None, series=None, timepoint=None, days_from_first=None, sex=None, age_years=None,
        site=None, split=None, license=None, images=(image,), labels=(), annotations=(), texts=(), findings=(),
        estimated_seconds=0.0, estimated_bytes=0,
    )  # fmt: skip


def _per_voxel(modality: str, wanted: Geometry) -> tuple[float, float]:
    """(CPU seconds, bytes in the shard) a voxel of a series costs, at the spacing that its modality is supposed to have."""
    spacing = ASSUMED_SPACING_MM.get(modality, OTHER_SPACING_MM)
    shape = (300, 512, 512)
    affine = tuple(np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]).ravel().tolist())
    header = ArrayHeader(
        "image", "dicom", "zyx", shape, spacing, "LPS", affine, 0.0, "int16", 1.0, 0.0, None, VERDICT, 0
    )
    seconds, stored = estimate([ArrayCost(header, modality)], [], wanted)
    return seconds / math.prod(shape), (stored - SNAPSHOT_BYTES) / math.prod(shape)


def _objects(
    kind: pa.DataType, folders: list[str], size: np.ndarray, instances: np.ndarray, modalities: list[str]
) -> pa.Array:
    count = len(folders)
    values = {
        "path": folders,
        "bytes": size,
        # The folder's name is the version of what it holds; how many it holds can be checked.
        "version": [f"instances:{n}" for n in instances.tolist()],
        "array": [f"image:{image_name(m)}" for m in modalities],
        "ordinal": np.zeros(count, np.int64),
        "structure": pa.nulls(count, pa.string()),
    }
    fields = list(kind.value_type)
    inner = pa.StructArray.from_arrays([pa.array(values[f.name], f.type) for f in fields], fields=fields)
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32)), inner, type=kind)


def _each(column: pa.ChunkedArray, function: object) -> list[str]:
    """`function` of every value, computed once for equal ones."""
    encoded = column.combine_chunks().dictionary_encode()
    made = [function(v) for v in encoded.dictionary.to_pylist()]  # type: ignore[operator]
    return [made[i] for i in encoded.indices.to_pylist()]


def _days(dates: list[str | None], patients: list[str], keys: PatientKeys) -> list[int | None]:
    shift = functools.cache(lambda patient: keys.shifted_day(patient, 0))
    result: list[int | None] = []
    for date, patient in zip(dates, patients, strict=True):
        try:
            day = None if date is None else datetime.date(int(date[:4]), int(date[4:6]), int(date[6:8])).toordinal()
        except ValueError:  # not a date; published all the same
            day = None
        result.append(None if day is None else day + shift(patient))
    return result


def _digest(*facts: object) -> str:
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()
