"""`python -m infra.servers list|install|start|prove`: real object stores on this machine.

list      which servers there are, and whether they can run here
install   fetch and compile them, into the cache
start     run one until interrupted, and print what a client needs
prove     run the tests of stores against them, and print the table
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.servers import matrix
from infra.servers.install import Installed, InstallError, Unavailable, cache_folder
from infra.servers.process import ServerError
from infra.servers.servers import SERVERS, Server, chosen, running

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "stores-matrix.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 1 when a server that this machine can run did not do what it should, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m infra.servers", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="which servers there are")
    for name, what in {"install": "fetch and compile them", "prove": "run the tests of stores"}.items():
        some = commands.add_parser(name, help=what)
        some.add_argument("names", nargs="?", default="", help="names or protocols, with commas between; default: all")
    one = commands.add_parser("start", help="run one until interrupted")
    one.add_argument("name", help="a name or a protocol: versitygw, s3, gs, az, …")
    one.add_argument("--bucket", default="mdfp", help="a bucket that is made there")
    options = parser.parse_args(argv)
    # A server must not stay behind: an order to end is an interrupt, which runs every `finally`.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if options.command == "list":
            return _list()
        if options.command == "start":
            return _start(chosen(options.name)[0], options.bucket)
        servers = chosen(options.names)
        return _prove(servers) if options.command == "prove" else _install_all(servers)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except (InstallError, ServerError, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _list() -> int:
    for server in SERVERS.values():
        print(f"{server.name:16} {server.protocol + '://':8} {server.title}")
    return 0


def _install(servers: Sequence[Server]) -> tuple[dict[str, Installed], list[str]]:
    """Programs of the servers that this machine can run, and the names of those that should and could not be had."""
    there: dict[str, Installed] = {}
    broken: list[str] = []
    for server in servers:
        start = time.monotonic()
        try:
            there[server.name] = server.install(cache_folder(os.environ))
            print(f"{server.name} {there[server.name].version}: there ({time.monotonic() - start:.0f} s)", flush=True)
        except Unavailable as error:
            print(f"{server.name}: not on this machine: {error}", flush=True)
        except InstallError as error:
            print(f"{server.name}: FAILED to install: {error}", flush=True)
            broken.append(server.name)
    return there, broken


def _install_all(servers: Sequence[Server]) -> int:
    return 1 if _install(servers)[1] else 0


def _start(server: Server, bucket: str) -> int:
    installed = server.install(cache_folder(os.environ))
    with (
        tempfile.TemporaryDirectory(prefix=f"mdfp-{server.name}-") as folder,
        running(server, installed, Path(folder)) as up,
    ):
        if up.writable:
            _make_bucket(up.protocol, bucket, up.environment)
        else:
            (up.data / bucket).mkdir()
            print(f"# what lies in {up.data / bucket} is served")
        for name, value in up.environment.items():
            print(f"export {name}={shlex.quote(value)}")
        print(f"# {server.title}: {up.url(bucket)}; its log: {up.log}; interrupt to stop it and to drop what it holds")
        sys.stdout.flush()
        while True:
            signal.pause()


def _make_bucket(protocol: str, bucket: str, environment: Mapping[str, str]) -> None:
    """In a process of its own: file systems read their environment once."""
    make = (
        "fs.call_s3('create_bucket', Bucket=b)"  # mkdir names the region, which the default one of AWS does not take
        if protocol == "s3"
        else "fs.mkdir(b)"
    )
    code = f"import fsspec, sys; p, b = sys.argv[1:]; fs = fsspec.filesystem(p); {make}"
    subprocess.run([sys.executable, "-c", code, protocol, bucket], env={**os.environ, **environment}, check=True)


def _prove(servers: Sequence[Server]) -> int:
    there, broken = _install(servers)
    if not there:
        print("stores: 0 of 0 passed: no server can run here")
        return 1
    with tempfile.TemporaryDirectory(prefix="mdfp-stores-") as folder:
        report = Path(folder) / "junit.xml"
        words = [sys.executable, "-m", "pytest", "-q", "-m", "stores", "tests/stores", f"--junit-xml={report}"]
        environment = {**os.environ, "MDFP_STORES": ",".join(there)}
        start = time.monotonic()
        tests = subprocess.run([*words, "-o", "junit_family=xunit1"], cwd=CHECKOUT, env=environment, check=False)
        seconds = time.monotonic() - start
        if not report.is_file():
            print(f"pytest ended with {tests.returncode} and no report")
            return 1
        found = matrix.proofs(report.read_text(encoding="utf-8"))
    rows = matrix.table(found, list(there))
    print(matrix.plain(rows))
    for name in there:
        spent = sum(proof.seconds for proof in found if proof.server == name)
        print(f"{name} {there[name].version}: {sum(p.server == name for p in found)} tests, {spent:.0f} s")
    wrong = matrix.failed(found) | set(broken)
    wrong |= {name for name in there if not any(p.server == name and p.outcome is matrix.Outcome.HOLDS for p in found)}
    if len(there) == len(SERVERS) and not wrong:
        versions = "\n".join(f"- {SERVERS[n].title} ({n} {i.version})" for n, i in there.items())
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(matrix.inserted(page, f"\n{versions}\n\n{matrix.markdown(rows)}\n"), encoding="utf-8")
    asked = len(there) + len(broken)
    print(f"stores: {asked - len(wrong)} of {asked} passed, in {seconds:.0f} s")
    # The exit code of pytest too: a fault outside of any one server's tests fails the run.
    return 1 if wrong or tests.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
