"""TensorFlow Serving itself, where it exists.

`tensorflow_model_server` on PATH is started with the files of serving/server. Or `TF_SERVING_URL`
names a server (http://host:port, grpc://host:port, or both with a space between) that runs the
export in `TF_SERVING_MODEL_DIR`.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.free_ports import free_ports
from fakes.small_export import write_small_export

import serving
from landcover_tf.model_info import find_export

CONFIGURATION = Path(serving.__file__).parent / "server"
SECONDS_TO_START = 120


@dataclass(frozen=True, kw_only=True)
class RealServer:
    """Where TensorFlow Serving answers, and what it serves."""

    urls: Mapping[str, str]
    """URL of each scheme that is given, http and grpc."""
    version_folder: Path

    @property
    def model_folder(self) -> Path:
        return self.version_folder.parent

    def url(self, scheme: str) -> str:
        if scheme not in self.urls:
            pytest.skip(f"TF_SERVING_URL names no {scheme} URL")
        return self.urls[scheme]


@contextmanager
def real_server(folder: Path) -> Iterator[RealServer | None]:
    """Gives the server that the environment names, or one started on an export in `folder`.

    It is None where there is neither. A URL without the folder of its model ends the tests.
    """
    given = os.environ.get("TF_SERVING_URL", "").split()
    served = os.environ.get("TF_SERVING_MODEL_DIR")
    program = shutil.which("tensorflow_model_server")
    if given and not served:
        pytest.fail(
            "TF_SERVING_URL names a server, and TF_SERVING_MODEL_DIR must name the export that it "
            "serves; set both or neither",
            pytrace=False,
        )
    if given and served:
        urls = {url.partition("://")[0]: url for url in given}
        yield RealServer(urls=urls, version_folder=find_export(served))
    elif program is not None:
        write_small_export(folder)
        with started(program, folder) as urls:
            yield RealServer(urls=urls, version_folder=folder / "landcover" / "1")
    else:
        yield None


@contextmanager
def started(program: str, folder: Path) -> Iterator[dict[str, str]]:
    models = (CONFIGURATION / "models.config").read_text()
    own = folder / "models.config"
    own.write_text(models.replace("/models/landcover", str(folder / "landcover")))
    rpc, rest = free_ports(2)
    command = [
        program, f"--port={rpc}", f"--rest_api_port={rest}", f"--model_config_file={own}",
        "--allow_version_labels_for_unavailable_models=true",
        f"--monitoring_config_file={CONFIGURATION / 'monitoring.config'}",
        "--enable_batching=true",
        f"--batching_parameters_file={CONFIGURATION / 'batching.config'}",
        "--rest_api_timeout_in_ms=600000",
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
