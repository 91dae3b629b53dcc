"""Several devices or hosts train as one does with the same global batch.

Each training runs in a process of its own: TensorFlow's devices cannot be chosen twice.
"""

import json
import os
import socket
import subprocess
import sys

import pytest
from fakes.small_dataset import write_small_dataset

from landcover_tf.distributed import choose_devices
from landcover_tf.errors import ConfigError

# The real loop around a network of a few weights, with all that replicas must share: batch
# statistics, summed gradients, their norm, averaged weights.
PROGRAM = """
import json, sys
import keras
import tensorflow as tf
from landcover_tf.training.training_log import TensorBoardLog
from landcover_tf.distributed import choose_devices
from landcover_tf.losses import SegmentationLoss
from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.training.batches import Batches
from landcover_tf.training.building import join_replicas
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.loop import Loop
from landcover_tf.training.preflight import check
from landcover_tf.training.steps import Stepper

data, output, kind = sys.argv[1:]
config = TrainConfig(
    data_dir=data, output_dir=output, model="resnet18", encoder_weights="none", patch_size=32,
    batch_size=4, epochs=2, lr=0.1, gradient_accumulation=2, ema_decay=0.9, clip_norm=0.5,
    augmentation="none",
)
found = check(config)
if kind == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
devices = choose_devices(kind)
keras.utils.set_random_seed(1)
loss = join_replicas(SegmentationLoss(class_weights=(1, 2, 3), label_smoothing=0.1), devices)
with devices.strategy.scope():
    model = keras.Sequential([
        keras.Input((32, 32, 4)),
        keras.layers.Conv2D(8, 3, padding="same", name="first"),
        keras.layers.BatchNormalization(momentum=0.9, synchronized=devices.replicas > 1),
        keras.layers.ReLU(),
        keras.layers.Conv2D(3, 1, dtype="float32", name="logits"),
    ])
    stepper = Stepper(
        model, loss,
        # Its steps have the size of the gradient, unlike AdamW's.
        PartedOptimizer("sgd", weight_decay=0.01, part_of=lambda v: "all", factors={"all": 1.0}),
        strategy=devices.strategy, clip_norm=config.clip_norm,
        accumulation=config.gradient_accumulation, ema_decay=config.ema_decay,
    )
norms = []
plain_step = stepper.train
def noted_step(batches, decay):
    loss, norm = plain_step(batches, decay)
    norms.append(float(norm))
    return loss, norm
stepper.train = noted_step
info, log = found.info, None
if devices.chief:
    log = TensorBoardLog(found.run.tensorboard, info.legend, info.band_names)
loop = Loop(config, stepper, Batches(config, info, devices), devices, found.run, log=log)
with StopRequest() as stop:
    assert loop.train(stop)
weights = {name: v.tolist() for name, v in stepper.state().items() if "seed" not in name}
print(json.dumps({"replicas": devices.replicas, "history": loop.progress.history,
                  "norms": norms, "weights": list(weights.values())}))
"""


def start(data, output, kind="auto", *, task=None) -> subprocess.Popen:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
    # Schedulers leave it empty for jobs of one host.
    environment["TF_CONFIG"] = json.dumps(task) if task else ""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data), str(output), kind],
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
    return result(start(data_dir, tmp_path_factory.mktemp("runs") / "alone"))


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_two_workers_train_as_one_process(data_dir, tmp_path, alone):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    workers = [
        start(data_dir, tmp_path / "run",
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
            [sys.executable, "-c", "from landcover_tf.distributed import choose_devices\n"
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
