"""The real training loop around a network of 500 weights, which can die at any step.

The network has every kind of state that the real one has: batch statistics, moments of the
optimizer, averaged weights, summed gradients.
"""

from collections.abc import Callable
from pathlib import Path

import keras
from fakes.default_loss import segmentation_loss

from landcover_tf.configs import config_files
from landcover_tf.optimizers import PartedOptimizer
from landcover_tf.training.batches import Batches
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import choose_devices
from landcover_tf.training.interruption import StopRequest
from landcover_tf.training.loop import Loop
from landcover_tf.training.preflight import check
from landcover_tf.training.steps import Stepper


class PowerCutError(Exception):
    """Ends a training at once."""


class DyingStepper(Stepper):
    """Fails at its `dies_at`-th step, as a machine does."""

    dies_at = 10**9

    def train(self, batches, decay):
        self.dies_at -= 1
        if self.dies_at < 0:
            raise PowerCutError
        return super().train(batches, decay)


def settings(data_dir, output_dir, **changes) -> TrainConfig:
    values = dict(
        data_dir=data_dir, output_dir=output_dir, model="resnet18", encoder_weights="none",
        patch_size=32, batch_size=2, epochs=3, lr=2e-2, gradient_accumulation=2, ema_decay=0.9,
        schedule="plateau", plateau_patience=1, checkpoint_minutes=1e3,
        augmentation="light",
    )  # fmt: skip
    return TrainConfig(**(values | changes))


def small_loop(config: TrainConfig, *, seed: int = 0, scale_loss: bool = False) -> Loop:
    """Returns the real loop around a network of 500 weights that `seed` initializes."""
    found = check(config)
    config_files.write_config(config, found.run.config)
    devices = choose_devices("single")
    keras.utils.set_random_seed(1 + seed)
    model = keras.Sequential([
        keras.Input((32, 32, 4)),
        keras.layers.Conv2D(8, 3, padding="same", name="first"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.ReLU(name="relu"),
        keras.layers.Conv2D(3, 1, name="logits"),
    ], name="small")  # fmt: skip
    # The order of the data follows from the global seed too.
    keras.utils.set_random_seed(1 + config.seed)
    stepper = DyingStepper(
        model,
        segmentation_loss(kind="ce_dice"),
        PartedOptimizer(
            "adamw",
            weight_decay=0.01,
            part_of=lambda v: "all",
            factors={"all": 1.0},
            scale_loss=scale_loss,
        ),
        strategy=devices.strategy,
        clip_norm=config.clip_norm,
        accumulation=config.gradient_accumulation,
        ema_decay=config.ema_decay,
    )
    return Loop(config, stepper, Batches(config, found.info, devices), devices, found.run)


def after_epochs(loop: Loop, act: Callable[[], object]) -> Loop:
    """Returns the loop, which calls `act` after it saved the state of a finished epoch."""
    save = loop.save

    def save_and_act() -> None:
        save()
        if loop.progress.step == 0:
            act()

    loop.save = save_and_act
    return loop


def main(arguments: list[str]) -> int:
    """Trains as a program that may be killed: dataset and run folder, a state after each step."""
    loop = small_loop(settings(*map(Path, arguments), checkpoint_minutes=0))
    return int(not loop.train(StopRequest()))
