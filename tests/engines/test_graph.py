"""What a graph may consist of: only what every engine can do, and small enough to be sent to any."""

from __future__ import annotations

import random
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2 as api

from examples import phantom
from pipelines import run as runs
from pipelines.build import BuildOptions
from pipelines.console import Console
from pipelines.runner import Engine
from pipelines.workspace import open_workspace
from transforms.plan.planner import Selection
from transforms.pseudonym import PatientKeys
from transforms.references import References
from transforms.take_inventory import CASES_PER_CHUNK, FILES_PER_CHUNK, Chunk

RECIPE = Path(__file__).parents[2] / "examples" / "recipes" / "demo.yaml"

KEY = "a key for tests, of sixteen bytes and more"

MAX_GRAPH_BYTES = 1_000_000
"""Of a graph as it is sent; Dataflow refuses requests of 10 MB."""

ALLOWED = {
    "beam:transform:impulse:v1",
    "beam:transform:pardo:v1",
    "beam:transform:group_by_key:v1",
    "beam:transform:flatten:v1",
    "beam:transform:reshuffle:v1",  # its parts are of the others
}
"""Transforms that FnApiRunner, Prism, Spark, Flink and Dataflow all implement in batch. Reads, combiners with side inputs,
cross-language steps and everything with windows are left out on purpose."""

GLOBAL_WINDOWS = "beam:window_fn:global_windows:v1"


class Recording(Engine):
    """An engine that keeps the graphs it is given, and runs them."""

    graphs: list[api.Pipeline] = []  # noqa: RUF012 (one list for the one run of this module)

    def run(self, build, *, tasks):
        self.graphs.append(graph_of(build))
        return super().run(build, tasks=tasks)


def graph_of(build) -> api.Pipeline:
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    build(pipeline)
    return pipeline.to_runner_api()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Those of an inventory and a build, as the pipelines make them."""
    folder = tmp_path_factory.mktemp("graphs")
    phantom.write_bucket(folder / "bucket", scale="small", patients=1)
    roots = [f"{s}={folder / 'bucket' / s}" for s in phantom.SOURCES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MDFP_PATIENT_KEY", KEY)
        workspace = open_workspace(RECIPE, roots, str(folder / "out"))
        Recording.graphs.clear()
        console = Console(quiet=True, as_json=True)
        runs.run(workspace, Selection(), Recording(), BuildOptions(max_holes=1.0), console)
    assert len(Recording.graphs) >= 2
    inventory, build = Recording.graphs[:2]
    return {"inventory": inventory, "build": build}


@pytest.fixture(params=["inventory", "build"])
def graph(request, graphs) -> api.Pipeline:
    return graphs[request.param]


def steps(graph):
    """Transforms that are not only a name around others."""
    for transform in graph.components.transforms.values():
        if not transform.subtransforms or transform.spec.urn == "beam:transform:reshuffle:v1":
            yield transform


def test_it_is_made_of_what_every_engine_has(graph):
    found = {t.spec.urn for t in steps(graph) if t.spec.urn}
    assert found <= ALLOWED, found - ALLOWED
    assert {"beam:transform:impulse:v1", "beam:transform:pardo:v1", "beam:transform:reshuffle:v1"} <= found


def test_its_steps_keep_no_state_and_set_no_timers(graph):
    seen = 0
    for transform in steps(graph):
        if transform.spec.urn != "beam:transform:pardo:v1":
            continue
        seen += 1
        pardo = api.ParDoPayload.FromString(transform.spec.payload)
        assert not pardo.state_specs, transform.unique_name
        assert not pardo.timer_family_specs, transform.unique_name
        assert not pardo.restriction_coder_id, f"{transform.unique_name}: splittable"
        assert not pardo.requests_finalization, transform.unique_name
        assert not pardo.requires_time_sorted_input, transform.unique_name
        assert not pardo.requires_stable_input, transform.unique_name
        assert not pardo.side_inputs, f"{transform.unique_name}: side inputs travel whole to every worker"
    assert seen >= 3
    assert not graph.requirements


def test_there_is_one_window_and_no_trigger_of_ones_own(graph):
    for name, windowing in graph.components.windowing_strategies.items():
        assert windowing.window_fn.urn == GLOBAL_WINDOWS, name
        assert windowing.trigger.WhichOneof("trigger") in ("default", "always"), name  # always: within a Reshuffle


def test_there_is_one_environment_and_it_is_pythons(graph):
    used = {t.environment_id for t in steps(graph) if t.environment_id}
    assert len(used) == 1


def test_no_step_carries_much(graph):
    assert graph.ByteSize() < 400_000
    for transform in steps(graph):
        assert len(transform.spec.payload) < 100_000, transform.unique_name


def test_no_step_carries_the_patient_key(graphs):
    """An engine may keep a graph in a bucket. What workers are sent is unpacked here: it is compressed."""
    carried = [
        cloudpickle.dumps(pickler.loads(api.ParDoPayload.FromString(transform.spec.payload).do_fn.payload))
        for graph in graphs.values()
        for transform in steps(graph)
        if transform.spec.urn == "beam:transform:pardo:v1"
    ]
    assert not any(KEY.encode() in content for content in carried)
    assert any(PatientKeys(KEY.encode()).fingerprint.encode() in content for content in carried)


def test_steps_say_what_they_do(graphs):
    names = {t.unique_name for graph in graphs.values() for t in steps(graph)}
    for word in ("BuildAndCommitShard", "ReadInstanceHeaders", "GroupBySeries", "WritePart"):
        assert any(word in name for name in names), word


def size_of(references):
    return graph_of(lambda p: p | "References" >> References(references)).ByteSize()


def test_the_shards_of_a_million_cases_fit_in_a_request():
    """A million CTs of 512 MB shards and ten minutes are up to 200,000 shards, in the order of their work: any order."""
    numbers = random.Random(0).sample(range(200_000), 200_000)
    assert 300_000 < size_of(numbers) < MAX_GRAPH_BYTES


def test_the_headers_of_a_million_series_of_forty_slices_fit_too():
    files, cases = 40_000_000, 1_000_000
    chunks = [
        Chunk("a-source-with-a-name", "headers", n, n + FILES_PER_CHUNK) for n in range(0, files, FILES_PER_CHUNK)
    ]
    chunks += [Chunk("another-one", "cases", n, n + CASES_PER_CHUNK) for n in range(0, cases, CASES_PER_CHUNK)]
    assert len(chunks) > 100_000
    assert size_of(chunks) < MAX_GRAPH_BYTES


def test_the_check_would_see_what_is_forbidden():
    """State, and a read: each is told from what is allowed."""

    def stateful(pipeline):
        return pipeline | beam.Create([("a", 1)]) | beam.GroupIntoBatches(2)

    def reading(pipeline):
        return pipeline | beam.io.ReadFromText("/dev/null")

    found = graph_of(stateful)
    assert any(
        api.ParDoPayload.FromString(t.spec.payload).state_specs
        for t in steps(found)
        if t.spec.urn == "beam:transform:pardo:v1"
    )
    urns = {t.spec.urn for t in steps(graph_of(reading))}
    splittable = any(
        api.ParDoPayload.FromString(t.spec.payload).restriction_coder_id
        for t in steps(graph_of(reading))
        if t.spec.urn == "beam:transform:pardo:v1"
    )
    assert splittable or not urns <= ALLOWED
