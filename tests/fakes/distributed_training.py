"""The real loop around a network of a few weights, on devices of the caller's choice.

The network has all that replicas must share: batch statistics, summed gradients, their norm,
averaged weights.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from fakes.default_loss import segmentation_loss

from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.training.batches import Batches
from landcover_tf.training.building import join_replicas
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices, choose_devices
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.loop import Loop
from landcover_tf.training.preflight import check
from landcover_tf.training.steps import Stepper
from landcover_tf.training.training_log import TensorBoardLog


class NotedStepper(Stepper):
    """Keeps the norm of every gradient."""

    def train(self, batches, decay):
        loss, norm = super().train(batches, decay)
        self.norms = [*getattr(self, "norms", ()), float(norm)]
        return loss, norm


def train(data_dir: Path, output_dir: Path, kind: str) -> dict[str, Any]:
    """Trains for two epochs and returns what devices must agree in."""
    config = TrainConfig(
        data_dir=data_dir, output_dir=output_dir, model="resnet18", encoder_weights="none",
        patch_size=32, batch_size=4, epochs=2, lr=0.1, gradient_accumulation=2, ema_decay=0.9,
        clip_norm=0.5, augmentation="none", pictures=0,
    )  # fmt: skip
    found = check(config)
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
    devices = choose_devices(kind)
    keras.utils.set_random_seed(1)
    stepper = _stepper(config, devices)
    info, log = found.info, None
    if devices.chief:
        log = TensorBoardLog(found.run.tensorboard, info.legend, info.band_names)
    loop = Loop(config, stepper, Batches(config, info, devices), devices, found.run, log=log)
    with StopRequest() as stop:
        assert loop.train(stop)
    weights = {name: v.tolist() for name, v in stepper.state().items() if "seed" not in name}
    return {"replicas": devices.replicas, "history": loop.progress.history,
            "norms": stepper.norms, "weights": list(weights.values())}  # fmt: skip


def _stepper(config: TrainConfig, devices: Devices) -> NotedStepper:
    loss = join_replicas(segmentation_loss(class_weights=(1, 2, 3), label_smoothing=0.1), devices)
    with devices.strategy.scope():
        model = keras.Sequential([
            keras.Input((32, 32, 4)),
            keras.layers.Conv2D(8, 3, padding="same", name="first"),
            keras.layers.BatchNormalization(momentum=0.9, synchronized=devices.replicas > 1),
            keras.layers.ReLU(),
            keras.layers.Conv2D(3, 1, dtype="float32", name="logits"),
        ])  # fmt: skip
        # Its steps have the size of the gradient, unlike AdamW's.
        optimizer = PartedOptimizer(
            "sgd", weight_decay=0.01, part_of=lambda v: "all", factors={"all": 1.0}
        )
        return NotedStepper(
            model, loss, optimizer, strategy=devices.strategy, clip_norm=config.clip_norm,
            accumulation=config.gradient_accumulation, ema_decay=config.ema_decay,
        )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])))
