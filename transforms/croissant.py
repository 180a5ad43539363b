"""croissant.json: the corpus in the Croissant format 1.1 (http://mlcommons.org/croissant/1.1), with where it came from.

Its files are the shards and index files of one manifest, with their sizes and hashes; its records are the rows of the index
and the members of the tars. Provenance is in the words of PROV-O, as the format's section on it says: what each source is,
what it took over itself, and the plan that made the corpus of them. What a corpus does not know (who made it, when it was
published, its page) is left out unless the recipe says it under about:; who made its sources, and when, stands in the
manifest where the catalog lists them. There is no clock and no place in it, so equal manifests give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mdfp import arrow, canonical
from mdfp.manifest import Manifest, OriginTerms, ShardEntry, SourceTerms
from mdfp.sample import Sample
from schemas import licenses
from schemas.licenses import UNSTATED
from transforms.census import Census

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"

CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that the format recommends, with PROV-O."""

COLUMNS = ("key", "source", "split", "fold", "license", "patient", "shard", "site", "sex", "age_years")
"""Columns of the index that become fields: those that hold one value each."""

_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float"}

_FORMATS = {
    "b2nd": "application/octet-stream",
    "png": "image/png",
    "jpg": "image/jpeg",
    "txt": "text/plain",
    "json": "application/json",
}
"""Media types of members. A b2nd member is a blosc2 array, which has none registered."""

_SPLITS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}


@dataclass(frozen=True)
class IndexFile:
    """An index file as it lies in the corpus; its manifest knows its rows' hash, not the file's."""

    path: str
    bytes: int
    sha256: str


def croissant(manifest: Manifest, census: Census, indexes: Sequence[IndexFile]) -> bytes:
    """The bytes of croissant.json.

    Args:
        manifest: the newest.
        census: counts of its samples.
        indexes: its index files.
    """
    about = json.loads(manifest.recipe).get("about") or {}
    content: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": manifest.corpus,
        "description": about.get("description") or _description(manifest),
        "conformsTo": CONFORMS_TO,
        "version": f"{manifest.number}.0.0",
        "isLiveDataset": False,
        "license": _licenses(census),
        "citation": _citations(manifest),
        "url": about.get("url"),
        "creator": [_organization(name) for name in about.get("creators", ())],
        "datePublished": about.get("published"),
        "keywords": sorted({e.structure for e in manifest.palette}),
        "prov:wasDerivedFrom": [_source(t) for t in manifest.terms],
        "prov:wasGeneratedBy": _activity(manifest),
        **_responsible(manifest),
        "distribution": [*_shards(manifest), *(_index(i) for i in indexes), *_members(manifest, census)],
        "recordSet": [_split_set(), *_sample_sets(indexes), *_member_sets(census)],
    }
    return canonical.pretty({k: v for k, v in content.items() if v not in (None, [], {})})


def _description(manifest: Manifest) -> str:
    sources = ", ".join(t.title for t in manifest.terms)
    return (
        f"{manifest.samples} samples fused from {len(manifest.terms)} data sets ({sources}), as WebDataset shards; "
        "split by patient, labels on one palette of structures with what is known of each."
    )


def _page(license_id: str) -> str:
    """The page of a licence, or its SPDX page; its name where there is none."""
    if license_id in licenses.pages():
        return licenses.pages()[license_id]
    return license_id


def _licenses(census: Census) -> list[str]:
    held = {each for _, expression in census.licensed for each in licenses.parts(expression)}
    return sorted(_page(each) for each in held)


def _citations(manifest: Manifest) -> list[str]:
    works = [w for t in manifest.terms for w in (*t.citation, *(w for o in t.origins for w in o.citation))]
    return list(dict.fromkeys(works))


def _source(terms: SourceTerms) -> dict[str, Any]:
    found = _data_set(f"source/{terms.source}", terms)
    if terms.origins:
        found["prov:wasDerivedFrom"] = [_data_set(f"source/{terms.source}/{o.origin}", o) for o in terms.origins]
    return found


def _data_set(at: str, terms: SourceTerms | OriginTerms) -> dict[str, Any]:
    found: dict[str, Any] = {"@id": at, "@type": "prov:Entity", "prov:label": terms.title}
    if terms.license != UNSTATED:
        found["license"] = _page(terms.license)
    if terms.url:
        found["url"] = terms.url
    if terms.creators:
        found["creator"] = [_organization(name) for name in terms.creators]
    if terms.year is not None:
        found["datePublished"] = str(terms.year)  # a year alone is a date of ISO 8601
    if terms.citation:
        found["citation"] = list(terms.citation)
    return found


def _organization(name: str) -> dict[str, Any]:
    return {"@type": "sc:Organization", "name": name}


def _activity(manifest: Manifest) -> dict[str, Any]:
    return {
        "@id": f"plan/{manifest.plan_id}",
        "@type": "prov:Activity",
        "prov:label": f"mdfp plan {manifest.plan_id[:16]}, pixel version {manifest.pixel_version}",
    }


def _responsible(manifest: Manifest) -> dict[str, Any]:
    """What the format's vocabulary for responsible use asks and the manifest answers."""
    recipe = json.loads(manifest.recipe)
    geometry, intensity = recipe.get("geometry", {}), recipe.get("intensity", {})
    how = [f"geometry: {json.dumps(geometry, sort_keys=True)}", f"intensity: {json.dumps(intensity, sort_keys=True)}"]
    holes = sum(h.count for h in manifest.holes)
    return {
        "rai:dataPreprocessingProtocol": how,
        "rai:dataCollectionMissingData": f"{holes} planned samples could not be made; the manifest counts them by reason",
        "rai:personalSensitiveInformation": [
            "patients are pseudonyms (keyed digests); sex and age in years, capped at 90, where the source states them"
        ],
    }


def _shards(manifest: Manifest) -> list[dict[str, Any]]:
    """The tars. One that several small sources share says of none that it came from it; its samples do."""
    sources = {t.source for t in manifest.terms}
    return [
        {
            "@id": s.path,
            "@type": "cr:FileObject",
            "name": s.path.rsplit("/", 1)[-1],
            "contentUrl": s.path,
            "contentSize": f"{s.bytes} B",
            "encodingFormat": "application/x-tar",
            "sha256": s.sha256,
            **(
                {"prov:wasDerivedFrom": {"@id": f"source/{s.source}"}}
                if isinstance(s, ShardEntry) and s.source in sources
                else {}
            ),
        }
        for s in manifest.tars
    ]


def _index(file: IndexFile) -> dict[str, Any]:
    return {
        "@id": file.path,
        "@type": "cr:FileObject",
        "name": file.path.rsplit("/", 1)[-1],
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": "application/x-parquet",
        "sha256": file.sha256,
    }


def _kinds(census: Census) -> list[tuple[str, str, str]]:
    return sorted(k for k in census.kinds if k[2] in _FORMATS)


def _pattern(kind: str, array: str, extension: str) -> str:
    return (
        "*.json" if kind == "json" else f"*.{kind}.{array}.{extension}" if kind != "text" else f"*.{array}.{extension}"
    )


def _set_id(kind: str, array: str, extension: str) -> str:
    return "-".join(dict.fromkeys(part for part in (kind, array, extension) if part))


def _members(manifest: Manifest, census: Census) -> list[dict[str, Any]]:
    """A set of files for each kind of member that the tars hold."""
    tars = [{"@id": s.path} for s in manifest.tars]
    return [
        {
            "@id": f"members/{_set_id(*kind)}",
            "@type": "cr:FileSet",
            "containedIn": tars,
            "encodingFormat": _FORMATS[kind[2]],
            "includes": _pattern(*kind),
        }
        for kind in _kinds(census)
    ]


def _split_set() -> dict[str, Any]:
    return {
        "@id": "splits",
        "@type": "cr:RecordSet",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@id": "splits/name", "@type": "cr:Field", "dataType": "sc:Text"},
            {"@id": "splits/url", "@type": "cr:Field", "dataType": "sc:URL"},
        ],
        "data": [{"splits/name": name, "splits/url": url} for name, url in _SPLITS.items()],
    }


def _sample_sets(indexes: Sequence[IndexFile]) -> list[dict[str, Any]]:
    """The rows of the index, a sample each: a set of records for each index file, all of the same fields."""
    one = len(indexes) == 1
    return [_sample_set("samples" if one else f"samples-{n}", i.path) for n, i in enumerate(indexes, start=1)]


def _sample_set(name: str, path: str) -> dict[str, Any]:
    schema = arrow.arrow_schema(Sample)
    return {
        "@id": name,
        "@type": "cr:RecordSet",
        "description": "A row of the index for each sample.",
        "key": {"@id": f"{name}/key"},
        "field": [_column(name, schema.field(column), path) for column in COLUMNS],
    }


def _column(name: str, field: pa.Field, path: str) -> dict[str, Any]:
    found = {
        "@id": f"{name}/{field.name}",
        "@type": "cr:Field",
        "description": (field.metadata or {}).get(b"doc", b"").decode(),
        "dataType": _TYPES[str(field.type)],
        "source": {"fileObject": {"@id": path}, "extract": {"column": field.name}},
    }
    return found | ({"references": {"field": {"@id": "splits/name"}}} if field.name == "split" else {})


def _member_sets(census: Census) -> list[dict[str, Any]]:
    """The members of the tars, a record each: the key that names its sample, and its bytes."""
    return [_member_set(kind) for kind in _kinds(census)]


def _member_set(kind: tuple[str, str, str]) -> dict[str, Any]:
    files, name = {"fileSet": {"@id": f"members/{_set_id(*kind)}"}}, f"members-{_set_id(*kind)}"
    return {
        "@id": name,
        "@type": "cr:RecordSet",
        "field": [
            {
                "@id": f"{name}/key",
                "@type": "cr:Field",
                "dataType": "sc:Text",
                "source": {**files, "extract": {"fileProperty": "filename"}, "transform": {"regex": r"^([^.]+)\."}},
            },
            {
                "@id": f"{name}/content",
                "@type": "cr:Field",
                "dataType": "sc:ImageObject" if _FORMATS[kind[2]].startswith("image/") else "sc:Text",
                "source": {**files, "extract": {"fileProperty": "content"}},
            },
        ],
    }
