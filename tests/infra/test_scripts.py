"""Shell scripts and Terraform modules, as far as the tools for them are on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SCRIPTS = sorted(p.relative_to(CHECKOUT).as_posix() for p in (CHECKOUT / "infra").rglob("*.sh"))
MODULES = ("google", "aws")


def test_there_are_scripts():
    assert {"infra/docker/build.sh", "infra/dataflow/build.sh", "infra/spark/submit.sh"} <= set(SCRIPTS)


@pytest.mark.parametrize("path", SCRIPTS)
def test_shellcheck_has_nothing_to_say(path):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", path], cwd=CHECKOUT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SCRIPTS)
def test_scripts_stop_at_the_first_error(path):
    assert "set -euo pipefail" in (CHECKOUT / path).read_text()


@pytest.mark.parametrize(
    "path", ["infra/docker/build.sh", "infra/dataflow/build.sh", "infra/dataflow/run.sh", "infra/spark/submit.sh"]
)
def test_a_script_without_arguments_says_how_it_is_called(path):
    done = subprocess.run(["bash", path], cwd=CHECKOUT, text=True, capture_output=True)
    assert done.returncode == 2
    assert f"bash {path}" in done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_every_variable_is_described_and_used(module):
    folder = CHECKOUT / "infra" / "terraform" / module
    text = "\n".join(p.read_text() for p in folder.glob("*.tf"))
    variables = dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.M | re.S))
    assert variables
    for name, body in variables.items():
        assert "description" in body, name
        assert re.search(rf"\bvar\.{name}\b", text), f"{name} is not used"


@pytest.mark.parametrize("module", MODULES)
def test_the_example_gives_every_variable_that_must_be_given_and_none_that_is_not_there(module):
    folder = CHECKOUT / "infra" / "terraform" / module
    text = (folder / "variables.tf").read_text()
    variables = dict(re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.M | re.S))
    needed = {name for name, body in variables.items() if not re.search(r"^  default\b", body, re.M)}
    given = set(re.findall(r"^(\w+)\s*=", (folder / "example.tfvars").read_text(), re.M))
    assert needed <= given <= set(variables)


def test_terraform_can_read_its_files_and_has_no_other_way_to_write_them():
    """Validation against providers and the modules' own tests take longer: `make check-infra`."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not installed")
    command = ["terraform", "fmt", "-check", "-recursive", "-no-color", "infra/terraform"]
    done = subprocess.run(command, cwd=CHECKOUT, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scheduled_run_is_called_as_the_command_line_is():
    """Its words are options of `run`, and after -- of Beam, with all that `--runner dataflow` asks for."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, WorkerOptions

    from pipelines.engines.dataflow import Dataflow

    text = (CHECKOUT / "infra" / "terraform" / "google" / "schedule.tf").read_text()
    listed = re.search(r"driver_arguments = \[\n(.*?)\n  \]", text, re.S)
    assert listed is not None
    words = re.findall(r'"([^"]*)"', re.sub(r"local\.corpus", '"gs://b/c"', listed[1]))
    words = [re.sub(r"\$\{.*\}", "1", w) for w in words]
    assert words[:3] == ["-m", "pipelines", "run"]
    ours, beams = words[3 : words.index("--")], words[words.index("--") + 1 :]
    shown = subprocess.run(
        [sys.executable, "-m", "pipelines", "run", "--help"],
        cwd=CHECKOUT,
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT), "COLUMNS": "200"},
    ).stdout
    assert all(w in shown for w in ours if w.startswith("--"))

    Dataflow().check(beams)
    options = PipelineOptions(beams)
    known = options.get_all_options(drop_default=True)
    assert len(known) == len({w.partition("=")[0] for w in beams}), "an option that Beam does not know"
    assert options.view_as(WorkerOptions).use_public_ips is False
    assert options.view_as(GoogleCloudOptions).labels == ["application=mdfp", "corpus=1"]
