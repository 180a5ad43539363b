"""Which versions made the bytes: a corpus is byte-identical within one locked environment."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from mdfp.canonical import digest

PACKAGES = (
    "av",
    "blosc2",
    "imagecodecs",
    "llvmlite",
    "numba",
    "numpy",
    "pydicom",
    "pylibjpeg",
    "pylibjpeg-libjpeg",
    "pylibjpeg-openjpeg",
    "xxhash",
)
"""The packages that voxels, compressed bytes or hashes pass through."""


def locked() -> dict[str, str]:
    """Name and version of everything that bytes depend on, the interpreter and the machine's kind included."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2]), "machine": platform.machine()}
    versions["system"] = platform.system()
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "absent"
    return versions


def fingerprint(versions: dict[str, str] | None = None) -> str:
    """Digest (16 hex characters) of the locked versions."""
    return digest(versions or locked())[:16]


def difference(planned: dict[str, str], found: dict[str, str]) -> str:
    """`numpy 2.4.6 (planned 2.4.5)` for each package that differs; empty when none does."""
    return ", ".join(
        f"{name} {found.get(name, 'absent')} (planned {planned.get(name, 'absent')})"
        for name in sorted({*planned, *found})
        if planned.get(name) != found.get(name)
    )
