"""Where the secret behind the pseudonyms comes from. It never lies in the corpus."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from mdfp.errors import UsageError
from transforms.pseudonym import PatientKeys

VARIABLE = "MDFP_PATIENT_KEY"
"""Environment variable with the secret itself (64 hex digits or any text of 16 bytes and more)."""


def default_path() -> Path:
    """File of the secret when the variable is not set."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "mdfp" / "patient.key"


def load() -> PatientKeys:
    """The secret of the environment, else of the file, which is made on first use (readable by its owner only).

    Raises:
        UsageError: the secret is too short, or the file cannot be read or made.
    """
    if value := os.environ.get(VARIABLE):
        return PatientKeys(value.encode())
    path = default_path()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
        return PatientKeys(path.read_text(encoding="ascii").strip().encode())
    except FileExistsError:
        return PatientKeys(path.read_text(encoding="ascii").strip().encode())
    except OSError as error:
        raise UsageError(
            f"{path}: the patient key cannot be read or made ({error.strerror}); or set {VARIABLE}"
        ) from error
