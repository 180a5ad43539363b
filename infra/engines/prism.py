"""Prism, compiled from Beam's Go module. Its sources and all it is made of are compared by their sums in Go's own notation."""

from __future__ import annotations

import os
from pathlib import Path

from infra.engines.fetch import compare, read_lock, run
from pipelines.engines.artifacts import PRISM_VERSION

LOCK = Path(__file__).parent / "prism" / "modules.sum"

MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"

MISSING = (
    "Go is not there; Prism needs Go 1.26 (go.dev/dl), or any from 1.21 on, which fetches the right one by itself unless "
    "GOTOOLCHAIN=local is set. Debian 12's own, 1.19, is too old; its backports have a newer one"
)


def make(folder: Path) -> None:
    """Compile it into a folder. Takes two minutes on two cores, and 860 MB of memory."""
    command = ["go", "install", f"{MODULE}@v{PRISM_VERSION}"]
    run(command, missing=MISSING, env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"})
    compare(modules(folder / "prism"), read_lock(LOCK), "Prism")


def modules(binary: Path) -> dict[str, str]:
    """Sum of every module that a Go program was made of, by module and version."""
    lines = (line.split() for line in run(["go", "version", "-m", str(binary)], missing=MISSING).splitlines())
    return {f"{w[1]} {w[2]}": w[3] for w in lines if w[:1] in (["mod"], ["dep"]) and len(w) == 4}
