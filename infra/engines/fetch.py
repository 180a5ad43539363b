"""What fetching has in common: a folder beside the final one, checks, and one rename at the end."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipelines.engines.artifacts import Artifact

Make = Callable[[Path], None]
"""Fills a folder with what an artifact's path expects there."""


class FetchError(Exception):
    """Something could not be fetched, or is not what it must be."""


class NotHereError(FetchError):
    """This machine lacks the program that would fetch it."""


def fetched(artifact: Artifact, make: Make) -> bool:
    """Fetch an artifact unless it is there; returns whether it was not.

    Two that fetch at the same time do the work twice, and one of them keeps its result.

    Raises:
        FetchError: see the message.
    """
    if artifact.file.exists():
        return False
    final = artifact.file.parent
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{artifact.name}-", dir=final.parent) as scratch:
        folder = Path(scratch) / final.name
        folder.mkdir()
        make(folder)
        if not (folder / artifact.file.name).exists():
            raise FetchError(f"{artifact.what}: fetching went well, and {artifact.file.name} is not there")
        if final.exists() and not artifact.file.exists():
            shutil.rmtree(final)  # half a folder of another day
        if not final.exists():
            folder.rename(final)
    return True


def run(command: Sequence[str], *, missing: str, **options: object) -> str:
    """Run a client to its end; returns what it printed.

    Args:
        command: the client and its arguments.
        missing: what to say when there is no such program.
        options: of subprocess.run.

    Raises:
        NotHereError: there is no such program.
        FetchError: it failed.
    """
    if shutil.which(command[0]) is None:
        raise NotHereError(missing)
    ended = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options  # type: ignore[call-overload]
    )  # fmt: skip
    if ended.returncode:
        last = "\n  ".join(line for line in ended.stdout.splitlines()[-15:] if line.strip())
        raise FetchError(f"{' '.join(command[:6])} … ended with {ended.returncode}:\n  {last}")
    return str(ended.stdout)


def sha256(file: Path) -> str:
    """Hex digest of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_lock(file: Path) -> dict[str, str]:
    """Checksums by name; a line is a checksum and a name."""
    pairs = [line.split(maxsplit=1) for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {name: checksum for checksum, name in pairs}


def compare(found: Mapping[str, str], lock: Mapping[str, str], what: str) -> None:
    """Make sure that all of it is what is pinned, and nothing else came along.

    Raises:
        FetchError: with the names.
    """
    faults = [
        f"{n}: {found[n]}, pinned is {lock[n]}" for n in sorted(found.keys() & lock.keys()) if found[n] != lock[n]
    ]
    faults += [f"{n}: is not pinned" for n in sorted(found.keys() - lock.keys())]
    faults += [f"{n}: did not come" for n in sorted(lock.keys() - found.keys())]
    if faults:
        raise FetchError(f"{what} is not what is pinned:\n  " + "\n  ".join(faults[:20]))
