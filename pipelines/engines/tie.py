"""Programs that end with the process that started them, also when that one is killed and cannot end them itself."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path


def tied(program: str) -> list[str]:
    """The words that start a program so, where the system can do it (util-linux); elsewhere the program alone."""
    tie = shutil.which("setpriv")
    return [tie, "--pdeathsig=KILL", program] if tie else [program]


def script(program: str, folder: Path) -> Path:
    """The same as one file, for those who start a program by its path alone."""
    path = folder / Path(program).name
    path.write_text(f'#!/bin/sh\nexec {shlex.join(tied(program))} "$@"\n')
    path.chmod(0o755)
    return path
