"""The loss as a training makes it, with its defaults where a test sets nothing else."""

from pathlib import Path

from landcover_tf.losses import SegmentationLoss
from landcover_tf.training.config import TrainConfig


def segmentation_loss(kind="ce_dice", class_weights=None, **settings) -> SegmentationLoss:
    config = TrainConfig(data_dir=Path(), output_dir=Path(), loss=kind, **settings)
    return SegmentationLoss(config.loss_settings(class_weights))
