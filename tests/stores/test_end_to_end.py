"""The corpus of the demo recipe, built with the normal command line from and to each store, against a local build.

What must be equal: every shard, every index and the table of rejects, byte for byte; the manifest but for its plan id.
A plan pins the version of each object it reads (ETag, generation), which every store makes in its own way: two stores
that hold the same bytes have different plans, and the same shards.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from examples import phantom
from infra.servers.servers import ACCESS_KEY, ACCOUNT_KEY, SECRET_KEY

pytestmark = pytest.mark.stores

CHECKOUT = Path(__file__).parents[2]
RECIPE = CHECKOUT / "examples" / "recipes" / "demo.yaml"
PATIENT_KEY = "a key for tests, of sixteen bytes and more"
EQUAL = ("shards/", "index/", "rejects/", "manifests/")
"""What must not depend on where a corpus is built from or to."""

COMMAND_TIMEOUT_S = 600
"""Of a command that takes 4 to 15 s on two idle cores."""

SEVERAL_WORKERS = "versitygw"
"""The server whose corpus two worker processes write."""

UPLOADS = 8

STREAM = """
import hashlib, sys, mdfp
def digest(array):
    return hashlib.sha256(array.tobytes()).hexdigest()
for sample in mdfp.open(sys.argv[1]).loader(sys.argv[2], seed=7):
    print(sample.key, digest(sample.image(values="stored")), *(digest(sample.label(e.layer)) for e in sample.record.labels))
"""


def command(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A process as people start it: it knows the store by its environment alone."""
    foreign = ("AWS_", "AZURE_", "GOOGLE_", "FSSPEC_", "STORAGE_EMULATOR_HOST")
    mine = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=CHECKOUT,
        env={**mine, "PYTHONPATH": str(CHECKOUT), "MDFP_PATIENT_KEY": PATIENT_KEY, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_TIMEOUT_S,
    )


@dataclass(frozen=True)
class Job:
    """Raw data at one place, a corpus to be at another, and what was said while it was made.

    Attributes:
        roots: address of each source.
        out: address of the corpus.
        environment: how its places are entered.
        objects: everything below `out` now: path → bytes.
        said: standard output and error of each command.
    """

    roots: dict[str, str]
    out: str
    environment: dict[str, str]
    objects: Callable[[], dict[str, bytes]]
    said: list[str] = field(default_factory=list)

    def run(self, name: str, *more: str, recipe: Path = RECIPE) -> dict[str, Any]:
        """The last line of `python -m pipelines NAME`, read as JSON."""
        words = ["-m", "pipelines", name, str(recipe), "--out", self.out, "--json", *more]
        if name not in ("status", "gc"):  # these look at the corpus alone
            words += [word for source, url in self.roots.items() for word in ("--root", f"{source}={url}")]
        done = command(words, self.environment)
        self.said.append(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def below(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """The phantom bucket: four sources, 216 objects, planted faults and no more."""
    folder = tmp_path_factory.mktemp("phantom") / "bucket"
    phantom.write_bucket(folder, scale="small", patients=0)
    return folder


@pytest.fixture(scope="session")
def local(raw, tmp_path_factory) -> Job:
    """What everything is compared with."""
    folder = tmp_path_factory.mktemp("local") / "corpus"
    job = Job({s: str(raw / s) for s in phantom.SOURCES}, str(folder), {}, lambda: below(folder))
    job.run("run", "--workers", "1", "--max-holes", "0.9")
    return job


@pytest.fixture(scope="session")
def job(server, raw, new_place, tmp_path_factory) -> Job:
    """The corpus built from the server; and to it, where it takes one."""
    place = new_place(server)
    names = below(raw)
    with ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(lambda name: place.client.put(place.path(f"raw/{name}"), names[name]), names))
    roots = {source: place.url(f"raw/{source}") for source in phantom.SOURCES}
    if server.writable:

        def objects() -> dict[str, bytes]:
            paths = sorted(n for n in place.client.names(place.bucket) if n.startswith("corpus/"))
            with ThreadPoolExecutor(UPLOADS) as readers:
                found = readers.map(lambda path: place.client.read(place.path(path)), paths)
                return {p.removeprefix("corpus/"): data or b"" for p, data in zip(paths, found, strict=True)}

        job = Job(roots, place.url("corpus"), dict(server.environment), objects)
    else:
        # Read-only: the corpus is made beside what it serves, and then served.
        folder = server.data / place.bucket / "corpus"
        job = Job(roots, str(folder), dict(server.environment), lambda: below(folder))
    # One store is written to by worker processes, as it is by default; the others from this process, which is faster.
    job.run("run", "--workers", "2" if server.name == SEVERAL_WORKERS else "1", "--max-holes", "0.9")
    return job


@pytest.fixture
def address(job, server) -> str:
    """Where readers find the corpus."""
    if server.writable:
        return job.out
    return server.url(str(Path(job.out).relative_to(server.data)))


def equal_parts(objects: dict[str, bytes]) -> dict[str, str]:
    """sha256 of what must be equal; of manifests without what names the plan."""
    digests = {}
    for path, data in objects.items():
        if path.startswith("manifests/"):
            manifest = json.loads(data)
            assert manifest.pop("plan_id")
            data = json.dumps(manifest, sort_keys=True).encode()
        if path.startswith(EQUAL):
            digests[path] = hashlib.sha256(data).hexdigest()
    return digests


@pytest.mark.proves("built from and to it: shards, index, manifest as local")
def test_a_corpus_built_from_and_to_a_store_has_the_bytes_of_a_local_one(job, local):
    expected = equal_parts(local.objects())
    assert {path.partition("/")[0] for path in expected} == {part.rstrip("/") for part in EQUAL}
    assert equal_parts(job.objects()) == expected


@pytest.mark.proves("mdfp verify finds no fault")
def test_a_remote_corpus_verifies(job, server, address):
    done = command(["-m", "mdfp", "verify", address], dict(server.environment))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def voxels(local) -> str:
    """What a loader hands out of the local corpus."""
    done = command(["-c", STREAM, local.out, "train"], {})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5
    return done.stdout


@pytest.mark.proves("streams the voxels of a local one")
def test_a_remote_corpus_streams_what_a_local_one_does(voxels, job, server, address):
    done = command(["-c", STREAM, address, "train"], dict(server.environment))
    assert done.returncode == 0, done.stderr
    assert done.stdout == voxels


@pytest.mark.proves("a second run adds nothing")
def test_a_second_run_adds_nothing(job):
    before = job.objects()
    said = job.run("run", "--workers", "1", "--max-holes", "0.9")
    assert said == {"samples": 0, "new": False}
    after = job.objects()
    assert {p: d for p, d in after.items() if not p.startswith("telemetry/")} == {
        p: d for p, d in before.items() if not p.startswith("telemetry/")
    }


def small_recipe(folder: Path, *more: str) -> Path:
    """Two cases of one source."""
    recipe = folder / "small.yaml"
    lines = (
        "corpus: small",
        "out: corpus",
        f"sources: [{{id: phantom-mr, manifest: {CHECKOUT}/examples/sources/phantom-mr.yaml}}]",
        "terms: {accept: [CC-BY-4.0]}",
        "labels: {space: [liver, spleen]}",
        *more,
    )
    recipe.write_text("\n".join(lines) + "\n")
    return recipe


@pytest.mark.proves("an object changed after the inventory is a hole")
def test_an_object_that_changed_after_the_inventory_is_a_hole_with_that_reason(server, raw, new_place, tmp_path):
    place = new_place(server)
    names = below(raw / "phantom-mr")
    for name, data in names.items():
        place.client.put(place.path(f"raw/{name}"), data)
    recipe = small_recipe(tmp_path)
    out = place.url("corpus") if server.writable else str(tmp_path / "corpus")
    job = Job({"phantom-mr": place.url("raw")}, out, dict(server.environment), dict)
    job.run("inventory", recipe=recipe)
    job.run("plan", recipe=recipe)
    image = next(name for name in sorted(names) if name.startswith("images/"))
    other = bytearray(names[image])
    other[-1] ^= 0xFF  # of the same length
    place.client.put(place.path(f"raw/{image}"), bytes(other))
    built = job.run("build", "--workers", "1", "--max-holes", "0.9", recipe=recipe)
    assert built["holes"] == {"source_changed": 1}
    assert built["samples"] == 1


@pytest.mark.proves("status counts its markers")
def test_status_finds_everything_done(job):
    found = job.run("status")
    assert found["published"] == 1
    assert found["shards_done"] == found["shards_planned"] > 0
    assert found["cases_done"] == found["cases_planned"] > 0


def texts(path: str, data: bytes) -> str:
    """Everything that can be read in an object."""
    if path.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data))
        return f"{table.schema.metadata} {table.to_pylist()}"
    return data.decode("utf-8", errors="replace")


@pytest.mark.proves("no credential or endpoint in anything written or said")
def test_nothing_written_or_said_names_a_credential_or_an_endpoint(job, server):
    secrets = [ACCESS_KEY, SECRET_KEY, ACCOUNT_KEY]
    written = {path: texts(path, data) for path, data in job.objects().items()}
    assert any(path.endswith(".parquet") for path in written)
    # The address of a web server is where its files are, and may be said to the person who gave it.
    endpoints = [f"127.0.0.1:{server.port}", f"localhost:{server.port}"]
    assert [p for p, text in written.items() if any(s in text for s in (*secrets, *endpoints))] == []
    said = "".join(job.said)
    assert [s for s in (secrets if server.protocol == "http" else [*secrets, *endpoints]) if s in said] == []


@pytest.mark.proves("repair restores a damaged shard, byte for byte")
def test_a_damaged_shard_is_found_and_restored(job, server, new_client, local):
    if not server.writable:
        pytest.skip("read-only: its corpus is local")
    shard = next(path for path in job.objects() if path.endswith(".tar"))
    new_client(server).put(f"{job.out.partition('://')[2]}/{shard}", b"damaged")
    assert command(["-m", "mdfp", "verify", job.out], job.environment).returncode == 1
    repaired = job.run("repair")
    assert repaired["restored"] == [shard]
    assert equal_parts(job.objects()) == equal_parts(local.objects())


def named_by(manifest: bytes) -> set[str]:
    """Shards and index files of a manifest."""
    content = json.loads(manifest)
    return {entry["path"] for entry in [*content["shards"], *content["indexes"]]}


@pytest.mark.proves("gc removes what nothing names, and unfinished uploads")
def test_garbage_goes_and_what_a_manifest_names_stays(job, server, new_client, local):
    if not server.writable:
        pytest.skip("read-only: its corpus is local")
    client, base = new_client(server), job.out.partition("://")[2]
    orphan = "shards/train/phantom-mr-00009-0123456789abcdef.tar"
    client.put(f"{base}/{orphan}", b"left behind")
    client.begin_upload(f"{base}/shards/train/unfinished.tar", bytes(5 << 20))
    job.run("gc", "--older-than", "0", "--delete")
    assert client.unfinished(base.partition("/")[0]) == 0
    left, built = job.objects(), local.objects()
    assert orphan not in left
    # What a revision of the plan replaced is garbage too; what a manifest names is not.
    assert named_by(built["manifests/000001.json"]) | {"manifests/000001.json"} <= equal_parts(left).keys()
    assert equal_parts(left).items() <= equal_parts(built).items()


@pytest.fixture(scope="session")
def reduced(local, tmp_path_factory) -> tuple[str, dict[str, str]]:
    """A case that shares its shard with others, and the local corpus after it was taken back."""
    folder = tmp_path_factory.mktemp("reduced") / "corpus"
    shutil.copytree(local.out, folder)
    rows = pq.read_table(folder / "index", columns=["case_id", "shard"]).to_pylist()
    sizes = Counter(row["shard"] for row in rows)
    case = min(row["case_id"] for row in rows if sizes[row["shard"]] > 1)
    twin = Job(local.roots, str(folder), {}, lambda: below(folder))
    assert twin.run("withdraw", case, "--yes")["rewritten"] == 1
    return case, equal_parts(twin.objects())


@pytest.mark.proves("withdraw takes a case out of every byte")
def test_a_case_is_taken_back_as_from_a_local_corpus(job, server, reduced):
    if not server.writable:
        pytest.skip("read-only: its corpus is local")
    case, expected = reduced
    done = job.run("withdraw", case, "--yes")
    assert (done["samples"], done["manifest"]) == (1, 2)
    left = job.objects()
    named = named_by(left["manifests/000002.json"])
    # Garbage that the local corpus still has was collected here; all that the manifest names is there, and equal.
    assert named | {"rejects/000002.parquet"} <= left.keys()
    assert equal_parts(left).items() <= expected.items()
    assert command(["-m", "mdfp", "verify", job.out], job.environment).returncode == 0
    assert [path for path, data in left.items() if path.startswith("shards/") and case.encode() in data] == []


@pytest.mark.proves("preconditions lost on the way: refused, or done without")
def test_a_store_that_ignores_preconditions_is_refused_unless_the_recipe_accepts_it(
    careless, raw, tmp_path, record_property
):
    record_property("server", "moto")
    place, environment = careless
    roots = {"phantom-mr": str(raw / "phantom-mr")}
    job = Job(roots, place.url("corpus"), environment, dict)
    words = ["-m", "pipelines", "run", str(small_recipe(tmp_path)), "--out", job.out]
    refused = command([*words, "--root", f"phantom-mr={roots['phantom-mr']}"], environment)
    assert refused.returncode == 1
    assert "expected a store that refuses to create an object that is there" in refused.stderr
    assert place.client.names(place.bucket) == set()
    accepting = small_recipe(tmp_path, "out_access: {preconditions: do_without}")
    assert job.run("run", "--workers", "1", recipe=accepting)["samples"] == 2
    assert command(["-m", "mdfp", "verify", job.out], environment).returncode == 0
