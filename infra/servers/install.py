"""Bring a server's program to this machine: pinned by version and checksum, and kept outside the checkout.

Nothing here needs root. A tool that is missing (`go`, `npm`, `nginx`) is said to be missing: the server cannot run here,
which is another thing than a server that fails.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND_TIMEOUT_S = 1200
"""Longest that one download or compilation may take. The slowest is the first compilation of the GCS server: two minutes
on two busy cores."""

STAMP = "installed.json"
"""Beside a program: the sha256 that it had when it was installed."""


class Unavailable(Exception):  # noqa: N818 (a state of the machine, not a fault)
    """A server cannot run on this machine, for want of a tool that its reason names."""


class InstallError(Exception):
    """A server that this machine could run was not installed: the download, its checksum or the compilation failed."""


@dataclass(frozen=True)
class Installed:
    """A server's program, ready to start.

    Attributes:
        words: the head of its command line.
        version: what it is, for people.
    """

    words: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class GoProgram:
    """A program of a Go module.

    Attributes:
        name: what the binary is called.
        module: path of the module.
        version: of the module.
        sum: the module's hash as `go.sum` writes it (h1, a sha256 over all its files). The module's own go.sum pins what
            it depends on.
        package: folder of the program inside the module.
        go: oldest Go that compiles it: the `go` line of its go.mod.
    """

    name: str
    module: str
    version: str
    sum: str
    package: str
    go: tuple[int, int]


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where programs are kept: `MDFP_CACHE`, else the user's cache folder."""
    named = environment.get("MDFP_CACHE")
    if named:
        return Path(named).expanduser()
    base = environment.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mdfp"


def go_program(program: GoProgram, cache: Path) -> Installed:
    """Download a module, compare its hash, compile its program with the dependencies its go.sum pins.

    Raises:
        Unavailable: there is no Go, or one that is too old.
        InstallError: the module is another one than expected, or does not compile.
    """
    home = cache / "servers" / f"{program.name}-{program.version}"
    binary = home / program.name
    installed = Installed((str(binary),), program.version)
    if _intact(binary):
        return installed
    go = _tool("go", f"Go {_dotted(program.go)} or later, https://go.dev/doc/install")
    found = go_version(_run([go, "env", "GOVERSION"]))
    if found < program.go:
        raise Unavailable(f"Go {_dotted(program.go)} or later is needed, found {_dotted(found)}")
    where = f"{program.module}@{program.version}"
    module = json.loads(_run([go, "mod", "download", "-json", where], {"GOFLAGS": ""}))
    if module["Sum"] != program.sum:
        raise InstallError(f"{where}: expected the module hash {program.sum}, found {module['Sum']}; it is not used")
    with _scratch(home) as scratch:
        source = scratch / "source"
        shutil.copytree(module["Dir"], source)
        for folder in (source, *(p for p in source.rglob("*") if p.is_dir())):
            folder.chmod(0o755)  # the module cache is read-only
        built = scratch / program.name
        _run(
            [go, "build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o", str(built), program.package],
            {"CGO_ENABLED": "0", "GOFLAGS": ""},
            source,
        )
        _settle(built, binary)
    return installed


def node_program(lock: Path, package: str, script: str, cache: Path) -> Installed:
    """Install an npm package with exactly the packages, and the hashes, of its lock file.

    Args:
        lock: folder with package.json and package-lock.json.
        package: its name.
        script: file inside the package that node runs.
        cache: where programs are kept.

    Raises:
        Unavailable: there is no node or npm.
        InstallError: a package has another hash, or could not be fetched.
    """
    version = json.loads((lock / "package-lock.json").read_text())["packages"][f"node_modules/{package}"]["version"]
    home = cache / "servers" / f"{package}-{version}-{_sha256(lock / 'package-lock.json')[:12]}"
    node = _tool("node", "Debian packages nodejs and npm")
    entry = home / "node_modules" / package / script
    if not _intact(entry):
        npm = _tool("npm", "Debian package npm")
        with _scratch(home) as scratch:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(lock / name, scratch)
            _run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], {}, scratch)
            shutil.rmtree(home / "node_modules", ignore_errors=True)
            (scratch / "node_modules").rename(home / "node_modules")
        _stamp(entry)
    return Installed((node, str(entry)), version)


def python_module(distribution: str, module: str) -> Installed:
    """A server of this environment, which the project's constraints pin.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise Unavailable(f"the Python package {distribution} is not installed: pip install 'mdfp[dev]'") from error
    return Installed((sys.executable, "-m", module), version)


def system_program(name: str, package: str) -> Installed:
    """A program of the system, which its package manager has checked.

    Raises:
        Unavailable: it is not installed.
    """
    path = _tool(name, f"Debian package {package}")
    said = subprocess.run([path, "-v"], capture_output=True, text=True, check=False)
    version = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
    return Installed((path,), version.group() if version else "of this system")


def go_version(said: str) -> tuple[int, int]:
    """(1, 26) of `go1.26.8`.

    Raises:
        InstallError: it is no version.
    """
    match = re.match(r"go(\d+)\.(\d+)", said.strip())
    if match is None:
        raise InstallError(f"`go env GOVERSION` gave {said.strip()!r}; expected something like go1.26.8")
    return int(match[1]), int(match[2])


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _tool(name: str, remedy: str) -> str:
    # Debian keeps servers where only root looks.
    path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/go/bin", "/usr/sbin"]))
    if path is None:
        raise Unavailable(f"{name} is not installed ({remedy})")
    return path


def _run(words: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"{' '.join(words)}: not done after {COMMAND_TIMEOUT_S} s") from error
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-10:])
        raise InstallError(f"{' '.join(words)}: ended with {done.returncode}:\n{last}")
    return done.stdout


@contextlib.contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A temporary folder beside the final place, so that moving there is one step."""
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".part-", dir=home) as folder:
        yield Path(folder)


def _settle(built: Path, target: Path) -> None:
    built.replace(target)
    _stamp(target)


def _stamp(file: Path) -> None:
    (file.parent / STAMP).write_text(json.dumps({"file": file.name, "sha256": _sha256(file)}) + "\n")


def _intact(file: Path) -> bool:
    """Whether a program is there as it was installed."""
    stamp = file.parent / STAMP
    if not (file.is_file() and stamp.is_file()):
        return False
    return bool(json.loads(stamp.read_text()) == {"file": file.name, "sha256": _sha256(file)})


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
