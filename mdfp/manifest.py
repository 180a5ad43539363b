"""A corpus is what its manifests name: numbered files, each written once, each naming its parent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from mdfp import arrow, canonical
from mdfp.canonical import SPARSE
from mdfp.errors import CorpusError
from mdfp.fusion import Fusion

FORMAT = "mdfp-corpus"
SCHEMA_VERSION = 2
"""Raised when a reader of the former version could misread a corpus.

2: the digest of an index file is taken over its shards' digests, and a generation may have several index files.
"""

SIDECAR_VERSION = 3
"""Schema version of manifests with sidecars, and of no other: an index row then names members that lie in another tar than the
sample's shard, of which a reader of version 2 would read the wrong bytes."""


@dataclass(frozen=True)
class PaletteEntry:
    """One structure and its integer in the stored masks. 0 is never a structure."""

    value: Annotated[int, "integer in the masks"]
    structure: Annotated[str, "ontology id"]
    code: Annotated[str | None, "SNOMED CT code"]
    meaning: Annotated[str | None, "SNOMED CT meaning"]
    side: Annotated[str | None, "left or right"]
    kind: Annotated[str, "anatomy, lesion or device"]
    is_a: Annotated[tuple[str, ...], "structures it is a kind of"]
    part_of: Annotated[tuple[str, ...], "structures it is a part of"]
    located_in: Annotated[tuple[str, ...], "structures it lies in: a lesion in its organ"]


@dataclass(frozen=True)
class Relation:
    """One edge of the ontology, so that label spaces may name structures that no source drew."""

    child: Annotated[str, "ontology id"]
    relation: Annotated[str, "is_a, part_of or located_in"]
    parent: Annotated[str, "ontology id"]


@dataclass(frozen=True)
class ShardEntry:
    """One tar of the corpus."""

    path: Annotated[str, "below the corpus: shards/<split>/<source>-<n>-<sha>.tar"]
    bytes: Annotated[int, "size"]
    sha256: Annotated[str, "hex digest of the whole file"]
    samples: Annotated[int, "samples in it"]
    split: Annotated[str, "train, val or test"]
    source: Annotated[str, "id of the source, or of the pool"]
    generation: Annotated[int, "number of the manifest that first named it"]


@dataclass(frozen=True)
class SidecarEntry:
    """A tar of label members that were added to the samples of a shard after they were published."""

    path: Annotated[str, "below the corpus: sidecars/<split>/<source>-<n>.<layer>-<sha>.tar"]
    bytes: Annotated[int, "size"]
    sha256: Annotated[str, "hex digest of the whole file"]
    samples: Annotated[int, "samples that have members in it"]
    shard: Annotated[str, "path of the shard that these samples lie in"]
    layer: Annotated[str, "name of the labels that were added"]
    generation: Annotated[int, "number of the manifest that first named it"]


@dataclass(frozen=True)
class AddedLayer:
    """Labels that were added to published samples: what they are, and under which terms they came."""

    layer: Annotated[str, "their name: layers of samples are called so, or begin with it"]
    title: Annotated[str, "who or what made them"]
    origin: Annotated[str, "expert, model, consensus, pseudo, unknown"]
    structures: Annotated[tuple[str, ...], "structures that they can name, sorted"]
    sources: Annotated[tuple[str, ...], "sources whose samples have them, sorted"]
    license: Annotated[str, "SPDX id, LicenseRef-<name>, or LicenseRef-unstated"]
    url: Annotated[str | None, "page of the terms"]
    citation: Annotated[tuple[str, ...], "works to cite, a line each"]


@dataclass(frozen=True)
class OriginTerms:
    """A data set that samples of a source were taken from: its terms hold for them too."""

    origin: Annotated[str, "id of the data set"]
    title: Annotated[str, "its name"]
    what: Annotated[str, "what was taken over: images, labels or both"]
    license: Annotated[str, "SPDX id, LicenseRef-<name>, or LicenseRef-unstated"]
    url: Annotated[str | None, "page of the data set"]
    citation: Annotated[tuple[str, ...], "works to cite, a line each"]
    cases: Annotated[tuple[str, ...], "patterns of the cases that may have come from it; none: any"] = ()
    creators: Annotated[tuple[str, ...], "organisations that made it, as the catalog of data sets says"] = field(
        default=(), metadata={SPARSE: True}
    )
    year: Annotated[int | None, "year of its release, as the catalog says"] = field(
        default=None, metadata={SPARSE: True}
    )


@dataclass(frozen=True)
class SourceTerms:
    """Under which terms a source's samples came, and whom to cite."""

    source: Annotated[str, "id of the source"]
    title: Annotated[str, "name of the data set"]
    license: Annotated[str, "SPDX id, or own-data"]
    url: Annotated[str | None, "page of the data set"]
    citation: Annotated[tuple[str, ...], "works to cite, a line each"]
    origins: Annotated[tuple[OriginTerms, ...], "data sets that its samples were taken from"] = ()
    creators: Annotated[tuple[str, ...], "organisations that made it, as the catalog of data sets says"] = field(
        default=(), metadata={SPARSE: True}
    )
    year: Annotated[int | None, "year of its release, as the catalog says"] = field(
        default=None, metadata={SPARSE: True}
    )


@dataclass(frozen=True)
class TermsException:
    """Samples of a source that were taken although the recipe's terms refuse them."""

    source: Annotated[str, "id of the source"]
    license: Annotated[str, "their licence, or several joined by AND"]
    samples: Annotated[int, "how many"]
    refused: Annotated[str, "what the terms have against it"]
    reason: Annotated[str, "on what ground they were taken, as the recipe says"]


@dataclass(frozen=True)
class SamplingCap:
    """The most that a source may take of an epoch: a share or a number."""

    source: Annotated[str, "id of the source"]
    share: Annotated[float | None, "of the places of an epoch; null where it is a number"]
    samples: Annotated[int | None, "places; null where it is a share"]


@dataclass(frozen=True)
class SamplingCell:
    """The samples of one source in one group."""

    source: Annotated[str, "id of the source"]
    group: Annotated[str, "source, modality or anatomy"]
    samples: Annotated[int, "samples of the split"]
    weight: Annotated[float, "share of an epoch, caps applied"]


@dataclass(frozen=True)
class SourceAnatomy:
    """The anatomy of a source whose files do not state it."""

    source: Annotated[str, "id of the source"]
    anatomy: Annotated[str, "as the recipe says"]


@dataclass(frozen=True)
class Sampling:
    """How often what comes up in an epoch of a split: the rule, and the numbers that follow from it."""

    split: Annotated[str, "the split that it holds for: train"]
    by: Annotated[str, "what the groups are: source, modality or anatomy"]
    exponent: Annotated[float, "a group of n samples weighs n to this power: 1 proportional, 0 equal"]
    caps: Annotated[tuple[SamplingCap, ...], "the most that a source may take"]
    cells: Annotated[tuple[SamplingCell, ...], "the numbers that readers use"]
    anatomy: Annotated[tuple[SourceAnatomy, ...], "of sources whose files do not state it"] = ()


@dataclass(frozen=True)
class SiteEntry:
    """One site of a corpus: what `mdfp.open(url, site=...)` gives."""

    site: Annotated[str, "its name"]
    samples: Annotated[int, "its samples"]
    groups: Annotated[int, "its patients, those that cannot be told apart counted once"]
    train: Annotated[int, "samples of the train split"]
    val: Annotated[int, "samples of the val split"]
    test: Annotated[int, "samples of the test split"]


@dataclass(frozen=True)
class MovedGroup:
    """A patient whose samples come from several sites: all of them are in the view of one."""

    group: Annotated[str, "pseudonym of the group"]
    site: Annotated[str, "the site that has it"]
    others: Annotated[tuple[str, ...], "the sites that do not have it any more"]
    samples: Annotated[int, "samples that came from the others"]


@dataclass(frozen=True)
class Sites:
    """The corpus divided into sites that share no patient."""

    by: Annotated[str, "what a site is: source, or the field site of a sample"]
    sites: Annotated[tuple[SiteEntry, ...], "by name"]
    moved: Annotated[tuple[MovedGroup, ...], "patients of several sites, and where they went"]


@dataclass(frozen=True)
class HoleCount:
    """Planned samples of a source that could not be made."""

    source: Annotated[str, "id of the source"]
    reason: Annotated[str, "reason code"]
    count: Annotated[int, "how many"]


@dataclass(frozen=True)
class SplitTotal:
    """What a split holds."""

    split: Annotated[str, "train, val or test"]
    samples: Annotated[int, "samples"]
    patients: Annotated[int, "patients"]
    bytes: Annotated[int, "bytes of its shards"]
    urls: Annotated[tuple[str, ...], "its shards in order, below the corpus: what a tar reader streams"]


@dataclass(frozen=True)
class IndexEntry:
    """One index file: a row for each sample that a generation added, or for a part of them; whole shards always."""

    path: Annotated[str, "below the corpus: index/<number>-<digest>.parquet"]
    rows: Annotated[int, "samples in it"]
    rows_sha256: Annotated[str, "sha256 of what `digest_of` says, a line each (parquet bytes differ between writers)"]
    digest_of: Annotated[
        str,
        "shards: for each shard in order, the sha256 of its rows' canonical JSON, a line each; rows: of all rows' JSON, "
        "as schema version 1 did",
    ] = "rows"


@dataclass(frozen=True)
class Manifest:
    """`manifests/<number>.json`: what the corpus is, as of one generation."""

    format: Annotated[str, "mdfp-corpus"]
    schema_version: Annotated[int, "version of this schema"]
    number: Annotated[int, "1, 2, 3, …"]
    parent: Annotated[int | None, "the manifest it continues; null for the first"]
    corpus: Annotated[str, "name of the corpus"]
    plan_id: Annotated[str, "sha256 of the plan that this generation built"]
    pixel_version: Annotated[int, "raised whenever the same input would give other pixels"]
    environment: Annotated[str, "digest of the locked versions that made the bytes"]
    patient_key: Annotated[str, "fingerprint of the secret behind the pseudonyms"]
    recipe: Annotated[str, "the recipe as canonical JSON, without locations"]
    label_space: Annotated[tuple[str, ...], "the recipe's label space: what readers get when they ask for none"]
    palette: Annotated[tuple[PaletteEntry, ...], "integer of each structure"]
    relations: Annotated[tuple[Relation, ...], "the ontology's edges around the palette, parents included"]
    shards: Annotated[tuple[ShardEntry, ...], "all shards, earlier generations included"]
    indexes: Annotated[tuple[IndexEntry, ...], "all index files; rows whose shard is not named above are void"]
    splits: Annotated[tuple[SplitTotal, ...], "per split"]
    holes: Annotated[tuple[HoleCount, ...], "planned samples that could not be made, all generations"]
    terms: Annotated[tuple[SourceTerms, ...], "terms and citations per source"]
    profile: Annotated[tuple[str, ...], "profiles that the terms fit: commercial, redistributable, research-only"] = ()
    exceptions: Annotated[tuple[TermsException, ...], "samples that were taken although the terms refuse them"] = ()
    sampling: Annotated[Sampling | None, "how often what comes up in an epoch; null: each sample once"] = None
    sites: Annotated[Sites | None, "views of one site each; null: none were asked for"] = None
    fusion: Annotated[Fusion | None, "how the label space follows from the sources; null in manifests without"] = None
    sidecars: Annotated[tuple[SidecarEntry, ...], "tars of labels that were added later, all generations"] = ()
    added: Annotated[tuple[AddedLayer, ...], "the labels that were added later, by name"] = ()

    @property
    def samples(self) -> int:
        """Samples in the corpus."""
        return sum(s.samples for s in self.shards)

    @property
    def tars(self) -> tuple[ShardEntry | SidecarEntry, ...]:
        """Everything that holds members of samples: shards, then sidecars."""
        return (*self.shards, *self.sidecars)

    def path(self) -> str:
        """Where it lies below the corpus."""
        return manifest_path(self.number)


_OPTIONAL = ("profile", "exceptions", "sampling", "sites", "fusion", "sidecars", "added")


def dump(manifest: Manifest) -> bytes:
    """The bytes of a manifest's file. What a corpus does not have is left out, as it was before there was any of it."""
    content = canonical.plain(manifest)
    for name in _OPTIONAL:
        if not content[name]:
            del content[name]
    for terms in content["terms"]:
        if not terms["origins"]:
            del terms["origins"]
    return canonical.pretty(content)


def version_for(sidecars: Sequence[SidecarEntry]) -> int:
    """The schema version of a manifest with these sidecars."""
    return SIDECAR_VERSION if sidecars else SCHEMA_VERSION


def manifest_path(number: int) -> str:
    """`manifests/000001.json` for 1."""
    return f"manifests/{number:06d}.json"


def parse(data: bytes, where: str) -> Manifest:
    """Manifest from the bytes of its file.

    Raises:
        CorpusError: not a manifest, or one of a later schema than this reader knows.
    """
    try:
        content = json.loads(data)
    except ValueError as error:
        raise CorpusError(f"{where}: expected a manifest in JSON, found something else ({error})") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CorpusError(f"{where}: expected a manifest with format {FORMAT!r}; is this the folder of a corpus?")
    if content.get("schema_version", 0) > SIDECAR_VERSION:
        raise CorpusError(
            f"{where}: schema version {content['schema_version']}, this reader knows up to {SIDECAR_VERSION}; "
            "update mdfp"
        )
    return arrow.from_dict(Manifest, content)
