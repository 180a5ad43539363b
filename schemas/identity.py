"""Which case is which: fingerprints of images, links between cases, and the components they make.

Below a corpus: `identity/fingerprints-<digest>.parquet` holds `FingerprintRow`s, `identity/matches-<digest>.parquet`
`ImageMatch`es, `identity/cases-<digest>.parquet` `IdentityRow`s and `identity/edges-<digest>.parquet` `IdentityEdge`s;
`identity/overlaps-<digest>.parquet` `IdentityOverlap`s; `identity/LATEST.json` names the newest of each. A table of known
links has the columns of `IdentityLink`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from schemas.reasons import Reason


class Kind(StrEnum):
    """Why two cases belong together, the strongest reason first."""

    EXACT = "exact"
    """All of their images have equal voxels in canonical orientation: one case under two names."""
    NEAR = "near"
    """Each image of one is an image of the other, written another way: re-spaced, cropped, rescaled, clamped."""
    SHARED = "shared"
    """They have an image in common, and each or one of them has others too."""
    STUDY = "study"
    """One study: equal pseudonyms of the StudyInstanceUID."""
    PATIENT = "patient"
    """One patient: equal pseudonyms."""
    LINK = "link"
    """A table of known derivations says so."""


@dataclass(frozen=True)
class FingerprintRow:
    """What is kept of one image of a case, so that it is recognised without being read again."""

    source: Annotated[str, "id of the source"]
    case_id: Annotated[str, "case whose image it is"]
    image: Annotated[str, "name of the image within the case; empty where the case could not be read"]
    modality: Annotated[str, "DICOM Modality code"]
    key: Annotated[
        str, "digest of the case's image objects, their versions and headers, and of the way of fingerprinting"
    ]
    content_hash: Annotated[str | None, "xxh3-128 of the canonical voxels, as in the corpus index; null where unread"]
    code: Annotated[bytes | None, "256 bits by which candidates are found; null for pictures, films and empty volumes"]
    cells: Annotated[bytes | None, "the cube that candidates are compared by: 24 x 24 x 24 bytes along S, A, R"]
    box_mm: Annotated[tuple[float, ...], "length of the cube's sides along R, A, S; empty where there is none"]
    voxels_xyz: Annotated[tuple[int, ...], "voxels of the volume along R, A, S; empty where there is no cube"]
    fault: Annotated[Reason | None, "why the case could not be read; else null"]
    detail: Annotated[str, "the same for a person"]


@dataclass(frozen=True)
class ImageMatch:
    """Two images of different voxels that are one picture. `identity/matches-<digest>.parquet` holds all of a set."""

    hash_a: Annotated[str, "content hash of an image"]
    hash_b: Annotated[str, "content hash of another, later in the alphabet"]
    distance: Annotated[float, "1 - the correlation of their fine structure"]


@dataclass(frozen=True)
class IdentityLink:
    """Two cases of which somebody knows that they belong together: a row of a table beside the recipe."""

    source_a: Annotated[str, "id of a source"]
    case_a: Annotated[str, "a case of it: its id, or its name in the source"]
    source_b: Annotated[str, "id of a source"]
    case_b: Annotated[str, "a case of it: its id, or its name in the source"]
    kind: Annotated[str, "what is known: derived, same_patient, same_image, …"]
    evidence: Annotated[str, "who says so: a DOI, a URL, a sentence of the data set's own page"]


@dataclass(frozen=True)
class IdentityEdge:
    """Why two cases are in one component."""

    case_a: Annotated[str, "case id"]
    case_b: Annotated[str, "case id, later in the alphabet"]
    kind: Annotated[Kind, "exact, near, shared, study, patient or link"]
    distance: Annotated[float | None, "near and shared: 1 - the correlation of fine structure; 0 is equal; else null"]
    evidence: Annotated[str, "names of the images that match, or what a link's table says"]


@dataclass(frozen=True)
class IdentityRow:
    """Which component a case is in, and what follows for its split."""

    case_id: Annotated[str, "the case"]
    source: Annotated[str, "id of its source"]
    patient: Annotated[str, "pseudonym of its patient"]
    component: Annotated[str, "what the cases of a component share: the least of its patients' pseudonyms"]
    cases: Annotated[int, "cases in the component"]
    published: Annotated[str | None, "split that the case is published in, or null"]
    image: Annotated[str, "cases of equal image are one picture written several ways: the least of their case ids"]
    verdict: Annotated[
        str | None, "drop: published in a split where its component must not be, so withdraw it; else null"
    ]
    detail: Annotated[str, "the verdict for a person"]


@dataclass(frozen=True)
class IdentityOverlap:
    """What the catalog's overlap facts say of two sources of a recipe, and what the graph found."""

    source_a: Annotated[str, "id of a source"]
    source_b: Annotated[str, "id of another, later in the alphabet"]
    relation: Annotated[str, "of the fact, or through which data sets: subset, same-cases, through kits21"]
    sure: Annotated[bool, "whether they have cases in common; else they may have, or (none-known) have not"]
    n_shared: Annotated[int | None, "cases in common, as the fact says; null where it gives no number"]
    cases_a: Annotated[int, "cases of the one that are known here"]
    cases_b: Annotated[int, "cases of the other"]
    found: Annotated[int, "cases that are in one component with one of the other, of the source that has fewer of them"]
    images: Annotated[int, "pictures that both have, written in whatever way"]
