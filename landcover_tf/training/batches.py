"""Training and validation batches as the stepper takes them."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import tensorflow as tf

from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.errors import ConfigError
from landcover_tf.input_pipeline.augmentation_settings import load_augmentation
from landcover_tf.input_pipeline.dataset import EpochPlan, evaluation_dataset, training_dataset
from landcover_tf.legend import IGNORED
from landcover_tf.model_spec import SIZE_MULTIPLE
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.distributed import Devices


class Batches:
    """The data of a run, distributed over its devices.

    Args:
        config: Where the data is and how it is shown.
        info: What the data is.
        devices: What it is distributed over.

    Raises:
        ConfigError: An epoch is shorter than an optimizer step, or the augmentation's file is
            wrong.
    """

    def __init__(self, config: TrainConfig, info: DatasetInfo, devices: Devices) -> None:
        self.config = config
        self.info = info
        self.devices = devices
        self.augmentation = load_augmentation(config.augmentation)
        self.plan = EpochPlan(
            info=info, folder=config.data_dir, batch_size=config.batch_size,
            patch_size=config.patch_size, patch_overlap=config.patch_overlap,
            oversampling=config.oversampling,
        )  # fmt: skip
        if config.gradient_accumulation > self.plan.steps:
            raise ConfigError(
                f"--gradient-accumulation {config.gradient_accumulation} is more than the "
                f"{self.plan.steps} batches of an epoch; lower it or --batch-size"
            )
        self.steps = self.plan.steps // config.gradient_accumulation
        """Optimizer steps in an epoch."""

    def training(self, epoch: int, step: int) -> Iterator[list[Any]]:
        """Yields, without end, the batches of each optimizer step from `step` of `epoch` on."""
        accumulation = self.config.gradient_accumulation
        dataset = training_dataset(
            self.plan,
            seed=self.config.seed,
            augmentation=self.augmentation,
            start_epoch=epoch,
            start_step=step * accumulation,
        )
        batches = iter(self.devices.strategy.experimental_distribute_dataset(dataset))
        # Epochs begin where the data's epochs begin: what does not fill a step is left out.
        left_out = self.plan.steps - self.steps * accumulation
        while True:
            for _ in range(step, self.steps):
                yield [next(batches) for _ in range(accumulation)]
            for _ in range(left_out):
                next(batches)
            step = 0

    def validation(self) -> Any:
        """Returns the validation split, every patch once, the last batch filled with nothing.

        Its patches may be larger than those of the training; a batch then has fewer of them, so
        that it takes no more memory than a training step, unless a single one for each device does.
        """
        size = self._validation_size()
        replicas = self.devices.strategy.num_replicas_in_sync
        of_equal_area = self.config.batch_size * self.config.patch_size**2 // size**2
        batch_size = max(of_equal_area // replicas, 1) * replicas
        fill = tf.autograph.experimental.do_not_convert(_filled)
        dataset = self._validation(batch_size).map(partial(fill, batch_size=batch_size))
        return self.devices.strategy.experimental_distribute_dataset(dataset)

    def examples(self, count: int) -> tf.data.Dataset:
        """Returns the first validation patches with their labels, in batches of one that fit where
        those of the validation do."""
        # A distributed dataset would wait here for the other workers, which want no pictures.
        return self._validation(1).take(count)

    def _validation(self, batch_size: int) -> tf.data.Dataset:
        return evaluation_dataset(
            self.info,
            self.config.data_dir,
            "val",
            batch_size=batch_size,
            patch_size=self._validation_size(),
        )

    def _validation_size(self) -> int:
        """Returns the height and width of validation patches: whole records where those fit."""
        whole = self.info.patch_grid.patch_size
        return self.config.patch_size if whole % SIZE_MULTIPLE else whole


def _filled(image: tf.Tensor, label: tf.Tensor, batch_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the batch with empty patches added, so that all batches have one shape."""
    missing = batch_size - tf.shape(image)[0]
    filled = tf.pad(image, [[0, missing], [0, 0], [0, 0], [0, 0]])
    ignored = tf.pad(label, [[0, missing], [0, 0], [0, 0]], constant_values=IGNORED)
    return (
        tf.ensure_shape(filled, [batch_size, *image.shape[1:]]),
        tf.ensure_shape(ignored, [batch_size, *label.shape[1:]]),
    )
