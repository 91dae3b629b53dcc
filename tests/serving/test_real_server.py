"""The client and the shipped configuration against TensorFlow Serving itself, where it exists.

`tensorflow_model_server` on PATH is started with the files of serving/server. Or `TF_SERVING_URL`
names a server (http://host:port, grpc://host:port, or both with a space between) that runs the
export in `TF_SERVING_MODEL_DIR`.
"""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from fakes.small_export import stored_images, write_small_export

import serving
from landcover_tf.model_info import ModelInfo, find_export
from serving.client import ServerBackend

CONFIGURATION = Path(serving.__file__).parent / "server"
SECONDS_TO_START = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[dict[str, str], Path]]:
    """URLs of a real server by scheme, and the version folder that it serves."""
    given = os.environ.get("TF_SERVING_URL", "").split()
    urls = {url.partition("://")[0]: url for url in given}
    folder = os.environ.get("TF_SERVING_MODEL_DIR")
    if urls and folder:
        yield urls, find_export(folder)
        return
    program = shutil.which("tensorflow_model_server")
    if program is None:
        pytest.skip("no TensorFlow Serving here")
    folder = tmp_path_factory.mktemp("real")
    write_small_export(folder)
    with started(program, folder) as urls:
        yield urls, folder / "landcover" / "1"


@contextmanager
def started(program: str, folder: Path) -> Iterator[dict[str, str]]:
    models = (CONFIGURATION / "models.config").read_text()
    own = folder / "models.config"
    own.write_text(models.replace("/models/landcover", str(folder / "landcover")))
    rpc, rest = free_port(), free_port()
    command = [
        program, f"--port={rpc}", f"--rest_api_port={rest}", f"--model_config_file={own}",
        "--allow_version_labels_for_unavailable_models=true",
        f"--monitoring_config_file={CONFIGURATION / 'monitoring.config'}",
        "--enable_batching=true",
        f"--batching_parameters_file={CONFIGURATION / 'batching.config'}",
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_available(process, f"http://127.0.0.1:{rest}/v1/models/landcover")
        yield {"http": f"http://127.0.0.1:{rest}", "grpc": f"grpc://127.0.0.1:{rpc}"}
    finally:
        process.terminate()
        process.wait()


def wait_until_available(process: subprocess.Popen, url: str) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended; see server.log"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                states = json.load(answer)["model_version_status"]
        except OSError:
            states = []
        if [one["state"] for one in states] == ["AVAILABLE"]:
            return
        time.sleep(0.2)
    raise TimeoutError(f"{url} is not available after {SECONDS_TO_START} s")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_real_server_answers_as_the_local_model_does(served, scheme):
    urls, version = served
    if scheme not in urls:
        pytest.skip(f"TF_SERVING_URL names no {scheme} URL")
    info = ModelInfo.load(version)
    images = stored_images(5, info.patch_size, info, seed=3)
    signature = tf.saved_model.load(str(version)).signatures["serving_default"]
    expected = signature(image=tf.constant(images))
    with ServerBackend(urls[scheme], info) as client:
        classes = client.classes(images)
        np.testing.assert_allclose(
            client.probabilities(images), expected["probabilities"].numpy(), atol=1e-5
        )
    assert classes.tobytes() == expected["classes"].numpy().tobytes()


def test_a_real_server_shows_its_metrics(served):
    urls, _ = served
    if "http" not in urls:
        pytest.skip("TF_SERVING_URL names no http URL")
    path = "/monitoring/prometheus/metrics"
    with urllib.request.urlopen(urls["http"] + path, timeout=5) as answer:
        assert b":tensorflow:serving:request_count" in answer.read()
