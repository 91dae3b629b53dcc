"""Which part of the encoder moves in which epoch, seen on the network itself."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from fakes.small_dataset import write_small_dataset
from fakes.small_loop import after_epochs

from landcover_tf.models.unet import encoder_stages
from landcover_tf.training.batches import Batches
from landcover_tf.training.building import build
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import choose_devices
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.loop import Loop
from landcover_tf.training.preflight import check


@pytest.fixture
def config(tmp_path) -> TrainConfig:
    write_small_dataset(tmp_path / "data", train=4, val=1)
    return TrainConfig(
        data_dir=tmp_path / "data", output_dir=tmp_path / "run", model="resnet18", encoder_depth=3,
        encoder_weights="none", decoder_filters=(4, 4, 4, 4, 4), patch_size=32, batch_size=4,
        epochs=2, lr=1e-2, unfreeze_every=1, augmentation="none", optimizer="sgd",
    )  # fmt: skip


def made(config: TrainConfig) -> Loop:
    found = check(config)
    devices = choose_devices("single")
    keras.utils.set_random_seed(1)
    built = build(config, found.info, devices, resume=False)
    batches = Batches(config, found.info, devices)
    return Loop(config, built.stepper, batches, devices, found.run)


def moved(before: dict[str, np.ndarray], after: dict[str, np.ndarray], model) -> set[str]:
    """Returns the stages with a changed variable, batch statistics included."""
    stage_of = {name: stage for stage, names in encoder_stages(model).items() for name in names}
    return {
        stage_of.get(path.split("/")[-2], "decoder")
        for path, values in after.items()
        if not np.array_equal(values, before[path])
    }


def test_shallow_encoder_is_freed_within_its_stages(config):
    shallow = replace(config, encoder_depth=2)
    assert [shallow.trainable_stages(epoch) for epoch in range(4)] == [0, 1, 2, 2]


def test_stages_are_freed_from_the_deepest_on(config):
    def values(loop: Loop) -> dict[str, np.ndarray]:
        return {v.path: v.numpy() for v in loop.stepper.model.variables}

    snapshots = []
    loop = after_epochs(made(config), lambda: snapshots.append(values(loop)))
    start = values(loop)
    stop = StopRequest()
    assert loop.train(stop)
    model = loop.stepper.model
    assert moved(start, snapshots[0], model) == {"decoder"}
    assert moved(snapshots[0], snapshots[1], model) == {"decoder", "layer2"}
    assert set(loop.stepper.optimizer.learning_rates()) == {
        "decoder", "encoder_layer2", "encoder_layer1"}  # fmt: skip
