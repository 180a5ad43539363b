"""Where this machine keeps what can be made again: nothing breaks when the folder is gone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

VARIABLE = "MDFP_CACHE"


def cache_folder() -> Path:
    """`$MDFP_CACHE`, else the user's cache folder."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mdfp"


def cache_file(kind: str, url: str) -> Path:
    """File for what is known about a corpus at some URL."""
    return cache_folder() / kind / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.jsonl"
