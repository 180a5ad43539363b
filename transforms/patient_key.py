"""Where the key behind the pseudonyms comes from. It lies in no corpus and in no job: whoever needs it reads it itself.

Looked for, in this order: the variable `MDFP_PATIENT_KEY` (the key itself), the variable `MDFP_PATIENT_KEY_FILE` (where it
lies), the user's own file, which is made on first use.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from mdfp.errors import MdfpError, UsageError
from mdfp.urls import redacted
from schemas.place import Place
from transforms.pseudonym import PatientKeys
from transforms.store import CorpusStore, local_path

VARIABLE = "MDFP_PATIENT_KEY"
"""Environment variable with the key itself (64 hex digits or any text of 16 bytes and more)."""

FILE_VARIABLE = "MDFP_PATIENT_KEY_FILE"
"""Environment variable that says where the key lies: a path, a URL, or a version of a secret in Google's Secret Manager."""

_SECRET_VERSION = re.compile(r"projects/[^/]+/secrets/[^/]+/versions/[^/]+")


@dataclass(frozen=True)
class KeyReference:
    """Which key it is and where it may be read, but not the key: what a job carries to its workers.

    Attributes:
        fingerprint: of the key, see `PatientKeys.fingerprint`.
        place: where whoever made the job found it: a path, a URL or a secret's version; "" when it came from `VARIABLE`.
    """

    fingerprint: str
    place: str

    @property
    def of_this_machine(self) -> bool:
        """Whether the place means nothing on another machine: a file, or the environment."""
        return not self.place or (_SECRET_VERSION.fullmatch(self.place) is None and local_path(self.place) is not None)

    def resolve(self) -> PatientKeys:
        """The key, as this process finds it: in its own environment first, else where the job's maker did.

        Raises:
            UsageError: it is not found, or it is another key.
        """
        place = os.environ.get(FILE_VARIABLE) or self.place
        if value := _own():
            keys, found = PatientKeys(value), f"the variable {VARIABLE}"
        elif place:
            keys, found = _read(place), redacted(place)
        else:
            raise UsageError(
                f"this worker has no patient key: set {VARIABLE} where workers are started, or {FILE_VARIABLE} (a path, a "
                "URL, or projects/P/secrets/S/versions/V) where the command is given"
            )
        if keys.fingerprint != self.fingerprint:
            raise UsageError(
                f"the patient key that this worker finds in {found} has the fingerprint {keys.fingerprint}, the key of this "
                f"inventory has {self.fingerprint}; workers need the same key as the command"
            )
        return keys


def load() -> PatientKeys:
    """The key, for whoever starts a run; the user's own file is made if nothing else is said (readable by its owner only).

    Raises:
        UsageError: the key is too short, or cannot be read or made.
    """
    if value := _own():
        return PatientKeys(value)
    place = _place()
    if not os.environ.get(FILE_VARIABLE):
        _make_once(Path(place))
    return _read(place)


def reference(keys: PatientKeys) -> KeyReference:
    """How workers may find the key that `load` gave."""
    return KeyReference(keys.fingerprint, "" if _own() else _place())


def default_path() -> Path:
    """The user's own file."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "mdfp" / "patient.key"


def _own() -> bytes:
    return os.environ.get(VARIABLE, "").strip().encode()


def _place() -> str:
    given = os.environ.get(FILE_VARIABLE)
    if not given:
        return str(default_path())
    if _SECRET_VERSION.fullmatch(given) or (path := local_path(given)) is None:
        return given
    # Workers may have another working directory.
    return str(path.expanduser().absolute())


def _make_once(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise UsageError(f"{path}: the patient key cannot be made ({error.strerror}); or set {VARIABLE}") from error
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32) + "\n")


def _read(place: str) -> PatientKeys:
    try:
        if _SECRET_VERSION.fullmatch(place):
            data = _secret(place)
        elif (path := local_path(place)) is not None:
            data = path.read_bytes()
        else:
            folder, _, name = place.rpartition("/")
            data = CorpusStore(Place(folder)).read(name)
    except (OSError, MdfpError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else redacted(str(error))
        raise UsageError(
            f"{redacted(place)}: the patient key cannot be read ({reason}); correct {FILE_VARIABLE}, or set {VARIABLE}"
        ) from error
    return PatientKeys(data.strip())


def _secret(version: str) -> bytes:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud import secretmanager

    try:
        client = secretmanager.SecretManagerServiceClient()
        return bytes(client.access_secret_version(name=version).payload.data)
    except (GoogleAPIError, GoogleAuthError) as error:
        raise OSError(str(error)) from error
