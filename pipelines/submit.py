"""Hand the build of the newest plan to an engine as one job, and return: `python -m pipelines.submit --recipe=URL …`.

`python -m pipelines build` waits for its job, then looks for duplicates among the new samples and perhaps starts another.
A Dataflow template and the jar that `spark-submit` takes are made of one graph by a program that must not wait, so this
hands over the graph of all shards that are missing and ends. Afterwards `python -m pipelines run RECIPE`, from anywhere,
finds them built, settles duplicates, checks and publishes.

Arguments are `--name=value`, as a template's launcher passes them: those of `PARAMETERS`, and Beam's.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions

from mdfp.errors import MdfpError, UsageError
from pipelines.build import BuildOptions, build_missing
from pipelines.console import Console
from pipelines.engines import dataflow
from pipelines.plan import read_latest
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from schemas import recipe as recipes
from transforms.plan.planner import Plan
from transforms.store import CorpusStore, local_path


@dataclass(frozen=True)
class Parameter:
    """An argument of ours, as the metadata of a template describe it.

    Attributes:
        name: of the argument.
        label, help: for people.
        pattern: regular expression that the whole value matches.
        kind: Dataflow's ParameterType.
        default: None for an argument that must be given; empty for one that may be left out.
    """

    name: str
    label: str
    help: str
    pattern: str
    kind: str = "TEXT"
    default: str | None = ""


PARAMETERS = (
    Parameter(
        "recipe",
        "Recipe",
        "The recipe (YAML). Source manifests that it names are read from beside it.",
        r"^[^,]+\.ya?ml$",
        "GCS_READ_FILE",
        None,
    ),
    Parameter("out", "Corpus", "Where the corpus goes. Overrides the recipe's out.", r"^([a-z0-9]+:/)?/[^,]+$"),
    Parameter(
        "roots",
        "Where sources lie",
        "SOURCE=URL for each source whose files lie elsewhere than the recipe says, separated by commas.",
        r"^[a-z0-9][a-z0-9.-]*=[^,]+(,[a-z0-9][a-z0-9.-]*=[^,]+)*$",
    ),
    Parameter(
        "retries",
        "Retries",
        "How often a failing request to a store is tried again.",
        r"^[0-9]{1,2}$",
        "NUMBER",
        "3",
    ),
    Parameter(
        "rebuild",
        "Rebuild",
        "true: accept another environment than the plan was made in, which gives other bytes.",
        r"^(true|false)$",
        "BOOLEAN",
        "false",
    ),
)


def arguments(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Our own arguments by name, checked and completed by their defaults, and Beam's.

    Raises:
        UsageError: one is missing or does not look as it must.
    """
    known = {p.name: p for p in PARAMETERS}
    given: dict[str, str] = {}
    rest: list[str] = []
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        if name not in known:
            rest.append(argument)
        elif not equals:
            raise UsageError(f"--{name}: expected --{name}=VALUE")
        else:
            given[name] = value
    values: dict[str, str] = {}
    for parameter in PARAMETERS:
        # An empty value is how a form leaves a field out.
        chosen = given.get(parameter.name) or parameter.default
        if chosen is None:
            raise UsageError(f"--{parameter.name}=… is needed. {parameter.help}")
        if chosen and not re.search(parameter.pattern, chosen):
            raise UsageError(f"--{parameter.name}={chosen}: expected {parameter.pattern}. {parameter.help}")
        values[parameter.name] = chosen
    return values, rest


def completed(beam_args: Sequence[str]) -> list[str]:
    """Beam's arguments; for a template, those of `--runner dataflow` before them, so that what was given overrides."""
    if not any(a.partition("=")[0] == "--template_location" for a in beam_args):
        return list(beam_args)
    runner = [] if any(a.partition("=")[0] == "--runner" for a in beam_args) else ["--runner=DataflowRunner"]
    given = {a.partition("=")[0] for a in beam_args}
    # A launcher writes machine_type as worker_machine_type, which is the same option.
    same = {"--machine_type": "--worker_machine_type"}
    defaults = [d for d in dataflow.DEFAULTS if not {d.partition("=")[0], same.get(d.partition("=")[0])} & given]
    return [*runner, *defaults, *beam_args]


def fetched(recipe: str, folder: Path) -> Path:
    """A recipe as a local file: itself when it is one, else a copy in `folder` with the source manifests it names.

    Raises:
        UsageError: it or a manifest is not there, or a manifest lies elsewhere than below the recipe's folder.
    """
    if local_path(recipe) is not None:
        return Path(recipe)
    base, _, name = recipe.rpartition("/")
    store = CorpusStore(base)  # a folder of ours, read like one

    def copy(path: str) -> Path:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.write_bytes(store.read(path))
        except FileNotFoundError:
            raise UsageError(f"{base}/{path}: there is no such file") from None
        return target

    local = copy(name)
    for use in recipes.load(local).sources:
        if use.manifest is None:
            continue
        path = PurePosixPath(use.manifest)
        if path.is_absolute() or ".." in path.parts:
            raise UsageError(f"{recipe}: manifest: {use.manifest}: expected a path below the recipe's folder")
        copy(str(path))
    return local


@dataclass(frozen=True)
class _HandOver(Engine):
    """An engine that is given a graph and not waited for."""

    def run(self, build: Callable[[beam.Pipeline], object], *, tasks: int) -> dict[str, int]:
        """Build the graph and hand it over; nothing is counted yet."""
        options = PipelineOptions(list(self.beam_args))
        pipeline = beam.Pipeline(options=options)
        build(pipeline)
        result = pipeline.run()
        if options.view_as(PortableOptions).output_executable_path:
            result.wait_until_finish()  # all that happens is that the job server writes the jar
        return {}


def submit(values: Mapping[str, str], beam_args: Sequence[str], console: Console) -> tuple[Plan, int]:
    """Hand over the graph that builds all missing shards of the newest plan.

    Args:
        values: see `arguments`.
        beam_args: Beam's arguments; a runner is among them.
        console: where to speak.

    Returns:
        The plan, and the number of shards in the graph.

    Raises:
        UsageError: no runner, no plan, another environment, or nothing to build.
    """
    engine = _HandOver(1, tuple(completed(beam_args)))
    if engine.runner is None:
        raise UsageError("--runner=… is needed; to build on this machine use: python -m pipelines build RECIPE")
    with tempfile.TemporaryDirectory(prefix="mdfp-recipe-") as folder:
        recipe = fetched(values["recipe"], Path(folder))
        roots = values["roots"].split(",") if values["roots"] else ()
        workspace = open_workspace(recipe, roots, values["out"] or None)
    plan = read_latest(workspace)
    options = BuildOptions(attempts=int(values["retries"]) + 1, rebuild=values["rebuild"] == "true")
    shards = build_missing(workspace, plan, engine, options, console)
    if not shards:
        raise UsageError(
            f"{workspace.corpus.root}: all {len(plan.shards)} shards of the plan {plan.plan_id[:12]} are built, so there is "
            f"no job to hand over; publish them with: python -m pipelines run {values['recipe']}"
        )
    return plan, shards


def template_metadata() -> dict[str, Any]:
    """The metadata of the Dataflow template, as `infra/dataflow/metadata.json` holds them.

    See TemplateMetadata of Dataflow's API, v1b3.
    """
    return {
        "name": "mdfp build",
        "description": (
            "Builds the shards of a planned corpus of medical images: those of the newest plan that are not there yet. "
            "Before: python -m pipelines inventory and plan. Afterwards: python -m pipelines run, which publishes."
        ),
        "parameters": [_described(p) for p in PARAMETERS],
    }


def _described(parameter: Parameter) -> dict[str, Any]:
    optional = {} if parameter.default is None else {"isOptional": True}
    default = {"defaultValue": parameter.default} if parameter.default else {}
    return {
        "name": parameter.name,
        "label": parameter.label,
        "helpText": parameter.help,
        "paramType": parameter.kind,
        "regexes": [parameter.pattern],
        **optional,
        **default,
    }


def main(argv: Sequence[str]) -> int:
    """Entry point of `python -m pipelines.submit`; exit codes are those of the builder's command line.

    `--metadata` alone prints the metadata of the template.
    """
    console = Console()
    if list(argv) == ["--metadata"]:
        sys.stdout.write(json.dumps(template_metadata(), indent=2) + "\n")
        return 0
    try:
        values, beam_args = arguments(argv)
        plan, shards = submit(values, beam_args, console)
    except UsageError as error:
        console.error(str(error))
        return 2
    except (MdfpError, OSError) as error:
        console.error(str(error))
        return 1
    console.say(f"handed over: {shards} of {len(plan.shards)} shards of the plan {plan.plan_id[:12]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
