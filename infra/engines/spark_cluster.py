"""Spark itself, for a cluster on this machine: PyPI's `pyspark` holds the whole distribution."""

from __future__ import annotations

import sys
from pathlib import Path

from infra.engines.fetch import run

REQUIREMENTS = Path(__file__).parent / "spark-cluster" / "requirements.txt"


def make(folder: Path) -> None:
    """Install it into a folder of its own, so that it is no package of anybody's environment."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--target",
        str(folder),
    ]
    run([*command, "-r", str(REQUIREMENTS)], missing="pip is not there")
