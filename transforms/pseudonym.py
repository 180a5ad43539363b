"""Pseudonyms: keyed hashes that stand for patients, studies, files and cases where a source's own names may not appear.

HMAC-SHA256 with a secret that lies outside the corpus. Who has the corpus alone cannot test a guess ("is patient 4711
in here?"), which a plain hash would allow; who has the secret gets the same pseudonyms in the next generation.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field
from functools import cached_property
from json.encoder import encode_basestring

from mdfp.errors import UsageError

MINIMUM_SECRET_BYTES = 16
"""A shorter secret can be guessed, and every pseudonym with it."""

MAXIMUM_KEY_CHARACTERS = 80
"""Length of a sample's key: `[a-z0-9_-]{1,80}`."""

_SHIFT_DAYS = 100 * 365
"""Range of the per-patient shift of study days."""


@dataclass(frozen=True)
class PatientKeys:
    """Makes pseudonyms with one secret.

    Attributes:
        secret: at least 16 random bytes; equal secrets give equal pseudonyms.

    Raises:
        UsageError: the secret is too short.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) < MINIMUM_SECRET_BYTES:
            raise UsageError(
                f"the secret for pseudonyms has {len(self.secret)} bytes, at least {MINIMUM_SECRET_BYTES} are needed; "
                "make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
            )

    def patient(self, namespace: str, patient_id: str) -> str:
        """Pseudonym of a patient: 32 hex digits. The same id in another namespace is another patient."""
        return self._digest("patient", namespace, patient_id)[:32]

    def uid(self, value: str) -> str:
        """Pseudonym of a DICOM UID or of another name that is unique in the world: 32 hex digits."""
        return self._digest("uid", value)[:32]

    def name(self, source: str, value: str) -> str:
        """Pseudonym of a file or case name of a source: 16 hex digits."""
        return self._digest("name", source, value)[:16]

    def shifted_day(self, patient: str, day: int) -> int:
        """`day` moved by an offset that only the secret's owner knows; differences within one patient stay.

        So a study date never leaves the worker that read it, and yet the days between two studies can be counted.
        """
        return day + int(self._digest("shift", patient)[:12], 16) % _SHIFT_DAYS

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that tell whether two corpora were made with the same secret, and nothing else about it."""
        return self._digest("fingerprint")[:16]

    def _digest(self, *parts: str) -> str:
        # A JSON list, so that ("ab", "c") and ("a", "bc") are two things.
        # Written as `mdfp.canonical.dumps` does, without its checks: an archive's table takes half a million of them.
        return hmac.digest(self.secret, f"[{','.join(map(encode_basestring, parts))}]".encode(), "sha256").hex()


def slug(text: str) -> str:
    """`text` with the characters a key may have: lower case, everything else than `[a-z0-9_-]` becomes `-`."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-")


def case_id(source: str, name: str, keys: PatientKeys, *, public: bool) -> str:
    """Id of a case: `<source>-<name>` where the names are public and short enough, else `<source>-<pseudonym>`.

    Args:
        source: id of the source; its dots become underscores, because WebDataset splits a key at the first dot.
        name: the case's name in the source.
        keys: makes the pseudonym.
        public: whether the source's names may appear in keys.
    """
    prefix = source.replace(".", "_")
    readable = f"{prefix}-{slug(name)}"
    if public and slug(name) and len(readable) <= MAXIMUM_KEY_CHARACTERS:
        return readable
    return f"{prefix}-{keys.name(source, name)}"
