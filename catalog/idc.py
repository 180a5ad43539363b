"""NCI's Imaging Data Commons as sources: its published table of all series, selected in words or in SQL.

The table comes with the package `idc-index-data` (extra `idc`): a row a series with collection, patient, study, licence, DOI,
size and place in a public bucket. No pixel and no header is read here. Further tables of the same project, for example
`volume_geometry_index`, are not in that package; `idc-index` fetches them (`IDCClient.fetch_index`), and a file of it
may be given.

Keys in the buckets: `<crdc_series_uuid>/<instance uuid>.dcm`. A series that is revised gets another uuid.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mdfp import arrow
from mdfp.errors import UsageError
from schemas.published import PublishedSeries
from schemas.vocabulary import check

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLES = ("idc_index", "collections_index", "analysis_results_index", "version_metadata_index")
"""Tables of the package that are used."""

GEOMETRY = "volume_geometry_index"
"""A table that is not in the package: whether the slices of a series make a regular volume."""

SPDX: Mapping[str, str] = {
    "CC BY 3.0": "CC-BY-3.0",
    "CC BY 4.0": "CC-BY-4.0",
    "CC BY-NC 3.0": "CC-BY-NC-3.0",
    "CC BY-NC 4.0": "CC-BY-NC-4.0",
    "CC0 1.0": "CC0-1.0",
}
"""Licence as the table names it -> SPDX id. Any other becomes `LicenseRef-` and its name."""

MIN_INSTANCES = 40
"""Fewer slices are no volume to learn 3-D structure from, by default."""

NOT_A_VOLUME = (
    r"scout", r"topo(gram)?", r"locali[sz]ers?", r"surview", r"scanogram", r"dose ?(report|info)", r"screen ?save", r"key images?",
    r"smart ?prep", r"(pre)?monitoring", r"bolus ?tracking", r"test ?bolus", r"timing", r"mip",
)  # fmt: skip
"""Words of a SeriesDescription, whole, that name what is no volume as it was taken: localizers, reports, series that wait
for a contrast bolus, projections. `dose` and `bolus` alone are not among them: "low dose", "Contrast/Bolus Agent"."""

FIT_FOR_3D: Mapping[str, str] = {
    "CT": "Modality = 'CT'",
    "single frames, CT Image Storage": "sop_class_name = 'CT Image Storage'",
    "one grey channel": "PhotometricInterpretation = 'MONOCHROME2'",
    "original, no analysis result": "analysis_result_id is null",
    "of people": "contains(species, 'Human')",
    "no phantom, by collection and body part": (
        "not contains(lower(concat_ws(' ', collection_id, BodyPartExamined)), 'phantom') "
        "and coalesce(cancer_types, '') <> 'Phantom'"
    ),
    "no localizer, report, monitoring series or projection, by description": (
        rf"not coalesce(regexp_matches(lower(SeriesDescription), '\b({'|'.join(NOT_A_VOLUME)})\b'), false)"
    ),
}
"""CT series that can serve 3-D self-supervision, as far as the table tells, besides the least number of instances: what each
rule asks, and the rule in SQL. `cancer_types` of a collection says Phantom of objects that its `species` calls human.
Whether the slices make a regular volume is known from headers only, or from `volume_geometry_index`."""

_COLUMNS = {
    "folder": "crdc_series_uuid",
    "series_instance_uid": "SeriesInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "patient_id": "PatientID",
    "collection": "collection_id",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "instances": "instanceCount",
    "bytes": "round(series_size_MB * 1e6)::bigint",
    "license": "license_id",
    "doi": "source_DOI",
    "study_date": "replace(StudyDate, '-', '')",
}


@dataclass(frozen=True)
class Selection:
    """Which series. Values of one kind are alternatives, kinds all hold.

    Attributes:
        modalities: DICOM Modality codes.
        body_parts: values of Body Part Examined.
        collections: ids of collections.
        licenses: SPDX ids.
        min_instances: least number of instances; None: any.
        fit_3d: only what `FIT_FOR_3D` says; `min_instances` is then `MIN_INSTANCES` unless given.
        where: a condition in SQL over the columns of `idc_index`, and `license_id`, `species`, `cancer_types`,
            `tumor_locations` of its collection.
        geometry: a file of `volume_geometry_index`: only series that it calls regular volumes.
    """

    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    collections: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    min_instances: int | None = None
    fit_3d: bool = False
    where: str | None = None
    geometry: Path | None = None


@dataclass(frozen=True)
class Count:
    """A part of a selection."""

    value: str
    series: int
    patients: int
    bytes: int


@dataclass(frozen=True)
class Facts:
    """What a selection is, before a byte of pixels is read."""

    series: int
    patients: int
    studies: int
    collections: int
    instances: int
    bytes: int
    licenses: tuple[Count, ...]
    modalities: tuple[Count, ...]
    largest: tuple[Count, ...]
    """Its largest collections."""


@dataclass(frozen=True)
class Citation:
    """What to cite for the series of one DOI."""

    doi: str
    series: int
    license: str
    text: str | None


class Archive:
    """The archive's tables.

    Args:
        folder: with parquet files of the names `TABLES`; None: of the installed package.

    Raises:
        UsageError: the package is not installed, or a table is missing.
    """

    def __init__(self, folder: Path | None = None):
        self.files = {name: _package_file(name) if folder is None else folder / f"{name}.parquet" for name in TABLES}
        if missing := [str(f) for f in self.files.values() if not f.is_file()]:
            raise UsageError(f"the table {missing[0]} of the archive is not there")

    @cached_property
    def version(self) -> int:
        """Number of the archive's release."""
        return int(self._value(f"select max(idc_version) from {self._file('version_metadata_index')}"))

    def select(self, selection: Selection) -> Selected:
        """The series of a selection.

        Raises:
            UsageError: a word that the table does not have, with the nearest; SQL that DuckDB refuses.
        """
        import duckdb

        condition, values = self._where(selection)
        columns = ", ".join(f"{sql} as {name}" for name, sql in _COLUMNS.items())
        try:
            found = self._series.sql(
                f"select {columns}, aws_bucket as bucket from series where {condition} order by bucket, SeriesInstanceUID",
                params=values,
            ).to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(f"idc: {error}") from error
        return Selected(self, found)

    def steps(self, min_instances: int = MIN_INSTANCES) -> tuple[tuple[str, int], ...]:
        """What is left after each rule of `FIT_FOR_3D`, and after the least number of instances: (rule, series)."""
        rules = {**FIT_FOR_3D, f"at least {min_instances} instances": f"instanceCount >= {int(min_instances)}"}
        passed = [" and ".join(f"({r})" for r in list(rules.values())[: n + 1]) for n in range(len(rules))]
        counts = self._series.sql(
            f"select count(*), {', '.join(f'count(*) filter ({p})' for p in passed)} from series"
        ).fetchall()[0]
        return (("all series of the archive", counts[0]), *zip(rules, counts[1:], strict=True))

    def citations(self, dois: Mapping[str, int], license_of: Mapping[str, str]) -> tuple[Citation, ...]:
        """What to cite, most series first.

        Args:
            dois: DOI -> series.
            license_of: DOI -> SPDX id of its series, the strictest where several.
        """
        texts = dict(
            self._series.execute(
                f"with s as (select unnest(sources) s from {self._file('collections_index')}) "
                "select lower(s.source_doi), any_value(s.citation) from s group by 1 union all "
                f"select lower(source_DOI), any_value(citation) from {self._file('analysis_results_index')} group by 1"
            ).fetchall()
        )
        ordered = sorted(dois.items(), key=lambda item: (-item[1], item[0]))
        return tuple(Citation(d, n, license_of[d], _plain(texts.get(d.lower()))) for d, n in ordered)

    @cached_property
    def _series(self) -> DuckDBPyConnection:
        import duckdb

        database = duckdb.connect(":memory:")
        names = "".join(f"when {_quoted(k)} then {_quoted(v)} " for k, v in SPDX.items())
        other = "'LicenseRef-' || trim(regexp_replace(license_short_name, '[^A-Za-z0-9.]+', '-', 'g'), '-')"
        database.execute(
            f"create view series as select i.*, case license_short_name {names}else {other} end as license_id, "
            "c.species, c.cancer_types, c.tumor_locations "
            f"from {self._file('idc_index')} i left join {self._file('collections_index')} c using (collection_id)"
        )
        return database

    def _where(self, selection: Selection) -> tuple[str, list[Any]]:
        parts: list[str] = []
        values: list[Any] = []
        kinds = (
            ("modalities", "Modality"),
            ("body_parts", "BodyPartExamined"),
            ("collections", "collection_id"),
            ("licenses", "license_id"),
        )
        for kind, column in kinds:
            if wanted := getattr(selection, kind):
                rows = self._series.execute(
                    f"select distinct {column} from series where {column} is not null"
                ).fetchall()
                known = sorted(r[0] for r in rows)
                parts.append(f"list_contains(?::varchar[], {column})")
                values.append([check(known, word, kind) for word in wanted])
        least = selection.min_instances
        if selection.fit_3d:
            parts += FIT_FOR_3D.values()
            least = MIN_INSTANCES if least is None else least
        if least is not None:
            parts.append("instanceCount >= ?")
            values.append(least)
        if selection.geometry is not None:
            if not selection.geometry.is_file():
                raise UsageError(f"{selection.geometry}: expected the table {GEOMETRY} (parquet), found nothing")
            regular = (
                f"select SeriesInstanceUID from {_quoted(str(selection.geometry))} where regularly_spaced_3d_volume"
            )
            parts.append(f"SeriesInstanceUID in ({regular})")
        if selection.where is not None:
            parts.append(selection.where)
        return " and ".join(f"({p})" for p in parts) or "true", values

    def _file(self, name: str) -> str:
        return _quoted(str(self.files[name]))

    def _value(self, statement: str) -> Any:
        return self._series.execute(statement).fetchall()[0][0]


class Selected:
    """The series of a selection.

    Attributes:
        archive: whose they are.
        series: columns of `PublishedSeries` and `bucket`, in the order of buckets and SeriesInstanceUID.
    """

    def __init__(self, archive: Archive, series: pa.Table):
        self.archive = archive
        names = [f.name for f in fields(PublishedSeries)]
        # DuckDB gives large strings and views; files hold plain ones.
        kept = series.select(names).cast(arrow.arrow_schema(PublishedSeries))
        self.series = kept.append_column("bucket", series["bucket"].cast(pa.string()))

    def parts(self) -> dict[tuple[str, str], pa.Table]:
        """(Bucket, licence) -> its series, with the columns of `PublishedSeries`; sorted."""
        found = self.series.group_by(["bucket", "license"]).aggregate([]).to_pylist()
        keys = sorted((row["bucket"], row["license"]) for row in found)
        result = {}
        for bucket, license_id in keys:
            mine = pc.and_(pc.equal(self.series["bucket"], bucket), pc.equal(self.series["license"], license_id))
            result[bucket, license_id] = self.series.filter(mine).drop_columns(["bucket"])
        return result

    def collections(self) -> tuple[Count, ...]:
        """Its collections, the one of most series first."""
        return self._parts("collection")

    def facts(self) -> Facts:
        """What it adds up to. A patient is counted once, in however many collections."""
        row = self._database.execute(
            "select count(*), count(distinct patient_id), count(distinct study_instance_uid), count(distinct collection), "
            "coalesce(sum(instances), 0)::bigint, coalesce(sum(bytes), 0)::bigint from s"
        ).fetchall()[0]
        series, patients, studies, collections, instances, size = row
        return Facts(
            series, patients, studies, collections, instances, size,
            self._parts("license"), self._parts("modality"), self._parts("collection")[:10],
        )  # fmt: skip

    @cached_property
    def _database(self) -> DuckDBPyConnection:
        import duckdb

        database = duckdb.connect(":memory:")
        database.register("s", self.series)
        return database

    def _parts(self, column: str) -> tuple[Count, ...]:
        rows = self._database.execute(
            f"select {column}, count(*), count(distinct patient_id), coalesce(sum(bytes), 0)::bigint from s "
            "group by 1 order by 2 desc, 1"
        ).fetchall()
        return tuple(Count(*row) for row in rows)

    def citations(self) -> tuple[Citation, ...]:
        """What to cite, most series first."""
        found: dict[str, int] = {}
        license_of: dict[str, str] = {}
        columns = self.series.select(["doi", "license"]).group_by(["doi", "license"]).aggregate([([], "count_all")])
        for row in columns.to_pylist():
            if row["doi"]:
                found[row["doi"]] = found.get(row["doi"], 0) + row["count_all"]
                license_of[row["doi"]] = _stricter(license_of.get(row["doi"]), row["license"])
        return self.archive.citations(found, license_of)


def _stricter(one: str | None, other: str) -> str:
    """Of two licences of one DOI the one that allows less: custom terms, then non-commercial, then the rest."""

    def rank(license_id: str) -> tuple[bool, bool, str]:
        return license_id.startswith("LicenseRef-"), "-NC" in license_id, license_id

    return other if one is None else max(one, other, key=rank)


def _package_file(name: str) -> Path:
    try:
        import idc_index_data
    except ImportError as error:
        raise UsageError(
            "the table of the Imaging Data Commons is not installed; it comes with: pip install 'mdfp[idc]' (or idc-index-data)"
        ) from error
    path = idc_index_data.INDEX_METADATA[name]["parquet_filepath"]
    if path is None:
        raise UsageError(f"this version of idc-index-data has no table {name}; expected version 25 or later")
    return Path(str(path))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(text: str | None) -> str | None:
    """A citation without HTML and line breaks."""
    return None if text is None else " ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split())
