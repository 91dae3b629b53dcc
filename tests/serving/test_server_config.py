"""The configuration files are what TensorFlow Serving parses, and fit the export."""

import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow_serving.config import model_server_config_pb2

import serving
from landcover_tf.exporting.warmup import BATCH_SIZES
from serving.client import ClientSettings

FOLDER = Path(serving.__file__).parent / "server"


def read(name: str, message):
    return text_format.Parse((FOLDER / name).read_text(), message)


def messages():
    """Returns the message classes that the Python package of TensorFlow Serving lacks.

    Fields as in its servables/tensorflow/session_bundle_config.proto and
    config/monitoring_config.proto.
    """
    file = descriptor_pb2.FileDescriptorProto(name="lacking.proto", package="t", syntax="proto3")

    def message(name: str, **fields: tuple[int, str]) -> None:
        added = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            scalar = {"int64": 3, "repeated int64": 3, "bool": 8, "string": 9}.get(kind)
            label = 3 if kind.startswith("repeated") else 1
            added.field.add(name=field, number=number, label=label, type=scalar or 11,
                            type_name=None if scalar else f".t.{kind}")  # fmt: skip

    message("Int64Value", value=(1, "int64"))
    message(
        "BatchingParameters",
        max_batch_size=(1, "Int64Value"),
        batch_timeout_micros=(2, "Int64Value"),
        max_enqueued_batches=(3, "Int64Value"),
        num_batch_threads=(4, "Int64Value"),
        allowed_batch_sizes=(6, "repeated int64"),
        pad_variable_length_inputs=(7, "bool"),
    )
    message("PrometheusConfig", enable=(1, "bool"), path=(2, "string"))
    message("MonitoringConfig", prometheus_config=(1, "PrometheusConfig"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{name}"))()


def test_models():
    config = read("models.config", model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path) == ("landcover", "/models/landcover")
    assert model.model_version_policy.latest.num_versions == 2


def test_the_policies_of_the_readme_are_read():
    text = (FOLDER / "README.md").read_text()
    blocks = re.findall(
        r"(?:^    (?:model_version_policy|version_labels) .*\n)+", text, re.MULTILINE
    )
    pinned, canary = (
        text_format.Parse(block, model_server_config_pb2.ModelConfig()) for block in blocks
    )
    assert list(pinned.model_version_policy.specific.versions) == [1]
    assert list(canary.model_version_policy.specific.versions) == [1, 2]
    assert dict(canary.version_labels) == {"stable": 1, "canary": 2}


def test_warm_up_requests_are_those_of_the_clients_and_fit_the_batches():
    """The server loads no version with a warm-up request beyond it (batching_session.cc)."""
    config = read("batching.config", messages()("BatchingParameters"))
    assert list(BATCH_SIZES) == [1, ClientSettings().windows_per_request]
    assert set(BATCH_SIZES) <= set(config.allowed_batch_sizes)
    assert max(BATCH_SIZES) <= config.max_batch_size.value


def test_batching():
    config = read("batching.config", messages()("BatchingParameters"))
    # The server refuses to start unless the largest allowed size is the maximum.
    assert config.allowed_batch_sizes[-1] == config.max_batch_size.value
    assert not config.pad_variable_length_inputs


def test_monitoring():
    config = read("monitoring.config", messages()("MonitoringConfig"))
    assert config.prometheus_config.enable
    assert config.prometheus_config.path in (FOLDER / "prometheus.yml").read_text()


def test_compose_names_files_that_exist():
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((FOLDER / "docker-compose.yml").read_text())["services"]
    command = " ".join(services["model-server"]["command"])
    for name in re.findall(r"=/config/(\S+)", command):
        assert (FOLDER / name).is_file()


def started_with(name: str) -> str:
    """Returns the flags of the server in a file's command."""
    command = (FOLDER / name).read_text().partition("--model_config_file=")[2]
    return command.partition("ports:" if "yml" in name else "\n\n")[0]


@pytest.mark.parametrize("name", ["docker-compose.yml", "README.md"])
def test_a_server_starts_with_the_labels_of_the_readme(name):
    """It reads labels before versions are loaded, and by default ends then."""
    assert "--allow_version_labels_for_unavailable_models=true" in started_with(name)


@pytest.mark.parametrize("name", ["docker-compose.yml", "README.md"])
def test_a_server_waits_for_longer_than_its_clients_do(name):
    """By default it ends a request over REST after 30 s (server.h, http_timeout_in_ms)."""
    (limit_ms,) = re.findall(r"--rest_api_timeout_in_ms=(\d+)", started_with(name))
    assert int(limit_ms) >= 10_000 * ClientSettings().timeout_s
