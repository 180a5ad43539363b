"""The Dataflow template: its metadata, its specification, and that both fit the program that it starts."""

from __future__ import annotations

import json
import re

import pytest

from pipelines.submit import PARAMETERS, arguments, completed, template_metadata

FILLED = {
    "launcher_image": "registry/mdfp-launcher@sha256:1",
    "worker_image": "registry/mdfp-worker@sha256:2",
    "service_account": "worker@my-project.iam.gserviceaccount.com",
    "subnetwork": "regions/us-central1/subnetworks/mdfp",
    "temp_location": "gs://bucket/temporary",
    "staging_location": "gs://bucket/staging",
    "machine_type": "n2-highmem-8",
    "max_workers": "32",
    "max_seconds": "86400",
    "corpus": "abdomen-ct",
}


@pytest.fixture(scope="module")
def specification(infra) -> dict:
    text = (infra / "dataflow" / "container_spec.json").read_text()
    names = set(re.findall(r"\$\{(\w+)\}", text))
    assert names == set(FILLED)
    filled = json.loads(re.sub(r"\$\{(\w+)\}", lambda m: FILLED[m[1]], text))
    metadata = json.loads((infra / "dataflow" / "metadata.json").read_text())
    return {**filled, "metadata": metadata}


def test_the_metadata_file_is_what_the_program_says_of_its_arguments(infra):
    """Renew it with: python -m pipelines.submit --metadata > infra/dataflow/metadata.json"""
    assert json.loads((infra / "dataflow" / "metadata.json").read_text()) == template_metadata()


def test_the_specification_is_one_of_dataflows_api(specification):
    dataflow = pytest.importorskip("google.cloud.dataflow_v1beta3")
    parsed = dataflow.ContainerSpec.from_json(json.dumps(specification), ignore_unknown_fields=False)
    assert parsed.sdk_info.language == dataflow.SDKInfo.Language.PYTHON
    assert parsed.default_environment.ip_configuration == dataflow.WorkerIPAddressConfiguration.WORKER_IP_PRIVATE
    assert [p.name for p in parsed.metadata.parameters] == [p.name for p in PARAMETERS]
    assert [p.is_optional for p in parsed.metadata.parameters] == [p.default is not None for p in PARAMETERS]


def test_a_field_that_the_api_does_not_know_is_found(specification):
    dataflow = pytest.importorskip("google.cloud.dataflow_v1beta3")
    from google.protobuf.json_format import ParseError

    with pytest.raises(ParseError, match="diskSizeGB"):
        dataflow.ContainerSpec.from_json(
            json.dumps({**specification, "defaultEnvironment": {"diskSizeGB": 100}}), ignore_unknown_fields=False
        )


def test_expressions_match_whole_values(infra):
    for parameter in json.loads((infra / "dataflow" / "metadata.json").read_text())["parameters"]:
        for expression in parameter["regexes"]:
            assert expression.startswith("^")
            assert expression.endswith("$")
            re.compile(expression)


def test_defaults_match_their_own_expressions():
    for parameter in PARAMETERS:
        assert not parameter.default or re.search(parameter.pattern, parameter.default), parameter.name


def test_workers_of_the_template_run_the_worker_image_with_private_addresses(specification):
    environment = specification["defaultEnvironment"]
    assert environment["sdkContainerImage"] == FILLED["worker_image"]
    assert environment["ipConfiguration"] == "WORKER_IP_PRIVATE"
    assert specification["image"] == FILLED["launcher_image"]


def test_what_the_template_adds_are_options_of_beam(specification):
    from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions, PipelineOptions

    extra = [f"--{o}" for o in specification["defaultEnvironment"]["additionalPipelineOptions"]]
    options = PipelineOptions(extra)
    assert options.view_as(GoogleCloudOptions).dataflow_service_options == [
        "max_workflow_runtime_walltime_seconds=86400"
    ]
    assert options.view_as(DebugOptions).experiments is None


def test_launcher_arguments_of_a_template_get_what_the_job_needs():
    from apache_beam.options.pipeline_options import DebugOptions, PipelineOptions, SetupOptions, WorkerOptions

    given = ["--runner=DataflowRunner", "--template_location=gs://b/job_object", "--worker_machine_type=n2-highmem-8"]
    options = PipelineOptions(completed(given))
    assert options.view_as(SetupOptions).sdk_location == "container"
    assert options.view_as(DebugOptions).number_of_worker_harness_threads == 1
    assert options.view_as(WorkerOptions).machine_type == "n2-highmem-8"


def test_arguments_of_other_engines_stay_as_they_are():
    given = ["--runner=SparkRunner", "--output_executable_path=job.jar"]
    assert completed(given) == given


def test_ours_and_beams_arguments_are_told_apart():
    values, rest = arguments(["--recipe=gs://b/r.yaml", "--project=p", "--roots=a=gs://x,b=s3://y", "--out="])
    assert values == {
        "recipe": "gs://b/r.yaml",
        "out": "",
        "roots": "a=gs://x,b=s3://y",
        "retries": "3",
        "rebuild": "false",
    }
    assert rest == ["--project=p"]
