"""Builds sharded TFRecords: `python -m tfrecords_builder --data-dir D --output-dir O`."""

import sys
from pathlib import Path

from landcover_tf.configs import cli
from landcover_tf.datasets.dataset_info import DatasetInfo
from landcover_tf.model_spec import SIZE_MULTIPLE
from landcover_tf.training.config import TrainConfig
from landcover_tf.training.preflight import training_patches
from tfrecords_builder.config import BuildConfig

LEAST_STEPS = 10
"""Steps that an epoch has at the proposed batch size, where that is above 2."""


def main(argv: list[str] | None = None) -> int:
    """Returns the exit code of a build."""
    return cli.run(BuildConfig, _program, argv, prog="landcover build")


def _program(config: BuildConfig) -> None:
    from tfrecords_builder.pipeline import build

    info = build(config)
    for name, split in info.splits.items():
        size = sum(shard.bytes for shard in split.shards) / 1e6
        print(f"{name:5} {split.records:7} records in {len(split.shards)} shards, {size:.1f} MB")
    print(f"dataset {info.name} ({info.data_hash}) is in {config.output_dir}")
    if "val" in info.splits and info.splits["val"].records:  # Training needs some.
        _print_training(config.output_dir, info)


def _print_training(folder: Path, info: DatasetInfo) -> None:
    """Prints a training command that the dataset has enough and large enough patches for."""
    stored = info.patch_grid.patch_size
    size = min(TrainConfig.patch_size, stored - stored % SIZE_MULTIPLE)
    if not size:
        return
    patches = training_patches(info, size, TrainConfig.patch_overlap)
    # Large batches of few patches make few steps.
    batch = min(TrainConfig.batch_size, max(patches // LEAST_STEPS, 2), patches)
    own = {"patch_size": size, "batch_size": batch}
    flags = {name: str(v) for name, v in own.items() if v != getattr(TrainConfig, name)}
    cli.print_next("train", data_dir=folder, output_dir="run", **flags)


if __name__ == "__main__":
    sys.exit(main())
