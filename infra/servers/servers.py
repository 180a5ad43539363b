"""The servers: what each is, how it starts, and what a client must know to reach it."""

from __future__ import annotations

import base64
import contextlib
import getpass
import grp
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.servers.install import GoProgram, Installed, go_program, node_program, python_module, system_program
from infra.servers.process import HOST, ServerError, free_port, serving

ACCESS_KEY = "mdfp-test-access"
SECRET_KEY = "mdfp-test-secret-of-no-value"
ACCOUNT = "mdfptests"
ACCOUNT_KEY = base64.b64encode(SECRET_KEY.encode()).decode()
"""Credentials of servers that live for one test run on this machine. They are long, so that looking for them in what was
written means something."""

REGION = "us-east-1"
STARTS = 3
"""Attempts to start a server: another program may take the port that was free a moment ago."""

VERSITYGW = GoProgram(
    name="versitygw",
    module="github.com/versity/versitygw",
    version="v1.8.0",
    sum="h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=",
    package="./cmd/versitygw",
    go=(1, 25),
)
FAKE_GCS = GoProgram(
    name="fake-gcs-server",
    module="github.com/fsouza/fake-gcs-server",
    version="v1.56.1",
    sum="h1:K03sAvbLvDz4hAynpCCUqnNRp+ik9JFSvHbkD/wTPOU=",
    package=".",
    go=(1, 26),
)
AZURITE_LOCK = Path(__file__).parent / "azurite"

NGINX_CONFIGURATION = """\
daemon off;
user {user} {group};
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    types {{ }}
    default_type application/octet-stream;
    {temporary}
    server {{
        listen {host}:{port};
        client_max_body_size 0;
        {directives}
    }}
}}
"""


@dataclass(frozen=True)
class Start:
    """How to start a server: its command line, its own variables, and where it answers once it is up."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    ready_path: str = "/"


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        name: which.
        protocol: of its URLs.
        writable: whether a corpus can go there.
        port: on this machine.
        environment: variables with which any client program finds it, and nothing else.
        options: the same for an fsspec file system in this process.
        data: folder that it serves, of a read-only one: what lies there is what clients see.
        log: what it prints.
    """

    name: str
    protocol: str
    writable: bool
    port: int
    environment: Mapping[str, str]
    options: Mapping[str, Any]
    data: Path
    log: Path

    def url(self, path: str) -> str:
        """Address of a bucket, or of something in it."""
        return f"http://{HOST}:{self.port}/{path}" if self.protocol == "http" else f"{self.protocol}://{path}"


@dataclass(frozen=True)
class Server:
    """A server that can be put on this machine.

    Attributes:
        name: of the program.
        protocol: of URLs: `s3`, `gs`, `az` or `http`.
        title: what it is.
        install: brings the program here; takes the cache folder.
        start: from the program, a port and an empty folder.
        environment: what clients need, from the port.
        options: the same for fsspec.
        writable: whether a corpus can go there.
    """

    name: str
    protocol: str
    title: str
    install: Callable[[Path], Installed]
    start: Callable[[Installed, int, Path], Start]
    environment: Callable[[int], Mapping[str, str]]
    options: Callable[[int], Mapping[str, Any]]
    writable: bool = True


@contextlib.contextmanager
def running(server: Server, installed: Installed, folder: Path) -> Iterator[Running]:
    """Start a server with an empty store below `folder`, and stop it at the end.

    Raises:
        ServerError: it does not start.
    """
    with contextlib.ExitStack() as stack:
        for attempt in range(1, STARTS + 1):
            port = free_port()
            here = folder / f"{server.name}-{port}"
            data = here / "data"
            data.mkdir(parents=True)
            log = here / "server.log"
            start = server.start(installed, port, here)
            url = f"http://{HOST}:{port}{start.ready_path}"
            try:
                stack.enter_context(serving(start.words, start.environment, url, log))
            except ServerError:
                if attempt == STARTS:
                    raise
                continue
            break
        yield Running(
            server.name,
            server.protocol,
            server.writable,
            port,
            {**server.environment(port), "NO_PROXY": HOST, "no_proxy": HOST},
            server.options(port),
            data,
            log,
        )


def _s3_environment(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        # A profile of the person at this machine must not mix with it.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _s3_options(port: int) -> dict[str, Any]:
    return {
        "key": ACCESS_KEY,
        "secret": SECRET_KEY,
        "endpoint_url": f"http://{HOST}:{port}",
        "client_kwargs": {"region_name": REGION},
    }


def _versitygw(installed: Installed, port: int, folder: Path) -> Start:
    words = (*installed.words, "--port", f"{HOST}:{port}", "--region", REGION, "--health", "/health", "--quiet")
    return Start(
        (*words, "posix", str(folder / "data")),
        {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
        "/health",
    )


def _moto(installed: Installed, port: int, folder: Path) -> Start:
    return Start((*installed.words, "-H", HOST, "-p", str(port)), {}, "/moto-api/")


def _fake_gcs(installed: Installed, port: int, folder: Path) -> Start:
    url = f"http://{HOST}:{port}"
    words = (*installed.words, "-scheme", "http", "-host", HOST, "-port", str(port), "-log-level", "warn")
    where = ("-public-host", f"{HOST}:{port}", "-external-url", url)
    return Start((*words, *where, "-backend", "memory"), {}, "/_internal/healthcheck")


def _gcs_environment(port: int) -> dict[str, str]:
    return {
        "STORAGE_EMULATOR_HOST": f"http://{HOST}:{port}",
        "FSSPEC_GS_TOKEN": "anon",
        # Otherwise gcsfs asks for the kind of each bucket over gRPC, which no emulator answers, and waits for a minute.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }


def _gcs_options(port: int) -> dict[str, Any]:
    return {"token": "anon", "endpoint_url": f"http://{HOST}:{port}", "project": "mdfp-tests"}


def _azurite(installed: Installed, port: int, folder: Path) -> Start:
    words = (*installed.words, "--blobHost", HOST, "--blobPort", str(port), "--location", str(folder / "data"))
    return Start(
        # The client library is newer than the emulator: the API versions it names are not checked.
        (*words, "--silent", "--disableTelemetry", "--skipApiVersionCheck"),
        {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{ACCOUNT_KEY}"},
        f"/{ACCOUNT}",
    )


def _azure_connection(port: int) -> str:
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"BlobEndpoint=http://{HOST}:{port}/{ACCOUNT};"
    )


def _azure_environment(port: int) -> dict[str, str]:
    return {"AZURE_STORAGE_CONNECTION_STRING": _azure_connection(port)}


def _azure_options(port: int) -> dict[str, Any]:
    return {"connection_string": _azure_connection(port)}


def nginx(installed: Installed, port: int, folder: Path, directives: str) -> Start:
    """A web server that does what `directives` of nginx say, as this user and with everything it writes in `folder`."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    configuration = folder / "nginx.conf"
    configuration.write_text(
        NGINX_CONFIGURATION.format(
            user=getpass.getuser(),
            group=grp.getgrgid(os.getgid()).gr_name,
            folder=folder,
            host=HOST,
            port=port,
            directives=directives,
            temporary=" ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
        )
    )
    return Start((*installed.words, "-p", str(folder), "-c", str(configuration), "-e", "stderr"), {})


def _nginx(installed: Installed, port: int, folder: Path) -> Start:
    return nginx(installed, port, folder, f"root {folder / 'data'}; autoindex on; etag on;")


def _nothing(port: int) -> dict[str, Any]:
    return {}


SERVERS: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server(
            "versitygw",
            "s3",
            "S3: Versity S3 Gateway over a local folder",
            lambda cache: go_program(VERSITYGW, cache),
            _versitygw,
            _s3_environment,
            _s3_options,
        ),
        Server(
            "moto",
            "s3",
            "S3: moto's server, in memory",
            lambda cache: python_module("moto", "moto.server"),
            _moto,
            _s3_environment,
            _s3_options,
        ),
        Server(
            "fake-gcs-server",
            "gs",
            "Google Cloud Storage: fake-gcs-server, in memory",
            lambda cache: go_program(FAKE_GCS, cache),
            _fake_gcs,
            _gcs_environment,
            _gcs_options,
        ),
        Server(
            "azurite",
            "az",
            "Azure Blob Storage: Azurite",
            lambda cache: node_program(AZURITE_LOCK, "azurite", "dist/src/blob/main.js", cache),
            _azurite,
            _azure_environment,
            _azure_options,
        ),
        Server(
            "nginx",
            "http",
            "HTTP, read-only: nginx with ranges and listings",
            lambda cache: system_program("nginx", "nginx-light"),
            _nginx,
            _nothing,
            _nothing,
            writable=False,
        ),
    )
}
"""By name, in the order in which tables show them."""


def chosen(names: str) -> list[Server]:
    """Servers by names or protocols, with commas between; all for an empty string.

    Raises:
        ValueError: a name that is none of these.
    """
    words = [w.strip() for w in names.split(",") if w.strip()]
    unknown = [w for w in words if not any(w in (s.name, s.protocol) for s in SERVERS.values())]
    if unknown:
        raise ValueError(
            f"no server {', '.join(unknown)}; there are {', '.join(SERVERS)}, or a protocol: s3, gs, az, http"
        )
    return [s for s in SERVERS.values() if not words or s.name in words or s.protocol in words]
