"""What several commands of the builder take: their arguments and options, each said once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BEAM = {"allow_extra_args": True, "ignore_unknown_options": False}

RecipeArg = Annotated[Path, typer.Argument(help="The recipe (YAML).", show_default=False)]
RootOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--root", metavar="SOURCE=URL", help="Where a source's files lie; repeat for several. Overrides the recipe."
    ),
]
OutOpt = Annotated[str | None, typer.Option("--out", help="Where the corpus goes. Overrides the recipe.")]
OnlyOpt = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="SOURCE|CASE", help="Only this source or case; repeat for several."),
]
LimitOpt = Annotated[
    int | None, typer.Option("--limit", min=1, help="At most so many cases of each source: for a first look.")
]
RetryHolesOpt = Annotated[
    bool,
    typer.Option("--retry-holes", help="Try again what could not be made in an earlier run, though nothing changed."),
]
WorkersOpt = Annotated[int | None, typer.Option("--workers", help="Local processes; default: one per core.")]
RunnerOpt = Annotated[
    str,
    typer.Option("--runner", help="The engine: local, embedded, prism, spark, flink or dataflow (docs/engines.md)."),
]
ScratchOpt = Annotated[
    Path | None,
    typer.Option("--scratch-dir", help="Local folder for shards being built (twice a shard's size per worker)."),
]
PricesOpt = Annotated[
    Path | None,
    typer.Option("--prices", metavar="FILE", help="Price list for the cost; default: catalog/prices/examples.yaml."),
]
VcpusOpt = Annotated[int, typer.Option("--vcpus", min=1, help="vCPUs to rent at once, for the cost estimate.")]
HolesOpt = Annotated[
    float,
    typer.Option("--max-holes", min=0, max=1, help="Fraction of a source's cases that may turn out to be unusable."),
]
RetriesOpt = Annotated[
    int, typer.Option("--retries", min=0, help="How often a failing request to a store is tried again.")
]
RebuildOpt = Annotated[
    bool, typer.Option("--rebuild", help="Accept another environment than the plan was made in: other bytes.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="One line of JSON as result, for machines.")]
QuietOpt = Annotated[bool, typer.Option("--quiet", help="No progress and no remarks.")]
