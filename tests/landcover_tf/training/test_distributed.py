"""Several devices or hosts train as one does with the same global batch.

Each of their trainings runs in a process of its own: TensorFlow's devices cannot be chosen twice.
"""

import json
import os
import socket
import subprocess
import sys

import pytest
from fakes.distributed_training import train
from fakes.free_ports import free_ports
from fakes.small_dataset import write_small_dataset

from landcover_tf.errors import ConfigError
from landcover_tf.training.distributed import choose_devices


def start(data, output, kind, *, task=None) -> subprocess.Popen:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
    # The program is one of the fakes, which are found as the tests find them.
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    # Schedulers leave it empty for jobs of one host.
    environment["TF_CONFIG"] = json.dumps(task) if task else ""
    return subprocess.Popen(
        [sys.executable, "-m", "fakes.distributed_training", str(data), str(output), kind],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def result(process: subprocess.Popen) -> dict:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-3000:]
    return json.loads(out.splitlines()[-1])


def assert_same(found: dict, expected: dict) -> None:
    for row, other in zip(found["history"], expected["history"], strict=True):
        for name in ("train_loss", "val_loss"):
            assert row[name] == pytest.approx(other[name], rel=1e-3), name
    assert found["norms"] == pytest.approx(expected["norms"], rel=1e-2)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_small_dataset(folder, train=17)
    return folder


@pytest.fixture(scope="module")
def alone(data_dir, tmp_path_factory) -> dict:
    return train(data_dir, tmp_path_factory.mktemp("runs") / "alone", "single")


def test_two_workers_train_as_one_process(data_dir, tmp_path, alone):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = [
        start(data_dir, tmp_path / "run", "auto",
              task={"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in (0, 1)
    ]  # fmt: skip
    try:
        found = [result(worker) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [one["replicas"] for one in found] == [2, 2]
    assert found[0]["weights"] == found[1]["weights"]
    for one in found:
        assert_same(one, alone)
    assert (tmp_path / "run" / "best.weights.h5").is_file()


def test_two_devices_train_as_one(data_dir, tmp_path, alone):
    found = result(start(data_dir, tmp_path / "run", "mirrored"))
    assert found["replicas"] == 2
    assert_same(found, alone)


def test_a_worker_whose_port_is_taken_is_told(tmp_path):
    with socket.create_server(("", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        cluster = {"worker": [taken, "127.0.0.1:9"]}
        task = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        process = subprocess.run(
            [sys.executable, "-c", "from landcover_tf.training.distributed import choose_devices\n"
             "from landcover_tf.errors import ConfigError\n"
             "try: choose_devices('auto')\nexcept ConfigError as error: print(error)"],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CONFIG": json.dumps(task)},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    assert f"cannot serve as worker 0 of TF_CONFIG at {taken}" in process.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the environment variable TF_CONFIG"),
        ("{", "TF_CONFIG is malformed"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "TF_CONFIG is malformed"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
            "must name workers only",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}',
            "must name workers only",
        ),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
            "needs the environment variable TF_CONFIG with the addresses of several workers",
        ),
    ],
)
def test_clusters_that_cannot_be_are_told(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match=message):
        choose_devices("multi-worker")
