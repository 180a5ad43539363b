"""The tables of a small archive in the form of those of the Imaging Data Commons."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.idc import Archive

GOOD = {
    "collection_id": "nice", "analysis_result_id": None, "PatientID": "P1", "SeriesInstanceUID": "1.2.1", "StudyInstanceUID": "1.1",
    "source_DOI": "10.1/NICE", "BodyPartExamined": "CHEST", "Modality": "CT", "sop_class_name": "CT Image Storage",
    "PhotometricInterpretation": "MONOCHROME2", "StudyDate": "2001-02-03", "SeriesDescription": "Low dose, Contrast/Bolus Agent",
    "instanceCount": 120, "license_short_name": "CC BY 4.0", "aws_bucket": "open", "crdc_series_uuid": "u1",
    "series_aws_url": "s3://open/u1/*", "series_size_MB": 60.5,
}  # fmt: skip
"""A series that fits."""


def archive_of(folder, rows):
    """The tables of an archive with these series."""
    columns = {k: [r[k] for r in rows] for k in GOOD}
    schema = pa.schema(
        [(k, pa.int64() if k == "instanceCount" else pa.float64() if k.endswith("MB") else pa.string()) for k in GOOD]
    )
    pq.write_table(pa.table(columns, schema=schema), folder / "idc_index.parquet")
    about = (
        ("nice", "Human", "Lung", "10.1/nice"),
        ("mice", "Mouse", "Lung", "10.1/mice"),
        ("both", "Human, Mouse", "Lung", "10.1/both"),
        ("objects", "Human", "Phantom", "10.1/objects"),  # as some collections of the archive are
    )
    collections = [
        {"collection_id": c, "species": s, "cancer_types": t, "tumor_locations": "Chest",
         "sources": [{"source_doi": d, "citation": f"A &amp; B, <i>{c}</i>\nof 2001"}]}
        for c, s, t, d in about
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(collections), folder / "collections_index.parquet")
    results = [{"source_DOI": "10.1/result", "citation": "The result"}]
    pq.write_table(pa.Table.from_pylist(results), folder / "analysis_results_index.parquet")
    pq.write_table(pa.table({"idc_version": [24, 25]}), folder / "version_metadata_index.parquet")
    return Archive(folder)


def series_of(**changes):
    return [
        {**GOOD, "SeriesInstanceUID": f"1.2.{n}", "crdc_series_uuid": f"u{n}", **c}
        for n, c in enumerate(changes.values(), start=1)
    ]
