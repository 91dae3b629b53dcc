"""Builds sharded TFRecords: `python -m tfrecords_builder --data-dir D --output-dir O`."""

import sys
from pathlib import Path

from landcover_tf import cli
from landcover_tf.model_info import SIZE_MULTIPLE
from landcover_tf.training.config import TrainConfig
from tfrecords_builder.config import BuildConfig


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
        _print_training(config.output_dir, info.patch_grid.patch_size)


def _print_training(folder: Path, patch_size: int) -> None:
    """Prints a training command that the dataset's patches are large enough for."""
    largest = patch_size - patch_size % SIZE_MULTIPLE
    size = {} if largest >= TrainConfig.patch_size else {"patch_size": str(largest)}
    if largest:
        cli.print_next("train", data_dir=folder, output_dir="run", **size)


if __name__ == "__main__":
    sys.exit(main())
