"""The environment of worker processes: our modules found, one thread each, memory in large pages, this very Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]

MALLOC = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        f"glibc.malloc.mmap_threshold={4 << 30}",
        f"glibc.malloc.trim_threshold={8 << 30}",
    )
)
"""How worker processes take memory. A case is a few blocks of 100 MB; every one, fresh from the kernel, would have to be
cleared, page by page. In huge pages, and kept for the next case, they cost a fifth of a case's time less; a worker then
holds the memory of its largest case until it ends. glibc (2.35 and later) reads it when a process starts; others do not
mind."""


def prepare() -> None:
    """Set this process's environment, which all that it starts inherit. What the user has set is left alone."""
    checkout = str(CHECKOUT)
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if checkout not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([checkout, *filter(None, paths)])
    # A worker started with -c would import from wherever the engine happens to stand.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    os.environ.setdefault("GLIBC_TUNABLES", MALLOC)
    # Beam starts local workers by the name `python`: it must be this interpreter, not another one on the path.
    here = str(Path(sys.executable).parent)
    if not os.environ.get("PATH", "").startswith(here):
        os.environ["PATH"] = os.pathsep.join([here, os.environ.get("PATH", "")])
