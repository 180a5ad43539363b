"""Write the checksums anew, after a version was changed: `python -m infra.engines.lock`. Look at the difference."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from infra.engines import job_server, prism
from pipelines.engines import artifacts


def write(file: Path, found: dict[str, str]) -> None:
    """Checksum and name, sorted by name."""
    file.write_text("".join(f"{checksum} {name}\n" for name, checksum in sorted(found.items())))


def main() -> None:
    """Resolve both job servers, and look into the Prism that was fetched."""
    for name in ("spark-job-server", "flink-job-server"):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(job_server.HERE / name / "pom.xml", folder)
            write(job_server.HERE / name / "jars.sha256", job_server.parts(Path(folder)))
    write(prism.LOCK, prism.modules(artifacts.PRISM.require()))


if __name__ == "__main__":
    main()
