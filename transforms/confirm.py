"""A file that cannot be decoded is read once more in a fresh process before its case is given up.

Memory that failed, a library left in a bad state by the file before, a half-read buffer: none of them may become a hole
for ever. Only what two processes say alike is a property of the file.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mdfp import arrow, canonical
from schemas.case import ArrayHeader
from schemas.reasons import Reason
from schemas.recipe import Limits
from transforms.read.array import Blob
from transforms.read.flat import read_any
from transforms.rejected import Rejected

DECODE_FAULTS = frozenset({Reason.CORRUPT_GZIP, Reason.TRUNCATED, Reason.UNREADABLE})
"""Verdicts that a fault of this process could also explain."""

TIMEOUT_S = 600
"""The second reading may take so long; a longer one is taken for a sick machine, not a sick file."""

CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL})
"""Signals by which a decoder dies of what it reads. Others come from outside (the kernel, for memory) and may pass."""

_REJECTED = 3


class UnconfirmedError(OSError):
    """Two readings of the same bytes differ: this machine's fault, not the file's. It may pass."""


def confirm(verdict: Rejected, header: ArrayHeader, blobs: Sequence[Blob], limits: Limits) -> Rejected:
    """The verdict, when a fresh process comes to it too.

    Args:
        verdict: what this process said.
        header: of the array that was read.
        blobs: the bytes it was read from.
        limits: the recipe's.

    Raises:
        UnconfirmedError: the other process can read it, did not end, or was killed from outside.
    """
    if verdict.reason not in DECODE_FAULTS:
        return verdict
    with tempfile.TemporaryDirectory(prefix="mdfp-confirm-") as folder:
        files = []
        for number, blob in enumerate(blobs):
            local = blob.local
            if blob.data or local is None:
                local = Path(folder) / f"{number}"
                local.write_bytes(blob.data)
            files.append({"path": blob.path, "file": str(local), "in_memory": bool(blob.data)})
        work = {"header": arrow.as_dict(header), "limits": limits.model_dump(), "files": files}
        order = Path(folder) / "work.json"
        order.write_bytes(canonical.dumps(work))
        ended = _read_again(order)
        if -ended.returncode in CRASHES:
            ended = _read_again(order)
    if ended.returncode == _REJECTED:
        return verdict
    if -ended.returncode in CRASHES:
        return Rejected(
            Reason.DECODER_CRASH,
            f"the decoder died twice, with signal {-ended.returncode}; before: {verdict.detail}",
        )
    if ended.returncode < 0:
        raise UnconfirmedError(f"a second reading was killed with signal {-ended.returncode}: too little memory?")
    raise UnconfirmedError(
        f"this process could not read a file ({verdict}), a fresh one could: {ended.stderr.strip()[-200:] or 'no message'}"
    )


def _read_again(order: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "transforms.confirm", str(order)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=_checkout(), check=False)
    except subprocess.TimeoutExpired as error:
        raise UnconfirmedError(f"a second reading did not end within {TIMEOUT_S} s") from error


def _checkout() -> Path:
    return Path(__file__).resolve().parent.parent


def _main(order: Path) -> int:
    work = json.loads(order.read_bytes())
    header = arrow.from_dict(ArrayHeader, work["header"])
    blobs = [
        Blob(f["path"], Path(f["file"]).read_bytes() if f["in_memory"] else b"", Path(f["file"])) for f in work["files"]
    ]
    try:
        read_any(header, blobs, limits=Limits(**work["limits"]))
    except Rejected:
        return _REJECTED
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1])))
