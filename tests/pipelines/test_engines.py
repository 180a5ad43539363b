"""What each word of --runner becomes, and what is said when it cannot run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from mdfp.errors import UsageError
from pipelines.engines import artifacts, jvm, pool, surroundings, tie, workers
from pipelines.engines.dataflow import DEFAULTS
from pipelines.engines.launch import Job
from pipelines.engines.registry import LAUNCHERS, launcher
from pipelines.runner import Engine
from schemas.place import Place
from transforms.build_shards import BuildShards
from transforms.patient_key import KeyReference
from transforms.references import References
from transforms.take_inventory import Chunk, InventoryJob, TakeInventory, Target

CLOUD = (
    "--project=my-project",
    "--region=europe-west4",
    "--temp_location=gs://bucket/temp",
    "--sdk_container_image=europe-west4-docker.pkg.dev/my-project/mdfp/worker:1",
)


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """A cache in which everything lies, empty."""
    monkeypatch.setenv("MDFP_CACHE", str(tmp_path))
    for artifact in artifacts.ALL:
        artifact.file.parent.mkdir(parents=True)
        artifact.file.touch()
    monkeypatch.setattr(jvm, "java", lambda: "/usr/bin/java")


@pytest.fixture
def no_pool(monkeypatch):
    """Nothing is started."""
    import contextlib

    @contextlib.contextmanager
    def started():
        yield "127.0.0.1:1"

    monkeypatch.setattr(workers, "_pool", started)


def arguments(word, *beam_args, tasks=8, processes=2):
    with launcher(word).launched(Job(tasks, processes, beam_args)) as launch:
        return launch.arguments


@pytest.mark.parametrize("word", LAUNCHERS)
def test_no_engine_is_the_one_that_changes_by_itself(word, fetched, no_pool):
    found = arguments(word, *(CLOUD if word == "dataflow" else ()))
    runner = next(a for a in found if a.startswith("--runner="))
    assert runner in {
        "--runner=FnApiRunner", "--runner=PortableRunner", "--runner=PrismRunner", "--runner=SparkRunner",
        "--runner=FlinkRunner", "--runner=DataflowRunner",
    }  # fmt: skip


@pytest.mark.parametrize("word", LAUNCHERS)
def test_what_is_written_after_the_dashes_comes_last(word, fetched, no_pool):
    given = (*(CLOUD if word == "dataflow" else ()), "--direct_num_workers=7", "--disk_size_gb=333")
    found = arguments(word, *given)
    assert tuple(found[-len(given) :]) == given
    assert PipelineOptions(found).get_all_options()["disk_size_gb"] == 333


def test_local_starts_no_more_processes_than_there_is_work_for():
    assert "--direct_num_workers=3" in arguments("local", tasks=3, processes=8)
    assert "--direct_running_mode=in_memory" in arguments("local", tasks=1, processes=8)


def test_spark_gets_bundles_enough_workers_that_stay_and_modules_opened(fetched, no_pool):
    found = arguments("spark", tasks=300)
    assert "--spark_master_url=local[2]" in found
    assert f"--spark_job_server_jar={artifacts.SPARK_JOB_SERVER.file}" in found
    assert "--job_server_jvm_properties=-Dspark.default.parallelism=300" in found
    assert "--environment_cache_millis=600000" in found
    assert "--sdk_worker_parallelism=2" in found
    assert any("extraJavaOptions" in a and "sun.nio.ch" in a for a in found)
    assert "--job_server_jvm_properties=-Dspark.default.parallelism=1000" in arguments("spark", tasks=200_000)


@pytest.mark.parametrize("flag", [("--spark_master_url=spark://h:7077",), ("--spark_master_url", "spark://h:7077")])
def test_a_cluster_brings_its_own_workers(flag, fetched):
    engine = Engine(2, flag, "spark")
    assert not engine.local
    found = arguments("spark", *flag)
    assert f"--environment_config={workers.CLUSTER_POOL}" in found
    assert "--spark_master_url=spark://h:7077" in found
    own = arguments("spark", *flag, "--environment_type=DOCKER", "--environment_config=image")
    assert [a for a in own if a.startswith("--environment_type")] == ["--environment_type=DOCKER"]


def test_flink_is_this_machine_unless_a_cluster_is_named(fetched, no_pool):
    assert Engine(2, (), "flink").local
    assert {"--flink_master=[local]", "--parallelism=2"} <= set(arguments("flink"))
    elsewhere = ("--flink_master=host:8081",)
    assert not Engine(2, elsewhere, "flink").local
    assert "--flink_master=[local]" not in arguments("flink", *elsewhere)


@pytest.mark.parametrize("word", ["prism", "spark", "flink"])
def test_what_was_not_fetched_is_named_with_the_command_that_fetches_it(word, monkeypatch, tmp_path):
    monkeypatch.setenv("MDFP_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match=rf"is not there \(looked for .*python -m infra.engines fetch {word}"):
        Engine(2, (), word)


@pytest.mark.parametrize("word", ["spark", "flink"])
def test_without_java_it_says_so(word, fetched, monkeypatch):
    monkeypatch.setattr(jvm, "java", lambda: None)
    with pytest.raises(UsageError, match="Java is not there"):
        Engine(2, (), word)
    with pytest.raises(UsageError, match="there is no such program"):
        Engine(2, ("--job_server_java_launcher=/no/java",), word)


def test_a_word_that_is_no_engine_gets_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'spark'"):
        Engine(1, (), "sparc")


def test_a_word_and_a_runner_of_beams_are_one_too_many():
    with pytest.raises(UsageError, match="one of them is enough"):
        Engine(1, ("--runner=FnApiRunner",), "embedded")
    assert Engine(1, ("--runner=FnApiRunner",)).local
    assert not Engine(1, ("--runner=SparkRunner",)).local


def test_dataflow_asks_for_what_it_needs_before_anything_is_read():
    with pytest.raises(
        UsageError, match=r"needs --project, --region, --temp_location, --sdk_container_image; give them"
    ):
        Engine(1, (), "dataflow")
    with pytest.raises(UsageError, match=r"needs --sdk_container_image;"):
        Engine(1, CLOUD[:-1], "dataflow")


def test_dataflow_cannot_reach_a_folder_of_this_machine():
    engine = Engine(1, CLOUD, "dataflow")
    assert not engine.local
    engine.check_places({"out": "gs://bucket/corpus"})
    with pytest.raises(
        UsageError, match=r"root of a is the local folder /data; workers of --runner dataflow need a bucket"
    ):
        engine.check_places({"out": "gs://bucket/corpus", "root of a": "/data"})
    Engine(1).check_places({"out": "/data"})


def test_dataflow_cannot_read_a_key_of_this_machine():
    engine = Engine(1, CLOUD, "dataflow")
    engine.check_key(KeyReference("0" * 16, "projects/p/secrets/s/versions/1"))
    engine.check_key(KeyReference("0" * 16, "gs://private/patient.key"))
    for place in ("/home/me/patient.key", ""):
        with pytest.raises(UsageError, match=r"cannot read, and no job carries it; .* MDFP_PATIENT_KEY_FILE"):
            engine.check_key(KeyReference("0" * 16, place))
        Engine(1).check_key(KeyReference("0" * 16, place))


@pytest.mark.parametrize("given", DEFAULTS)
def test_every_option_of_dataflows_is_one_that_beam_knows(given):
    name = given.removeprefix("--").partition("=")[0]
    assert name in PipelineOptions([given]).get_all_options(drop_default=True), f"{given} is read by nobody"


@pytest.mark.parametrize("stage", ["inventory", "build"])
def test_a_graph_is_made_for_dataflow_without_the_service(stage, monkeypatch):
    """Beam's dry run: options are validated and the job's proto is made; what would call Google is cut off."""
    from apache_beam.internal.gcp import auth

    monkeypatch.setattr(GoogleCloudOptions, "_handle_temp_and_staging_locations", lambda self, validator: [])
    monkeypatch.setattr(auth, "get_service_credentials", lambda options: None)
    corpus, raw = Place("gs://bucket/corpus"), (("a", Place("gs://bucket/raw")),)
    if stage == "build":
        references, transform = [0, 1, 2], BuildShards(corpus, "plans/x", raw, "/tmp/scratch")
    else:
        key = KeyReference("0" * 16, "projects/p/secrets/s/versions/1")
        job = InventoryJob(corpus, (Target("a", "inventory/x", 2),), raw, (("a", "{}"),), "{}", key)
        references, transform = [Chunk("a", "cases", 0, 3), Chunk("a", "headers", 0, 5)], TakeInventory(job)

    def build(pipeline):
        return pipeline | "References" >> References(references) | transform

    engine = Engine(1, (*CLOUD, "--dry_run=True", "--job_name=mdfp"), "dataflow")
    with launcher("dataflow").launched(Job(3, 1, engine.beam_args)) as launch:
        pipeline = beam.Pipeline(options=PipelineOptions(launch.arguments))
        build(pipeline)
        assert pipeline.run().state == "DONE"


def test_a_pool_starts_workers_of_this_python_and_ends_with_who_started_it():
    env = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(pool.__file__).parents[2])}
    words = [sys.executable, "-m", "pipelines.engines.pool", "--until-stdin-closes"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd="/")
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith(f"{pool.LISTENING}{pool.HOST}:")
    import grpc
    from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2

    with grpc.insecure_channel(said.removeprefix(pool.LISTENING).strip()) as channel:
        asked = beam_fn_api_pb2.StartWorkerRequest(
            worker_id="w", control_endpoint=endpoints_pb2.ApiServiceDescriptor(url="127.0.0.1:9")
        )
        stub = beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub(channel)
        assert stub.StartWorker(asked, timeout=20).error == ""
    children = subprocess.run(["pgrep", "-P", str(process.pid), "-a"], capture_output=True, text=True, check=False)
    assert sys.executable in children.stdout
    assert "pipelines.engines.harness 127.0.0.1:9 w" in children.stdout
    process.communicate()  # closes its standard input
    assert process.returncode == 0
    left = [line.split()[0] for line in children.stdout.splitlines()]
    assert not [pid for pid in left if Path(f"/proc/{pid}").exists()]


def gone(process):
    """Whether it ended; what nobody waits for stays in the table as a zombie."""
    try:
        return "State:\tZ" in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not here")
@pytest.mark.parametrize("form", ["words", "script"])
def test_a_server_ends_with_whoever_started_it_even_when_that_one_is_killed(form, tmp_path):
    sleep = str(shutil.which("sleep"))
    words = tie.tied(sleep) if form == "words" else [str(tie.script(sleep, tmp_path))]
    code = "import subprocess, sys, time; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); time.sleep(60)"
    starter = subprocess.Popen([sys.executable, "-c", code, *words, "60"], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    server = Path("/proc") / starter.stdout.readline().strip()

    def until(condition):
        for _ in range(200):
            if condition():
                return True
            time.sleep(0.05)
        return False

    try:
        assert until(lambda: "60" in (server / "cmdline").read_text())
    finally:
        starter.kill()
        starter.communicate()
    assert until(lambda: gone(server))


def test_workers_find_our_modules_keep_to_one_thread_and_ignore_where_they_stand(monkeypatch):
    monkeypatch.setattr(os, "environ", {"PATH": "/usr/bin", "PYTHONPATH": "/other", "OMP_NUM_THREADS": "3"})
    surroundings.prepare()
    found = os.environ
    assert found["PYTHONPATH"].split(os.pathsep) == [str(surroundings.CHECKOUT), "/other"]
    assert found["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert (found["PYTHONSAFEPATH"], found["OPENBLAS_NUM_THREADS"], found["OMP_NUM_THREADS"]) == ("1", "1", "3")
    assert found["GLIBC_TUNABLES"].startswith("glibc.malloc.hugetlb=1")
