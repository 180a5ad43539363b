"""The closed vocabularies of the catalog; the words themselves are data, in `catalog/vocabularies.yaml`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mdfp.errors import UsageError
from schemas import ontology
from schemas.suggest import nearest


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Modality(_Model):
    """A modality."""

    id: str = Field(description="code; the DICOM one where it exists")
    name: str
    dicom: bool = Field(description="whether the code is a value of Modality (0008,0060)")


class Anatomy(_Model):
    """A part of the body, as the catalog groups data sets."""

    id: str
    body_part: str | None = Field(None, description="DICOM defined term of Body Part Examined (0018,0015)")
    structures: tuple[str, ...] = Field((), description="structures of the ontology that it is, or is made of")

    @field_validator("structures")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for structure in value:
            ontology.load().check(structure, "structures")
        return value


class FindingTerm(_Model):
    """What somebody may state of a picture: there, not there, perhaps there."""

    id: str = Field(pattern=r"^[a-z0-9_]{1,64}$", description="name in manifests and samples")
    name: str = Field(description="for people")
    is_a: tuple[str, ...] = Field((), description="findings that it is a kind of: whoever has it has those")


class Vocabularies(_Model):
    """All of them. A mapping's values say what its words mean."""

    dimensions: dict[str, str]
    modalities: tuple[Modality, ...]
    modality_subtypes: tuple[str, ...]
    aux_objects: tuple[str, ...]
    tasks: tuple[str, ...]
    anatomies: tuple[Anatomy, ...]
    findings: tuple[FindingTerm, ...]
    labels: tuple[str, ...]
    access: dict[str, str]
    access_basis: dict[str, str]
    license_status: dict[str, str]
    image_formats: tuple[str, ...]
    sections: tuple[str, ...]
    families: tuple[str, ...]
    issues: dict[str, str]
    relations: dict[str, str]
    overlap_families: tuple[str, ...]
    found_by: dict[str, str]
    confidence: tuple[str, ...]

    @field_validator("*")
    @classmethod
    def _once(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            words = _words(value)
            if twice := sorted({w for w in words if words.count(w) > 1}):
                raise ValueError(f"expected every word once, found {', '.join(map(repr, twice))} twice")
        return value

    @field_validator("findings")
    @classmethod
    def _kinds_known(cls, value: tuple[FindingTerm, ...]) -> tuple[FindingTerm, ...]:
        words = {f.id: f.id for f in value}
        for finding in value:
            for wider in finding.is_a:
                if wider not in words or wider == finding.id:
                    raise ValueError(f"{finding.id}: is_a: {unknown(wider, words)}")
        return value

    def words(self, name: str) -> tuple[str, ...]:
        """The words of one vocabulary, in its order."""
        return _words(getattr(self, name))


def check(known: Iterable[str], word: str, where: str) -> str:
    """`word` as `known` writes it; letters may be of either case.

    Raises:
        UsageError: it is none of them.
    """
    by_lower = {k.lower(): k for k in known}
    if word.lower() in by_lower:
        return by_lower[word.lower()]
    raise UsageError(f"{where}: {unknown(word, by_lower)}")


def unknown(word: str, known: Mapping[str, str]) -> str:
    """`unknown word 'CTT'; did you mean 'CT'?`, with all words where there are few or none is near."""
    near = nearest(word, known)
    words = list(known.values())
    few = f"{'' if near else ';'} expected {', '.join(words)}" if len(words) <= FEW or not near else ""
    return f"unknown word {word!r}{near}{few}"


FEW = 8
"""A vocabulary of at most so many words is listed whole in messages."""


def _words(value: Any) -> tuple[str, ...]:
    return tuple(v if isinstance(v, str) else v.id for v in value)
